"""Matrix products of narrow dtypes that accumulate in float32, in their gradients too."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ladder_jax.types import Array

_WIDE = (jnp.float32, jnp.float64)


def _sum(lhs: Array, rhs: Array) -> Array:
    """Computes ``lhs @ rhs`` with float32 accumulation; the result has the dtype of ``lhs``."""
    return jnp.matmul(lhs, rhs, preferred_element_type=jnp.float32).astype(lhs.dtype)


def _transpose(matrix: Array) -> Array:
    """Computes the transpose; on a CPU, in two halves.

    XLA would fold a single transpose into the product, and on a CPU it computes products
    of transposes in float32, three times as slow.
    """
    half = matrix.shape[1] // 2

    def by_halves(undivided: Array) -> Array:
        return jnp.concatenate([undivided[:, :half].T, undivided[:, half:].T])

    transposed: Array = lax.platform_dependent(matrix, cpu=by_halves, default=jnp.transpose)
    return transposed


@jax.custom_vjp
def _narrow(lhs: Array, rhs: Array) -> Array:
    return _sum(lhs, rhs)


def _forward(lhs: Array, rhs: Array) -> tuple[Array, tuple[Array, Array]]:
    return _narrow(lhs, rhs), (lhs, rhs)


def _backward(residuals: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    lhs, rhs = residuals
    return _sum(cotangent, _transpose(rhs)), _sum(_transpose(lhs), cotangent)


_narrow.defvjp(_forward, _backward)


def dot_general(lhs: Array, rhs: Array, dimensions: Any, **settings: Any) -> Array:
    """Computes ``lhs @ rhs`` for a Linen ``Dense``, with all sums of bfloat16 rows in float32.

    It defines its own gradient rule: JAX's would accumulate in bfloat16 or, for a product with
    float32 accumulation, convert its inputs to float32 first. Neither is fast on a processor
    with bfloat16 products.

    Args:
      lhs: rows ``[B, n]``.
      rhs: matrix ``[n, m]`` of the same dtype.
      dimensions: dimension numbers of ``lhs @ rhs``; any others, and wider dtypes, are
        delegated to ``lax.dot_general``.
      **settings: further arguments of ``lax.dot_general``, used when delegating to it.

    Examples:
      >>> lhs, rhs = jnp.ones((2, 300), jnp.bfloat16), jnp.ones((300, 1), jnp.bfloat16)
      >>> dot_general(lhs, rhs, (((1,), (0,)), ((), ()))).tolist()
      [[300.0], [300.0]]
    """
    plain = lhs.ndim == rhs.ndim == 2 and dimensions == (((1,), (0,)), ((), ()))
    if plain and lhs.dtype == rhs.dtype and lhs.dtype not in _WIDE:
        return _narrow(lhs, rhs)
    return lax.dot_general(lhs, rhs, dimensions, **settings)
