"""Layers: the maps between two levels, up in the encoder, down in the decoder.

A layer's name, as ``"conv:32:5"``, is that of its constructor and its arguments, and
what ``config.encoder`` has. To add one, decorate its constructor with ``@registered``:
configs, tests and documentation have it from there.

Each constructor raises a ``ValueError`` if an argument is out of range and, when the
ladder is built, if the level below is of a shape that the layer cannot take.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ladder_jax import _checks
from ladder_jax._convolution import Padding, Pairs, convolve, largest, pads_down, pads_up
from ladder_jax._noise import scaled, split
from ladder_jax._products import dot_general
from ladder_jax.types import Array, Layer, LayerParams, Params, Shape


def _normal(key: Array, shape: Shape, dtype: Any) -> Array:
    """Draws from N(0, 1 / fan_in): ``variance_scaling`` of Flax, to the bit, compiled sooner."""
    return scaled(key, shape, dtype, np.sqrt(np.asarray(1.0 / math.prod(shape[:-1]), dtype)))


_UNIFORM = nn.initializers.variance_scaling(1.0, "fan_in", "uniform")

LAYERS: dict[str, Callable[..., Layer]] = {}
"""By the first word of their names."""
registered = _checks.registering(LAYERS)
"""Adds a layer to ``LAYERS`` by the name of its constructor."""


def _apply(module: nn.Module, params: Params, x: Array) -> Array:
    """Calls a Linen module as a pure function of its parameters."""
    return cast(Array, module.apply({"params": params}, x))


def _fresh(module: nn.Module, key: Array, in_shape: Shape) -> Params:
    """Draws the parameters of a Linen module without applying it: eagerly, that compiles it."""
    row = jax.eval_shape(lambda: jnp.zeros((1, *in_shape)))
    return cast(Params, module.lazy_init(key, row)["params"])


def _check_count(name: str, value: object, least: int = 1) -> None:
    if not _checks.is_whole(value, least):
        raise ValueError(f"{name} is {value!r}; give a whole number, {least} or more.")


def _dense(features: int, start: Callable[..., Array] = _normal) -> nn.Dense:
    # No parent, so that a ladder also runs within a Linen module.
    return nn.Dense(
        features, use_bias=False, kernel_init=start, dot_general=dot_general, parent=None
    )


@registered
def dense(units: int) -> Layer:
    """Makes a fully connected layer: z_pre = h W and u = z_hat V.

    W ``[in, units]`` (Algorithm 1, line 5) and V ``[units, in]`` (line 15) are
    parameters of their own, both from N(0, 1 / rows). A level of more than one
    axis is flattened on the way up and restored on the way down.

    Args:
      units: width of the level.

    Examples:
      >>> params, out_shape = dense(3).init(jax.random.key(0), (4,))
      >>> out_shape, params.up["kernel"].shape, params.down["kernel"].shape
      ((3,), (4, 3), (3, 4))
    """
    _check_count("dense: units", units)

    def init(key: Array, in_shape: Shape) -> tuple[LayerParams, Shape]:
        size = math.prod(in_shape)
        key_up, key_down = split(key, 2)
        up, down = _fresh(_dense(units), key_up, (size,)), _fresh(_dense(size), key_down, (units,))
        return LayerParams(up, down), (units,)

    def up(params: Params, h: Array) -> Array:
        return _apply(_dense(units), params, h.reshape(h.shape[0], -1))

    def down(params: Params, z_hat: Array, in_shape: Shape) -> Array:
        u = _apply(_dense(math.prod(in_shape)), params, z_hat)
        return u.reshape(z_hat.shape[0], *in_shape)

    return Layer(init, up, down, per_unit=True, name=f"dense:{units}")


@registered
def residual() -> Layer:
    """Adds a map to the level below, so that a deep ladder starts as a shallow one.

    z_pre = h + relu(h + b) W and u = z_hat + z_hat V, along the last axis. W and V ``[n, n]``
    start small, from N(0, 0.01 / n), and b ``[n]`` at zero: at first both ways pass on what they
    are given. The level is normalised and noisy as any other, but has no activation of its own,
    as that is within the map.

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
        of_up, of_down = (_fresh(_dense(size, small), k, in_shape) for k in split(key, 2))
        bias = jax.device_put(np.zeros(size))
        return LayerParams({**of_up, "bias": bias}, of_down), in_shape

    def up(params: Params, h: Array) -> Array:
        return h + _apply(_dense(h.shape[-1]), params, jax.nn.relu(h + params["bias"]))

    def down(params: Params, z_hat: Array, in_shape: Shape) -> Array:
        return z_hat + _apply(_dense(in_shape[-1]), params, z_hat)

    return Layer(init, up, down, linear=True, name="residual")


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
    """Makes a convolution; on the way down the transposed one, with weights of its own.

    The kernel up is ``[kernel, kernel, C, channels]``, the one down ``[kernel,
    kernel, channels, C]``, both uniform within sqrt(3 / (kernel^2 * inputs)). The
    inverse of a valid convolution is a full one and of a full one a valid one;
    with a stride, zeros are put between the values first. The way down ends with the
    height and width of the level below, also where the stride does not divide them.
    Combinator and normalisation of u below are channel by channel.

    Args:
      channels: of the level.
      kernel: height and width of the kernel.
      stride: steps between two positions.
      padding: ``"valid"`` (none: H - kernel + 1), ``"same"`` (H) or ``"full"``
        (H + kernel - 1), each divided by the stride and rounded up.
      dilation: steps between two pixels that the kernel covers, 1 or more; its height and
        width, as padding counts them, are then dilation * (kernel - 1) + 1.

    Examples:
      >>> params, out_shape = conv(5, 3, padding="full").init(jax.random.key(0), (8, 8, 2))
      >>> out_shape, params.up["kernel"].shape, params.down["kernel"].shape
      ((10, 10, 5), (3, 3, 2, 5), (3, 3, 5, 2))
      >>> conv(5, 3, padding="same", dilation=2)
      conv:5:3:1:same:2
    """
    counts = {"channels": channels, "kernel": kernel, "stride": stride, "dilation": dilation}
    for argument, value in counts.items():
        _check_count(f"conv: {argument}", value)
    if padding not in ("valid", "same", "full"):
        raise ValueError(f"conv: padding is {padding!r}; wanted 'valid', 'same' or 'full'.")

    words, defaults = (stride, padding, dilation), (1, "valid", 1)
    given = 0 if words == defaults else 2 if dilation == 1 else 3
    name = ":".join(map(str, ("conv", channels, kernel, *words[:given])))
    reach = dilation * (kernel - 1) + 1

    def module(features: int, pads: Pairs, **steps: Any) -> nn.Conv:
        return nn.Conv(
            features,
            (kernel, kernel),
            padding=pads,
            kernel_dilation=dilation,
            use_bias=False,
            kernel_init=_UNIFORM,
            conv_general_dilated=convolve,
            parent=None,
            **steps,
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
            size, less = "", "kernel"
            if dilation > 1:
                size, less = f", {reach} x {reach} with dilation {dilation}", "kernel or dilation"
            raise ValueError(
                f"conv({channels}, {kernel}): the level below is {in_shape[0]} x {in_shape[1]}, "
                f"smaller than the kernel{size}; give a smaller {less}, or padding='same'."
            )
        key_up, key_down = split(key, 2)
        of_up = _fresh(module_up(in_shape), key_up, in_shape)
        row = jax.eval_shape(lambda: up(of_up, jnp.zeros((1, *in_shape))))
        out_shape = row.shape[1:]
        of_down = _fresh(module_down(in_shape, out_shape), key_down, out_shape)
        return LayerParams(of_up, of_down), out_shape

    def up(params: Params, h: Array) -> Array:
        return _apply(module_up(h.shape[1:]), params, h)

    def down(params: Params, z_hat: Array, in_shape: Shape) -> Array:
        return _apply(module_down(in_shape, z_hat.shape[1:]), params, z_hat)

    return Layer(init, up, down, name=name)


def _fill(x: Array, size: int, shape: Shape) -> Array:
    """Fills windows with one value each; what is beyond the border of ``shape`` is cut off."""
    return x.repeat(size, axis=1).repeat(size, axis=2)[:, : shape[0], : shape[1]]


def _windows(size: int, shape: Shape) -> tuple[int, int]:
    """Counts the windows of an image downwards and across; the last may be partial."""
    return math.ceil(shape[0] / size), math.ceil(shape[1] / size)


@registered
def max_pool(size: int) -> Layer:
    """Takes the largest value of each window; on the way down each value fills its window.

    Windows do not overlap. Where ``size`` does not divide the level below, the last
    windows are partial, and what the way down puts beyond the border is cut off.
    No parameters; the level is normalised and noisy as any other, but linear.

    Args:
      size: height and width of a window, 2 or more.

    Examples:
      >>> layer, x = max_pool(2), jnp.arange(9.0).reshape(1, 3, 3, 1)
      >>> layer.up(None, x)[0, :, :, 0].tolist()
      [[4.0, 5.0], [7.0, 8.0]]
      >>> layer.down(None, layer.up(None, x), (3, 3, 1))[0, :, :, 0].tolist()
      [[4.0, 4.0, 5.0], [4.0, 4.0, 5.0], [7.0, 7.0, 8.0]]
    """
    _check_count("max_pool: size", size, least=2)

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
    """Fills a window with each value; on the way down takes the mean of each window.

    The way up is the way down of ``max_pool``. To come back to the image that was pooled
    where ``size`` does not divide it, give that image's height and width, and what is beyond
    is cut off. A partial window has the mean of what is left of it, so that up and down again
    changes nothing. No parameters; the level is linear, as after pooling.

    Args:
      size: height and width of a window, 2 or more.
      height: of the level; None for ``size`` times that below.
      width: of the level, given if ``height`` is.

    Examples:
      >>> layer, x = upsample(2, 3, 3), jnp.arange(4.0).reshape(1, 2, 2, 1)
      >>> layer.up(None, x)[0, :, :, 0].tolist()
      [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [2.0, 2.0, 3.0]]
      >>> layer.down(None, jnp.arange(9.0).reshape(1, 3, 3, 1), (2, 2, 1))[0, :, :, 0].tolist()
      [[2.0, 3.5], [6.5, 8.0]]
      >>> layer, upsample(2)
      (upsample:2:3:3, upsample:2)
    """
    _check_count("upsample: size", size, least=2)
    if (height is None) != (width is None):
        raise ValueError(f"upsample: height is {height} and width {width}; give both or neither.")
    cut = () if height is None or width is None else (height, width)
    for argument, value in zip(("height", "width"), cut, strict=False):
        _check_count(f"upsample: {argument}", value)
    words = [str(word) for word in (size, *cut)]
    call = f"upsample({', '.join(words)})"

    def out_shape(in_shape: Shape) -> Shape:
        return cut or (size * in_shape[0], size * in_shape[1])

    def init(key: Array, in_shape: Shape) -> tuple[LayerParams, Shape]:
        del key
        _check_image(call, in_shape)
        rows, columns, channels = in_shape
        if cut and _windows(size, cut) != (rows, columns):
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
        beyond = [(0, size * n - side) for n, side in sides]
        padded = jnp.pad(z_hat, [(0, 0), *beyond, (0, 0)])
        rows, columns, channels = in_shape
        windows = padded.reshape(z_hat.shape[0], rows, size, columns, size, channels)
        high, wide = (np.minimum(size, side - size * np.arange(n)) for n, side in sides)
        within = jnp.asarray(np.multiply.outer(high, wide)[:, :, None], z_hat.dtype)
        return windows.sum((2, 4)) / within

    return Layer(init, up, down, linear=True, name=":".join(["upsample", *words]))


@registered
def global_mean_pool() -> Layer:
    """Takes the mean of each channel, times width times sqrt(3); down, the value everywhere.

    The level has shape ``(C,)``. The scale is that of the paper's own program; the
    normalisation that follows cancels it, but for the epsilon. On the way down u is
    normalised channel by channel, which equals normalising the ``C`` values over
    rows before they are spread. No parameters; linear unless it is the top.

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


def _trace(name: str, module: nn.Module, in_shape: Shape) -> Shape:
    """Returns the shape of what a module gives; its variables are checked on the way."""
    what = f"from_flax: {name} ({type(module).__name__})"
    row = jnp.zeros((1, *in_shape))
    z, variables = jax.eval_shape(module.init_with_output, jax.eval_shape(jax.random.key, 0), row)
    others = sorted(set(variables) - {"params"})
    if others:
        raise ValueError(
            f"{what} has variables other than parameters: {', '.join(others)}; a layer is a pure "
            "map, so leave them out (the ladder normalises each level itself)."
        )
    if not hasattr(z, "shape") or z.ndim < 2 or z.shape[0] != 1:
        raise ValueError(
            f"{what} gives {getattr(z, 'shape', type(z).__name__)} for an input of shape "
            f"{row.shape}; wanted one array with the batch as its first axis."
        )
    return tuple(z.shape[1:])


def from_flax(
    up: nn.Module, down: nn.Module | Callable[[Shape], nn.Module], *, per_unit: bool = False
) -> Layer:
    """Makes a layer of a pair of Linen modules: a residual block, attention, anything.

    Both are called with one array. The ladder normalises what ``up`` gives, adds noise, bias and
    activation, so the modules' last step is best a bare map; a module with randomness or running
    statistics is not a pure map and is refused.

    Args:
      up: ``[B, *in_shape] -> [B, *out_shape]``.
      down: ``[B, *out_shape] -> [B, *in_shape]``, or a function of ``in_shape`` that makes one.
      per_unit: as ``Layer.per_unit``.

    Raises:
      ValueError: ``up`` is no module; when the ladder is built: a module has variables other than
        parameters, or ``down`` does not lead back to the lower level's shape.

    Examples:
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
        key_up, key_down = split(key, 2)
        variables_up = up.init(key_up, jnp.zeros((1, *in_shape)))
        variables_down = inverse.init(key_down, jnp.zeros((1, *out_shape)))
        params = LayerParams(variables_up.get("params", {}), variables_down.get("params", {}))
        return params, out_shape

    def apply_down(params: Params, z_hat: Array, in_shape: Shape) -> Array:
        return _apply(module_down(in_shape), params, z_hat)

    name = f"from_flax({type(up).__name__})"
    return Layer(init, functools.partial(_apply, up), apply_down, per_unit=per_unit, name=name)


def compute_in(dtype: Any, layer: Layer) -> Layer:
    """Makes a layer whose maps run in another precision.

    Parameters and inputs are cast to ``dtype`` at the map, its result back to the input's own.
    Parameters, their gradients, normalisation, combinators and costs stay in float32.

    Args:
      dtype: e.g. ``jnp.bfloat16``.
      layer: any; the result has the same parameters.

    Examples:
      >>> layer = compute_in(jnp.bfloat16, dense(1))
      >>> layer.up({"kernel": jnp.full((1, 1), 1.001)}, jnp.ones((1, 1))).tolist()
      [[1.0]]
    """

    def cast(tree: Params) -> Params:
        return jax.tree.map(lambda leaf: leaf.astype(dtype), tree)

    def up(params: Params, h: Array) -> Array:
        return layer.up(cast(params), h.astype(dtype)).astype(h.dtype)

    def down(params: Params, z_hat: Array, in_shape: Shape) -> Array:
        return layer.down(cast(params), z_hat.astype(dtype), in_shape).astype(z_hat.dtype)

    return layer._replace(up=up, down=down)


DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
"""What ``compute_in`` takes, by the names that configurations use."""


def from_name(name: str) -> Layer:
    """Makes the layer of a name, as ``config.encoder`` has it.

    Args:
      name: a key of ``LAYERS``, then its arguments, joined by colons; a number alone is a dense
        layer. The words of the paper's own program serve as well: ``"fc:10"``, ``"convv:C:K:S:S"``
        (a valid convolution to C channels, kernel K, stride S), ``"convf:..."`` (full),
        ``"convs:..."`` (same; not in the original), ``"maxpool:S:S"``, ``"globalmeanpool:..."``.

    Raises:
      ValueError: the name is not known, or its arguments are wrong.

    Examples:
      >>> from_name("conv:32:5:1:full"), from_name("convf:32:5:1:1"), from_name("10")
      (conv:32:5:1:full, conv:32:5:1:full, dense:10)
    """
    kind, *words = name.split(":")
    arguments: list[Any] = [int(word) if word.isdigit() else word for word in words]
    if kind.isdigit():
        kind, arguments = "dense", [int(kind), *arguments]
    elif kind in _ORIGINAL:
        kind, arguments = _ORIGINAL[kind](arguments)
    if kind in LAYERS:
        try:
            inspect.signature(LAYERS[kind]).bind(*arguments)
        except TypeError:
            pass
        else:
            return LAYERS[kind](*arguments)
    raise ValueError(
        f"layer {name!r} is not known; give a number (dense) or one of {', '.join(LAYERS)} with "
        "its arguments, e.g. conv:32:5:1:full or max_pool:2, or a word of the original program, "
        "e.g. convv:32:5:1:1 or maxpool:2:2 (stride and window alike)."
    )


def _original_conv(padding: Padding, arguments: list[Any]) -> tuple[str, list[Any]]:
    known = len(arguments) == 4 and arguments[2] == arguments[3]
    return ("conv", [*arguments[:3], padding]) if known else ("", [])


_ORIGINAL: dict[str, Callable[[list[Any]], tuple[str, list[Any]]]] = {
    "fc": lambda numbers: ("dense", numbers),
    "convv": functools.partial(_original_conv, "valid"),
    "convf": functools.partial(_original_conv, "full"),
    "convs": functools.partial(_original_conv, "same"),
    "maxpool": lambda ns: ("max_pool", ns[:1]) if ns[1:] == ns[:1] else ("", []),
    "globalmeanpool": lambda numbers: ("global_mean_pool", []),  # over the whole map, always
}
"""The first words of the paper's program, and what its numbers say."""


def from_names(names: str) -> list[Layer]:
    """Makes the layers of levels 1 to L of names joined by dashes.

    Examples:
      >>> from_names("conv:32:5-max_pool:2-10")
      [conv:32:5, max_pool:2, dense:10]
    """
    return [from_name(name) for name in names.split("-")]


def to_names(layers: Iterable[Layer]) -> str:
    """Joins the names of layers by dashes, as ``config.encoder`` has them.

    Examples:
      >>> to_names([conv(32, 5), max_pool(2), dense(10)])
      'conv:32:5-max_pool:2-dense:10'
    """
    return "-".join(layer.name for layer in layers)
