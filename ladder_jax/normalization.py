"""Batch normalisation without scale or shift, its statistics in the open.

The decoder needs the mean and variance that each level was normalised with,
which no library's batch norm returns; hence our own.
"""

from __future__ import annotations

import jax.numpy as jnp

from ladder_jax.types import Array, Statistics

EPSILON = 1e-10


def moments(x: Array, *, per_unit: bool = False) -> tuple[Array, Array]:
    """Computes mean and biased variance over a batch.

    Args:
      x: ``[B, ..., C]``.
      per_unit: over rows alone, one value a unit; else over rows and space,
        one value a channel (the last axis). The same for ``[B, C]``.

    Returns:
      ``(mean, var)``, each of the shape of a row (or ``[C]``).

    Examples:
      >>> import jax.numpy as jnp
      >>> mean, var = moments(jnp.array([[1.0, 5.0], [3.0, 5.0]]))
      >>> mean.tolist(), var.tolist()
      ([2.0, 5.0], [1.0, 0.0])
    """
    axes = (0,) if per_unit else tuple(range(x.ndim - 1))
    mean = x.mean(axes)
    return mean, jnp.square(x - mean).mean(axes)


def normalize(x: Array, mean: Array, var: Array) -> Array:
    """Computes (x - mean) / sqrt(var + 1e-10), the paper's N_B (Algorithm 1).

    Args:
      x: ``[B, ...]``.
      mean: broadcastable against a row.
      var: as ``mean``; the root is taken here.

    Returns:
      An array of the shape of ``x``.

    Examples:
      >>> import jax.numpy as jnp
      >>> normalize(jnp.array([[1.0], [3.0]]), jnp.array([2.0]), jnp.array([1.0])).tolist()
      [[-1.0], [1.0]]
    """
    # The root may be divided by or multiplied with; the reciprocal root of one
    # row is cheaper than a division for each element.
    return (x - mean) * (1.0 / jnp.sqrt(var + EPSILON))


def known(statistics: Statistics, level: int) -> tuple[Array, Array]:
    """Returns the mean and variance of one level, which has them.

    Args:
      statistics: by level.
      level: not 0 for those of an encoder pass, as the input is not normalised.

    Returns:
      ``(mean, var)``.

    Examples:
      >>> import jax.numpy as jnp
      >>> known(Statistics((None, jnp.zeros(2)), (None, jnp.ones(2))), 1)[1].tolist()
      [1.0, 1.0]
    """
    mean, var = statistics.mean[level], statistics.var[level]
    assert mean is not None and var is not None
    return mean, var
