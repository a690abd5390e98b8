"""The noisy prediction drawn to the clean one where that is sure: consistency."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from ladder_jax.types import Array


class Consistency(NamedTuple):
    """How the noisy predictions of unlabelled rows follow the clean ones.

    Attributes:
      cost: the weight of the cross-entropy in the loss.
      threshold: a row counts if its clean pass gives a class this probability.
      temperature: the clean logits are divided by it: below 1 the target is sharper
        than the clean prediction.

    Example:
      >>> Consistency(cost=2.0)
      Consistency(cost=2.0, threshold=0.95, temperature=0.5)
    """

    cost: float = 1.0
    threshold: float = 0.95
    temperature: float = 0.5

    def check(self) -> None:
        """That all are in range.

        Raises:
          ValueError: one is not.
        """
        wanted = {
            "cost": (0 <= self.cost < math.inf, "a finite number, 0 or more"),
            "threshold": (0 <= self.threshold <= 1, "0 to 1"),
            "temperature": (0 < self.temperature < math.inf, "a finite number above 0"),
        }
        for name, (fits, range_) in wanted.items():
            if not fits:
                raise ValueError(f"consistency {name} is {getattr(self, name)}; give {range_}.")


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
