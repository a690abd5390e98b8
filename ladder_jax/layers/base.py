"""Shared parts of the layers: registry, names, precision, Linen modules as pure maps."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from ladder_jax import _checks
from ladder_jax._convolution import Padding
from ladder_jax.types import Array, Layer, Params, Shape

LAYERS: dict[str, Callable[..., Layer]] = {}
"""Constructors by the first word of a layer's name."""
registered = _checks.registering(LAYERS)
"""Decorator that adds a layer to ``LAYERS`` under the name of its constructor."""


def from_name(name: str) -> Layer:
    """Makes a layer from its name, as used in ``config.encoder``.

    Args:
      name: a key of ``LAYERS`` and the arguments, joined by colons; just a number for a dense
        layer. The words of the paper's own program are also accepted: ``"fc:10"``,
        ``"convv:C:K:S:S"`` (a valid convolution to C channels, kernel K, stride S),
        ``"convf:..."`` (full), ``"convs:..."`` (same; not in the original), ``"maxpool:S:S"``,
        ``"globalmeanpool:..."``.

    Raises:
      ValueError: the name is unknown, or its arguments are wrong.

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
    if (layer := _checks.made(LAYERS, kind, *arguments)) is not None:
        return layer
    raise ValueError(
        f"layer {name!r} is not known; give a number (dense) or one of {', '.join(LAYERS)} with "
        "its arguments, e.g. conv:32:5:1:full or max_pool:2, or a word of the original program, "
        "e.g. convv:32:5:1:1 or maxpool:2:2 (stride and window alike)."
    )


def _original_conv(padding: Padding, arguments: list[Any]) -> tuple[str, list[Any]]:
    supported = len(arguments) == 4 and arguments[2] == arguments[3]
    return ("conv", [*arguments[:3], padding]) if supported else ("", [])


_ORIGINAL: dict[str, Callable[[list[Any]], tuple[str, list[Any]]]] = {
    "fc": lambda numbers: ("dense", numbers),
    "convv": functools.partial(_original_conv, "valid"),
    "convf": functools.partial(_original_conv, "full"),
    "convs": functools.partial(_original_conv, "same"),
    "maxpool": lambda sizes: ("max_pool", sizes[:1]) if sizes[1:] == sizes[:1] else ("", []),
    "globalmeanpool": lambda numbers: ("global_mean_pool", []),  # always over the whole map
}
"""Translations of the paper's words, by the first word, to constructors and arguments."""


def from_names(names: str) -> list[Layer]:
    """Makes the layers of levels 1 to L from their names, joined by dashes.

    Examples:
      >>> from_names("conv:32:5-max_pool:2-10")
      [conv:32:5, max_pool:2, dense:10]
    """
    return [from_name(name) for name in names.split("-")]


def to_names(layers: Iterable[Layer]) -> str:
    """Joins the names of layers by dashes, as used in ``config.encoder``.

    Examples:
      >>> from ladder_jax import layers
      >>> to_names([layers.conv(32, 5), layers.max_pool(2), layers.dense(10)])
      'conv:32:5-max_pool:2-dense:10'
    """
    return "-".join(layer.name for layer in layers)


def compute_in(dtype: Any, layer: Layer) -> Layer:
    """Makes a layer whose maps run in another precision.

    Each map casts its parameters and input to ``dtype`` and its result back to the input's
    dtype. Stored parameters, gradients, normalisation, combinators and costs stay in float32.
    Derivatives are those of reverse mode; bfloat16 products have no forward mode. Inside
    ``jax.shard_map``, gradients need ``check_vma=False``; the caller sums them over the shards.

    Args:
      dtype: e.g. ``jnp.bfloat16``.
      layer: any layer; the result has the same parameters.

    Examples:
      >>> from ladder_jax import layers
      >>> layer = compute_in(jnp.bfloat16, layers.dense(1))
      >>> layer.up({"kernel": jnp.full((1, 1), 1.001)}, jnp.ones((1, 1))).tolist()
      [[1.0]]
    """

    def cast_tree(tree: Params) -> Params:
        return jax.tree.map(lambda leaf: leaf.astype(dtype), tree)

    def up(params: Params, h: Array) -> Array:
        return layer.up(cast_tree(params), h.astype(dtype)).astype(h.dtype)

    def down(params: Params, z_hat: Array, in_shape: Shape) -> Array:
        return layer.down(cast_tree(params), z_hat.astype(dtype), in_shape).astype(z_hat.dtype)

    return layer._replace(up=up, down=down)


DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
"""Dtypes for ``compute_in``, by their names in configurations."""


def apply_module(module: nn.Module, params: Params, x: Array) -> Array:
    """Calls a Linen module as a pure function of its parameters."""
    return cast(Array, module.apply({"params": params}, x))


def init_module(module: nn.Module, key: Array, in_shape: Shape) -> Params:
    """Draws the parameters of a Linen module without applying it, which would compile it."""
    row = jax.eval_shape(lambda: jnp.zeros((1, *in_shape)))
    return cast(Params, module.lazy_init(key, row)["params"])
