"""Random numbers from NumPy, which, unlike JAX, compiles nothing for each shape."""

import jax
import numpy as np

from ladder_jax.types import Noise


def normal(seed, shape, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def moved(params, scale=0.3, dtype=np.float32, seed=9):
    """Moves parameters away from their initial values, where half of the gradients are 0."""
    rng = np.random.default_rng(seed)
    perturb = lambda leaf: np.asarray(leaf) + scale * rng.normal(size=leaf.shape)
    return jax.tree.map(lambda leaf: jax.device_put(perturb(leaf).astype(dtype)), params)


def noise(net, labeled, unlabeled, dtype=np.float32, seed=4):
    """Draws the noise of a loss, in the shapes of ``net.draw_noise``."""
    rng = np.random.default_rng(seed)
    draw = lambda rows: tuple(rng.normal(size=(rows, *s)).astype(dtype) for s in net.shapes)
    return Noise(draw(labeled), draw(unlabeled))
