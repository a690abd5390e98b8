"""Virtual adversarial ladders: noise in the direction that changes the prediction most.

Noise is an argument of the encoder, so the direction is a gradient with respect to
it (Miyato et al. 2017; in the ladder, Shinoda et al. 2017). Here x is ``[B, *input_shape]``,
noise one array per level, and noise_std ``[L + 1]``, or None for the ladder's own.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import jax
import jax.numpy as jnp

from ladder_jax._checks import as_batch
from ladder_jax.normalization import inverse_norm
from ladder_jax.types import Array, Batch, Hyper, Ladder, Metrics, Noise, Params

Levels = Literal["input", "all"]
RowsNoise = tuple[Array, ...]


def divergence(
    net: Ladder, params: Params, x: Array, noise: RowsNoise, noise_std: Array | None = None
) -> Array:
    """Computes KL(p_clean || p_noisy) of the class probabilities, its mean over the rows.

    Of another target it is that of the distributions its outputs stand for, and its mean is over
    positions or entries too; numbers without a variance are means of Gaussians of variance 1.

    Returns:
      A scalar, 0 or more.

    Examples:
      >>> from ladder_jax import presets
      >>> net = presets.mlp(4, [3, 2])
      >>> noise = tuple(jnp.zeros((4, n)) for n in (4, 3, 2))
      >>> float(divergence(net, net.init(jax.random.key(0)), jnp.eye(4), noise))
      0.0
    """
    clean = net.encode(params, x).logits
    noisy = net.encode(params, x, noise, noise_std=noise_std).logits
    return net.structure.target.divergence(clean, noisy)


def _to_norm(noise: Array) -> Array:
    """Scales each row to the length that standard normal noise of its size has."""
    length = math.sqrt(math.prod(noise.shape[1:]))
    return noise * length * inverse_norm(noise, tuple(range(1, noise.ndim)))


def _or_else(gradient: Array, noise: Array) -> Array:
    """Returns the gradient, but the noise where a row has none: no direction is worse there."""
    flat = (gradient == 0).all(tuple(range(1, gradient.ndim)), keepdims=True)
    return jnp.where(flat, noise, gradient)


def adversarial_noise(
    net: Ladder,
    params: Params,
    x: Array,
    noise: RowsNoise,
    *,
    levels: Levels = "input",
    noise_std: Array | None = None,
    steps: int = 1,
    xi: float = 1.0,
) -> RowsNoise:
    """Turns noise into the direction that raises the divergence most.

    Power iteration: the gradient of the divergence at a part of the noise, all other levels being
    clean. Each row of the result has the length that normal noise has, sqrt(its size), so that
    ``noise_std`` keeps its meaning. Gradients stop here: the direction is a constant of the loss.

    Args:
      noise: where the iteration starts.
      levels: ``"input"``: level 0 alone is replaced; ``"all"``: every level.
      steps: of the power iteration.
      xi: the part of the noise that the gradient is taken at; near 0 it is that
        of the quadratic form of Miyato et al., 1 takes the curve into account.

    Raises:
      ValueError: an argument is out of range.

    Examples:
      >>> from ladder_jax import presets
      >>> net = presets.mlp(4, [3, 2])
      >>> params, x = net.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (8, 4))
      >>> noise = net.draw_noise(jax.random.key(2), 2, 8).unlabeled
      >>> turned = adversarial_noise(net, params, x, noise)
      >>> bool(divergence(net, params, x, turned) > divergence(net, params, x, noise))
      True
    """
    if levels not in ("input", "all"):
        raise ValueError(f"levels is {levels!r}; wanted 'input' or 'all'.")
    if steps < 1 or not xi > 0:
        raise ValueError(
            f"adversarial_noise: steps={steps}, xi={xi}; wanted steps of 1 or more and xi above 0."
        )
    count = 1 if levels == "input" else len(noise)
    quiet = tuple(jnp.zeros_like(n) for n in noise[count:])

    def of_turned(turned: RowsNoise) -> Array:
        return divergence(net, params, x, (*turned, *quiet), noise_std)

    turned = noise[:count]
    for _ in range(steps):
        near = tuple(xi * _to_norm(n) for n in turned)
        turned = tuple(map(_to_norm, map(_or_else, jax.grad(of_turned)(near), near)))
    return jax.lax.stop_gradient((*turned, *noise[count:]))


def virtual_adversarial(
    net: Ladder, *, levels: Levels = "input", steps: int = 1, xi: float = 1.0
) -> Ladder:
    """Returns the same ladder with adversarial noise in its loss, in both halves of a batch.

    Only ``loss`` differs, which draws the noise; ``loss_given`` takes what it is given. A step
    costs about two more clean and noisy passes for each of ``steps``. The settings are those of
    ``adversarial_noise``.

    Examples:
      >>> from ladder_jax import presets
      >>> virtual_adversarial(presets.mlp(4, [3, 2]), levels="all").shapes
      ((4,), (3,), (2,))
    """

    def loss(
        params: Params, batch: Batch, key: Array, hyper: Hyper | None = None
    ) -> tuple[Array, Metrics]:
        batch = as_batch(batch, net.structure)
        drawn = net.draw_noise(key, batch.labeled.shape[0], batch.unlabeled.shape[0])
        std = (net.hyper if hyper is None else hyper).noise_std

        def turn(x: Array, noise: RowsNoise) -> RowsNoise:
            if not x.shape[0]:
                return noise
            return adversarial_noise(
                net, params, x, noise, levels=levels, noise_std=std, steps=steps, xi=xi
            )

        noise = Noise(turn(batch.labeled, drawn.labeled), turn(batch.unlabeled, drawn.unlabeled))
        return net.loss_given(params, batch, noise, hyper)

    return dataclasses.replace(net, loss=loss)
