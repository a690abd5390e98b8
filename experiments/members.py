"""The members of a command: every seed of every variation of a config."""

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
    """Reads a setting and its values from ``name=value,value``.

    Args:
      text: values are numbers or, for a setting of each level, lists in brackets.

    Returns:
      The name and the values, as ``Config`` wants them.

    Raises:
      ConfigError: it is not of that form.

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
    """Returns every combination of the values given, or a sample of them.

    Args:
      config: what is varied.
      words: one per setting, of the form that ``read_variation`` reads.
      sample: how many combinations to draw, from the config's seed; 0: all.

    Returns:
      Configs by what is varied in them; that given, under ``""``, without any words.

    Examples:
      >>> list(variations(Config(), ["learning_rate=0.1,0.2", "noise_std=0.3"]))
      ['learning_rate=0.1 noise_std=0.3', 'learning_rate=0.2 noise_std=0.3']
    """
    settings = dict(map(read_variation, words))
    varied = {}
    for values in itertools.product(*settings.values()):
        changes = dict(zip(settings, values, strict=True))
        varied[" ".join(f"{k}={_text(v)}" for k, v in changes.items())] = changes
    if 0 < sample < len(varied):
        drawn = random.Random(config.seed).sample(sorted(varied), sample)
        varied = {title: varied[title] for title in drawn}
    return {title: dataclasses.replace(config, **changes) for title, changes in varied.items()}


def _text(value: Any) -> str:
    """Writes a value without spaces; a list of one as its item."""
    if isinstance(value, tuple):
        return str(value[0]) if len(value) == 1 else f"({','.join(map(str, value))})"
    return str(value)


def seeded(config: Config, seeds: int) -> list[Config]:
    """Returns a config with consecutive seeds, from its own.

    Examples:
      >>> [config.seed for config in seeded(Config(seed=3), 2)]
      [3, 4]
    """
    return [dataclasses.replace(config, seed=config.seed + i) for i in range(seeds)]


LISTS = ("combinators", "noise_std", "denoising_cost")
"""Settings with one value per level."""


def followed(values: Mapping[str, Any], given: Container[str]) -> dict[str, Any]:
    """Returns the lists of a config that follow a depth given on the command line.

    As the paper has it: the first and the second level's value, then that of the rest; the
    top keeps its own. Lists that are given, or fit no such rule, stay as they are.

    Args:
      values: by setting.
      given: the settings that the command gives.

    Returns:
      Those lists that change, by setting.

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
    shape = {name: values[name] for name in ("units", "encoder")}
    levels = Config.create(shape).levels
    changed = {}
    for name in LISTS:
        old = tuple(values[name])
        first, rest, top = old[:2], old[2:-1] or old[-1:], old[-1:]
        if name not in given and len(old) not in (1, 2, levels) and len(set(rest)) == 1:
            changed[name] = (first + rest[:1] * levels)[: levels - 1] + top
    return changed
