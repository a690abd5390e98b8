"""The numbers that a sweep tunes: the levels and the range of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ladder_jax.config import Config
from ladder_jax.errors import ConfigError

SPANS = {"learning_rate": 4.0, "noise_std": 3.0, "denoising_cost": 30.0}
"""A value is looked for from the config's divided by this to the config's times this."""
_ALL = {"": slice(None)}
_PARTS = {
    "noise_std": {"[0]": slice(0, 1), "[1:]": slice(1, None)},
    "denoising_cost": {"[0]": slice(0, 1), "[1]": slice(1, 2), "[2:]": slice(2, None)},
}
"""Levels that share a number, by what follows the setting's name."""


class Knob(NamedTuple):
    """Describes one number that is tuned.

    Attributes:
      name: that of the setting and the levels that it is of, as Python has them.
      setting: of ``Config``.
      levels: the same levels; what is not the first of them keeps its ratio to it.
      value: the config's own, of the first level whose value is not 0.
    """

    name: str
    setting: str
    levels: slice
    value: float

    @property
    def range(self) -> tuple[float, float]:
        """Returns the least and the greatest value; tuned on a logarithmic scale."""
        span = SPANS[self.setting]
        return self.value / span, self.value * span


def _values(config: Config, setting: str) -> tuple[float, ...]:
    """Returns a setting's values: one, or one per level, 0 where a level is not decoded."""
    given = getattr(config, setting)
    values: tuple[float, ...] = given if isinstance(given, tuple) else (given,)
    if setting != "denoising_cost" or len(values) > 1:
        return values
    names = config.combinators * (config.levels if len(config.combinators) == 1 else 1)
    return tuple(0.0 if name == "none" else values[0] for name in names)


def knobs(config: Config, tune: Sequence[str]) -> list[Knob]:
    """Returns what is tuned in a config: its learning rate, noise and denoising costs.

    Noise is one number where the config has one for all levels, else one for the input
    and one for the levels above it. Denoising costs are one number each for the bottom,
    for level 1 and for the levels above. What is 0 stays 0.

    Args:
      config: the values to begin with.
      tune: names of settings.

    Returns:
      At least one knob.

    Raises:
      ConfigError: a setting is not one of these, or is 0 at every level.

    Examples:
      >>> config = Config(noise_std=(0.3,), denoising_cost=(1000.0, 10.0, 0.1, 0.1), units=(5, 5))
      >>> [(knob.name, knob.value) for knob in knobs(config, ["noise_std", "denoising_cost"])]
      [('noise_std', 0.3), ('denoising_cost[0]', 1000.0), ('denoising_cost[1]', 10.0),
       ('denoising_cost[2:]', 0.1)]
    """
    tuned = []
    for setting in dict.fromkeys(tune):
        if setting not in Config.TRACED:
            raise ConfigError(f"--tune={setting}: give some of {', '.join(Config.TRACED)}.")
        values = _values(config, setting)
        parts = _ALL if len(values) == 1 else _PARTS[setting]
        firsts = {part: next(filter(None, values[levels]), 0.0) for part, levels in parts.items()}
        tuned += [
            Knob(setting + part, setting, parts[part], value)
            for part, value in firsts.items()
            if value
        ]
    if not tuned:
        raise ConfigError(
            f"there is nothing to tune: {' and '.join(tune) or 'what --tune names'} is 0 at every "
            f"level of {config.name}; give --tune some of {', '.join(Config.TRACED)}."
        )
    return tuned


def turned(config: Config, tuned: Sequence[Knob], values: Mapping[str, float]) -> Config:
    """Returns the config with other values, rounded to four significant figures.

    Args:
      config: that of ``knobs``.
      tuned: by ``knobs``.
      values: by the names of the knobs.

    Returns:
      A ``Config``; with the knobs' own values it trains what the one given does.

    Examples:
      >>> config = Config(denoising_cost=(10.0, 1.0, 0.1, 0.2), units=(5, 5))
      >>> bottom, one, above = knobs(config, ["denoising_cost"])
      >>> turned(config, [bottom, above], {bottom.name: 20.0, above.name: 0.3}).denoising_cost
      (20.0, 1.0, 0.3, 0.6)
    """
    changed: dict[str, list[float]] = {}
    for knob in tuned:
        levels = changed.setdefault(knob.setting, list(_values(config, knob.setting)))
        ratio = values[knob.name] / knob.value
        if ratio != 1:
            levels[knob.levels] = [float(f"{ratio * value:.4g}") for value in levels[knob.levels]]
    changes: dict[str, Any] = {
        setting: tuple(levels) if isinstance(getattr(config, setting), tuple) else levels[0]
        for setting, levels in changed.items()
    }
    return dataclasses.replace(config, **changes)
