"""Members of a command: every seed of every variation of a config."""

from __future__ import annotations

import ast
import dataclasses
import itertools
import random
from collections.abc import Container, Mapping, Sequence
from typing import Any

from ladder_jax.config import Config
from ladder_jax.errors import ConfigError


def read_variation(text: str) -> tuple[str, list[Any]]:
    """Parses a setting and its values from ``name=value,value``.

    Args:
      text: setting and values; these are numbers or, for settings with one value per level,
        lists in brackets.

    Returns:
      The name, and the values in the types that ``Config`` takes.

    Raises:
      ConfigError: the text has another form, or the setting cannot be varied.

    Examples:
      >>> read_variation("noise_std=0.2,(0.3, 0.1)")
      ('noise_std', [(0.2,), (0.3, 0.1)])
    """
    name, _, values = text.partition("=")
    if name not in Config.TRACED:
        raise ConfigError(f"--vary={text}: {name!r} is not one of {', '.join(Config.TRACED)}.")
    try:
        choices = list(ast.literal_eval(f"[{values}]"))
    except (SyntaxError, ValueError):
        choices = []
    if not choices:
        raise ConfigError(f"--vary={text}: give values, e.g. --vary={name}=0.1,0.2.")
    if isinstance(getattr(Config, name), tuple):
        choices = [tuple(v) if isinstance(v, list | tuple) else (v,) for v in choices]
    return name, choices


def variations(config: Config, words: Sequence[str], sample: int = 0) -> dict[str, Config]:
    """Returns every combination of the given values, or a sample of them.

    Args:
      config: config to vary.
      words: one text per setting, in the form that ``read_variation`` parses.
      sample: number of combinations to draw with the config's seed; 0 for all.

    Returns:
      Configs by their varied settings; without words, the given config by ``""``.

    Examples:
      >>> list(variations(Config(), ["learning_rate=0.1,0.2", "noise_std=0.3"]))
      ['learning_rate=0.1 noise_std=0.3', 'learning_rate=0.2 noise_std=0.3']
    """
    settings = dict(map(read_variation, words))
    if len(settings) < len(words):
        raise ConfigError(
            "--vary names a setting twice; give all its values at once, e.g. "
            "--vary=noise_std=0.2,0.3."
        )
    varied = {}
    for values in itertools.product(*settings.values()):
        changes = dict(zip(settings, values, strict=True))
        varied[" ".join(f"{k}={_text(v)}" for k, v in changes.items())] = changes
    if 0 < sample < len(varied):
        drawn = random.Random(config.seed).sample(sorted(varied), sample)
        varied = {title: varied[title] for title in drawn}
    return {title: dataclasses.replace(config, **changes) for title, changes in varied.items()}


def _text(value: Any) -> str:
    """Formats a value without spaces, and a list of one item as the item."""
    if isinstance(value, tuple):
        return str(value[0]) if len(value) == 1 else f"({','.join(map(str, value))})"
    return str(value)


def seeded(config: Config, seeds: int) -> list[Config]:
    """Returns copies of a config with consecutive seeds, starting with its own.

    Examples:
      >>> [config.seed for config in seeded(Config(seed=3), 2)]
      [3, 4]
    """
    return [dataclasses.replace(config, seed=config.seed + i) for i in range(seeds)]


LISTS = ("combinators", "noise_std", "denoising_cost")
"""Settings with one value per level."""


def followed(values: Mapping[str, Any], given: Container[str]) -> dict[str, Any]:
    """Adapts the lists of a config to a depth given on the command line.

    As in the paper, there is a value for the first level, one for the second and one for the
    levels above, and the top keeps its own. Lists that are given, or do not have this form,
    stay as they are.

    Args:
      values: values of the config by setting.
      given: settings given on the command line.

    Returns:
      The lists that change, by setting.

    Examples:
      >>> values = {"units": (5, 5), "encoder": "", "combinators": ("gaussian",)}
      >>> values |= {"noise_std": (0.3,), "denoising_cost": (1000.0, 10.0, 0.1, 0.1, 0.1)}
      >>> followed(values, {"units"})
      {'denoising_cost': (1000.0, 10.0, 0.1, 0.1)}
      >>> followed(values, {"units", "denoising_cost"})
      {}
    """
    if "units" not in given and "encoder" not in given:
        return {}
    depth = {name: values[name] for name in ("units", "encoder")}
    levels = Config.create(depth).levels
    changed = {}
    for name in LISTS:
        current = tuple(values[name])
        bottom, rest, top = current[:2], current[2:-1] or current[-1:], current[-1:]
        if name not in given and len(current) not in (1, 2, levels) and len(set(rest)) == 1:
            changed[name] = (bottom + rest[:1] * levels)[: levels - 1] + top
    return changed
