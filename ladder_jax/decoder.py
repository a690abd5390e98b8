"""The decoder: estimates of the clean z, from the top down, and their costs."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp

from ladder_jax.normalization import known, moments, normalize
from ladder_jax.types import (
    Array,
    Combinator,
    Layer,
    Params,
    Pass,
    Reconstruction,
    Shape,
    Statistics,
)


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
    statistics: Statistics | None = None,
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
      statistics: to normalise u with; None for those of the rows themselves.

    Returns:
      A ``Reconstruction``, its costs not yet weighted.
    """
    top = len(layers)
    u_levels: list[Array | None] = [None] * (top + 1)
    means: list[Array | None] = [None] * (top + 1)
    variances: list[Array | None] = [None] * (top + 1)
    z_hats: list[Array | None] = [None] * (top + 1)
    normalized: list[Array | None] = [None] * (top + 1)
    costs: list[Array | None] = [None] * (top + 1)
    for level in range(top, lowest_decoded(combinators) - 1, -1):
        combinator = combinators[level]
        if combinator is None:
            continue
        if combinator.uses_u:
            u, per_unit = noisy.h[top], False
            if level < top:
                above, z_hat_above = layers[level], z_hats[level + 1]
                assert z_hat_above is not None  # held by ladder()'s checks
                u = above.down(params[level + 1]["down"], z_hat_above, shapes[level])
                per_unit = above.per_unit
            if statistics is None:
                mean, var = moments(u, per_unit=per_unit)
            else:
                mean, var = known(statistics, level)
            u_levels[level], means[level], variances[level] = normalize(u, mean, var), mean, var
        z_hat = combinator.apply(params[level]["combinator"], noisy.z[level], u_levels[level])
        estimate = z_hat
        if normalize_estimate and level > 0:
            estimate = normalize(z_hat, *known(clean.statistics, level))
        z_hats[level], normalized[level] = z_hat, estimate
        costs[level] = jnp.mean(jnp.square(estimate - clean.z[level]))
    return Reconstruction(
        tuple(u_levels),
        tuple(z_hats),
        tuple(normalized),
        tuple(costs),
        Statistics(tuple(means), tuple(variances)),
    )
