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
_NUMPY: Any = np.add, np.bitwise_xor, np.bitwise_or, np.left_shift, np.right_shift
_JAX: Any = lax.add, lax.bitwise_xor, lax.bitwise_or, lax.shift_left, lax.shift_right_logical
"""What a hash is made of; operators of JAX's arrays take several times as long to trace."""
_LEAST = np.nextafter(np.float32(-1.0), np.float32(0.0))
_KIND = "threefry2x32"
_CHUNK = 4096
"""Numbers of a draw of known keys that one program, the same for all shapes, computes."""


def _hash(key: Any, count: Any) -> tuple[Any, Any]:
    """Computes the two words of Threefry-2x32 with 20 rounds, by JAX or by NumPy.

    Args:
      key: ``[2]``, uint32.
      count: uint32, the low words that are hashed; the high ones are 0.
    """
    add, xor, union, left, right = _NUMPY if isinstance(count, np.ndarray) else _JAX
    keys = key[0], key[1], key[0] ^ key[1] ^ _PARITY
    a, b = keys[0], add(count, keys[1])
    for block in range(5):
        for rotation in _ROTATIONS[block % 2]:
            a = add(b, a)
            turned = union(left(b, np.uint32(rotation)), right(b, np.uint32(32 - rotation)))
            b = xor(a, turned)
        a = add(a, keys[(block + 1) % 3])
        b = add(add(b, keys[(block + 2) % 3]), np.uint32(block + 1))
    return a, b


def _is_usual(key: Array) -> bool:
    """Says whether a key is of JAX's usual kind, and JAX set as is usual."""
    usual = str(jax.random.key_impl(key)) == _KIND
    return usual and jax.config.jax_threefry_partitionable  # type: ignore[attr-defined]


def _words(key: Array) -> np.ndarray | None:
    """Returns what NumPy can hash of a key: None if its value is unknown, or it is unusual."""
    if isinstance(key, jax.core.Tracer) or key.shape or not _is_usual(key):
        return None
    return np.asarray(jax.random.key_data(key))


def split(key: Array, number: int) -> list[Array]:
    """Derives the keys of ``jax.random.split``; of a known key by NumPy, which compiles nothing.

    Examples:
      >>> a, b = split(jax.random.key(0), 2)
      >>> bool(b == jax.random.split(jax.random.key(0))[1])
      True
    """
    words = _words(key)
    if words is None:
        return list(jax.random.split(key, number))
    each = np.stack(_hash(words, np.arange(number, dtype=np.uint32)), 1)
    return [jax.random.wrap_key_data(jax.device_put(of_key), impl=_KIND) for of_key in each]


def _bits(key: Any, count: Any) -> Any:
    """Draws uniform numbers in [1, 2), as bits: the upper 23 of a word are the mantissa."""
    a, b = _hash(key, count)
    return ((a ^ b) >> 9) | np.float32(1.0).view(np.uint32)


def _bell(number: Array) -> Array:
    """Computes the normal numbers of uniform ones in [1, 2)."""
    uniform = jnp.maximum(_LEAST, (number - 1.0) * (1.0 - _LEAST) + _LEAST)  # in (-1, 1)
    return np.float32(math.sqrt(2.0)) * lax.erf_inv(uniform)


_chunk = jax.jit(_bell)


def scaled(key: Array, shape: Shape, dtype: Any, stddev: Any) -> Array:
    """Draws ``normal(key, shape, dtype) * stddev``; of a known key by NumPy and one program.

    The arrays of a ladder's start have many shapes, each of which would be compiled.

    Args:
      key: a typed key.
      shape: of the result.
      dtype: of the result.
      stddev: a scalar of that type.

    Examples:
      >>> key, std = jax.random.key(0), np.float32(0.3)
      >>> bool((scaled(key, (2, 3), jnp.float32, std) == normal(key, (2, 3)) * std).all())
      True
    """
    words = _words(key)
    if words is None or jnp.dtype(dtype) != jnp.float32:
        drawn: Array = normal(key, shape, dtype) * stddev
        return drawn
    size = math.prod(shape)
    count = np.arange(-(-size // _CHUNK) * _CHUNK, dtype=np.uint32).reshape(-1, _CHUNK)
    numbers = _bits(words, count).view(np.float32)
    whole = np.array([_chunk(part) for part in numbers], np.float32).ravel()[:size]
    put: Array = jax.device_put(whole.reshape(shape) * stddev)
    return put


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
    if not _is_usual(key) or dtype != jnp.float32 or size >= 2**32:
        return jax.random.normal(key, shape, dtype)
    bits = _bits(jax.random.key_data(key), lax.iota(jnp.uint32, size).reshape(shape))
    return _bell(lax.bitcast_convert_type(bits, jnp.float32))
