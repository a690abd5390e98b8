"""Statistics, errors and outputs of a ladder, computed in chunks if examples are many."""

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
"""Maximum number of activations per call of a ladder whose target is pixels."""


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
    """Returns the heading of a column of errors.

    Examples:
      >>> error_name(), error_name(percent=False)
      ('error in %', 'error (RMSE)')
    """
    return "error in %" if percent else "error (RMSE)"


def rows_at_once(net: Ladder, most: int) -> int:
    """Returns the number of rows per compiled call: fewer if all levels have many pixels."""
    if not net.structure.target.positions:
        return most
    return max(2, min(most, _NUMBERS // sum(map(math.prod, net.shapes))))


def sample_rows(x: Any, most: int = 1000) -> Any:
    """Returns up to ``most`` rows spread evenly over ``x``, which may be sorted by class."""
    if len(x) <= most:
        return x[:]  # no gather to compile
    return x[np.unique(np.linspace(0, len(x) - 1, most).astype(int))]


def make_statistics(net: Ladder) -> Callable[[Params, Examples], Statistics]:
    """Makes a function that computes clean-pass statistics over all rows, as if in one batch.

    Each level takes two passes over the rows, one for the mean and one for the variance,
    with the levels below it already known. A level with mean m and variance 1 - epsilon
    gives ``z = z_pre - m``.
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
        result: Statistics = jax.tree.map(jnp.asarray, Statistics(tuple(mean), tuple(var)))
        return result

    return statistics


def make_pooled_statistics(
    net: Ladder, rows: int = 500
) -> Callable[[Params, Examples], Statistics]:
    """Makes ``net.statistics`` pooled over chunks of rows, in one pass, for image ladders.

    Each chunk is normalised with its own statistics on the way up; means and variances are
    then pooled over all rows. Exact at level 1; at higher levels, as close to the
    statistics of a single batch of all rows as those of ``rows`` rows are.
    """
    per_chunk = jax.jit(net.statistics)

    def statistics(params: Params, x: Examples) -> Statistics:
        counts, parts = zip(
            *((len(chunk), per_chunk(params, chunk)) for chunk in chunks(x, rows)), strict=True
        )
        weights = jnp.array([count / sum(counts) for count in counts])

        def join(*levels: Array) -> Array:
            return jnp.tensordot(weights, jnp.stack(levels), 1)

        mean = jax.tree.map(join, *(part.mean for part in parts))
        squares = [
            jax.tree.map(lambda v, m, pooled: v + (m - pooled) ** 2, part.var, part.mean, mean)
            for part in parts
        ]
        return Statistics(mean, jax.tree.map(join, *squares))

    return statistics


def make_measures(
    net: Ladder, mesh: Mesh, rows: int | None = None
) -> Callable[[Params, Statistics, Examples, np.ndarray], Sums]:
    """Makes a function that computes the target's sums over all rows, adding chunks in float64.

    Args:
      net: the ladder.
      mesh: mesh of the parameters.
      rows: rows per chunk; None: a single chunk, sharded over the mesh.
    """
    per_chunk = training.make_measures(net, *([] if rows else [parallel.shard_batch(mesh)]))

    def measures(params: Params, statistics: Statistics, x: Examples, labels: Any) -> Sums:
        total: Any = None
        for part in zip(chunks(x, rows or len(x)), chunks(labels, rows or len(x)), strict=True):
            sums = per_chunk(params, statistics, *part)
            if multiprocess.is_multiprocess():
                sums = parallel.replicate(mesh, sums)
            host = on_host(sums)
            total = host if total is None else jax.tree.map(np.add, total, host)
        result: Sums = total
        return result

    return measures


def outputs(net: Ladder, trained: Trained, x: Array) -> tuple[Array, Array, Array | None]:
    """Computes logits, top features and denoised inputs of preprocessed rows; pure."""
    clean = net.encode(trained.params, x, statistics=trained.statistics)
    return clean.logits, clean.h[-2], net.denoise(trained, x)


def middle(net: Ladder, params: Params, statistics: Statistics, x: Array) -> Array:
    """Computes the clean z two levels below the top, one row of features per example.

    Closer to the top, activations follow the predictions, right or wrong; further down, they
    say less about the classes (experiments/TRIED.md).
    """
    z = net.encode(params, x, statistics=statistics).z
    return z[max(0, len(z) - 3)].reshape(len(x), -1)


class Functions(NamedTuple):
    """Holds the compiled functions that evaluate a ladder, for any parameters and examples."""

    measures: Callable[..., Sums]  # (params, statistics, x, y) -> the target's sums
    statistics: Callable[..., Statistics]  # (params, x) -> Statistics
    decoder_statistics: Callable[..., Statistics]  # (params, statistics, x) -> Statistics
    outputs: Callable[..., Any]  # (trained, x) -> (logits, features, denoised)
    middle: Callable[..., Array]  # (params, statistics, x) -> features
    mesh: Mesh  # of their arrays
    target: Target
    rows: int  # per call of decoder_statistics


def make_functions(config: Config, net: Ladder, mesh: Mesh) -> Functions:
    """Makes the ``Functions``; shared by all members, which differ only in noise and costs."""
    decoder, predict = jax.jit(net.decoder_statistics), jax.jit(functools.partial(outputs, net))
    features = jax.jit(functools.partial(middle, net))
    target, at_once = net.structure.target, functools.partial(rows_at_once, net)
    images = as_images(config, target)
    statistics: Callable[..., Statistics]
    if config.resident and not images:
        statistics = training.make_statistics(net, parallel.shard_batch(mesh))
        measures = make_measures(net, mesh)
    else:
        pooled = functools.partial(make_pooled_statistics, rows=at_once(500))
        statistics = pooled(net) if images else make_statistics(net)
        measures = make_measures(net, mesh, at_once(1000))
    return Functions(
        measures, statistics, decoder, predict, features, mesh, target, rows=at_once(1000)
    )


class Evaluation(NamedTuple):
    """Holds parameters, and their errors on the examples that are monitored during training.

    The error is ``validation_error``, or ``test_error`` if nothing is held out: the one that the
    target minimises, in percent or, for numbers, in their own units.
    """

    params: Params
    statistics: Statistics  # batch statistics that normalise predictions
    errors: dict[str, float]


class Evaluator(NamedTuple):
    """Evaluates parameters on the examples of a task."""

    functions: Functions
    task: Task
    norm_statistics: str  # as ``Config.norm_statistics``

    def evaluate(self, params: Params) -> Evaluation:
        """Computes the errors that are monitored during training."""
        evaluation = Evaluation(params, self._statistics(params), {})
        watched = "test" if self.task.validation is None else "validation"
        return evaluation._replace(errors=self._figures(evaluation, watched, further=False))

    def trained(self, evaluation: Evaluation) -> Trained:
        """Returns the parameters with all statistics needed to predict one row at a time."""
        rows = jnp.asarray(sample_rows(self.task.train.unlabeled, self.functions.rows))
        u_stats = self.functions.decoder_statistics(evaluation.params, evaluation.statistics, rows)
        trained = Trained(evaluation.params, evaluation.statistics, u_stats)
        if multiprocess.is_multiprocess():
            trained = parallel.replicate(self.functions.mesh, trained)
        return trained

    def features(self, params: Params) -> np.ndarray:
        """Returns features of the unlabelled training rows ``[n, d]``; see ``middle``."""
        known = params, self._statistics(params)
        parts = chunks(self.task.train.unlabeled, self.functions.rows)
        return np.concatenate([np.asarray(self.functions.middle(*known, part)) for part in parts])

    def errors(self, evaluation: Evaluation) -> dict[str, float | None]:
        """Returns the errors and other measures of the target, on each set that exists.

        Keys are, e.g., ``test_error`` and ``test_balanced_error``; None marks an undefined value.
        """
        figures = [self._figures(evaluation, name, further=True) for name in ("test", "validation")]
        known = figures[0] | figures[1] | evaluation.errors
        return {name: value if math.isfinite(value) else None for name, value in known.items()}

    def _statistics(self, params: Params) -> Statistics:
        """Computes the batch statistics that normalise predictions."""
        train = self.task.train
        rows = train.labeled if self.norm_statistics == "labeled" else train.unlabeled
        return self.functions.statistics(params, rows)

    def _figures(self, evaluation: Evaluation, name: str, *, further: bool) -> dict[str, float]:
        rows = getattr(self.task, name)
        if rows is None:
            return {}
        functions, known = self.functions, (evaluation.params, evaluation.statistics)
        sums, scaling = functions.measures(*known, *rows), self.task.scaling
        figures = functions.target.summary(sums, scaling.scale if scaling else 1.0)
        selected = figures if further else {"error": figures["error"]}
        return {f"{name}_{figure}": value for figure, value in selected.items()}
