"""Virtual adversarial ladders: noise in the direction that changes the prediction most.

Noise is an argument of the encoder, so the direction is a gradient with respect to it
(Miyato et al. 2017; for ladders, Shinoda et al. 2017). Throughout, x is
``[B, *input_shape]``, noise is one array per level, and noise_std is ``[L + 1]``, or None for
the ladder's own.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import jax
import jax.numpy as jnp

from ladder_jax._checks import as_batch
from ladder_jax.normalization import inverse_norm
from ladder_jax.types import Array, Batch, Hyper, Ladder, Metrics, Params

Levels = Literal["input", "all"]
RowsNoise = tuple[Array, ...]


def divergence(
    net: Ladder, params: Params, x: Array, noise: RowsNoise, noise_std: Array | None = None
) -> Array:
    """Computes KL(p_clean || p_noisy) of the class probabilities, averaged over the rows.

    For another target, it is the divergence of the distributions that its outputs represent,
    averaged over positions or entries too; numbers without a variance are the means of Gaussians
    of variance 1.

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


def _to_noise_length(noise: Array) -> Array:
    """Scales each row to the typical length of standard normal noise, sqrt(its size)."""
    length, axes = math.sqrt(math.prod(noise.shape[1:])), tuple(range(1, noise.ndim))
    largest = abs(noise).max(axes, keepdims=True)  # the square of a small gradient would be 0
    noise = noise / jnp.where(largest > 0, largest, 1.0)
    return noise * length * inverse_norm(noise, axes)


def _replace_zero_rows(gradient: Array, noise: Array) -> Array:
    """Replaces zero rows of the gradient by the noise: no direction is worse there."""
    vanishes = (gradient == 0).all(tuple(range(1, gradient.ndim)), keepdims=True)
    return jnp.where(vanishes, noise, gradient)


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
    """Turns noise into the direction that increases the divergence most.

    Each step of the power iteration takes the gradient of the divergence at a fraction of the
    noise, with all other levels clean. Each row of the result has the typical length of normal
    noise, sqrt(its size), so that ``noise_std`` keeps its meaning. No gradient passes through
    the result: the direction is a constant of the loss.

    Args:
      noise: noise from which the iteration starts.
      levels: levels whose noise is replaced: ``"input"``, only level 0; ``"all"``, every level.
      steps: number of steps of the power iteration.
      xi: fraction of the noise at which the gradient is taken. Near 0, this is the gradient of
        the quadratic form of Miyato et al.; 1 also accounts for the departure from that form.

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
    zero_noise = tuple(jnp.zeros_like(n) for n in noise[count:])

    def divergence_at(direction: RowsNoise) -> Array:
        return divergence(net, params, x, (*direction, *zero_noise), noise_std)

    direction = noise[:count]
    for _ in range(steps):
        scaled = tuple(xi * _to_noise_length(n) for n in direction)
        direction = tuple(
            map(_to_noise_length, map(_replace_zero_rows, jax.grad(divergence_at)(scaled), scaled))
        )
    return jax.lax.stop_gradient((*direction, *noise[count:]))


def virtual_adversarial(
    net: Ladder, *, levels: Levels = "input", steps: int = 1, xi: float = 1.0
) -> Ladder:
    """Returns the ladder with adversarial noise in its loss, for both halves of a batch.

    Only ``loss``, which draws the noise, differs; ``loss_given`` uses the noise it is given. A
    training step costs about two more clean and noisy passes for each of ``steps``. The
    arguments are those of ``adversarial_noise``.

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
            return adversarial_noise(
                net, params, x, noise, levels=levels, noise_std=std, steps=steps, xi=xi
            )

        noise = drawn._replace(labeled=turn(batch.labeled, drawn.labeled))
        if net.structure.sees_unlabeled:
            noise = noise._replace(unlabeled=turn(batch.unlabeled, drawn.unlabeled))
        return net.loss_given(params, batch, noise, hyper)

    return dataclasses.replace(net, loss=loss)
