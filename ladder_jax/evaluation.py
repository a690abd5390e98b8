"""Errors and statistics of a run's parameters on its examples."""

from __future__ import annotations

import functools
from typing import Any

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


class Evaluator:
    """Errors of parameters on the examples of a task, in percent.

    Args:
      config: of the run.
      net: its ladder.
      task: its examples.
      mesh: where they are evaluated.
    """

    def __init__(self, config: Config, net: Ladder, task: Task, mesh: Mesh) -> None:
        if config.resident and not config.images:
            place = parallel.over_rows(mesh)
            self._error_rate: Any = training.make_error_rate(net, place)
            self._statistics: Any = training.make_statistics(net, place)
        else:
            self._error_rate = streaming.make_error_rate(net)
            pooled = config.images
            make = streaming.make_pooled_statistics if pooled else streaming.make_statistics
            self._statistics = make(net)
        labeled = config.statistics == "labeled"
        self._net, self._unlabeled = net, task.train.unlabeled
        self._rows = task.train.labeled if labeled else task.train.unlabeled
        self._sets = {"test": task.test, "validation": task.validation}
        self._watched = "test" if task.validation is None else "validation"

    def statistics(self, params: Params) -> Statistics:
        """What predictions are normalised with."""
        found: Statistics = self._statistics(params, self._rows)
        return found

    def trained(self, params: Params) -> Trained:
        """Parameters with all that rows need that come one by one."""
        statistics = self.statistics(params)
        rows = jnp.asarray(denoising.sample_rows(self._unlabeled))
        of_u = jax.jit(functools.partial(denoising.decoder_statistics, self._net))
        return Trained(params, statistics, of_u(params, statistics, rows))

    def errors(self, params: Params, statistics: Statistics) -> dict[str, float]:
        """On each set that there is, ``test_error`` and ``validation_error``."""
        return {
            f"{name}_error": 100 * float(self._error_rate(params, statistics, *rows))
            for name, rows in self._sets.items()
            if rows is not None
        }

    def watched(self, params: Params) -> dict[str, float]:
        """On the set that is looked at while training: validation, if there is one."""
        rows = self._sets[self._watched]
        if rows is None:
            return {}
        error = self._error_rate(params, self.statistics(params), *rows)
        return {f"{self._watched}_error": 100 * float(error)}
