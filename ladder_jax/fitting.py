"""A run in memory, compiled once for all of the same settings and shapes."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from ladder_jax import evaluation, forks, guard, parallel, predictor, training
from ladder_jax.build import build_ladder, build_optimizer, train_step
from ladder_jax.config import Config
from ladder_jax.epochs import Progress, check_progress
from ladder_jax.metrics_log import metrics_line
from ladder_jax.tasks import Task
from ladder_jax.training import BatchSizes, Metrics, TrainData, TrainState
from ladder_jax.types import Array, Ladder, Trained

_KEPT = 32
"""Compiled ladders that wait for the next fit, as the folds of a search follow each other."""


class Programs(NamedTuple):
    """A ladder and what is compiled for it, whatever its parameters and examples.

    Attributes:
      net: the ladder.
      outputs: of ``predictor.make_program``.
      evaluation: of ``evaluation.make_programs``.
    """

    net: Ladder
    outputs: predictor.Program
    evaluation: evaluation.Programs


class _Training(NamedTuple):
    """The compiled start of a run and its epochs."""

    start: Callable[[Array], TrainState]
    epoch: Callable[[TrainState, TrainData], tuple[TrainState, Metrics]]


def _compiled_in(config: Config) -> Config:
    """A config without what no program depends on."""
    return dataclasses.replace(config, seed=0, preprocess="none")


def programs(config: Config, features: int, classes: int) -> Programs:
    """The ladder of a config over rows of features; the same for the same settings.

    Args:
      config: the settings.
      features: of a row.
      classes: how many there are.

    Raises:
      ConfigError: settings contradict each other.
      RuntimeError: of ``forks.check``.

    Example:
      >>> ours = programs(Config(units=(5,)), 4, 2)
      >>> ours.net.shapes, programs(Config(units=(5,), seed=1), 4, 2) is ours
      (((4,), (5,), (2,)), True)
    """
    forks.check()
    return _programs(_compiled_in(config), features, classes)


@functools.lru_cache(_KEPT)
def _programs(config: Config, features: int, classes: int) -> Programs:
    net = build_ladder(config, (features,), classes)
    evaluating = evaluation.make_programs(config, net, parallel.make_mesh())
    return Programs(net, predictor.make_program(net), evaluating)


@functools.lru_cache(_KEPT)
def _training(
    config: Config, features: int, classes: int, sizes: BatchSizes, steps: int
) -> _Training:
    net = _programs(config, features, classes).net
    optimizer = build_optimizer(config, steps * config.epochs)
    start = jax.jit(functools.partial(training.create_train_state, net, optimizer))
    step = train_step(config, net, optimizer, steps * config.epochs)
    place = parallel.over_rows(parallel.make_mesh())
    return _Training(start, training.make_epoch(step, sizes, place))


def train(config: Config, task: Task, progress: Progress) -> Trained:
    """All epochs: what ``loop.train_and_evaluate`` does, without a folder.

    Args:
      config: the settings.
      task: rows of features.
      progress: called after each epoch with its line of metrics.

    Returns:
      Parameters and statistics, those that the loop ends with.

    Raises:
      ConfigError: settings contradict each other.
      NotFiniteError: NaN or infinity in the loss.
    """
    check_progress(progress)
    shape = task.train.unlabeled.shape[1], len(task.class_names)
    net, _, evaluating = programs(config, *shape)
    steps = training.steps_per_epoch(task.train, task.sizes)
    start, epoch = _training(_compiled_in(config), *shape, task.sizes, steps)
    mesh = parallel.make_mesh()
    state = parallel.everywhere(mesh, start(jax.random.key(config.seed)))
    for number in range(1, config.epochs + 1):
        state, metrics = epoch(state, task.train)
        line = metrics_line(number, metrics)
        if not np.isfinite(line["loss"]):
            tried = guard.hints(config, guard.largest_input(task.train))
            raise guard.NotFiniteError(
                f"NaN or infinity in epoch {number}. Try {', or '.join(tried)}."
            )
        progress(line)
    evaluator = evaluation.Evaluator(config, net, task, mesh, evaluating)
    return evaluator.trained(evaluator.evaluate(evaluation.evaluated(config, state)))
