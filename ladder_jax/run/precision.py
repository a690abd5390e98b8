"""Choice of the dtype of a run's matrix products, for ``compute_dtype="auto"``."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import logging
import math
import os
import time
from typing import Any

import jax
import jax.numpy as jnp

from ladder_jax import layers
from ladder_jax.config import AUTO, Config
from ladder_jax.run import files, multiprocess, workfolder
from ladder_jax.run.inputs import Spec
from ladder_jax.run.program import build_ladder
from ladder_jax.types import Array, Layer, Params, Shape

_LOG = logging.getLogger("ladder_jax")
_WORTH = 0.9
"""Fraction of float32's time below which another dtype is worth its rounding."""
_REPEATS = 9


def settle(config: Config, spec: Spec, workdir: str | os.PathLike[str] | None = None) -> Config:
    """Replaces ``compute_dtype="auto"`` by the faster dtype on this machine.

    A run resumes in the dtype that it started with, on any machine.

    Args:
      config: settings of the run.
      spec: shapes of the run.
      workdir: folder of the run, if it may have started there.
    """
    if config.compute_dtype != AUTO:
        return config
    dtype = multiprocess.broadcast_from_primary(
        lambda: _begun_in(workdir) or _fastest(config, spec)
    )
    return dataclasses.replace(config, compute_dtype=dtype)


def _begun_in(workdir: str | os.PathLike[str] | None) -> str | None:
    """Returns the dtype that the run in a folder started with; None if there is no run."""
    folder = None if workdir is None else files.as_path(workdir)
    if folder is None or not (folder / workfolder.CONFIG).is_file():
        return None
    return workfolder.read_config(folder).compute_dtype


def _fastest(config: Config, spec: Spec) -> str:
    """Finds the faster dtype for the encoder map with the most operations."""
    levels = build_ladder(config, spec.input_shape, spec.target).structure.levels
    maps = [
        (level.layer, below.shape, level.shape)
        for below, level in itertools.pairwise(levels)
        if level.layer is not None
    ]
    layer, in_shape, _ = max(maps, key=lambda entry: _operations(*entry))
    rows = spec.sizes.labeled + 2 * spec.sizes.unlabeled
    wide, narrow = _milliseconds(layer.name, in_shape, rows)
    dtype = "bfloat16" if narrow < _WORTH * wide else "float32"
    _LOG.warning(
        "compute_dtype is auto: %s, as the largest map takes %.2f ms in float32 and %.2f in "
        "bfloat16",
        *(dtype, wide, narrow),
    )
    return dtype


def _operations(layer: Layer, in_shape: Shape, out_shape: Shape) -> int:
    """Counts multiplications per row: each weight is used once per output position."""
    weights = jax.eval_shape(lambda: layer.init(jax.random.key(0), in_shape)[0].up)
    return math.prod(out_shape[:-1]) * sum(int(leaf.size) for leaf in jax.tree.leaves(weights))


@functools.cache
def _milliseconds(name: str, in_shape: Shape, rows: int) -> tuple[float, float]:
    """Times an encoder map with its gradients, in float32 and in bfloat16."""
    layer = layers.from_name(name)
    params, h = layer.init(jax.random.key(0), in_shape)[0].up, jnp.ones((rows, *in_shape))

    def gradient_of(layer: Layer) -> Any:
        def cost(params: Params, h: Array) -> Array:
            return jnp.square(layer.up(params, h)).mean()

        return jax.jit(jax.grad(cost, argnums=(0, 1)))

    functions = [gradient_of(layers.compute_in(dtype, layer)) for dtype in layers.DTYPES.values()]
    seconds: list[list[float]] = [[], []]
    for _ in range(1 + _REPEATS):  # the first compiles; they alternate, as a machine's speed drifts
        for function, times in zip(functions, seconds, strict=True):
            started = time.perf_counter()
            function(params, h)[1].block_until_ready()
            times.append(time.perf_counter() - started)
    wide, narrow = (1000 * min(times) for times in seconds)
    return wide, narrow
