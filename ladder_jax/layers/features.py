"""Layers for features: dense, residual, and any pair of Linen modules."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ladder_jax._checks import check_count
from ladder_jax._noise import scaled, split
from ladder_jax._products import dot_general
from ladder_jax.layers.base import apply_module, init_module, registered
from ladder_jax.types import Array, Layer, LayerParams, Params, Shape


def _normal(key: Array, shape: Shape, dtype: Any) -> Array:
    """Draws from N(0, 1 / fan_in): bit for bit Flax's ``variance_scaling``, faster to compile."""
    dtype = jax.dtypes.canonicalize_dtype(dtype)
    return scaled(key, shape, dtype, np.sqrt(np.asarray(1.0 / math.prod(shape[:-1]), dtype)))


def _dense(features: int, start: Callable[..., Array] = _normal) -> nn.Dense:
    # Without a parent, a ladder also runs inside a Linen module.
    return nn.Dense(
        features,
        use_bias=False,
        kernel_init=start,
        dot_general=dot_general,
        param_dtype=float,  # JAX's default, as of all other parameters
        parent=None,
    )


@registered
def dense(units: int) -> Layer:
    """Makes a fully connected layer: z_pre = h W and u = z_hat V.

    W ``[in, units]`` (Algorithm 1, line 5) and V ``[units, in]`` (line 15) are separate
    parameters, both drawn from N(0, 1 / rows). A level with more than one axis is flattened
    on the way up and restored on the way down.

    Args:
      units: width of the level.

    Examples:
      >>> params, out_shape = dense(3).init(jax.random.key(0), (4,))
      >>> out_shape, params.up["kernel"].shape, params.down["kernel"].shape
      ((3,), (4, 3), (3, 4))
    """
    check_count("dense: units", units)

    def init(key: Array, in_shape: Shape) -> tuple[LayerParams, Shape]:
        size = math.prod(in_shape)
        key_up, key_down = split(key, 2)
        up, down = (
            init_module(_dense(units), key_up, (size,)),
            init_module(_dense(size), key_down, (units,)),
        )
        return LayerParams(up, down), (units,)

    def up(params: Params, h: Array) -> Array:
        return apply_module(_dense(units), params, h.reshape(h.shape[0], -1))

    def down(params: Params, z_hat: Array, in_shape: Shape) -> Array:
        u = apply_module(_dense(math.prod(in_shape)), params, z_hat)
        return u.reshape(z_hat.shape[0], *in_shape)

    return Layer(init, up, down, per_unit=True, name=f"dense:{units}")


@registered
def residual() -> Layer:
    """Makes a residual layer: a deep ladder of them starts as a shallow one.

    z_pre = h + relu(h + b) W and u = z_hat + z_hat V, along the last axis. W and V ``[n, n]``
    start small, drawn from N(0, 0.01 / n), and b ``[n]`` at zero, so that both maps are at first
    close to the identity. The level is normalised and noisy like any other, but has no activation
    of its own: the map contains it.

    Examples:
      >>> layer = residual()
      >>> params, out_shape = layer.init(jax.random.key(0), (4,))
      >>> out_shape, params.up["kernel"].shape, params.down["kernel"].shape
      ((4,), (4, 4), (4, 4))
      >>> x = jnp.ones((1, 4))
      >>> bool(jnp.abs(layer.up(params.up, x) - x).max() < 1)
      True

    References:
      - He et al. 2016, `Identity Mappings in Deep Residual Networks
        <https://arxiv.org/abs/1603.05027>`_
    """

    def small(key: Array, shape: Shape, dtype: Any) -> Array:
        return 0.1 * _normal(key, shape, dtype)

    def init(key: Array, in_shape: Shape) -> tuple[LayerParams, Shape]:
        size = in_shape[-1]
        params_up, params_down = (
            init_module(_dense(size, small), k, in_shape) for k in split(key, 2)
        )
        bias = jax.device_put(np.zeros(size))
        return LayerParams({**params_up, "bias": bias}, params_down), in_shape

    def up(params: Params, h: Array) -> Array:
        return h + apply_module(_dense(h.shape[-1]), params, jax.nn.relu(h + params["bias"]))

    def down(params: Params, z_hat: Array, in_shape: Shape) -> Array:
        return z_hat + apply_module(_dense(in_shape[-1]), params, z_hat)

    return Layer(init, up, down, linear=True, name="residual")


def _trace(name: str, module: nn.Module, in_shape: Shape) -> Shape:
    """Returns the output shape of a module, after checking its variables and its output."""
    label = f"from_flax: {name} ({type(module).__name__})"
    row = jnp.zeros((1, *in_shape))
    z, variables = jax.eval_shape(module.init_with_output, jax.eval_shape(jax.random.key, 0), row)
    extra = sorted(set(variables) - {"params"})
    if extra:
        raise ValueError(
            f"{label} has variables other than parameters: {', '.join(extra)}; a layer is a pure "
            "map, so leave them out (the ladder normalises each level itself)."
        )
    try:
        jax.eval_shape(functools.partial(apply_module, module), variables.get("params", {}), row)
    except flax.errors.InvalidRngError as error:
        raise ValueError(
            f"{label} draws random numbers; a layer is a pure map, so leave them out (the ladder "
            "adds noise itself)."
        ) from error
    if not hasattr(z, "shape") or z.ndim < 2 or z.shape[0] != 1:
        raise ValueError(
            f"{label} gives {getattr(z, 'shape', type(z).__name__)} for an input of shape "
            f"{row.shape}; wanted one array with the batch as its first axis."
        )
    return tuple(z.shape[1:])


def from_flax(
    up: nn.Module, down: nn.Module | Callable[[Shape], nn.Module], *, per_unit: bool = False
) -> Layer:
    """Makes a layer from a pair of Linen modules, e.g. a residual block or attention.

    Both are called with one array. The ladder itself normalises the output of ``up`` and adds
    noise, bias and activation, so a module best ends with a bare map. A module with randomness or
    running statistics is not a pure map and raises an error.

    Args:
      up: ``[B, *in_shape] -> [B, *out_shape]``.
      down: ``[B, *out_shape] -> [B, *in_shape]``, or a function of ``in_shape`` that
        makes such a module.
      per_unit: see ``Layer.per_unit``.

    Raises:
      ValueError: ``up`` is not a module; or, when the ladder is built, a module has variables
        other than parameters or draws random numbers, or ``down`` does not lead back to the lower
        level's shape.

    Examples:
      >>> layer = from_flax(nn.Dense(3), lambda in_shape: nn.Dense(in_shape[-1]))
      >>> params, out_shape = layer.init(jax.random.key(0), (7, 5))
      >>> out_shape, params.down["kernel"].shape
      ((7, 3), (3, 5))
    """
    if not isinstance(up, nn.Module):
        raise ValueError(f"from_flax: up is {up!r}; wanted a Linen module.")
    # Cached: a module made inside another Linen module would become its child.
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
        key_up, key_down = split(key, 2)
        variables_up = up.init(key_up, jnp.zeros((1, *in_shape)))
        variables_down = inverse.init(key_down, jnp.zeros((1, *out_shape)))
        params = LayerParams(variables_up.get("params", {}), variables_down.get("params", {}))
        return params, out_shape

    def apply_down(params: Params, z_hat: Array, in_shape: Shape) -> Array:
        return apply_module(module_down(in_shape), params, z_hat)

    name = f"from_flax({type(up).__name__})"
    return Layer(
        init, functools.partial(apply_module, up), apply_down, per_unit=per_unit, name=name
    )
