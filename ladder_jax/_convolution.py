"""Convolution and max pooling of images, with gradients that are fast on a CPU too.

Both are XLA's own, except for two gradients that XLA computes slowly on a CPU: that of a
kernel, and that of max pooling. The figures are in ``benchmarks/NOTES.md``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero

from ladder_jax.types import Array, Shape

Padding = Literal["valid", "same", "full"]
Pairs = list[tuple[int, int]]

_PIXELS = 2048
"""Maximum number of result pixels per product, so that its operands stay in the cache."""


def pads_up(reach: int, stride: int, padding: Padding, in_shape: Shape) -> Pairs:
    """Returns the zero padding before and after each of the two axes on the way up.

    The reach is the kernel's height and width, including the gaps of its dilation.
    """
    if padding == "valid":
        return [(0, 0)] * 2
    if padding == "full":
        return [(reach - 1, reach - 1)] * 2
    pads = []
    for size in in_shape[:2]:
        total = max((math.ceil(size / stride) - 1) * stride + reach - size, 0)
        pads.append((total // 2, total - total // 2))
    return pads


def pads_down(reach: int, stride: int, up: Pairs, in_shape: Shape, out_shape: Shape) -> Pairs:
    """Returns the padding on the way down, for which the result has the lower level's size."""
    pads = []
    for (before_up, _), below, above in zip(up, in_shape[:2], out_shape[:2], strict=True):
        extent = stride * (above - 1) + 1  # with stride - 1 zeros between neighbours
        before = reach - 1 - before_up
        pads.append((before, below + reach - 1 - extent - before))
    return pads


class Window(NamedTuple):
    """Describes how a kernel moves over an image.

    Attributes:
      strides: steps between two positions, per axis.
      padding: zeros before and after, per axis.
      dilation: one plus the number of zeros inserted between two pixels, per axis.
      kernel_dilation: steps between two pixels that the kernel covers, per axis.
    """

    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...] = (1, 1)
    kernel_dilation: tuple[int, ...] = (1, 1)


def _by_xla(x: Array, kernel: Array, window: Window) -> Array:
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, *window, dimension_numbers=layout)


def _by_turned(x: Array, kernel: Array, window: Window) -> Array:
    """Convolves with the kernel's channels exchanged; the gradient of x exchanges them back.

    This gives XLA that gradient in the one form that it computes fast. By itself XLA uses this
    form only outside loops; inside them it may fold the exchange into the convolution.
    """
    exchanged = kernel.swapaxes(2, 3)
    turned: Array = lax.optimization_barrier(exchanged)  # type: ignore[no-untyped-call]
    layout = ("NHWC", "HWOI", "NHWC")
    return lax.conv_general_dilated(x, turned, *window, dimension_numbers=layout)


