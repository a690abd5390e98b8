"""Evaluation in chunks of rows, for ladders over images that do not fit at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp

from ladder_jax.types import Array, Ladder, Params, Statistics

ROWS = 500


def _chunks(x: Array, rows: int) -> Iterator[Array]:
    """Parts of ``rows`` rows each, the last maybe smaller but never of one row alone."""
    start = 0
    while start < len(x):
        end = len(x) if len(x) - start <= rows + 1 else start + rows
        yield x[start:end]
        start = end


def make_statistics(net: Ladder, rows: int = ROWS) -> Callable[[Params, Array], Statistics]:
    """``net.statistics`` over chunks of rows, joined.

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
      >>> whole, joined = net.statistics(params, x), make_statistics(net, rows=3)(params, x)
      >>> bool(jax.numpy.allclose(whole.var[1], joined.var[1]))
      True
    """
    of_chunk = jax.jit(net.statistics)

    def statistics(params: Params, x: Array) -> Statistics:
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


def make_error_rate(
    net: Ladder, rows: int = ROWS
) -> Callable[[Params, Statistics, Array, Array], Array]:
    """``training.make_error_rate`` over chunks of rows.

    Args:
      net: the ladder.
      rows: of a chunk.

    Returns:
      ``(params, statistics, x [B, ...], y [B]) -> `` scalar from 0 to 1.

    Example:
      >>> import jax
      >>> from ladder_jax import presets
      >>> net = presets.mlp(4, [3, 2])
      >>> params, x = net.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (6, 4))
      >>> statistics = net.statistics(params, x)
      >>> y = net.predict(params, statistics, x).argmax(-1)
      >>> float(make_error_rate(net, rows=4)(params, statistics, x, y))
      0.0
    """
    predict = jax.jit(lambda *args: net.predict(*args).argmax(-1))

    def error_rate(params: Params, statistics: Statistics, x: Array, y: Array) -> Array:
        found = [predict(params, statistics, chunk) for chunk in _chunks(x, rows)]
        return jnp.mean(jnp.concatenate(found) != y)

    return error_rate
