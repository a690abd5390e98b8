"""The noisy prediction drawn to the clean one where that is sure: consistency."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from ladder_jax.types import Array, Consistency


def consistency_cost(how: Consistency, clean: Array, noisy: Array) -> Array:
    """Cross-entropy of the noisy prediction with the sharpened clean one as target.

    With p_clean = softmax(clean), the mean over all B rows of::

        [max p_clean >= threshold] H(softmax(clean / temperature), softmax(noisy))

    not yet weighted. No gradient flows through the target: the noisy pass follows
    the clean one, never the other way. Pseudo-labels as in FixMatch (Sohn et al.
    2020), the noise of the ladder's levels in the place of their augmentations.

    Args:
      how: threshold and temperature.
      clean: logits ``[B, classes]`` of the clean pass.
      noisy: those of the noisy pass over the same rows.

    Returns:
      A scalar, 0 or more.

    Example:
      >>> clean, noisy = jnp.array([[9.0, 0.0], [0.1, 0.0]]), jnp.array([[0.0, 0.0], [5.0, 0.0]])
      >>> round(float(consistency_cost(Consistency(), clean, noisy)), 3)  # the first row: log(2)
      0.347
    """
    clean = jax.lax.stop_gradient(clean)
    sure = jax.nn.softmax(clean).max(-1) >= how.threshold
    target = jax.nn.softmax(clean / how.temperature)
    return jnp.mean(sure * optax.softmax_cross_entropy(noisy, target))
