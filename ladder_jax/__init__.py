"""Ladder networks (Rasmus et al. 2015) in JAX and Flax, as pure functions.

The mathematical core is imported eagerly; names that need data, files or scikit-learn are
imported on first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ladder_jax import activations, combinators, layers, presets, targets, training, transforms
from ladder_jax.algorithm import ladder
from ladder_jax.layers import (
    conv,
    dense,
    from_flax,
    global_mean_pool,
    max_pool,
    residual,
    upsample,
)
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
    Target,
)

if TYPE_CHECKING:
    from ladder_jax.config import Config
    from ladder_jax.estimators import LadderClassifier, LadderRegressor, LadderSegmenter
    from ladder_jax.loop import train_and_evaluate
    from ladder_jax.population import train_population
    from ladder_jax.predictor import load

__version__ = "0.1.0"

__all__ = [
    "Activation",
    "Batch",
    "Combinator",
    "Config",
    "Consistency",
    "Hyper",
    "Ladder",
    "LadderClassifier",
    "LadderRegressor",
    "LadderSegmenter",
    "Layer",
    "LayerParams",
    "LevelParams",
    "Noise",
    "Pass",
    "Reconstruction",
    "Statistics",
    "Target",
    "activations",
    "combinators",
    "conv",
    "dense",
    "from_flax",
    "global_mean_pool",
    "ladder",
    "layers",
    "load",
    "max_pool",
    "presets",
    "residual",
    "targets",
    "train_and_evaluate",
    "train_population",
    "training",
    "transforms",
    "upsample",
]

_LAZY = {
    "Config": "config",
    "LadderClassifier": "estimators",
    "LadderRegressor": "estimators",
    "LadderSegmenter": "estimators",
    "load": "predictor",
    "train_and_evaluate": "loop",
    "train_population": "population",
}
"""Modules of the names that are loaded on first use (PEP 562)."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'ladder_jax' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"ladder_jax.{_LAZY[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
