"""Reads the golden numbers of the paper's own program and builds the ladder they came from.

The format: one forward and backward pass (or several Adam steps) in float64 with
injected noise. ``meta_json`` holds the settings; dense weights are ``[in, out]``;
level 0 is the input. Nothing here knows a file's sizes.
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import ladder_jax
from ladder_jax import activations, combinators
from ladder_jax.types import Activation, Batch, Combinator, Layer, Noise

ACTIVATIONS = {
    "relu": activations.relu,
    "leakyrelu": activations.leaky_relu,
    "sig": activations.sigmoid,
    "softplus": activations.softplus,
    "linear": activations.linear,
}
COMBINATORS = {"gauss": combinators.gaussian, "sig": combinators.sigmoid}


def _named(table: dict[str, Any], kind: str, word: str) -> Any:
    if word not in table:
        raise NotImplementedError(f"{kind} {word!r} is not built; built are {sorted(table)}.")
    return table[word]


def _layer(word: str) -> Layer:
    units = word.removeprefix("fc:")
    if not units.isdigit():
        raise NotImplementedError(f"layer {word!r} is not built; built are dense layers.")
    return ladder_jax.dense(int(units))


def _spread(words: list[str], count: int) -> list[str]:
    return list(words) * count if len(words) == 1 else list(words)[-count:]


class Reference:
    """One file: its ladder, its parameters and batch in our form, its numbers by key."""

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
        input_shape, *words = meta["encoder_layers"]
        levels = len(words) + 1
        specs = _spread(meta["decoder_spec"], levels)
        gs: list[Combinator | None] = [
            None if spec == "0" else _named(COMBINATORS, "decoder", spec)() for spec in specs
        ]
        self.combinators = gs
        self.layers = [_layer(word) for word in words]
        acts: list[Activation] = [
            _named(ACTIVATIONS, "activation", word)() for word in _spread(meta["act"], levels - 1)
        ]
        return ladder_jax.ladder(
            tuple(input_shape),
            self.layers,
            combinators=gs,
            denoising_cost=[
                cost if g is not None else 0.0
                for cost, g in zip(meta["denoising_cost_x"], gs, strict=True)
            ],
            noise_std=meta["noise_std_used"],
            activation=acts[:-1],
            top=activations.softmax(gain=meta["top_c"]),
            normalize_estimate={"bugfix": True, "no": False}[meta["zestbn"]],
        )

    def read(self, key: str) -> np.ndarray:
        """The array of that key, counted as read."""
        self.unread.discard(key)
        return self.arrays[key]

    def rows(self, key: str, level: int) -> np.ndarray:
        """Rows of a level, in our layout."""
        return self.read(key).reshape(-1, *self.net.shapes[level])

    def params(self, prefix: str = "param_") -> tuple[dict[str, Any], ...]:
        """Parameters, or whatever has one value a parameter, in our form."""
        out: list[dict[str, Any]] = []
        get = lambda name: jnp.asarray(self.read(prefix + name))
        for level in self.levels:
            params: dict[str, Any] = {}
            if level > 0:
                f = f"f_{level}_"
                below = self.combinators[level - 1]
                params["up"] = {"kernel": get(f + "W")}
                params["activation"] = {
                    ours: get(f + theirs)
                    for ours, theirs in (("bias", "b"), ("gain", "c"))
                    if prefix + f + theirs in self.arrays
                }
                params["down"] = None
                if below is not None and below.uses_u:
                    params["down"] = {"kernel": get(f"g_{level - 1}_W")}
            if self.combinators[level] is not None:
                g = f"{prefix}g_{level}_"
                names = [k.removeprefix(g) for k in self.arrays if k.startswith(g)]
                params["combinator"] = {n: get(f"g_{level}_{n}") for n in names if n != "W"}
            out.append(params)
        return tuple(out)

    def batch(self, prefix: str = "") -> Batch:
        """The labelled and unlabelled rows."""
        return Batch(
            jnp.asarray(self.rows(prefix + "in_x_labeled", 0)),
            jnp.asarray(self.read(prefix + "in_y_labeled")),
            jnp.asarray(self.rows(prefix + "in_x_unlabeled", 0)),
        )

    def noise(self, prefix: str = "") -> Noise:
        """The injected noise; in the files, labelled rows come first."""
        labeled = self.arrays[prefix + "in_x_labeled"].shape[0]
        levels = [jnp.asarray(self.rows(f"{prefix}noise_{i}", i)) for i in self.levels]
        return Noise(tuple(n[:labeled] for n in levels), tuple(n[labeled:] for n in levels))
