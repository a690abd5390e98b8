"""Statistics from chunks of rows, for ladders whose maps of all rows do not fit at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp

from ladder_jax.data import Examples
from ladder_jax.types import Array, Ladder, Params, Statistics

ROWS = 500


def _chunks(x: Examples, rows: int) -> Iterator[Array]:
    """Parts of ``rows`` rows each, the last maybe smaller but never of one row alone."""
    start = 0
    while start < len(x):
        end = len(x) if len(x) - start <= rows + 1 else start + rows
        yield jax.device_put(x[start:end])
        start = end


def make_statistics(net: Ladder, rows: int = ROWS) -> Callable[[Params, Examples], Statistics]:
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
