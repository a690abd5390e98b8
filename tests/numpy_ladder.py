"""A second ladder, in NumPy with plain loops, to check ladder_jax against.

Written only from the description of the paper's own program: images with channels
first, true convolutions, forward pass only. ``Program(meta, seed)`` has random
parameters, batch and noise; ``run()`` returns every number under the keys of the
golden files, ``total(parameters)`` only the cost, for finite differences.
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np

TINY = float(np.float32(1e-10))


def s(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    x = x.reshape(len(x), -1)
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "leakyrelu": lambda x: np.where(x > 0, x, 0.1 * x),
    "sigmoid": s,
    "softplus": lambda x: np.log(1 + np.exp(x)),
    "linear": lambda x: x,
    "softmax": softmax,
}


def axes(x):
    return (0,) if x.ndim == 2 else (0, 2, 3)


def convolve(x, w, mode, stride=1):
    """Computes a true convolution of ``[B, C, H, W]`` with ``[out, C, k, k]``."""
    k = w.shape[-1]
    if mode == "full":
        x = np.pad(x, [(0, 0), (0, 0), (k - 1, k - 1), (k - 1, k - 1)])
    height, width = (range(0, size - k + 1, stride) for size in x.shape[2:])
    z = np.zeros((len(x), len(w), len(height), len(width)))
    for row, i in enumerate(height):
        for column, j in enumerate(width):
            for a in range(k):
                for b in range(k):
                    pixel = x[:, :, i + k - 1 - a, j + k - 1 - b]
                    z[:, :, row, column] += pixel @ w[:, :, a, b].T
    return z


def max_pool(x, size):
    height, width = (range(0, side, size) for side in x.shape[2:])
    z = np.zeros((*x.shape[:2], len(height), len(width)))
    for row, i in enumerate(height):
        for column, j in enumerate(width):
            z[:, :, row, column] = x[:, :, i : i + size, j : j + size].max((2, 3))
    return z


class Program:
    """One ladder with its parameters, batch and noise."""

    def __init__(self, meta: dict[str, Any], seed: int, labeled: int = 6, unlabeled: int = 6):
        self.meta = meta
        self.rng = np.random.default_rng(seed)
        self.parameters: dict[str, np.ndarray] = {}
        self.fixed: dict[str, np.ndarray] = {}
        self.rows = labeled, unlabeled
        self.input_shape, *self.words = meta["encoder_layers"]
        self.levels = len(self.words) + 1
        spread = lambda words: list(words) * (self.levels if len(words) == 1 else 1)
        self.decoders, self.acts = spread(meta["decoder_spec"]), spread(meta["act"])
        self.acts[-1] = "softmax"

    def parameter(self, name, shape, start=0.0):
        if name not in self.parameters:
            scale = 1 / np.sqrt(np.prod(shape[1:])) if name.endswith("W") else 0.3
            self.parameters[name] = start + scale * self.rng.standard_normal(shape)
        return self.parameters[name]

    def constant(self, name, shape):
        if name not in self.fixed:
            self.fixed[name] = self.rng.standard_normal(shape)
        return self.fixed[name]

    def map_up(self, level, h):
        kind, *numbers = self.words[level - 1].split(":")
        if kind in ("convv", "convf"):
            channels, k, stride, _ = map(int, numbers)
            w = self.parameter(f"f_{level}_W", (channels, h.shape[1], k, k))
            return convolve(h, w, "valid" if kind == "convv" else "full", stride)
        if kind == "maxpool":
            return max_pool(h, int(numbers[0]))
        if kind == "globalmeanpool":
            root = float(np.float32(np.sqrt(3)))
            return h.mean((2, 3), keepdims=True) * h.shape[3] * root
        h = h.reshape(len(h), -1)
        return h @ self.parameter(
            f"f_{level}_W", (h.shape[1], int(numbers[0] if numbers else kind))
        )

    def encode(self, x, noise, half, out, kind):
        """Encodes one half of the batch; returns z, h, mean and variance by level."""
        h = z = x if noise is None else x + self.meta["noise_std_used"][0] * noise[0]
        passed = {"z": [z], "h": [h], "m": [None], "s": [None]}
        for level in range(1, self.levels):
            z_pre = self.map_up(level, h)
            m, v = (f(z_pre, axis=axes(z_pre), keepdims=True) for f in (np.mean, np.var))
            z = (z_pre - m) / np.sqrt(v + TINY)
            if noise is not None:
                z = z + self.meta["noise_std_used"][level] * noise[level]
            act = self.acts[level]
            if "pool" in self.words[level - 1] and act != "softmax":
                act = "linear"
            wide = (1, -1) if z.ndim == 2 else (1, -1, 1, 1)
            h = z
            if act != "linear":
                h = h + self.parameter(f"f_{level}_b", z.shape[1:2]).reshape(wide)
            if act in ("sigmoid", "softplus") or (act == "softmax" and self.meta["top_c"]):
                h = h * self.parameter(f"f_{level}_c", z.shape[1:2], 1.0).reshape(wide)
            h = ACTIVATIONS[act](h)
            for name, value in (("z", z), ("h", h), ("m", m), ("s", v)):
                passed[name].append(value)
            for name, value in (("zpre", z_pre), ("m", m), ("s", v)):
                out[f"rec_{kind}_{name}_{half[0]}_{level}"] = value
        for level in range(self.levels):
            for name in "zh":
                out[f"{kind}_{half}_{name}_{level}"] = passed[name][level]
        return passed

    def map_down(self, level, z_hat, shape):
        """Returns the signal from level + 1, before normalisation."""
        kind, *numbers = self.words[level].split(":")
        if kind in ("convv", "convf"):
            _, k, stride, _ = map(int, numbers)
            w = self.parameter(f"g_{level}_W", (shape[0], z_hat.shape[1], k, k))
            batch, channels, height, width = z_hat.shape
            spread = np.zeros((batch, channels, height * stride, width * stride))
            spread[:, :, ::stride, ::stride] = z_hat
            u = convolve(spread, w, "full" if kind == "convv" else "valid")
            return u[:, :, : shape[1], : shape[2]]
        if kind == "maxpool":
            size = int(numbers[0])
            return np.kron(z_hat, np.ones((size, size)))[:, :, : shape[1], : shape[2]]
        if kind == "globalmeanpool":
            return z_hat.reshape(*z_hat.shape[:2], 1, 1)
        z_hat = z_hat.reshape(len(z_hat), -1)
        return z_hat @ self.parameter(f"g_{level}_W", (z_hat.shape[1], np.prod(shape)))

    def combine(self, level, z, u):
        """Returns the estimate of one level; u is None if there is no signal from above."""
        above = self.words[level] if level + 1 < self.levels else ""
        if not ("conv" in above or "pool" in above):
            z = z.reshape(len(z), -1)
        word = self.decoders[level].rstrip("0")
        size, wide = z.shape[1:2], (1, -1) if z.ndim == 2 else (1, -1, 1, 1)
        p = lambda name, start=0.0: self.parameter(f"g_{level}_{name}", size, start).reshape(wide)
        if word == "i":
            return z
        if word == "lin":
            return p("a1", 1.0) * z + p("b")
        if word == "relu":
            return np.maximum(u + p("b"), 0)
        if word == "sigmoid":
            return s((u + p("b")) * p("c", 1.0))
        if word in ("gauss", "gauss_stable_v", "comparison_g5"):
            if u is None:
                return p("w1", 1.0) * z + p("b1")
            mu = p("a1") * s(p("a2", 1.0) * u + p("a3")) + p("a4") * u + p("a5")
            v = p("a6") * s(p("a7", 1.0) * u + p("a8")) + p("a9") * u + p("a10")
            return (z - mu) * (s(v) if word == "gauss_stable_v" else v) + mu
        if word == "comparison_g4":
            z_hat = p("w2_lat", 1.0) * s(p("b1") + p("w1_lat", 1.0) * z) + p("w3_lat") * z + p("b2")
            if u is None:
                return z_hat
            return z_hat + p("w2_ver", 1.0) * s(p("b1") + p("w1_ver", 1.0) * u) + p("w3_ver") * u
        product = word in ("sig", "comparison_g3")
        line = p("a1") + p("a2", 1.0) * z
        if u is not None:
            line = line + p("a3") * u + (p("a4") * z * u if product else 0)
        if word == "comparison_g3":
            return line
        inside = p("c1") + p("c2", 1.0) * z
        if u is not None:
            inside = inside + p("c3") * u + (p("c4") * z * u if product else 0)
        return line + p("b1", 1.0) * s(inside)

    def decode(self, clean, noisy, out):
        """Returns the cost of each decoded level."""
        z_hat, costs = None, {}
        for level in reversed(range(self.levels)):
            word, target = self.decoders[level], clean["z"][level]
            if word == "0":
                z_hat = None
                continue
            u = None
            if not word.endswith("0") and (level + 1 == self.levels or z_hat is not None):
                u = noisy["h"][level] if level + 1 == self.levels else None
                if u is None and word not in ("lin", "i"):
                    u = self.map_down(level, z_hat, target.shape[1:])
            if u is not None:
                out[f"rec_u_raw_{level}"] = u
                u = (u - u.mean(axes(u), keepdims=True)) / np.sqrt(
                    u.var(axes(u), keepdims=True) + TINY
                )
                out[f"rec_u_bn_{level}"] = u
            z_hat = self.combine(level, noisy["z"][level], u)
            if z_hat.ndim == 2:
                z_hat = z_hat.reshape(target.shape)
            z_hat = np.broadcast_to(z_hat, target.shape)  # one value per map below a global pool
            normal = z_hat
            if level > 0 and self.meta["zestbn"] == "bugfix":
                normal = (z_hat - clean["m"][level]) / np.sqrt(clean["s"][level] + TINY)
            out[f"est_z_{level}"], out[f"rec_z_est_norm_{level}"] = z_hat, normal
            costs[level] = out[f"cost_denois_{level}"] = np.mean((normal - target) ** 2)
        return costs

    def run(self) -> dict[str, np.ndarray]:
        out: dict[str, Any] = {}
        n_labeled, n_unlabeled = self.rows
        x = [self.constant(f"x_{n}", (rows, *self.input_shape)) for n, rows in enumerate(self.rows)]
        clean_l = self.encode(x[0], None, "labeled", out, "clean")
        clean_u = self.encode(x[1], None, "unlabeled", out, "clean")
        noise = [
            self.constant(f"n_{level}", (n_labeled + n_unlabeled, *z.shape[1:]))
            for level, z in enumerate(clean_u["z"])
        ]
        noisy_l = self.encode(x[0], [n[:n_labeled] for n in noise], "labeled", out, "corr")
        noisy_u = self.encode(x[1], [n[n_labeled:] for n in noise], "unlabeled", out, "corr")
        costs = self.decode(clean_u, noisy_u, out)
        classes = clean_l["h"][-1].shape[1]
        y = np.arange(n_labeled) % classes
        for name, passed in (("clean", clean_l), ("corr", noisy_l)):
            out[f"cost_class_{name}"] = -np.log(passed["h"][-1][np.arange(n_labeled), y]).mean()
        weights = self.meta["denoising_cost_x"]
        out["cost_total"] = out["cost_class_corr"] + sum(weights[i] * c for i, c in costs.items())
        out["error_rate_clean"] = 100 * np.mean(clean_l["h"][-1].argmax(1) != y)
        out |= {"in_x_labeled": x[0], "in_y_labeled": y, "in_x_unlabeled": x[1]}
        out |= {f"noise_{level}": n for level, n in enumerate(noise)}
        return out

    def total(self, parameters: dict[str, np.ndarray]) -> float:
        saved, self.parameters = self.parameters, parameters
        cost = float(self.run()["cost_total"])
        self.parameters = saved
        return cost

    def write(self, path: pathlib.Path) -> None:
        """Writes a file of the golden format, without gradients."""
        out = self.run() | {f"param_{name}": value for name, value in self.parameters.items()}
        np.savez(
            path, meta_json=json.dumps(self.meta), **{k: np.asarray(v) for k, v in out.items()}
        )
