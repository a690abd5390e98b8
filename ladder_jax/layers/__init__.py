"""Layers: the maps between two levels, up in the encoder, down in the decoder.

A layer's name, as ``"conv:32:5"``, is that of its constructor and its arguments, and
what ``config.encoder`` has. To add one, decorate its constructor with ``@registered``:
configs, tests and documentation have it from there.

Each constructor raises a ``ValueError`` if an argument is out of range and, when the
ladder is built, if the level below is of a shape that the layer cannot take.
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
