"""Helpers with which the config files are written."""

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
"""The paper's test error by model and number of labels: mean and standard deviation in percent;
None if the paper has none."""


def config_dict(config: Config) -> ConfigDict:
    """Converts a config for use as flags: a mutable dictionary with one flag per field."""
    return ConfigDict(dataclasses.asdict(config))


def choose(table: Table, arguments: str, *, labels: str, model: str) -> tuple[str, str]:
    """Parses the arguments that select a row of a table.

    Args:
      table: table of the config file.
      arguments: ``labels=LABELS,model=MODEL``; either may be left out.
      labels: default for the labels.
      model: default for the model.

    Returns:
      Labels and model of an existing row.

    Raises:
      ConfigError: the row or an argument does not exist.

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
    """Returns the config of one of the paper's convolutional ladders.

    Args:
      preset: key of ``presets.CONV``; its first word is the data set's name.
      labels: number of labels.
      **settings: other settings of ``Config``, such as those of the training.
    """
    net = presets.CONV[preset]
    dataset, variant = preset.split("_", 1)
    return config_dict(
        Config(
            name=f"{dataset}_{labels}_{variant}",
            dataset=dataset,
            labels=int(labels),
            encoder=layers.to_names(net.layers),
            activation=net.activation,
            top_gain=net.top_gain,
            combinators=tuple("gaussian" if d else "none" for d in net.decoded),
            noise_std=net.noise_std,
            denoising_cost=net.denoising_cost,
            **settings,
        )
    )
