"""Streams: rows that are normalised together, and several of them as one array."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp

from ladder_jax.types import Array, Statistics

_DEVICES = 8
"""Largest number of devices for which no row moves."""


class Stream(NamedTuple):
    """Holds rows that are normalised together.

    Attributes:
      x: rows ``[B, *input_shape]``.
      noise: standard normal noise, one array per level; None for a clean pass.
      statistics: statistics to normalise with; None for those of the rows.
    """

    x: Array
    noise: tuple[Array, ...] | None = None
    statistics: Statistics | None = None

    def corrupt(self, z: Array, level: int, noise_std: Array) -> Array:
        """Returns z + noise_std[level] n_level, or z if the stream is clean."""
        if self.noise is None:
            return z
        return z + noise_std[level].astype(z.dtype) * self.noise[level].astype(z.dtype)


def _groups(rows: Sequence[int]) -> int:
    """Returns the number of pieces."""
    return math.gcd(*rows, _DEVICES)


def join(parts: Sequence[Array]) -> Array:
    """Joins arrays of rows, the first rows of all before the next ones.

    Were they joined end to end, then sharded over devices, most rows would change the device, at
    each level. Here the n-th of k equal pieces of the result holds the n-th piece of each array;
    k is the largest of 1, 2, 4 and 8 by which the numbers of rows can be divided.

    Examples:
      >>> join([jnp.arange(4), jnp.arange(10, 18)]).tolist()
      [0, 10, 11, 1, 12, 13, 2, 14, 15, 3, 16, 17]
    """
    if len(parts) == 1:
        return parts[0]
    groups = _groups([part.shape[0] for part in parts])
    pieces = [part.reshape(groups, -1, *part.shape[1:]) for part in parts]
    joined = jnp.concatenate(pieces, 1)
    return joined.reshape(-1, *joined.shape[2:])


def separate(joined: Array, rows: Sequence[int]) -> list[Array]:
    """Returns the arrays that ``join`` has joined, given the number of rows of each.

    Examples:
      >>> parts = [jnp.arange(4), jnp.arange(10, 18)]
      >>> [part.tolist() for part in separate(join(parts), [4, 8])]
      [[0, 1, 2, 3], [10, 11, 12, 13, 14, 15, 16, 17]]
    """
    if len(rows) == 1:
        return [joined]
    groups, shape = _groups(rows), joined.shape[1:]
    ends = [end // groups for end in itertools.accumulate(rows[:-1])]
    pieces = jnp.split(joined.reshape(groups, -1, *shape), ends, axis=1)
    return [piece.reshape(-1, *shape) for piece in pieces]
