"""Any pair of Flax Linen modules as a layer of a ladder."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from ladder_jax.types import Array, Layer, LayerParams, Params, Shape


def apply(module: nn.Module, params: Params, x: Array) -> Array:
    """A Linen module as a pure function of its parameters."""
    return cast(Array, module.apply({"params": params}, x))


def _trace(name: str, module: nn.Module, in_shape: Shape) -> Shape:
    """The module's output shape; its variables are checked on the way."""
    row = jnp.zeros((1, *in_shape))
    z, variables = jax.eval_shape(module.init_with_output, jax.eval_shape(jax.random.key, 0), row)
    others = sorted(set(variables) - {"params"})
    if others:
        raise ValueError(
            f"from_flax: {name} ({type(module).__name__}) has variables other than parameters: "
            f"{', '.join(others)}; a layer is a pure map, so leave them out (the ladder "
            "normalises each level itself)."
        )
    if not hasattr(z, "shape") or z.ndim < 2 or z.shape[0] != 1:
        raise ValueError(
            f"from_flax: {name} ({type(module).__name__}) gives "
            f"{getattr(z, 'shape', type(z).__name__)} for an input of shape {row.shape}; "
            "wanted one array with the batch as its first axis."
        )
    return tuple(z.shape[1:])


def from_flax(
    up: nn.Module, down: nn.Module | Callable[[Shape], nn.Module], *, per_unit: bool = False
) -> Layer:
    """A pair of Linen modules as a layer: a residual block, attention, anything.

    Both are called with one array. The ladder normalises what ``up`` gives, adds
    noise, bias and activation, so the modules' last step is best a bare map; a
    module with randomness or running statistics is not a pure map and is refused.

    Args:
      up: ``[B, *in_shape] -> [B, *out_shape]``.
      down: ``[B, *out_shape] -> [B, *in_shape]``, or a function that makes such a
        module for an ``in_shape``.
      per_unit: whether u below is normalised, and combined, unit by unit instead
        of channel by channel (the last axis).

    Returns:
      A ``Layer``.

    Raises:
      ValueError: ``up`` is no module; when the ladder is built: a module has variables other than
        parameters, or ``down`` does not lead back to the lower level's shape.

    Example:
      >>> import jax, flax.linen as nn
      >>> layer = from_flax(nn.Dense(3), lambda in_shape: nn.Dense(in_shape[-1]))
      >>> params, out_shape = layer.init(jax.random.key(0), (7, 5))
      >>> out_shape, params.down["kernel"].shape
      ((7, 3), (3, 5))
    """
    if not isinstance(up, nn.Module):
        raise ValueError(f"from_flax: up is {up!r}; wanted a Linen module.")
    # Kept, as within another Linen module none can be made without being its child.
    module_down = functools.cache((lambda _: down) if isinstance(down, nn.Module) else down)

    def init(key: Array, in_shape: Shape) -> tuple[LayerParams, Shape]:
        out_shape = _trace("up", up, in_shape)
        inverse = module_down(in_shape)
        back = _trace("down", inverse, out_shape)
        if back != tuple(in_shape):
            raise ValueError(
                f"from_flax: down ({type(inverse).__name__}) gives shape {back} for a level of "
                f"shape {out_shape}; wanted that of the level below, {tuple(in_shape)}."
            )
        key_up, key_down = jax.random.split(key)
        variables_up = up.init(key_up, jnp.zeros((1, *in_shape)))
        variables_down = inverse.init(key_down, jnp.zeros((1, *out_shape)))
        params = LayerParams(variables_up.get("params", {}), variables_down.get("params", {}))
        return params, out_shape

    def apply_up(params: Params, h: Array) -> Array:
        return apply(up, params, h)

    def apply_down(params: Params, z_hat: Array, in_shape: Shape) -> Array:
        return apply(module_down(in_shape), params, z_hat)

    return Layer(init, apply_up, apply_down, per_unit=per_unit)
