"""Layers for images: convolutions, pooling and its inverse."""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ladder_jax._checks import check_count
from ladder_jax._convolution import Padding, Pairs, convolve, largest, pads_down, pads_up
from ladder_jax._noise import split
from ladder_jax.layers.base import apply_module, init_module, registered
from ladder_jax.types import Array, Layer, LayerParams, Params, Shape

_UNIFORM = nn.initializers.variance_scaling(1.0, "fan_in", "uniform")


def _check_image(name: str, in_shape: Shape) -> None:
    if len(in_shape) != 3:
        raise ValueError(
            f"{name}: the level below has shape {tuple(in_shape)}; wanted an image "
            "(height, width, channels), e.g. input_shape=(28, 28, 1)."
        )


@registered
def conv(
    channels: int, kernel: int, stride: int = 1, padding: Padding = "valid", dilation: int = 1
) -> Layer:
    """Makes a convolution; the map down is a transposed one with its own weights.

    The kernel of the map up is ``[kernel, kernel, C, channels]``, that of the map down
    ``[kernel, kernel, channels, C]``, both initialised uniformly within
    +-sqrt(3 / (kernel^2 * inputs)). A valid convolution has a full one as its inverse, and vice
    versa; with a stride, zeros are first inserted between the values. The map down restores the
    height and width of the level below, even if the stride does not divide them. At that level,
    the combinator and the normalisation of u work per channel.

    Args:
      channels: channels of the level.
      kernel: height and width of the kernel.
      stride: steps between two positions.
      padding: ``"valid"`` (none: H - kernel + 1), ``"same"`` (H) or ``"full"``
        (H + kernel - 1), each divided by the stride and rounded up.
      dilation: steps between two pixels that the kernel covers, 1 or more; for padding, its
        height and width are then dilation * (kernel - 1) + 1.

    Examples:
      >>> params, out_shape = conv(5, 3, padding="full").init(jax.random.key(0), (8, 8, 2))
      >>> out_shape, params.up["kernel"].shape, params.down["kernel"].shape
      ((10, 10, 5), (3, 3, 2, 5), (3, 3, 5, 2))
      >>> conv(5, 3, padding="same", dilation=2)
      conv:5:3:1:same:2
    """
    counts = {"channels": channels, "kernel": kernel, "stride": stride, "dilation": dilation}
    for argument, value in counts.items():
        check_count(f"conv: {argument}", value)
    if padding not in ("valid", "same", "full"):
        raise ValueError(f"conv: padding is {padding!r}; wanted 'valid', 'same' or 'full'.")

    arguments, defaults = (stride, padding, dilation), (1, "valid", 1)
    n_shown = 0 if arguments == defaults else 2 if dilation == 1 else 3
    name = ":".join(map(str, ("conv", channels, kernel, *arguments[:n_shown])))
    reach = dilation * (kernel - 1) + 1

    def module(features: int, pads: Pairs, **settings: Any) -> nn.Conv:
        return nn.Conv(
            features,
            (kernel, kernel),
            padding=pads,
            kernel_dilation=dilation,
            use_bias=False,
            kernel_init=_UNIFORM,
            conv_general_dilated=convolve,
            param_dtype=float,  # JAX's default, as of all other parameters
            parent=None,
            **settings,
        )

    def module_up(in_shape: Shape) -> nn.Conv:
        return module(channels, pads_up(reach, stride, padding, in_shape), strides=stride)

    def module_down(in_shape: Shape, out_shape: Shape) -> nn.Conv:
        up = pads_up(reach, stride, padding, in_shape)
        pads = pads_down(reach, stride, up, in_shape, out_shape)
        return module(in_shape[-1], pads, input_dilation=stride)

    def init(key: Array, in_shape: Shape) -> tuple[LayerParams, Shape]:
        _check_image(f"conv({channels}, {kernel})", in_shape)
        if padding == "valid" and min(in_shape[:2]) < reach:
            size, part = "", "kernel"
            if dilation > 1:
                size, part = f", {reach} x {reach} with dilation {dilation}", "kernel or dilation"
            raise ValueError(
                f"conv({channels}, {kernel}): the level below is {in_shape[0]} x {in_shape[1]}, "
                f"smaller than the kernel{size}; give a smaller {part}, or padding='same'."
            )
        key_up, key_down = split(key, 2)
        params_up = init_module(module_up(in_shape), key_up, in_shape)
        output = jax.eval_shape(lambda: up(params_up, jnp.zeros((1, *in_shape))))
        out_shape = output.shape[1:]
        params_down = init_module(module_down(in_shape, out_shape), key_down, out_shape)
        return LayerParams(params_up, params_down), out_shape

    def up(params: Params, h: Array) -> Array:
        return apply_module(module_up(h.shape[1:]), params, h)

    def down(params: Params, z_hat: Array, in_shape: Shape) -> Array:
        return apply_module(module_down(in_shape, z_hat.shape[1:]), params, z_hat)

    return Layer(init, up, down, name=name)


def _fill(x: Array, size: int, shape: Shape) -> Array:
    """Fills each window with one value and crops the result to ``shape``."""
    return x.repeat(size, axis=1).repeat(size, axis=2)[:, : shape[0], : shape[1]]


def _windows(size: int, shape: Shape) -> tuple[int, int]:
    """Counts the windows of an image, vertically and horizontally; the last may be partial."""
    return math.ceil(shape[0] / size), math.ceil(shape[1] / size)


