"""Ladder networks (Rasmus et al. 2015) in JAX and Flax, as pure functions."""

from ladder_jax import activations, combinators, layers, presets
from ladder_jax.algorithm import ladder
from ladder_jax.layers import conv, dense, from_flax, global_mean_pool, max_pool
from ladder_jax.types import (
    Activation,
    Batch,
    Combinator,
    Consistency,
    Hyper,
    Ladder,
    Layer,
    LayerParams,
    LevelParams,
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
    "LevelParams",
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
