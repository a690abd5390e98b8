"""Numbers that a sweep tunes, with the levels and the range of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ladder_jax.config import Config
from ladder_jax.errors import ConfigError

SPANS = {"learning_rate": 4.0, "noise_std": 3.0, "denoising_cost": 30.0}
"""Factor by setting: a search goes from the config's value / factor to value * factor."""
_ALL = {"": slice(None)}
_PARTS = {
    "noise_std": {"[0]": slice(0, 1), "[1:]": slice(1, None)},
    "denoising_cost": {"[0]": slice(0, 1), "[1]": slice(1, 2), "[2:]": slice(2, None)},
}
"""Levels that share a number, by what its name adds to the setting's."""


class Knob(NamedTuple):
    """Describes one tuned number.

    Attributes:
      name: the setting and its levels in Python's notation, e.g. ``denoising_cost[2:]``.
      setting: field of ``Config``.
      levels: slice of the levels, whose values keep their ratios to each other.
      value: the config's own value, at the first of these levels where it is not 0.
    """

    name: str
    setting: str
    levels: slice
    value: float

    @property
    def range(self) -> tuple[float, float]:
        """Returns the least and the greatest value; the scale of the search is logarithmic."""
        span = SPANS[self.setting]
        return self.value / span, self.value * span


def _values(config: Config, setting: str) -> tuple[float, ...]:
    """Returns a setting's values: one, or one per level with 0 for levels not decoded."""
    field = getattr(config, setting)
    values: tuple[float, ...] = field if isinstance(field, tuple) else (field,)
    if setting != "denoising_cost" or len(values) > 1:
        return values
    names = config.combinators * (config.levels if len(config.combinators) == 1 else 1)
    return tuple(0.0 if name == "none" else values[0] for name in names)


def knobs(config: Config, tune: Sequence[str]) -> list[Knob]:
    """Returns the tuned numbers of a config: its learning rate, noise and denoising costs.

    Noise is one number if the config has one for all levels, else one for the input and one
    for the levels above it. Denoising costs are one number each for the input, for level 1
    and for the levels above. Values of 0 stay 0.

    Args:
      config: config with the initial values.
      tune: names of the settings to tune.

    Returns:
      At least one knob.

    Raises:
      ConfigError: a setting is not one of these, or all are 0 at every level.

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
        initial = {part: next(filter(None, values[levels]), 0.0) for part, levels in parts.items()}
        tuned += [
            Knob(setting + part, setting, parts[part], value)
            for part, value in initial.items()
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
      config: the config that ``knobs`` was given.
      tuned: knobs to change, from ``knobs``.
      values: new values by the names of the knobs.

    Returns:
      A ``Config``, equivalent to the given one if the values are the knobs' own.

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
