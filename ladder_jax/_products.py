"""Matrix products of narrow types, which add up in float32, their gradients too."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ladder_jax.types import Array

_WIDE = (jnp.float32, jnp.float64)


def _sum(lhs: Array, rhs: Array) -> Array:
    """Computes ``lhs @ rhs``, added up in float32, in the type of ``lhs``."""
    return jnp.matmul(lhs, rhs, preferred_element_type=jnp.float32).astype(lhs.dtype)


def _turned(matrix: Array) -> Array:
    """Computes the transpose; on a CPU in two pieces.

    XLA would fold a whole one into the product, and does products of transposes in
    float32 there, three times as slow.
    """
    half = matrix.shape[1] // 2

    def pieces(whole: Array) -> Array:
        return jnp.concatenate([whole[:, :half].T, whole[:, half:].T])

    turned: Array = lax.platform_dependent(matrix, cpu=pieces, default=jnp.transpose)
    return turned


@jax.custom_vjp
def _narrow(lhs: Array, rhs: Array) -> Array:
    return _sum(lhs, rhs)


def _forward(lhs: Array, rhs: Array) -> tuple[Array, tuple[Array, Array]]:
    return _narrow(lhs, rhs), (lhs, rhs)


def _backward(kept: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    lhs, rhs = kept
    return _sum(cotangent, _turned(rhs)), _sum(_turned(lhs), cotangent)


_narrow.defvjp(_forward, _backward)


def dot_general(lhs: Array, rhs: Array, dimensions: Any, **settings: Any) -> Array:
    """Computes ``lhs @ rhs`` for a Linen ``Dense``; of bfloat16 rows, every sum is float32.

    It has a gradient rule of its own, as JAX's would add up in bfloat16, or, of
    a product asked to add up in float32, widen its inputs first. A processor that has
    bfloat16 products does neither fast.

    Args:
      lhs: ``[B, n]``.
      rhs: ``[n, m]``, of the same type.
      dimensions: those of that product; others, and wider types, are left to JAX.
      **settings: of ``lax.dot_general``, for what is left to JAX.

    Examples:
      >>> lhs, rhs = jnp.ones((2, 300), jnp.bfloat16), jnp.ones((300, 1), jnp.bfloat16)
      >>> dot_general(lhs, rhs, (((1,), (0,)), ((), ()))).tolist()
      [[300.0], [300.0]]
    """
    plain = lhs.ndim == rhs.ndim == 2 and dimensions == (((1,), (0,)), ((), ()))
    if plain and lhs.dtype == rhs.dtype and lhs.dtype not in _WIDE:
        return _narrow(lhs, rhs)
    return lax.dot_general(lhs, rhs, dimensions, **settings)
