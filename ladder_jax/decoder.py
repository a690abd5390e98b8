"""The decoder: estimates of the clean z, from the top down, and their costs."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp

from ladder_jax.normalization import batch_normalize, normalize
from ladder_jax.types import Array, Combinator, Layer, Params, Pass, Reconstruction, Shape


def lowest_decoded(combinators: Sequence[Combinator | None]) -> int:
    """The lowest level with a combinator; the number of levels if none has one.

    Example:
      >>> lowest_decoded([None, None])
      2
    """
    return next((i for i, g in enumerate(combinators) if g is not None), len(combinators))


def decode(
    layers: Sequence[Layer],
    combinators: Sequence[Combinator | None],
    shapes: Sequence[Shape],
    params: Params,
    noisy: Pass,
    clean: Pass,
    *,
    normalize_estimate: bool = True,
) -> Reconstruction:
    """Algorithm 1, lines 13 to 20: from the top to the lowest decoded level.

    With ``z_hat_{L+1}`` the noisy pass's class probabilities and no map at the
    top, for each decoded level::

        u       = N_B(down(z_hat_{l+1}))
        z_hat   = g(z_noisy, u)
        cost    = mean((z - (z_hat - mean) / sqrt(var + 1e-10))^2)

    with mean and var those of the clean pass; level 0 is compared as it is.
    Gradients flow through all of it, the clean targets and their statistics
    included: the paper's own program stops none.

    Args:
      layers: of levels 1 to L.
      combinators: of levels 0 to L, None where a level is not decoded.
      shapes: of levels 0 to L.
      params: of the ladder, levels 0 to L.
      noisy: the noisy pass of the unlabelled rows.
      clean: the clean pass of the same rows.
      normalize_estimate: whether the estimate is normalised with the clean
        statistics before it is compared.

    Returns:
      A ``Reconstruction``, its costs not yet weighted.
    """
    top = len(layers)
    u_levels: list[Array | None] = [None] * (top + 1)
    z_hats: list[Array | None] = [None] * (top + 1)
    normalized: list[Array | None] = [None] * (top + 1)
    costs: list[Array | None] = [None] * (top + 1)
    for level in range(top, lowest_decoded(combinators) - 1, -1):
        combinator = combinators[level]
        if combinator is None:
            continue
        if combinator.uses_u and level == top:
            u_levels[level] = batch_normalize(noisy.h[top])
        elif combinator.uses_u:
            above = layers[level]
            z_hat_above = z_hats[level + 1]
            assert z_hat_above is not None  # held by ladder()'s checks
            u = above.down(params[level + 1]["down"], z_hat_above, shapes[level])
            u_levels[level] = batch_normalize(u, per_unit=above.per_unit)
        z_hat = combinator.apply(params[level]["combinator"], noisy.z[level], u_levels[level])
        estimate = z_hat
        mean, var = clean.statistics.mean[level], clean.statistics.var[level]
        if normalize_estimate and mean is not None and var is not None:
            estimate = normalize(z_hat, mean, var)
        z_hats[level], normalized[level] = z_hat, estimate
        costs[level] = jnp.mean(jnp.square(estimate - clean.z[level]))
    return Reconstruction(tuple(u_levels), tuple(z_hats), tuple(normalized), tuple(costs))
