"""Standard normal noise: what ``jax.random.normal`` draws, to the bit, sooner on a CPU.

JAX runs the hash behind its keys on a CPU as a loop, a pass over memory a round, or as an
operation of its own. Written out, its twenty rounds are a part of the operation that uses
the noise.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ladder_jax.types import Array, Shape

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)


def _hash(key: Array, count: Array) -> Array:
    """Computes the words of Threefry-2x32 with 20 rounds, as JAX joins them to one.

    Args:
      key: ``[2]``, uint32.
      count: uint32, the low words that are hashed; the high ones are 0.
    """
    keys = key[0], key[1], key[0] ^ key[1] ^ _PARITY
    a, b = jnp.broadcast_to(keys[0], count.shape), count + keys[1]
    for block in range(5):
        for rotation in _ROTATIONS[block % 2]:
            a = a + b
            b = a ^ ((b << rotation) | (b >> (32 - rotation)))
        a = a + keys[(block + 1) % 3]
        b = b + keys[(block + 2) % 3] + np.uint32(block + 1)
    return a ^ b


@functools.partial(jax.jit, static_argnums=(1, 2))
def normal(key: Array, shape: Shape, dtype: Any = float) -> Array:
    """Draws standard normal numbers, those of ``jax.random.normal(key, shape, dtype)``.

    Keys of another kind than JAX's usual one, and numbers of another type than float32, are
    left to it.

    Args:
      key: a typed key.
      shape: of the result.
      dtype: of the result; ``float`` is JAX's default type.

    Returns:
      An array of that shape.

    Examples:
      >>> key = jax.random.key(0)
      >>> bool((normal(key, (2, 3)) == jax.random.normal(key, (2, 3))).all())
      True

    References:
      Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3.
    """
    size, dtype = math.prod(shape), jax.dtypes.canonicalize_dtype(dtype)
    usual = str(jax.random.key_impl(key)) == "threefry2x32"
    usual = usual and jax.config.jax_threefry_partitionable  # type: ignore[attr-defined]
    if not usual or dtype != jnp.float32 or size >= 2**32:
        return jax.random.normal(key, shape, dtype)
    count = lax.iota(jnp.uint32, size).reshape(shape)
    # The upper 23 bits are the mantissa of a number in [1, 2); from there to (-1, 1).
    mantissa = _hash(jax.random.key_data(key), count) >> 9
    number = lax.bitcast_convert_type(mantissa | np.float32(1.0).view(np.uint32), jnp.float32)
    least = np.nextafter(np.float32(-1.0), np.float32(0.0))
    uniform = jnp.maximum(least, (number - 1.0) * (1.0 - least) + least)
    return np.float32(math.sqrt(2.0)) * lax.erf_inv(uniform)
