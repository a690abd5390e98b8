"""Errors and statistics of a run's parameters on its examples."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from ladder_jax import denoising, parallel, streaming, training, transforms
from ladder_jax.config import Config
from ladder_jax.tasks import Task
from ladder_jax.training import TrainState
from ladder_jax.types import Ladder, Params, Statistics, Trained


def evaluated(config: Config, state: TrainState) -> Params:
    """The parameters of a state that are evaluated and kept.

    Args:
      config: says whether they are averaged.
      state: at any step.
    """
    return transforms.averaged(state.opt_state) if config.average else state.params


class Evaluation(NamedTuple):
    """Parameters and what is known of them.

    Attributes:
      params: of the ladder.
      statistics: what predictions are normalised with.
      errors: in percent, on the set that is looked at while training, if there is any:
        ``validation_error``, or ``test_error`` where nothing is held out.
    """

    params: Params
    statistics: Statistics
    errors: dict[str, float]


class Programs(NamedTuple):
    """What evaluates a ladder, whatever its parameters and examples.

    Attributes:
      error_rate: ``(params, statistics, x, y) -> `` scalar from 0 to 1.
      statistics: ``(params, x) -> Statistics``.
      decoder_statistics: ``(params, statistics, x) -> Statistics``.
    """

    error_rate: Callable[..., Any]
    statistics: Callable[..., Statistics]
    decoder_statistics: Callable[..., Statistics]


def make_programs(config: Config, net: Ladder, mesh: Mesh) -> Programs:
    """The jitted ``Programs``; one serves all members, who differ in noise and costs alone.

    Args:
      config: of the run.
      net: its ladder.
      mesh: where it is evaluated.
    """
    of_u = jax.jit(functools.partial(denoising.decoder_statistics, net))
    if config.resident and not config.images:
        place = parallel.over_rows(mesh)
        return Programs(
            training.make_error_rate(net, place), training.make_statistics(net, place), of_u
        )
    make = streaming.make_pooled_statistics if config.images else streaming.make_statistics
    return Programs(streaming.make_error_rate(net), make(net), of_u)


class Evaluator:
    """Errors of parameters on the examples of a task, in percent.

    Args:
      config: of the run.
      net: its ladder.
      task: its examples.
      mesh: where they are evaluated.
      programs: of ``make_programs``, where there are any already.
    """

    def __init__(
        self, config: Config, net: Ladder, task: Task, mesh: Mesh, programs: Programs | None = None
    ) -> None:
        self._programs = make_programs(config, net, mesh) if programs is None else programs
        labeled, self._mesh = config.statistics == "labeled", mesh
        self._rows = task.train.labeled if labeled else task.train.unlabeled
        self._unlabeled = task.train.unlabeled
        self._sets = {"test": task.test, "validation": task.validation}
        self._watched = "test" if task.validation is None else "validation"

    def evaluate(self, params: Params) -> Evaluation:
        """What is looked at while training."""
        statistics = self._programs.statistics(params, self._rows)
        return Evaluation(params, statistics, self._errors(params, statistics, self._watched))

    def trained(self, found: Evaluation) -> Trained:
        """Parameters with all that rows need that come one by one."""
        rows = jnp.asarray(denoising.sample_rows(self._unlabeled))
        of_u = self._programs.decoder_statistics(found.params, found.statistics, rows)
        trained = Trained(found.params, found.statistics, of_u)
        return parallel.everywhere(self._mesh, trained) if parallel.several() else trained

    def errors(self, found: Evaluation) -> dict[str, float]:
        """On each set that there is, ``test_error`` and ``validation_error``."""
        rest = (name for name in self._sets if f"{name}_error" not in found.errors)
        return found.errors | self._errors(found.params, found.statistics, *rest)

    def _errors(self, params: Params, statistics: Statistics, *names: str) -> dict[str, float]:
        return {
            f"{name}_error": 100 * float(self._programs.error_rate(params, statistics, *rows))
            for name in names
            if (rows := self._sets[name]) is not None
        }
