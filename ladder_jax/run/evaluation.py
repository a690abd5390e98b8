"""Computes statistics, errors and outputs of parameters, chunk by chunk where examples are many."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from ladder_jax import normalization, parallel, training
from ladder_jax.config import Config
from ladder_jax.data import Examples
from ladder_jax.run import multiprocess
from ladder_jax.run.inputs import Task
from ladder_jax.types import Array, Ladder, Params, Statistics, Trained

CHUNK = 1000
"""Examples that are put on the accelerator at a time, but in training."""
POOL = 500
"""The same where each chunk has statistics of its own, as maps of images take more room."""
SAMPLE = 1000
"""Training examples that the decoder's statistics are taken from."""
PREDICTED = 256
"""Examples that are predicted at a time; fewer are padded, so that one program serves all."""


def chunks(x: Examples, rows: int) -> Iterator[Array]:
    """Yields parts of ``rows`` rows each, the last maybe smaller but never of one row alone."""
    start = 0
    while start < len(x):
        end = len(x) if len(x) - start <= rows + 1 else start + rows
        part = x[start:end]
        # What is on devices already may be on those of several processes.
        yield part if isinstance(part, jax.Array) else jax.device_put(part)
        start = end


def sample_rows(x: Any) -> Any:
    """Returns up to ``SAMPLE`` rows spread evenly over ``x``, which may be sorted by class.

    Examples:
      >>> sample_rows(np.arange(5000)).shape, sample_rows(np.arange(3)).tolist()
      ((1000,), [0, 1, 2])
    """
    if len(x) <= SAMPLE:  # all, at whatever distance
        return x
    return x[np.unique(np.linspace(0, len(x) - 1, SAMPLE).astype(int))]


