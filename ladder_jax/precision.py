"""Lower precision for the maps: bfloat16 products, float32 parameters and statistics."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ladder_jax.types import Array, Layer, Params, Shape


def compute_in(dtype: Any, layer: Layer) -> Layer:
    """A layer whose maps run in another precision.

    Parameters and inputs are cast to ``dtype`` at the map, its result back to the
    input's own. Parameters, their gradients, normalisation, combinators and costs
    stay in float32.

    Args:
      dtype: e.g. ``jnp.bfloat16``.
      layer: any.

    Returns:
      A ``Layer`` with the same parameters.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from ladder_jax import dense
      >>> layer = compute_in(jnp.bfloat16, dense(3))
      >>> params, _ = layer.init(jax.random.key(0), (4,))
      >>> params.up["kernel"].dtype.name, layer.up(params.up, jnp.ones((1, 4))).dtype.name
      ('float32', 'float32')
    """

    def cast(tree: Params) -> Params:
        return jax.tree.map(lambda leaf: leaf.astype(dtype), tree)

    def up(params: Params, h: Array) -> Array:
        return layer.up(cast(params), h.astype(dtype)).astype(h.dtype)

    def down(params: Params, z_hat: Array, in_shape: Shape) -> Array:
        u = layer.down(cast(params), z_hat.astype(dtype), in_shape)
        return u.astype(z_hat.dtype)

    return layer._replace(up=up, down=down)


DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
"""By the names that configurations use."""
