"""Layers: the maps between two levels, up in the encoder and down in the decoder.

A layer's name, e.g. ``"conv:32:5"``, consists of its constructor's name and arguments;
``config.encoder`` uses these names. To add a layer, decorate its constructor with
``@registered``: configs, tests and documentation take it from the registry.

Each constructor raises a ``ValueError`` if an argument is out of range. Building the ladder
raises one if the layer does not accept the shape of the level below.
"""

from ladder_jax.layers.base import (
    DTYPES,
    LAYERS,
    compute_in,
    from_name,
    from_names,
    registered,
    to_names,
)
from ladder_jax.layers.features import dense, from_flax, residual
from ladder_jax.layers.images import conv, global_mean_pool, max_pool, upsample

__all__ = [
    "DTYPES",
    "LAYERS",
    "compute_in",
    "conv",
    "dense",
    "from_flax",
    "from_name",
    "from_names",
    "global_mean_pool",
    "max_pool",
    "registered",
    "residual",
    "to_names",
    "upsample",
]
