"""Batch normalisation without scale or shift that returns its statistics.

The decoder needs the mean and variance that normalised each level, which the batch norm of
no library returns.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from ladder_jax.types import Array, Statistics

EPSILON = 1e-10
_TINY = 1e-30  # avoids a division by 0 for a vector of zeros


def batch_normalize(x: Array, *, per_unit: bool = False) -> tuple[Array, Array, Array]:
    """Computes z = (x - mean) / sqrt(var + 1e-10) with the mean and variance of a batch.

    Its derivative is given explicitly and takes two sums over the batch, where automatic
    differentiation takes three. With r = sqrt(var + 1e-10) and means over the batch::

        dz = (dx - mean(dx) - z mean(z dx)) / r
        dmean = mean(dx),  dvar = 2 r mean(z dx)

    Args:
      x: batch ``[B, ..., C]``.
      per_unit: whether statistics are over rows only, one value per unit; otherwise they are
        over rows and space, one value per channel (the last axis). No difference for ``[B, C]``.

    Returns:
      ``(z, mean, var)``: z of the shape and dtype of ``x``; the mean and the biased variance of
      the shape of a row if ``per_unit``, else ``[C]``, computed in float32 or wider.

    Examples:
      >>> import jax.numpy as jnp
      >>> z, mean, var = batch_normalize(jnp.array([[1.0, 5.0], [3.0, 5.0]]))
      >>> z.tolist(), mean.tolist(), var.tolist()
      ([[-1.0, 0.0], [1.0, 0.0]], [2.0, 5.0], [1.0, 0.0])
    """
    return _batch_normalize(x, (0,) if per_unit else tuple(range(x.ndim - 1)))


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _batch_normalize(x: Array, axes: tuple[int, ...]) -> tuple[Array, Array, Array]:
    wide = _widened(x)
    mean = wide.mean(axes)
    var = jnp.square(wide - mean).mean(axes)
    return normalize(x, mean, var), mean, var


@_batch_normalize.defjvp
def _derivative(axes: tuple[int, ...], primals: tuple[Array], tangents: tuple[Array]) -> Any:
    (x,), (dx,) = primals, tangents
    z, mean, var = _batch_normalize(x, axes)
    root = jnp.sqrt(var + EPSILON)
    wide, dx = _widened(z), _widened(dx)
    dmean, mean_z_dx = dx.mean(axes), (wide * dx).mean(axes)
    dz = (dx - dmean - wide * mean_z_dx) * (1.0 / root)
    return (z, mean, var), (dz.astype(x.dtype), dmean, 2.0 * root * mean_z_dx)


def _widened(x: Array) -> Array:
    """Converts dtypes narrower than float32 to it: in float16, 1e-10 is 0 and 1e5 infinite."""
    return x.astype(jnp.float32) if x.dtype.itemsize < 4 else x


def normalize(x: Array, mean: Array, var: Array) -> Array:
    """Computes (x - mean) / sqrt(var + 1e-10), the paper's N_B (Algorithm 1).

    Args:
      x: batch ``[B, ...]``.
      mean: mean, broadcastable against a row, in float32 or wider.
      var: variance, likewise.

    Returns:
      An array of the shape and dtype of ``x``.

    Examples:
      >>> import jax.numpy as jnp
      >>> normalize(jnp.array([[1.0], [3.0]]), jnp.array([2.0]), jnp.array([1.0])).tolist()
      [[-1.0], [1.0]]
    """
    # Multiplying by the reciprocal root of one row is cheaper than a division per element.
    z = (_widened(x) - mean) * (1.0 / jnp.sqrt(var + EPSILON))
    return z.astype(x.dtype)


def inverse_norm(x: Array, axes: tuple[int, ...]) -> Array:
    """Computes 1 / |x| over some axes, kept with length 1; 1e15 where x is 0.

    Examples:
      >>> inverse_norm(jnp.array([[0.0, 4.0]]), (1,)).tolist()
      [[0.25]]
    """
    return jax.lax.rsqrt(jnp.maximum(jnp.square(x).sum(axes, keepdims=True), _TINY))


def known(statistics: Statistics, level: int) -> tuple[Array, Array]:
    """Returns the mean and variance of a level for which they exist.

    Args:
      statistics: statistics of all levels.
      level: the level; not 0 for statistics of an encoder pass, as the input is not normalised.

    Returns:
      ``(mean, var)``.

    Raises:
      ValueError: there are none.

    Examples:
      >>> import jax.numpy as jnp
      >>> known(Statistics((None, jnp.zeros(2)), (None, jnp.ones(2))), 1)[1].tolist()
      [1.0, 1.0]
    """
    mean, var = statistics.mean[level], statistics.var[level]
    if mean is None or var is None:
        raise ValueError(
            f"statistics has none of level {level}; give those of statistics to encode and "
            "predict, those of decoder_statistics to normalise u."
        )
    return mean, var
