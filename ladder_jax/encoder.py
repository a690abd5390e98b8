"""The encoder pass: one function for the clean pass, the noisy pass and prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from ladder_jax.normalization import known, moments, normalize
from ladder_jax.types import Activation, Array, Layer, Params, Pass, Statistics


class Stream(NamedTuple):
    """Rows that are normalised together.

    Attributes:
      x: ``[B, *input_shape]``.
      noise: standard normal, one array a level; None for a clean pass.
      statistics: to normalise with; None for those of the rows themselves.
    """

    x: Array
    noise: tuple[Array, ...] | None = None
    statistics: Statistics | None = None

    def corrupt(self, z: Array, level: int, noise_std: Array) -> Array:
        """z + noise_std[level] n_level, or z where the stream is clean."""
        if self.noise is None:
            return z
        return z + noise_std[level].astype(z.dtype) * self.noise[level].astype(z.dtype)

    def moments(self, z_pre: Array, level: int) -> tuple[Array, Array]:
        """The mean and variance that a level of this stream is normalised with."""
        return moments(z_pre) if self.statistics is None else known(self.statistics, level)


def encode(
    layers: Sequence[Layer],
    activations: Sequence[Activation],
    params: Params,
    streams: Sequence[Stream],
    noise_std: Array,
) -> list[Pass]:
    """Algorithm 1, lines 1 to 12, for several streams with shared weights.

    At level 0, ``z_noisy = x + noise_std[0] n_0``. Above, for each stream with
    its own batch statistics::

        z_pre = up(h_{l-1})
        z     = (z_pre - mean) / sqrt(var + 1e-10) + noise_std[l] n_l
        h     = phi(gain (z + bias))

    All streams of a level share one matrix product, which is faster than one
    product each.

    Args:
      layers: of levels 1 to L.
      activations: of levels 1 to L.
      params: of the ladder, levels 0 to L.
      streams: the rows, each with its noise and statistics.
      noise_std: ``[L + 1]``.

    Returns:
      One ``Pass`` a stream.
    """
    cuts = np.cumsum([stream.x.shape[0] for stream in streams])[:-1]

    def split(joined: Array) -> list[Array]:
        return jnp.split(joined, cuts)

    z_levels = [[s.corrupt(s.x, 0, noise_std) for s in streams]]
    h_levels = [z_levels[0]]
    means: list[list[Array | None]] = [[None] * len(streams)]
    variances: list[list[Array | None]] = [[None] * len(streams)]
    h = jnp.concatenate(h_levels[0])  # [sum of B, *input_shape]
    affine = h
    for level, (layer, act) in enumerate(zip(layers, activations, strict=True), start=1):
        z_pre = split(layer.up(params[level]["up"], h))
        level_moments = [s.moments(z, level) for s, z in zip(streams, z_pre, strict=True)]
        z_levels.append(
            [
                s.corrupt(normalize(z, mean, var), level, noise_std)
                for s, z, (mean, var) in zip(streams, z_pre, level_moments, strict=True)
            ]
        )
        means.append([mean for mean, _ in level_moments])
        variances.append([var for _, var in level_moments])
        affine = act.affine(params[level]["activation"], jnp.concatenate(z_levels[-1]))
        h = act.nonlinearity(affine)
        h_levels.append(split(h))
    return [
        Pass(
            tuple(z[i] for z in z_levels),
            tuple(h[i] for h in h_levels),
            Statistics(tuple(m[i] for m in means), tuple(v[i] for v in variances)),
            logits.reshape(logits.shape[0], -1),
        )
        for i, logits in enumerate(split(affine))
    ]
