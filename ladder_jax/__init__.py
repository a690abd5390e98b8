"""Ladder networks (Rasmus et al. 2015) in JAX and Flax, as pure functions."""

from ladder_jax import activations, combinators, layers, presets
from ladder_jax.consistency import Consistency
from ladder_jax.ladder import ladder
from ladder_jax.layers import conv, dense, from_flax, global_mean_pool, max_pool
from ladder_jax.types import (
    Activation,
    Batch,
    Combinator,
    Hyper,
    Ladder,
    Layer,
    LayerParams,
    Noise,
    Pass,
    Reconstruction,
    Statistics,
)

__version__ = "0.1.0"

__all__ = [
    "Activation",
    "Batch",
    "Combinator",
    "Consistency",
    "Hyper",
    "Ladder",
    "Layer",
    "LayerParams",
    "Noise",
    "Pass",
    "Reconstruction",
    "Statistics",
    "activations",
    "combinators",
    "conv",
    "dense",
    "from_flax",
    "global_mean_pool",
    "ladder",
    "layers",
    "max_pool",
    "presets",
]
