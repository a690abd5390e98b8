"""Computes statistics, errors and outputs of parameters, chunk by chunk where examples are many."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from ladder_jax import normalization, parallel, training
from ladder_jax.config import Config
from ladder_jax.data import Examples
from ladder_jax.data.base import chunks
from ladder_jax.run import multiprocess
from ladder_jax.run.inputs import Task, as_images
from ladder_jax.targets.base import on_host
from ladder_jax.types import Array, Ladder, Params, Statistics, Sums, Target, Trained

_NUMBERS = 2**26
"""Activations that go through a ladder at a time, at most, where they are those of pixels."""


def error_text(error: float, percent: bool = True) -> str:
    """Returns an error as text: a percentage, or four digits in the labels' own units.

    Examples:
      >>> error_text(2.0), error_text(53.2071, percent=False), error_text(15832.6, percent=False)
      ('2.00 %', '53.21', '15833')
    """
    if percent:
        return f"{error:.2f} %"
    if not 1e-4 <= abs(error) < 1e9:
        return f"{error:.4g}"
    return f"{error:.{max(0, 3 - math.floor(math.log10(abs(error))))}f}"


def error_name(percent: bool = True) -> str:
    """Returns what an error is called above a column of its values.

    Examples:
      >>> error_name(), error_name(percent=False)
      ('error in %', 'error (RMSE)')
    """
    return "error in %" if percent else "error (RMSE)"


def rows_at_once(net: Ladder, most: int) -> int:
    """Returns how many rows a compiled function takes: fewer where all levels have many pixels."""
    if not net.structure.target.positions:
        return most
    return max(2, min(most, _NUMBERS // sum(map(math.prod, net.shapes))))


def sample_rows(x: Any, most: int = 1000) -> Any:
    """Returns up to ``most`` rows spread evenly over ``x``, which may be sorted by class."""
    if len(x) <= most:
        return x[:]  # without a program that gathers them
    return x[np.unique(np.linspace(0, len(x) - 1, most).astype(int))]


def make_statistics(net: Ladder) -> Callable[[Params, Examples], Statistics]:
    """Makes the statistics of the clean pass over all rows, as if they were one batch.

    Each level takes two passes over the rows, one for the mean and one for the
    variance, with the levels below it already known. A level whose mean is taken
    for m and its variance for 1 - epsilon gives ``z = z_pre - m``.
    """

    @jax.jit
    def sums(params: Params, known: Statistics, x: Array) -> list[tuple[Array, Array]]:
        z = net.encode(params, x, statistics=known).z
        moments = []
        for level in range(1, len(z)):
            mean = known.mean[level]
            assert mean is not None
            axes = tuple(range(z[level].ndim - mean.ndim))
            moments.append((z[level].mean(axes), jnp.square(z[level]).mean(axes)))
        return moments

    def statistics(params: Params, rows: Examples) -> Statistics:
        shapes = jax.eval_shape(net.statistics, params, rows[:2])
        unit = 1 - normalization.EPSILON
        mean: list[Any] = [m if m is None else np.zeros(m.shape, m.dtype) for m in shapes.mean]
        var: list[Any] = [v if v is None else np.full(v.shape, unit, v.dtype) for v in shapes.var]
        for level in range(1, len(mean)):
            for index, moment in enumerate((mean, var)):
                total = np.zeros(mean[level].shape, np.float64)
                for x in chunks(rows):
                    known = Statistics(tuple(mean), tuple(var))
                    part = sums(params, known, x)[level - 1][index]
                    total += np.asarray(part, np.float64) * (len(x) / len(rows))
                moment[level] = total.astype(mean[level].dtype)
        whole: Statistics = jax.tree.map(jnp.asarray, Statistics(tuple(mean), tuple(var)))
        return whole

    return statistics


def make_pooled_statistics(
    net: Ladder, rows: int = 500
) -> Callable[[Params, Examples], Statistics]:
    """Makes ``net.statistics`` over chunks of rows, joined: one pass, for maps of images.

    Each chunk is normalised by itself on the way up; means and variances are then
    those of all rows together. Exact at level 1; above, as near to the statistics
    of one pass over everything as those of ``rows`` rows are.
    """
    of_chunk = jax.jit(net.statistics)

    def statistics(params: Params, x: Examples) -> Statistics:
        counts, parts = zip(
            *((len(chunk), of_chunk(params, chunk)) for chunk in chunks(x, rows)), strict=True
        )
        share = jnp.array([count / sum(counts) for count in counts])

        def join(*levels: Array) -> Array:
            return jnp.tensordot(share, jnp.stack(levels), 1)

        mean = jax.tree.map(join, *(part.mean for part in parts))
        squares = [
            jax.tree.map(lambda v, m, all_m: v + (m - all_m) ** 2, part.var, part.mean, mean)
            for part in parts
        ]
        return Statistics(mean, jax.tree.map(join, *squares))

    return statistics


def make_error_rate(net: Ladder) -> Callable[[Params, Statistics, Examples, np.ndarray], Array]:
    """Makes the share of rows put into a wrong class."""
    error_rate = training.make_error_rate(net)

    def chunked(params: Params, statistics: Statistics, x: Examples, y: np.ndarray) -> Array:
        wrong = jnp.zeros(())
        for part, labels in zip(chunks(x), chunks(y), strict=True):
            wrong += error_rate(params, statistics, part, labels) * len(labels)
        return wrong / len(y)

    return chunked


def make_measures(
    net: Ladder, mesh: Mesh, rows: int | None = None
) -> Callable[[Params, Statistics, Examples, np.ndarray], Sums]:
    """Makes the target's sums over all rows, those of chunks added in float64.

    Args:
      net: the ladder.
      mesh: where parameters lie.
      rows: of a chunk; None: all are one, and spread over the mesh.
    """
    of_chunk = training.make_measures(net, *([] if rows else [parallel.shard_batch(mesh)]))

    def measures(params: Params, statistics: Statistics, x: Examples, labels: Any) -> Sums:
        total: Any = None
        for part in zip(chunks(x, rows or len(x)), chunks(labels, rows or len(x)), strict=True):
            sums = of_chunk(params, statistics, *part)
            if multiprocess.is_multiprocess():
                sums = parallel.replicate(mesh, sums)
            host = on_host(sums)
            total = host if total is None else jax.tree.map(np.add, total, host)
        whole: Sums = total
        return whole

    return measures


def outputs(net: Ladder, trained: Trained, x: Array) -> tuple[Array, Array, Array | None]:
    """Computes outputs, top features and denoised input of preprocessed rows; pure."""
    clean = net.encode(trained.params, x, statistics=trained.statistics)
    return clean.logits, clean.h[-2], net.denoise(trained, x)


class Functions(NamedTuple):
    """Holds what is compiled to evaluate a ladder, whatever its parameters and examples."""

    error_rate: Callable[..., Any]  # (params, statistics, x, y) -> scalar from 0 to 1; of classes
    measures: Callable[..., Sums]  # (params, statistics, x, y) -> what the target sums up
    statistics: Callable[..., Statistics]  # (params, x) -> Statistics
    decoder_statistics: Callable[..., Statistics]  # (params, statistics, x) -> Statistics
    outputs: Callable[..., Any]  # (trained, x) -> (logits, features, denoised)
    mesh: Mesh  # where their arrays lie
    target: Target
    rows: int  # that decoder_statistics takes


def make_functions(config: Config, net: Ladder, mesh: Mesh) -> Functions:
    """Makes the ``Functions``; all members share them, who differ in noise and costs alone."""
    decoder, of_rows = jax.jit(net.decoder_statistics), jax.jit(functools.partial(outputs, net))
    target, at_once = net.structure.target, functools.partial(rows_at_once, net)
    images = as_images(config, target)
    rate: Callable[..., Any]
    statistics: Callable[..., Statistics]
    if config.resident and not images:
        place = parallel.shard_batch(mesh)
        rate, statistics = (
            training.make_error_rate(net, place),
            training.make_statistics(net, place),
        )
        measures = make_measures(net, mesh)
    else:
        make = functools.partial(make_pooled_statistics, rows=at_once(500))
        rate, statistics = make_error_rate(net), make(net) if images else make_statistics(net)
        measures = make_measures(net, mesh, at_once(1000))
    return Functions(
        *(rate, measures, statistics, decoder, of_rows), mesh, target, rows=at_once(1000)
    )


class Evaluation(NamedTuple):
    """Holds parameters, and their errors on the examples that are looked at while training.

    Those are ``validation_error``, or ``test_error`` where nothing is held out: what the target
    minimises, in percent or, of numbers, in their own units.
    """

    params: Params
    statistics: Statistics  # what predictions are normalised with
    errors: dict[str, float]


class Evaluator(NamedTuple):
    """Evaluates parameters on the examples of a task."""

    functions: Functions
    task: Task
    norm_statistics: str  # as ``Config.norm_statistics``

    def evaluate(self, params: Params) -> Evaluation:
        """Computes what is looked at while training."""
        train = self.task.train
        rows = train.labeled if self.norm_statistics == "labeled" else train.unlabeled
        evaluation = Evaluation(params, self.functions.statistics(params, rows), {})
        watched = "test" if self.task.validation is None else "validation"
        return evaluation._replace(errors=self._figures(evaluation, watched, further=False))

    def trained(self, evaluation: Evaluation) -> Trained:
        """Returns parameters with all that rows need that come one by one."""
        rows = jnp.asarray(sample_rows(self.task.train.unlabeled, self.functions.rows))
        of_u = self.functions.decoder_statistics(evaluation.params, evaluation.statistics, rows)
        trained = Trained(evaluation.params, evaluation.statistics, of_u)
        if multiprocess.is_multiprocess():
            trained = parallel.replicate(self.functions.mesh, trained)
        return trained

    def errors(self, evaluation: Evaluation) -> dict[str, float | None]:
        """Returns those on each set that there is, and what else the target measures.

        Examples are ``test_error`` and ``test_balanced_error``; None: nothing is known of it.
        """
        figures = [self._figures(evaluation, name, further=True) for name in ("test", "validation")]
        known = figures[0] | figures[1] | evaluation.errors
        return {name: None if math.isnan(value) else value for name, value in known.items()}

    def _figures(self, evaluation: Evaluation, name: str, *, further: bool) -> dict[str, float]:
        rows = getattr(self.task, name)
        if rows is None:
            return {}
        functions, known = self.functions, (evaluation.params, evaluation.statistics)
        figures, in_classes = dict[str, float](), functions.target.kind == "classes"
        if further or not in_classes:
            sums, scaling = functions.measures(*known, *rows), self.task.scaling
            figures = functions.target.summary(sums, scaling.scale if scaling else 1.0)
        if in_classes:
            figures["error"] = 100 * float(functions.error_rate(*known, *rows))
        kept = figures if further else {"error": figures["error"]}
        return {f"{name}_{figure}": value for figure, value in kept.items()}
