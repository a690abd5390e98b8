"""What the members of a population are trained on and with, stacked."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ladder_jax import data
from ladder_jax.build import build_ladder
from ladder_jax.config import Config, ConfigError
from ladder_jax.tasks import Task, choose_rows, prepare
from ladder_jax.training import TrainData
from ladder_jax.types import Array, Hyper, Ladder

MAY_DIFFER = ("name", "seed", "split", "noise_std", "denoising_cost", "learning_rate")
"""Settings in which the members of one program may differ."""


def check_alike(configs: Sequence[Config]) -> None:
    """That configs can be members of one population.

    Args:
      configs: at least one.

    Raises:
      ConfigError: there is none, they differ in what is not in ``MAY_DIFFER``, or
        their data do not rest on the device.

    Example:
      >>> check_alike([Config(seed=0), Config(seed=1, epochs=3)])
      Traceback (most recent call last):
      ...
      ladder_jax.config.ConfigError: members differ in epochs; those of one population may differ \
in name, seed, split, noise_std, denoising_cost, learning_rate alone.
    """
    if not configs:
        raise ConfigError("there is no member; give at least one.")
    settings = [field.name for field in dataclasses.fields(Config) if field.name not in MAY_DIFFER]
    differing = [s for s in settings if len({getattr(config, s) for config in configs}) > 1]
    if differing:
        raise ConfigError(
            f"members differ in {', '.join(differing)}; those of one population may differ in "
            f"{', '.join(MAY_DIFFER)} alone."
        )
    if not configs[0].resident:
        raise ConfigError("resident is False; a population is trained on resident data alone.")


class Crew(NamedTuple):
    """What the members of a population are trained on and with, stacked.

    Attributes:
      tasks: one a member.
      nets: one a member; they differ in their ``hyper`` alone.
      data: the members as first axis, but of arrays that all share.
      axes: where the members are in ``data``: 0, or None.
      hypers: noise and costs, the members as first axis.
      rates: learning rates, the same.
    """

    tasks: list[Task]
    nets: list[Ladder]
    data: TrainData
    axes: TrainData
    hypers: Hyper
    rates: Array


def gather(configs: Sequence[Config], dataset: data.Dataset | None = None) -> Crew:
    """The data and ladders of all members.

    Args:
      configs: alike.
      dataset: the data, instead of those that the configs name.

    Returns:
      A ``Crew``; rows that are the same for all are one array in it, and labelled
      rows that are all rows are the unlabelled ones.
    """
    if dataset is None:
        dataset = data.load(configs[0].dataset, configs[0].data_dir)
    first, (_, kept, _) = prepare(configs[0], dataset), choose_rows(configs[0], dataset)
    tasks, train = [first], first.train
    for config in configs[1:]:
        labeled, own, _ = choose_rows(config, dataset)
        if not np.array_equal(own, kept):
            tasks.append(prepare(config, dataset))
        elif np.array_equal(labeled, first.labeled):
            tasks.append(first)
        else:
            # The same rows are trained on: only which of them have a label differs.
            x = train.unlabeled[np.searchsorted(kept, labeled)]
            y = jnp.asarray(dataset.y_train[labeled])
            own_train = train._replace(labeled=x, labels=y)
            tasks.append(first._replace(train=own_train, labeled=labeled))
    shape, classes = train.unlabeled.shape[1:], len(first.class_names)
    nets = [build_ladder(config, shape, classes) for config in configs]
    stacked, axes = zip(*map(_stack, *(task.train for task in tasks)), strict=True)
    hypers = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(net.hyper for net in nets))
    hypers = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), hypers)
    rates = jnp.array([config.learning_rate for config in configs])
    return Crew(tasks, nets, TrainData(*stacked), TrainData(*axes), hypers, rates)


def _stack(*arrays: Array) -> tuple[Array, int | None]:
    """One array a member as one array, and which of its axes is the members'."""
    if all(array is arrays[0] for array in arrays):
        return arrays[0], None
    return jnp.stack(arrays), 0