def _by_products(x: Array, kernel: Array, window: Window) -> Array:
    """Convolves by matrix products, a few images at a time, in at least float32.

    Each product applies one row of the kernel to the k pixels beneath it, concatenated as
    ``[pixels, k * C]``; if k * C is less than the number of output channels, one product
    applies the whole kernel.
    """
    (height, width, inputs, channels), (down, right) = kernel.shape, window.strides
    step_i, step_j = window.kernel_dilation
    dtype = jnp.float32 if x.dtype.itemsize < 4 else x.dtype
    pads = [(*pad, step - 1) for pad, step in zip(window.padding, window.dilation, strict=True)]
    rows_at_once = height if width * inputs < channels else 1
    # Transposed so that the cotangent need not be; separate arrays inside the loop.
    parts = list(kernel.astype(dtype).reshape(height // rows_at_once, -1, channels).swapaxes(1, 2))

    def convolve_images(x: Array) -> Array:
        x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *pads, (0, 0, 0)]).astype(dtype)
        tops, lefts = range(0, height * step_i, step_i), range(0, width * step_j, step_j)
        span_i, span_j = x.shape[1] - tops[-1], x.shape[2] - lefts[-1]
        rows = [[x[:, i : i + span_i : down, j : j + span_j : right] for j in lefts] for i in tops]
        terms = []
        for n, part in enumerate(parts):
            taps = [tap for row in rows[n : n + rows_at_once] for tap in row]
            patches = jnp.concatenate(taps, -1)
            flat = patches.reshape(-1, patches.shape[-1])
            terms.append(lax.dot_general(flat, part, (((1,), (1,)), ((), ()))))
        return sum(terms[1:], terms[0]).reshape(*rows[0][0].shape[:3], channels)

    pixels = math.prod(jax.eval_shape(convolve_images, x[:1]).shape[1:3])
    max_images = min(max(_PIXELS // pixels, 1), x.shape[0])
    images = max(n for n in range(1, max_images + 1) if x.shape[0] % n == 0)
    # The backward pass builds the operands from x again instead of keeping them.
    apply = jax.checkpoint(convolve_images, prevent_cse=False)
    z: Array = lax.map(apply, x.reshape(-1, images, *x.shape[1:]))
    return z.reshape(-1, *z.shape[2:]).astype(x.dtype)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _convolve(x: Array, kernel: Array, window: Window) -> Array:
    return _by_xla(x, kernel, window)


@functools.partial(_convolve.defjvp, symbolic_zeros=True)
def _tangents(
    window: Window, primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Defines the tangents; JAX transposes them for gradients, so all its derivatives work."""
    (x, kernel), (x_dot, kernel_dot) = primals, tangents
    z = _convolve(x, kernel, window)
    terms, by_xla = [], functools.partial(_by_xla, window=window)
    if not isinstance(x_dot, SymbolicZero):
        by_turned = functools.partial(_by_turned, window=window)
        terms.append(lax.platform_dependent(x_dot, kernel, cpu=by_turned, default=by_xla))
    if not isinstance(kernel_dot, SymbolicZero):
        by_products = by_xla
        known = all(isinstance(size, int) for size in x.shape) and x.size > 0
        # XLA is as fast if the kernel is larger than an image.
        if known and max(kernel.shape[:2]) <= min(*x.shape[1:3], *z.shape[1:3]):
            by_products = functools.partial(_by_products, window=window)
        terms.append(lax.platform_dependent(x, kernel_dot, cpu=by_products, default=by_xla))
    return z, sum(terms[1:], terms[0])


def convolve(
    x: Array,
    kernel: Array,
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    *,
    lhs_dilation: Sequence[int],
    rhs_dilation: Sequence[int] = (1, 1),
    **settings: Any,
) -> Array:
    """Computes a convolution for a Linen ``Conv``, with a gradient that is fast on a CPU.

    XLA also computes the gradient of a kernel as a convolution, whose kernel, the cotangent,
    is as large as an image. On a CPU this takes up to 50 times as long as the matrix products
    used here.

    Args:
      x: images ``[B, H, W, C]``.
      kernel: kernel ``[k, k, C, channels]``.
      strides: as in ``Window``.
      padding: as in ``Window``.
      lhs_dilation: ``dilation`` of ``Window``.
      rhs_dilation: ``kernel_dilation`` of ``Window``.
      **settings: further arguments of ``lax.conv_general_dilated``; ignored, as they have the
        values of a plain convolution.

    Returns:
      ``[B, H', W', channels]``.

    Examples:
      >>> x, kernel = jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 2))
      >>> convolve(x, kernel, (1, 1), [(0, 0), (0, 0)], lhs_dilation=(1, 1))[0, 0].tolist()
      [[9.0, 9.0], [9.0, 9.0]]
    """
    del settings
    window = Window(tuple(strides), tuple(padding), tuple(lhs_dilation), tuple(rhs_dilation))
    return _convolve(x, kernel, window)


def _larger(a: Array, b: Array) -> Array:
    """Returns the larger value, the first if equal, or a NaN: the gradient is then XLA's."""
    return jnp.where((a >= b) | jnp.isnan(a), a, b)


def largest(x: Array, size: int) -> Array:
    """Computes the maximum of each window, with the gradient going to the first maximum.

    On a CPU, XLA's scatter of that gradient takes 20 times as long as the slices used here.

    Args:
      x: images ``[B, H, W, C]``.
      size: height, width and stride of the windows; the last window may be partial.

    Returns:
      ``[B, ceil(H / size), ceil(W / size), C]``.

    Examples:
      >>> largest(jnp.arange(9.0).reshape(1, 3, 3, 1), 2)[0, :, :, 0].tolist()
      [[4.0, 5.0], [7.0, 8.0]]
    """
    pads_after = [(0, -side % size) for side in x.shape[1:3]]

    def by_slices(x: Array) -> Array:
        x = jnp.pad(x, [(0, 0), *pads_after, (0, 0)], constant_values=-jnp.inf)
        x = functools.reduce(_larger, [x[:, :, j::size] for j in range(size)])
        return functools.reduce(_larger, [x[:, i::size] for i in range(size)])

    def by_xla(x: Array) -> Array:
        window = (size, size)
        return cast(Array, nn.max_pool(x, window, window, pads_after))  # type: ignore[no-untyped-call]

    return cast(Array, lax.platform_dependent(x, cpu=by_slices, default=by_xla))
