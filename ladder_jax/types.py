"""The types that the parts of a ladder are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

Array = jax.Array
Params = Any
"""A pytree of arrays."""
Shape = tuple[int, ...]
"""The shape of one row, the batch axis left out."""


class LayerParams(NamedTuple):
    """The parameters of one layer, the way up and the way down apart.

    A ladder that does not decode below a level drops ``down`` (``None`` takes
    its place), so that nothing is stored or updated in vain.
    """

    up: Params
    down: Params


class Layer(NamedTuple):
    """What connects level l-1 and level l: a triple of pure functions.

    Attributes:
      init: ``(key, in_shape) -> (LayerParams, out_shape)``.
      up: ``(params.up, h [B, *in_shape]) -> z_pre [B, *out_shape]``, no bias.
      down: ``(params.down, z_hat [B, *out_shape], in_shape) -> u [B, *in_shape]``.
      per_unit: whether the layer sees the level below as unordered units. Then
        ``u`` below it is normalised, and the combinator below it has its
        parameters, unit by unit; else channel by channel (the last axis).
      linear: whether the layer's level has no activation of its own, as after
        pooling, unless it is the top.
    """

    init: Callable[[Array, Shape], tuple[LayerParams, Shape]]
    up: Callable[[Params, Array], Array]
    down: Callable[[Params, Array, Shape], Array]
    per_unit: bool = False
    linear: bool = False


class Combinator(NamedTuple):
    """The denoising function g of one level: z_hat = g(z_noisy, u).

    Attributes:
      init: ``(key, shape) -> params``; the arrays broadcast against a row.
      apply: ``(params, z_noisy [B, ...], u [B, ...] or None) -> z_hat [B, ...]``.
      uses_u: whether ``apply`` reads the signal from above. Without it no map
        leads down to this level, and ``u`` is None.
    """

    init: Callable[[Array, Shape], Params]
    apply: Callable[[Params, Array, Array | None], Array]
    uses_u: bool = True


class Activation(NamedTuple):
    """What a level does after the noise: h = phi(gain * (z + bias)).

    Attributes:
      init: ``(shape) -> params``; bias starts at 0, gain at 1.
      affine: ``(params, z) -> `` the argument of the nonlinearity.
      nonlinearity: ``(affine) -> h``.
    """

    init: Callable[[Shape], Params]
    affine: Callable[[Params, Array], Array]
    nonlinearity: Callable[[Array], Array]


class Batch(NamedTuple):
    """One step's examples.

    Attributes:
      labeled: ``[N, *input_shape]``.
      labels: ``[N]``, integers from 0 to classes - 1.
      unlabeled: ``[M, *input_shape]``; M may be 0 if no level is decoded.
    """

    labeled: Array
    labels: Array
    unlabeled: Array


class Noise(NamedTuple):
    """Standard normal arrays, one a level (0 to L), for each half of a batch.

    They are scaled by ``Hyper.noise_std`` where they are added.
    """

    labeled: tuple[Array, ...]
    unlabeled: tuple[Array, ...]


class Hyper(NamedTuple):
    """The settings that may vary within one compiled program.

    Attributes:
      noise_std: ``[L + 1]``, standard deviation of the noise of each level.
      denoising_cost: ``[L + 1]``, the weight lambda of each level's cost.
      consistency: a factor on the cost of consistency, where there is one; None is 1.
    """

    noise_std: Array
    denoising_cost: Array
    consistency: Array | None = None


class Statistics(NamedTuple):
    """Mean and biased variance by level; None at level 0, which is not normalised."""

    mean: tuple[Array | None, ...]
    var: tuple[Array | None, ...]


class Trained(NamedTuple):
    """What a trained ladder needs for rows that come one by one.

    Attributes:
      params: of the ladder.
      statistics: what its levels are normalised with.
      decoder_statistics: what u is normalised with, where it is used.
    """

    params: Params
    statistics: Statistics
    decoder_statistics: Statistics


class Pass(NamedTuple):
    """What one encoder pass computes, level by level (0 to L).

    Attributes:
      z: ``[B, *shape_l]`` each: normalised and, in a noisy pass, noisy.
      h: ``[B, *shape_l]`` each: activations; the last are class probabilities.
      statistics: what each level was normalised with.
      logits: ``[B, classes]``, before the softmax of the top.
    """

    z: tuple[Array, ...]
    h: tuple[Array, ...]
    statistics: Statistics
    logits: Array


class Reconstruction(NamedTuple):
    """What the decoder computes, level by level; None where it does nothing.

    Attributes:
      u: ``[B, *shape_l]`` each: the normalised signal from above.
      z_hat: ``[B, *shape_l]`` each: the estimate of the clean z.
      z_hat_normalized: the estimate in units of the clean statistics.
      cost: scalar each: mean squared error, not yet weighted.
      statistics: what ``u`` was normalised with.
    """

    u: tuple[Array | None, ...]
    z_hat: tuple[Array | None, ...]
    z_hat_normalized: tuple[Array | None, ...]
    cost: tuple[Array | None, ...]
    statistics: Statistics


class Ladder(NamedTuple):
    """A ladder network as a bundle of pure functions; ``ladder()`` makes one.

    Attributes:
      init: ``(key) -> params``.
      draw_noise: ``(key, n_labeled, n_unlabeled) -> Noise``.
      encode: ``(params, x, noise=None, statistics=None, noise_std=None) -> Pass``.
      decode: ``(params, noisy, clean, statistics=None) -> Reconstruction``.
      loss: ``(params, batch, key, hyper=None) -> (scalar, metrics)``.
      loss_given: ``(params, batch, noise, hyper=None) -> (scalar, metrics)``.
      statistics: ``(params, x) -> Statistics`` of the clean pass over ``x``.
      predict: ``(params, statistics, x) -> logits``.
      shapes: the shape of each level, 0 (the input) to L (the classes).
      hyper: the noise and costs used where no other are given.
    """

    init: Callable[[Array], Params]
    draw_noise: Callable[[Array, int, int], Noise]
    encode: Callable[..., Pass]
    decode: Callable[..., Reconstruction]
    loss: Callable[..., tuple[Array, dict[str, Array]]]
    loss_given: Callable[..., tuple[Array, dict[str, Array]]]
    statistics: Callable[[Params, Array], Statistics]
    predict: Callable[[Params, Statistics, Array], Array]
    shapes: tuple[Shape, ...]
    hyper: Hyper