def make_statistics(net: Ladder) -> Callable[[Params, Examples], Statistics]:
    """Makes the statistics of the clean pass over all rows, as if they were one batch.

    Each level takes two passes over the rows, one for the mean and one for the
    variance, with the levels below it already known. A level whose mean is taken
    for m and its variance for 1 - epsilon gives ``z = z_pre - m``.

    Examples:
      >>> import jax, numpy as np
      >>> from ladder_jax import presets
      >>> net = presets.mlp(4, [3, 2])
      >>> x = np.random.default_rng(0).normal(size=(2500, 4)).astype(np.float32)
      >>> params = net.init(jax.random.key(0))
      >>> chunked, whole = make_statistics(net)(params, x), net.statistics(params, x)
      >>> np.allclose(chunked.var[2], whole.var[2], rtol=1e-4)
      True
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
        shapes = jax.eval_shape(net.statistics, params, jax.device_put(rows[:2]))
        unit = 1 - normalization.EPSILON
        mean: list[Any] = [m if m is None else np.zeros(m.shape, m.dtype) for m in shapes.mean]
        var: list[Any] = [v if v is None else np.full(v.shape, unit, v.dtype) for v in shapes.var]
        for level in range(1, len(mean)):
            for moment in (mean, var):
                total = np.zeros(mean[level].shape, np.float64)
                for x in chunks(rows, CHUNK):
                    known = Statistics(tuple(mean), tuple(var))
                    part = sums(params, known, x)[level - 1][0 if moment is mean else 1]
                    total += np.asarray(part, np.float64) * (len(x) / len(rows))
                moment[level] = total.astype(mean[level].dtype)
        whole: Statistics = jax.tree.map(jnp.asarray, Statistics(tuple(mean), tuple(var)))
        return whole

    return statistics


def make_pooled_statistics(
    net: Ladder, rows: int = POOL
) -> Callable[[Params, Examples], Statistics]:
    """Makes ``net.statistics`` over chunks of rows, joined: one pass, for maps of images.

    Each chunk is normalised by itself on the way up; means and variances are then
    those of all rows together. Exact at level 1; above, as near to the statistics
    of one pass over everything as those of ``rows`` rows are.

    Examples:
      >>> import jax
      >>> from ladder_jax import presets
      >>> net = presets.mlp(4, [3, 2])
      >>> params, x = net.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (6, 4))
      >>> whole, joined = net.statistics(params, x), make_pooled_statistics(net, rows=3)(params, x)
      >>> bool(jax.numpy.allclose(whole.var[1], joined.var[1]))
      True
    """
    of_chunk = jax.jit(net.statistics)

    def statistics(params: Params, x: Examples) -> Statistics:
        parts = [(len(chunk), of_chunk(params, chunk)) for chunk in chunks(x, rows)]
        total = sum(count for count, _ in parts)
        share = jnp.array([count / total for count, _ in parts])

        def join(*levels: Array) -> Array:
            return jnp.tensordot(share, jnp.stack(levels), 1)

        mean = jax.tree.map(join, *(part.mean for _, part in parts))
        squares = [
            jax.tree.map(lambda v, m, all_m: v + (m - all_m) ** 2, part.var, part.mean, mean)
            for _, part in parts
        ]
        return Statistics(mean, jax.tree.map(join, *squares))

    return statistics


def make_error_rate(net: Ladder) -> Callable[[Params, Statistics, Examples, np.ndarray], Array]:
    """Makes the share of rows put into a wrong class, chunk by chunk."""
    error_rate = training.make_error_rate(net)

    def chunked(params: Params, statistics: Statistics, x: Examples, y: np.ndarray) -> Array:
        wrong, start = jnp.zeros(()), 0
        for part in chunks(x, CHUNK):
            labels = jnp.asarray(y[start : start + len(part)])
            wrong += error_rate(params, statistics, part, labels) * len(labels)
            start += len(part)
        return wrong / len(y)

    return chunked


def outputs(net: Ladder, trained: Trained, x: Array) -> tuple[Array, Array, Array | None]:
    """Computes logits, top features and denoised input of preprocessed rows; pure."""
    clean = net.encode(trained.params, x, statistics=trained.statistics)
    return clean.logits, clean.h[-2], net.denoise(trained, x)


class Functions(NamedTuple):
    """What is compiled to evaluate a ladder, whatever its parameters and examples.

    Attributes:
      error_rate: ``(params, statistics, x, y) -> `` scalar from 0 to 1.
      statistics: ``(params, x) -> Statistics``.
      decoder_statistics: ``(params, statistics, x) -> Statistics``.
      outputs: ``(trained, x) -> (logits, features, denoised)``.
    """

    error_rate: Callable[..., Any]
    statistics: Callable[..., Statistics]
    decoder_statistics: Callable[..., Statistics]
    outputs: Callable[[Trained, Any], tuple[Array, Array, Array | None]]


def make_functions(config: Config, net: Ladder, mesh: Mesh) -> Functions:
    """Makes the ``Functions``; all members share them, who differ in noise and costs alone."""
    rest = jax.jit(net.decoder_statistics), jax.jit(functools.partial(outputs, net))
    if config.resident and not config.images:
        place = parallel.shard_batch(mesh)
        whole = training.make_error_rate(net, place), training.make_statistics(net, place)
        return Functions(*whole, *rest)
    make = make_pooled_statistics if config.images else make_statistics
    return Functions(make_error_rate(net), make(net), *rest)


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


class Evaluator:
    """Errors of parameters on the examples of a task, in percent.

    Args:
      functions: of ``make_functions``.
      task: the examples.
      mesh: where they are evaluated.
      norm_statistics: "train" or "labeled", as ``Config.norm_statistics``.
    """

    def __init__(self, functions: Functions, task: Task, mesh: Mesh, norm_statistics: str) -> None:
        self._functions, self._mesh = functions, mesh
        self._rows = task.train.labeled if norm_statistics == "labeled" else task.train.unlabeled
        self._unlabeled = task.train.unlabeled
        self._sets = {"test": task.test, "validation": task.validation}
        self._watched = "test" if task.validation is None else "validation"

    def evaluate(self, params: Params) -> Evaluation:
        """Computes what is looked at while training."""
        statistics = self._functions.statistics(params, self._rows)
        return Evaluation(params, statistics, self._errors(params, statistics, self._watched))

    def trained(self, found: Evaluation) -> Trained:
        """Returns parameters with all that rows need that come one by one."""
        rows = jnp.asarray(sample_rows(self._unlabeled))
        of_u = self._functions.decoder_statistics(found.params, found.statistics, rows)
        trained = Trained(found.params, found.statistics, of_u)
        if multiprocess.is_multiprocess():
            trained = parallel.replicate(self._mesh, trained)
        return trained

    def errors(self, found: Evaluation) -> dict[str, float]:
        """Returns those on each set that there is, ``test_error`` and ``validation_error``."""
        rest = (name for name in self._sets if f"{name}_error" not in found.errors)
        return found.errors | self._errors(found.params, found.statistics, *rest)

    def _errors(self, params: Params, statistics: Statistics, *names: str) -> dict[str, float]:
        return {
            f"{name}_error": 100 * float(self._functions.error_rate(params, statistics, *rows))
            for name in names
            if (rows := self._sets[name]) is not None
        }
