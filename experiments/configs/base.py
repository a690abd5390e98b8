"""What the config files are written with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from experiments.configs import RENAMED
from ladder_jax import layers, presets
from ladder_jax.config import Config
from ladder_jax.errors import ConfigError

Table = Mapping[str, Mapping[str, tuple[float, float] | None]]
"""By model and number of labels the paper's test error: mean and standard deviation in
percent, None where it has none."""


def config_dict(config: Config) -> ConfigDict:
    """Returns a config as the flags want it: mutable, every field a flag."""
    return ConfigDict(dataclasses.asdict(config))


def choose(table: Table, arguments: str, *, labels: str, model: str) -> tuple[str, str]:
    """Reads which row of a table is asked for.

    Args:
      table: of the file.
      arguments: ``labels=LABELS,model=MODEL``, either of which may be left out.
      labels: where none are given.
      model: where none is given.

    Returns:
      Labels and model of a row that is there.

    Raises:
      ConfigError: there is no such row or argument.

    Examples:
      >>> choose({"full": {"50": None, "all": None}}, "labels=all", labels="50", model="full")
      ('all', 'full')
    """
    chosen = {"labels": labels, "model": model}
    for argument in filter(None, arguments.split(",")):
        name, _, value = argument.partition("=")
        if name not in chosen:
            raise ConfigError(f"there is no argument {name!r}; give labels=LABELS,model=MODEL.")
        chosen[name] = RENAMED.get(value, value)
    labels, model = chosen.values()
    if model not in table:
        raise ConfigError(f"there is no model {model!r}; give model= one of {', '.join(table)}.")
    if labels not in table[model]:
        raise ConfigError(
            f"{model} with labels={labels} is not in the table; give labels= one of "
            f"{', '.join(table[model])}, or another model."
        )
    return labels, model


def conv(preset: str, labels: str, **settings: Any) -> ConfigDict:
    """Makes one of the paper's convolutional ladders, with what its training needs beside.

    Args:
      preset: a key of ``presets.CONV``; the data set's name is its first word.
      labels: how many.
      **settings: of ``Config``, over the defaults.
    """
    row = presets.CONV[preset]
    dataset, rest = preset.split("_", 1)
    return config_dict(
        Config(
            name=f"{dataset}_{labels}_{rest}",
            dataset=dataset,
            labels=int(labels),
            encoder=layers.to_names(row.layers),
            activation=row.activation,
            top_gain=row.top_gain,
            combinators=tuple("gaussian" if d else "none" for d in row.decoded),
            noise_std=row.noise_std,
            denoising_cost=row.denoising_cost,
            **settings,
        )
    )
