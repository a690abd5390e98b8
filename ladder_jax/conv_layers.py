"""Layers over images ``[B, H, W, C]``: convolution, max-pooling, global mean pooling."""

from __future__ import annotations

import math
from typing import Literal, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ladder_jax.flax_layers import apply
from ladder_jax.types import Array, Layer, LayerParams, Params, Shape

Padding = Literal["valid", "same", "full"]
Pairs = list[tuple[int, int]]

_UNIFORM = nn.initializers.variance_scaling(1.0, "fan_in", "uniform")


def _check_image(name: str, in_shape: Shape) -> None:
    if len(in_shape) != 3:
        raise ValueError(
            f"{name}: the level below has shape {tuple(in_shape)}; wanted an image "
            "(height, width, channels), e.g. input_shape=(28, 28, 1)."
        )


def _pads_up(kernel: int, stride: int, padding: Padding, in_shape: Shape) -> Pairs:
    """Zeros before and after each of the two axes on the way up."""
    if padding == "valid":
        return [(0, 0)] * 2
    if padding == "full":
        return [(kernel - 1, kernel - 1)] * 2
    pads = []
    for size in in_shape[:2]:
        total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
        pads.append((total // 2, total - total // 2))
    return pads


def _pads_down(kernel: int, stride: int, up: Pairs, in_shape: Shape, out_shape: Shape) -> Pairs:
    """The same for the way down, so that the result has the lower level's size."""
    pads = []
    for (before_up, _), below, above in zip(up, in_shape[:2], out_shape[:2], strict=True):
        spread = stride * (above - 1) + 1  # with stride - 1 zeros between any two values
        before = kernel - 1 - before_up
        pads.append((before, below + kernel - 1 - spread - before))
    return pads


def conv(channels: int, kernel: int, *, stride: int = 1, padding: Padding = "valid") -> Layer:
    """A convolution; on the way down the transposed one, with weights of its own.

    The kernel up is ``[kernel, kernel, C, channels]``, the one down ``[kernel,
    kernel, channels, C]``, both uniform within sqrt(3 / (kernel^2 * inputs)). The
    inverse of a valid convolution is a full one and of a full one a valid one;
    with a stride, zeros are put between the values first. Combinator and
    normalisation of u below are channel by channel.

    Args:
      channels: of the level.
      kernel: height and width of the kernel.
      stride: steps between two positions.
      padding: ``"valid"`` (none: H - kernel + 1), ``"same"`` (H) or ``"full"``
        (H + kernel - 1), each divided by the stride and rounded up.

    Returns:
      A ``Layer``.

    Raises:
      ValueError: an argument is out of range; when the ladder is built, if the
        level below is not an image or is smaller than the kernel.

    Example:
      >>> import jax
      >>> params, out_shape = conv(5, 3, padding="full").init(jax.random.key(0), (8, 8, 2))
      >>> out_shape, params.up["kernel"].shape, params.down["kernel"].shape
      ((10, 10, 5), (3, 3, 2, 5), (3, 3, 5, 2))
    """
    for name, value in (("channels", channels), ("kernel", kernel), ("stride", stride)):
        if value < 1:
            raise ValueError(f"conv: {name} is {value}; give 1 or more.")
    if padding not in ("valid", "same", "full"):
        raise ValueError(f"conv: padding is {padding!r}; wanted 'valid', 'same' or 'full'.")

    def module_up(in_shape: Shape) -> nn.Conv:
        return nn.Conv(
            channels,
            (kernel, kernel),
            strides=stride,
            padding=_pads_up(kernel, stride, padding, in_shape),
            use_bias=False,
            kernel_init=_UNIFORM,
            parent=None,
        )

    def module_down(in_shape: Shape, out_shape: Shape) -> nn.ConvTranspose:
        up = _pads_up(kernel, stride, padding, in_shape)
        return nn.ConvTranspose(
            in_shape[-1],
            (kernel, kernel),
            strides=(stride, stride),
            padding=_pads_down(kernel, stride, up, in_shape, out_shape),
            use_bias=False,
            kernel_init=_UNIFORM,
            parent=None,
        )

    def init(key: Array, in_shape: Shape) -> tuple[LayerParams, Shape]:
        _check_image(f"conv({channels}, {kernel})", in_shape)
        if padding == "valid" and min(in_shape[:2]) < kernel:
            raise ValueError(
                f"conv({channels}, {kernel}): the level below is {in_shape[0]} x {in_shape[1]}, "
                "smaller than the kernel; give a smaller kernel, or padding='same'."
            )
        key_up, key_down = jax.random.split(key)
        x = jnp.zeros((1, *in_shape))
        z, variables = module_up(in_shape).init_with_output(key_up, x)
        out_shape = z.shape[1:]
        down = module_down(in_shape, out_shape).init(key_down, z)["params"]
        return LayerParams(variables["params"], down), out_shape

    def up(params: Params, h: Array) -> Array:
        return apply(module_up(h.shape[1:]), params, h)

    def down(params: Params, z_hat: Array, in_shape: Shape) -> Array:
        return apply(module_down(in_shape, z_hat.shape[1:]), params, z_hat)

    return Layer(init, up, down)


def max_pool(size: int) -> Layer:
    """The largest value of each window; on the way down each value fills its window.

    Windows do not overlap. Where ``size`` does not divide the level below, the last
    windows are partial, and what the way down puts beyond the border is cut off.
    No parameters; the level is normalised and noisy as any other, but linear.

    Args:
      size: height and width of a window.

    Returns:
      A ``Layer``.

    Raises:
      ValueError: ``size`` is less than 2; when the ladder is built, if the level
        below is not an image.

    Example:
      >>> import jax.numpy as jnp
      >>> layer = max_pool(2)
      >>> x = jnp.arange(9.0).reshape(1, 3, 3, 1)
      >>> layer.up(None, x)[0, :, :, 0].tolist()
      [[4.0, 5.0], [7.0, 8.0]]
      >>> layer.down(None, layer.up(None, x), (3, 3, 1))[0, :, :, 0].tolist()
      [[4.0, 4.0, 5.0], [4.0, 4.0, 5.0], [7.0, 7.0, 8.0]]
    """
    if size < 2:
        raise ValueError(f"max_pool: size is {size}; give 2 or more.")

    def init(key: Array, in_shape: Shape) -> tuple[LayerParams, Shape]:
        del key
        _check_image(f"max_pool({size})", in_shape)
        height, width, channels = in_shape
        return LayerParams({}, {}), (math.ceil(height / size), math.ceil(width / size), channels)

    def up(params: Params, h: Array) -> Array:
        del params
        pads = [(0, -side % size) for side in h.shape[1:3]]
        window = (size, size)
        z_pre = nn.max_pool(h, window, strides=window, padding=pads)  # type: ignore[no-untyped-call]
        return cast(Array, z_pre)

    def down(params: Params, z_hat: Array, in_shape: Shape) -> Array:
        del params
        u = z_hat.repeat(size, axis=1).repeat(size, axis=2)
        return u[:, : in_shape[0], : in_shape[1]]

    return Layer(init, up, down, linear=True)


def global_mean_pool() -> Layer:
    """The mean of each channel, times width times sqrt(3); down, the value everywhere.

    The level has shape ``(C,)``. The scale is that of the paper's own program; the
    normalisation that follows cancels it, but for the epsilon. On the way down u is
    normalised channel by channel, which equals normalising the ``C`` values over
    rows before they are spread. No parameters; linear unless it is the top.

    Returns:
      A ``Layer``.

    Raises:
      ValueError: when the ladder is built, if the level below is not an image.

    Example:
      >>> import jax.numpy as jnp
      >>> layer = global_mean_pool()
      >>> x = jnp.arange(4.0).reshape(1, 2, 2, 1)
      >>> round(float(layer.up(None, x)[0, 0]), 4)  # 1.5 * 2 * sqrt(3)
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

    return Layer(init, up, down, linear=True)
