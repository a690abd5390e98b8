"""Reads the golden numbers of the paper's own program and builds the ladder they came from.

The format: one forward and backward pass (or several Adam steps) in float64 with
injected noise. ``meta_json`` holds the settings; images are channels first, dense
weights ``[in, out]``, those of a convolution ``[out, in, height, width]``; level 0
is the input. All sizes are read from the file.
"""

from __future__ import annotations

import json
import math
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import ladder_jax
from experiments import original
from ladder_jax import activations, layers
from ladder_jax._checks import per_level
from ladder_jax.combinators import COMBINATORS
from ladder_jax.types import Batch, Noise


class Reference:
    """One file: its ladder, its parameters and batch in our layout, its arrays by key."""

    def __init__(self, path: pathlib.Path) -> None:
        with np.load(path, allow_pickle=False) as file:
            self.arrays = {key: file[key] for key in file.files}
        self.meta = json.loads(str(self.arrays.pop("meta_json")))
        self.unread = set(self.arrays)
        self.net = self._ladder()
        self.value_and_grad = jax.jit(jax.value_and_grad(self.net.loss_given, has_aux=True))
        self.levels = range(len(self.net.shapes))
        self.top = len(self.levels) - 1

    def _ladder(self) -> ladder_jax.Ladder:
        meta = self.meta
        input_shape, *layer_words = meta["encoder_layers"]
        levels = len(layer_words) + 1
        self.decoder_words = per_level("decoder_spec", meta["decoder_spec"], levels)
        names = original.decoder_names(meta["decoder_spec"], levels)
        self.combinators = [None if name == "none" else COMBINATORS[name]() for name in names]
        self.layers = layers.from_names("-".join(map(str, layer_words)))
        acts = [original.ACTIVATIONS[word] for word in per_level("act", meta["act"], levels)[1:-1]]
        return ladder_jax.ladder(
            # channels first in the file, last here
            (*input_shape[1:], input_shape[0]),
            self.layers,
            combinators=self.combinators,
            denoising_cost=[
                cost if g is not None else 0.0
                for cost, g in zip(meta["denoising_cost_x"], self.combinators, strict=True)
            ],
            noise_std=meta["noise_std_used"],
            activation=acts,
            top=activations.softmax(gain=meta["top_c"]),
            normalize_estimate={"bugfix": True, "no": False}[meta["zestbn"]],
        )

    def read(self, key: str) -> np.ndarray:
        """Returns the array of a key and marks it as read."""
        self.unread.discard(key)
        return self.arrays[key]

    def rows(self, key: str, level: int) -> np.ndarray:
        """Returns the rows of a level in our layout; one value per map is broadcast over it."""
        *space, channels = self.net.shapes[level]
        rows = self.read(key)
        rows = rows.reshape(len(rows), channels, -1)
        rows = np.broadcast_to(rows, (*rows.shape[:2], math.prod(space)))
        return rows.swapaxes(1, 2).reshape(-1, *self.net.shapes[level])

    def _units(self, array: np.ndarray, axis: int, level: int) -> np.ndarray:
        """Reorders one axis over all units of a level from channels first to channels last."""
        *space, channels = self.net.shapes[level]
        if array.shape[axis] != channels * math.prod(space):
            return array  # one value per channel
        split = [*array.shape[:axis], channels, math.prod(space), *array.shape[axis + 1 :]]
        return array.reshape(split).swapaxes(axis, axis + 1).reshape(array.shape)

    def _parameter(self, prefix: str, place: tuple[Any, ...], shape: tuple[int, ...]) -> jax.Array:
        words = jax.tree_util.keystr(place, simple=True, separator="/").split("/")
        level, part, name = int(words[0]), *words[1:]
        key = (
            prefix
            + {
                "up": f"f_{level}_W",
                "down": f"g_{level - 1}_W",
                "activation": f"f_{level}_{'c' if name == 'gain' else 'b'}",
                "combinator": f"g_{level}_{name}",
            }[part]
        )
        if prefix == "grad_" and key not in self.arrays:
            return np.zeros(shape)  # the total does not depend on it
        array = self.read(key)
        if array.ndim == 4:  # a true convolution: the kernel is flipped
            array = array[:, :, ::-1, ::-1].transpose(2, 3, 1, 0)
        elif part != "activation":
            axis, below = {"up": (0, 1), "down": (1, 1), "combinator": (0, 0)}[part]
            array = self._units(array, axis, level - below)
        return jnp.asarray(array.reshape(shape))

    def params(self, prefix: str = "param_") -> Any:
        """Returns parameters, or arrays of the same shapes, in our layout."""
        shapes = jax.eval_shape(self.net.init, jax.random.key(0))
        return jax.tree_util.tree_map_with_path(
            lambda place, leaf: self._parameter(prefix, place, leaf.shape), shapes
        )

    def batch(self, prefix: str = "") -> Batch:
        """Returns the labelled and unlabelled rows."""
        return Batch(
            jnp.asarray(self.rows(prefix + "in_x_labeled", 0)),
            jnp.asarray(self.read(prefix + "in_y_labeled")),
            jnp.asarray(self.rows(prefix + "in_x_unlabeled", 0)),
        )

    def noise(self, prefix: str = "") -> Noise:
        """Returns the injected noise; in the files, labelled rows come first."""
        labeled = self.arrays[prefix + "in_x_labeled"].shape[0]
        levels = [jnp.asarray(self.rows(f"{prefix}noise_{i}", i)) for i in self.levels]
        return Noise(tuple(n[:labeled] for n in levels), tuple(n[labeled:] for n in levels))
