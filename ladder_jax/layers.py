"""Layers: the maps between two levels, up in the encoder, down in the decoder."""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from ladder_jax import products
from ladder_jax.conv_layers import conv, global_mean_pool, max_pool
from ladder_jax.flax_layers import apply, from_flax
from ladder_jax.types import Array, Layer, LayerParams, Params, Shape

__all__ = ["conv", "dense", "from_flax", "global_mean_pool", "max_pool"]

_NORMAL = nn.initializers.variance_scaling(1.0, "fan_in", "normal")


def _dense(features: int) -> nn.Dense:
    # No parent, so that a ladder also runs within a Linen module.
    return nn.Dense(
        features,
        use_bias=False,
        kernel_init=_NORMAL,
        dot_general=products.dot_general,
        parent=None,
    )


def dense(units: int) -> Layer:
    """A fully connected layer: z_pre = h W and u = z_hat V.

    W ``[in, units]`` (Algorithm 1, line 5) and V ``[units, in]`` (line 15) are
    parameters of their own, both from N(0, 1 / rows). A level of more than one
    axis is flattened on the way up and restored on the way down.

    Args:
      units: width of the level.

    Returns:
      A ``Layer``.

    Raises:
      ValueError: ``units`` is not positive.

    Example:
      >>> import jax
      >>> layer = dense(3)
      >>> params, out_shape = layer.init(jax.random.key(0), (4,))
      >>> out_shape, params.up["kernel"].shape, params.down["kernel"].shape
      ((3,), (4, 3), (3, 4))
    """
    if units < 1:
        raise ValueError(f"dense: units is {units}; a level needs at least one unit.")

    def init(key: Array, in_shape: Shape) -> tuple[LayerParams, Shape]:
        size = math.prod(in_shape)
        key_up, key_down = jax.random.split(key)
        up = _dense(units).init(key_up, jnp.zeros((1, size)))["params"]
        down = _dense(size).init(key_down, jnp.zeros((1, units)))["params"]
        return LayerParams(up, down), (units,)

    def up(params: Params, h: Array) -> Array:
        return apply(_dense(units), params, h.reshape(h.shape[0], -1))

    def down(params: Params, z_hat: Array, in_shape: Shape) -> Array:
        u = apply(_dense(math.prod(in_shape)), params, z_hat)
        return u.reshape(z_hat.shape[0], *in_shape)

    return Layer(init, up, down, per_unit=True)
