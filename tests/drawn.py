"""Numbers drawn by NumPy, for which nothing is compiled, as JAX does for every shape."""

import jax
import numpy as np

from ladder_jax.types import Noise


def normal(seed, shape, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def moved(params, scale=0.3, dtype=np.float32, seed=9):
    """Parameters away from the start, where half of the gradients are 0."""
    rng = np.random.default_rng(seed)
    away = lambda leaf: np.asarray(leaf) + scale * rng.normal(size=leaf.shape)
    return jax.tree.map(lambda leaf: jax.device_put(away(leaf).astype(dtype)), params)


def noise(net, labeled, unlabeled, dtype=np.float32, seed=4):
    """That of a loss, as ``net.draw_noise`` shapes it."""
    rng = np.random.default_rng(seed)
    draw = lambda rows: tuple(rng.normal(size=(rows, *s)).astype(dtype) for s in net.shapes)
    return Noise(draw(labeled), draw(unlabeled))
