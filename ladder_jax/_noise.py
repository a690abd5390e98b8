"""Standard normal noise: bit-identical to ``jax.random.normal``, but faster on a CPU.

On a CPU, JAX runs the hash behind its keys as a loop, with one pass over memory per round,
or as a separate operation. Unrolled, its twenty rounds are fused into the operation that uses
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
_NUMPY: Any = np.add, np.bitwise_xor, np.bitwise_or, np.left_shift, np.right_shift
_JAX: Any = lax.add, lax.bitwise_xor, lax.bitwise_or, lax.shift_left, lax.shift_right_logical
"""Operations of the hash; the operators of JAX arrays take several times as long to trace."""
_LEAST = np.nextafter(np.float32(-1.0), np.float32(0.0))
_KIND = "threefry2x32"
_CHUNK = 4096
"""Numbers per call of the one program that computes draws from known keys, for any shape."""


def _hash(key: Any, count: Any) -> tuple[Any, Any]:
    """Computes the two words of Threefry-2x32 with 20 rounds, with JAX or NumPy.

    Args:
      key: words of the key ``[2]``, uint32.
      count: low words to hash, uint32; the high words are 0.
    """
    add, xor, union, left, right = _NUMPY if isinstance(count, np.ndarray) else _JAX
    keys = key[0], key[1], key[0] ^ key[1] ^ _PARITY
    a, b = keys[0], add(count, keys[1])
    for block in range(5):
        for rotation in _ROTATIONS[block % 2]:
            a = add(b, a)
            rotated = union(left(b, np.uint32(rotation)), right(b, np.uint32(32 - rotation)))
            b = xor(a, rotated)
        a = add(a, keys[(block + 1) % 3])
        b = add(add(b, keys[(block + 2) % 3]), np.uint32(block + 1))
    return a, b


def _is_default(key: Array) -> bool:
    """Returns whether a key is a partitionable Threefry key, which is JAX's default."""
    is_threefry = str(jax.random.key_impl(key)) == _KIND
    return is_threefry and jax.config.jax_threefry_partitionable  # type: ignore[attr-defined]


def _known_words(key: Array) -> np.ndarray | None:
    """Returns a key's words for NumPy; None if they are traced, or the key another than default.

    They are also traced if a function that is being compiled reads a key from outside.
    """
    if not _is_default(key) or key.shape:
        return None
    words = jax.random.key_data(key)
    return None if isinstance(words, jax.core.Tracer) else np.asarray(words)


def split(key: Array, number: int) -> list[Array]:
    """Splits a key as ``jax.random.split``; known keys with NumPy, which compiles nothing.

    Examples:
      >>> a, b = split(jax.random.key(0), 2)
      >>> bool(b == jax.random.split(jax.random.key(0))[1])
      True
    """
    words = _known_words(key)
    if words is None:
        return list(jax.random.split(key, number))
    children = np.stack(_hash(words, np.arange(number, dtype=np.uint32)), 1)
    return [jax.random.wrap_key_data(jax.device_put(child), impl=_KIND) for child in children]


def _bits(key: Any, count: Any) -> Any:
    """Draws the bits of uniform numbers in [1, 2): a word's upper 23 bits are the mantissa."""
    a, b = _hash(key, count)
    return ((a ^ b) >> 9) | np.float32(1.0).view(np.uint32)


def _to_normal(number: Array) -> Array:
    """Maps uniform numbers in [1, 2) to standard normal ones."""
    uniform = jnp.maximum(_LEAST, (number - 1.0) * (1.0 - _LEAST) + _LEAST)  # in (-1, 1)
    return np.float32(math.sqrt(2.0)) * lax.erf_inv(uniform)


_chunk_to_normal = jax.jit(_to_normal)


def scaled(key: Array, shape: Shape, dtype: Any, stddev: Any) -> Array:
    """Draws ``normal(key, shape, dtype) * stddev``; for known keys, compiles one program.

    The initial arrays of a ladder have many shapes, and ``normal`` is compiled for each.

    Args:
      key: a typed key.
      shape: shape of the result.
      dtype: dtype of the result.
      stddev: a scalar of that dtype.

    Examples:
      >>> key, std = jax.random.key(0), np.float32(0.3)
      >>> bool((scaled(key, (2, 3), jnp.float32, std) == normal(key, (2, 3)) * std).all())
      True
    """
    words = _known_words(key)
    if words is None or jnp.dtype(dtype) != jnp.float32:
        drawn: Array = normal(key, shape, dtype) * stddev
        return drawn
    size = math.prod(shape)
    count = np.arange(-(-size // _CHUNK) * _CHUNK, dtype=np.uint32).reshape(-1, _CHUNK)
    chunks = _bits(words, count).view(np.float32)
    normals = np.array([_chunk_to_normal(chunk) for chunk in chunks], np.float32).ravel()[:size]
    placed: Array = jax.device_put(normals.reshape(shape) * stddev)
    return placed


@functools.partial(jax.jit, static_argnums=(1, 2))
def normal(key: Array, shape: Shape, dtype: Any = float) -> Array:
    """Draws the standard normal numbers of ``jax.random.normal(key, shape, dtype)``.

    Delegates to it for keys of another implementation than JAX's default, and for dtypes
    other than float32.

    Args:
      key: a typed key.
      shape: shape of the result.
      dtype: dtype of the result; ``float`` is JAX's default.

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
    if not _is_default(key) or dtype != jnp.float32 or size >= 2**32:
        return jax.random.normal(key, shape, dtype)
    bits = _bits(jax.random.key_data(key), lax.iota(jnp.uint32, size).reshape(shape))
    return _to_normal(lax.bitcast_convert_type(bits, jnp.float32))
