"""Training and testing over examples that stay with the host, part by part.

The counterparts of ``training``'s functions by the same names, with the same
results up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ladder_jax import normalization, training
from ladder_jax.data import Examples, stream
from ladder_jax.training import BatchSizes, Metrics, TrainState
from ladder_jax.types import Array, Batch, Ladder, Params, Statistics

CHUNK = 1000
"""Rows that are put on the accelerator at a time, but in training."""
POOL = 500
"""The same where each part has statistics of its own, as maps of images take more room."""


class HostData(NamedTuple):
    """Examples that rest with the host; the fields of ``TrainData``.

    Attributes:
      labeled: ``[n_labeled, *input_shape]``.
      labels: ``[n_labeled]``, integers.
      unlabeled: ``[n_unlabeled, *input_shape]``.
    """

    labeled: Examples
    labels: np.ndarray
    unlabeled: Examples


def make_epoch(
    train_step: Callable[[TrainState, Batch], tuple[TrainState, Metrics]], sizes: BatchSizes
) -> Callable[[TrainState, HostData], tuple[TrainState, Metrics]]:
    """One pass over the unlabelled examples, in the order of ``training.make_epoch``.

    Batches are gathered by threads and put on the accelerator one step ahead.

    Args:
      train_step: of ``training.make_train_step``.
      sizes: rows a step.

    Returns:
      ``epoch(state, data) -> (state, metrics)``, metrics averaged over the steps.
    """
    order_of = jax.jit(training.epoch_order, static_argnums=(2, 3, 4))

    def epoch(state: TrainState, data: HostData) -> tuple[TrainState, Metrics]:
        each = []
        for batch in epoch_batches(order_of, state, data, sizes):
            state, metrics = train_step(state, batch)
            each.append(metrics)
        return state, jax.tree.map(lambda *values: jnp.stack(values).mean(0), *each)

    return epoch


def epoch_batches(
    order_of: Callable[..., tuple[Array, Array]],
    state: TrainState,
    data: HostData,
    sizes: BatchSizes,
) -> Iterator[Batch]:
    """The batches of the epoch that a state is in, put on the accelerator one ahead.

    Args:
      order_of: ``training.epoch_order``, jitted or not.
      state: at any step of the epoch.
      data: the examples.
      sizes: rows a step.
    """
    rows = len(data.labeled), len(data.unlabeled)
    order_labeled, order = map(np.asarray, order_of(state.key, state.step, *rows, sizes))
    if sizes.tied:
        order_labeled = order
    ahead = None
    for host_batch in stream.batches(
        data.labeled, data.labels, data.unlabeled, order_labeled, order
    ):
        batch = Batch(*jax.device_put(host_batch))
        if ahead is not None:
            yield ahead
        ahead = batch
    if ahead is not None:
        yield ahead


def _chunks(x: Examples, rows: int = CHUNK) -> Iterator[Array]:
    """Parts of ``rows`` rows each, the last maybe smaller but never of one row alone."""
    start = 0
    while start < len(x):
        end = len(x) if len(x) - start <= rows + 1 else start + rows
        part = x[start:end]
        # What is on devices already may be on those of several processes.
        yield part if isinstance(part, jax.Array) else jax.device_put(part)
        start = end


def make_statistics(net: Ladder) -> Callable[[Params, Examples], Statistics]:
    """The statistics of the clean pass over all rows, as if they were one batch.

    Each level takes two passes over the rows, one for the mean and one for the
    variance, with the levels below it already known. A level whose mean is taken
    for m and its variance for 1 - epsilon gives ``z = z_pre - m``.

    Args:
      net: the ladder.

    Returns:
      ``(params, rows [n, *input_shape]) -> Statistics``, equal to
      ``net.statistics`` up to rounding.

    Example:
      >>> import jax, numpy as np
      >>> from ladder_jax import presets
      >>> net = presets.mlp(4, [3, 2])
      >>> x = np.random.default_rng(0).normal(size=(2500, 4)).astype(np.float32)
      >>> params = net.init(jax.random.key(0))
      >>> ours, theirs = make_statistics(net)(params, x), net.statistics(params, x)
      >>> np.allclose(ours.var[2], theirs.var[2], rtol=1e-4)
      True
    """

    @jax.jit
    def sums(params: Params, known: Statistics, x: Array) -> list[tuple[Array, Array]]:
        z = net.encode(params, x, statistics=known).z
        found = []
        for level in range(1, len(z)):
            mean = known.mean[level]
            assert mean is not None
            axes = tuple(range(z[level].ndim - mean.ndim))
            found.append((z[level].mean(axes), jnp.square(z[level]).mean(axes)))
        return found

    def statistics(params: Params, rows: Examples) -> Statistics:
        shapes = jax.eval_shape(net.statistics, params, jax.device_put(rows[:2]))
        unit = 1 - normalization.EPSILON
        mean: list[Any] = [m if m is None else np.zeros(m.shape, m.dtype) for m in shapes.mean]
        var: list[Any] = [v if v is None else np.full(v.shape, unit, v.dtype) for v in shapes.var]
        for level in range(1, len(mean)):
            for moment in (mean, var):
                total = np.zeros(mean[level].shape, np.float64)
                for x in _chunks(rows):
                    known = Statistics(tuple(mean), tuple(var))
                    part = sums(params, known, x)[level - 1][0 if moment is mean else 1]
                    total += np.asarray(part, np.float64) * (len(x) / len(rows))
                moment[level] = total.astype(mean[level].dtype)
        return Statistics(tuple(map(_on_device, mean)), tuple(map(_on_device, var)))

    return statistics


def _on_device(array: np.ndarray | None) -> Array | None:
    return None if array is None else jnp.asarray(array)


def make_pooled_statistics(
    net: Ladder, rows: int = POOL
) -> Callable[[Params, Examples], Statistics]:
    """``net.statistics`` over chunks of rows, joined: one pass, for maps of images.

    Each chunk is normalised by itself on the way up; means and variances are then
    those of all rows together. Exact at level 1; above, as near to the statistics
    of one pass over everything as those of ``rows`` rows are.

    Args:
      net: the ladder.
      rows: of a chunk.

    Returns:
      ``(params, x [B, ...]) -> Statistics``.

    Example:
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
        parts = [(len(chunk), of_chunk(params, chunk)) for chunk in _chunks(x, rows)]
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
    """The share of rows put into a wrong class.

    Args:
      net: the ladder.

    Returns:
      ``(params, statistics, x [B, ...], y [B]) -> `` scalar from 0 to 1.
    """
    error_rate = training.make_error_rate(net)

    def chunked(params: Params, statistics: Statistics, x: Examples, y: np.ndarray) -> Array:
        wrong, start = jnp.zeros(()), 0
        for part in _chunks(x):
            labels = jnp.asarray(y[start : start + len(part)])
            wrong += error_rate(params, statistics, part, labels) * len(labels)
            start += len(part)
        return wrong / len(y)

    return chunked
