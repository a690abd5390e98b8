"""Denoised inputs of single rows, with statistics fixed by training rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from ladder_jax.types import Array, Ladder, Params, Statistics

SAMPLE = 1000
"""Training rows that the decoder's statistics are taken from."""


def sample_rows(x: Any) -> Any:
    """Up to ``SAMPLE`` rows spread evenly over ``x``, which may be sorted by class.

    Example:
      >>> sample_rows(np.arange(5000)).shape, sample_rows(np.arange(3)).tolist()
      ((1000,), [0, 1, 2])
    """
    return x[np.unique(np.linspace(0, len(x) - 1, SAMPLE).astype(int))]


def decoder_statistics(net: Ladder, params: Params, statistics: Statistics, x: Array) -> Statistics:
    """What the signal from above, u, is normalised with where rows come singly.

    Args:
      net: the ladder.
      params: its parameters.
      statistics: of ``net.statistics`` over the training rows.
      x: ``[B, *input_shape]``, training rows, as of ``sample_rows``.

    Returns:
      Mean and variance of u by level; None where no u is used.
    """
    clean = net.encode(params, x, statistics=statistics)
    return net.decode(params, clean, clean).statistics


def denoise(
    net: Ladder, params: Params, statistics: Statistics, u_statistics: Statistics, x: Array
) -> Array | None:
    """The decoder's estimate of the input, z_hat_0, each row by itself.

    No noise is added: the rows may have some of their own.

    Args:
      net: the ladder.
      params: its parameters.
      statistics: of ``net.statistics`` over the training rows.
      u_statistics: of ``decoder_statistics``.
      x: ``[B, *input_shape]``.

    Returns:
      ``[B, *input_shape]``, or None if level 0 is not decoded.

    Example:
      >>> import jax
      >>> from ladder_jax import presets
      >>> net = presets.mlp(4, [3, 2])
      >>> params, x = net.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (6, 4))
      >>> statistics = net.statistics(params, x)
      >>> known = params, statistics, decoder_statistics(net, params, statistics, x)
      >>> denoise(net, *known, x[:1]).shape
      (1, 4)
    """
    noisy = net.encode(params, x, statistics=statistics)
    return net.decode(params, noisy, noisy, u_statistics).z_hat[0]