@registered
def max_pool(size: int) -> Layer:
    """Takes the maximum of each window; on the way down, each value fills its window.

    Windows do not overlap. If ``size`` does not divide the height or width of the level below,
    the last windows are partial, and the map down is cropped to that level. No parameters; the
    level is normalised and noisy like any other, but linear.

    Args:
      size: height and width of a window, 2 or more.

    Examples:
      >>> layer, x = max_pool(2), jnp.arange(9.0).reshape(1, 3, 3, 1)
      >>> layer.up(None, x)[0, :, :, 0].tolist()
      [[4.0, 5.0], [7.0, 8.0]]
      >>> layer.down(None, layer.up(None, x), (3, 3, 1))[0, :, :, 0].tolist()
      [[4.0, 4.0, 5.0], [4.0, 4.0, 5.0], [7.0, 7.0, 8.0]]
    """
    check_count("max_pool: size", size, least=2)

    def init(key: Array, in_shape: Shape) -> tuple[LayerParams, Shape]:
        del key
        _check_image(f"max_pool({size})", in_shape)
        return LayerParams({}, {}), (*_windows(size, in_shape), in_shape[-1])

    def up(params: Params, h: Array) -> Array:
        del params
        return largest(h, size)

    def down(params: Params, z_hat: Array, in_shape: Shape) -> Array:
        del params
        return _fill(z_hat, size, in_shape)

    return Layer(init, up, down, linear=True, name=f"max_pool:{size}")


@registered
def upsample(size: int, height: int | None = None, width: int | None = None) -> Layer:
    """Fills a window with each value; on the way down, takes the mean of each window.

    The map up is the map down of ``max_pool``. To restore a pooled image whose height or width
    ``size`` does not divide, give that image's height and width; the result is cropped to them.
    A partial window is averaged over its remaining values, so that up followed by down is the
    identity. No parameters; the level is linear, as after pooling.

    Args:
      size: height and width of a window, 2 or more.
      height: height of the level; None for ``size`` times the height of the level below.
      width: width of the level; required if ``height`` is given, else None.

    Examples:
      >>> layer, x = upsample(2, 3, 3), jnp.arange(4.0).reshape(1, 2, 2, 1)
      >>> layer.up(None, x)[0, :, :, 0].tolist()
      [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [2.0, 2.0, 3.0]]
      >>> layer.down(None, jnp.arange(9.0).reshape(1, 3, 3, 1), (2, 2, 1))[0, :, :, 0].tolist()
      [[2.0, 3.5], [6.5, 8.0]]
      >>> layer, upsample(2)
      (upsample:2:3:3, upsample:2)
    """
    check_count("upsample: size", size, least=2)
    if (height is None) != (width is None):
        raise ValueError(f"upsample: height is {height} and width {width}; give both or neither.")
    crop = () if height is None or width is None else (height, width)
    for argument, value in zip(("height", "width"), crop, strict=False):
        check_count(f"upsample: {argument}", value)
    arguments = [str(word) for word in (size, *crop)]
    call = f"upsample({', '.join(arguments)})"

    def out_shape(in_shape: Shape) -> Shape:
        return crop or (size * in_shape[0], size * in_shape[1])

    def init(key: Array, in_shape: Shape) -> tuple[LayerParams, Shape]:
        del key
        _check_image(call, in_shape)
        rows, columns, channels = in_shape
        if crop and _windows(size, crop) != (rows, columns):
            raise ValueError(
                f"{call}: the level below is {rows} x {columns}; give a height from "
                f"{size * rows - size + 1} to {size * rows} and a width from "
                f"{size * columns - size + 1} to {size * columns}."
            )
        return LayerParams({}, {}), (*out_shape(in_shape), channels)

    def up(params: Params, h: Array) -> Array:
        del params
        return _fill(h, size, out_shape(h.shape[1:]))

    def down(params: Params, z_hat: Array, in_shape: Shape) -> Array:
        del params
        sides = list(zip(in_shape[:2], z_hat.shape[1:3], strict=True))
        padding_after = [(0, size * n - side) for n, side in sides]
        padded = jnp.pad(z_hat, [(0, 0), *padding_after, (0, 0)])
        rows, columns, channels = in_shape
        windows = padded.reshape(z_hat.shape[0], rows, size, columns, size, channels)
        heights, widths = (np.minimum(size, side - size * np.arange(n)) for n, side in sides)
        areas = jnp.asarray(np.multiply.outer(heights, widths)[:, :, None], z_hat.dtype)
        return windows.sum((2, 4)) / areas

    return Layer(init, up, down, linear=True, name=":".join(["upsample", *arguments]))


@registered
def global_mean_pool() -> Layer:
    """Takes the mean of each channel times width times sqrt(3); down, broadcasts the values.

    The level has shape ``(C,)``. The scale is that of the paper's own program; the
    normalisation that follows cancels it, except for the epsilon. On the way down, u is
    normalised per channel, which equals normalising the ``C`` values over the rows before
    they are broadcast. No parameters; linear unless it is the top.

    Examples:
      >>> layer = global_mean_pool()
      >>> round(float(layer.up(None, jnp.arange(4.0).reshape(1, 2, 2, 1))[0, 0]), 4)  # 3 sqrt(3)
      5.1962
      >>> layer.down(None, jnp.ones((1, 1)), (2, 2, 1)).shape
      (1, 2, 2, 1)
    """
    root = float(np.float32(np.sqrt(3)))  # the original rounds it to float32

    def init(key: Array, in_shape: Shape) -> tuple[LayerParams, Shape]:
        del key
        _check_image("global_mean_pool()", in_shape)
        return LayerParams({}, {}), in_shape[-1:]

    def up(params: Params, h: Array) -> Array:
        del params
        return h.mean((1, 2)) * (h.shape[2] * root)

    def down(params: Params, z_hat: Array, in_shape: Shape) -> Array:
        del params
        return jnp.broadcast_to(z_hat[:, None, None, :], (z_hat.shape[0], *in_shape))

    return Layer(init, up, down, linear=True, name="global_mean_pool")
