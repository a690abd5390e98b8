"""scikit-learn's handwritten digits: 1,797 real 8 x 8 images inside its wheel."""

from __future__ import annotations

import numpy as np

from ladder_jax.data.base import Dataset

TEST_ROWS = 500
"""Chosen once, at random with seed 0; the set has no official split."""


def load_digits() -> Dataset:
    """1,297 training and 500 test images ``[8, 8, 1]``, no download.

    Returns:
      A ``Dataset`` of 10 classes.

    Example:
      >>> load_digits().x_train.shape
      (1297, 8, 8, 1)
    """
    from sklearn import datasets  # a slow import that only this set needs

    bunch = datasets.load_digits()
    x = (bunch.images[..., None] / 16).astype(np.float32)
    y = bunch.target.astype(np.int32)
    order = np.random.default_rng(0).permutation(len(x))
    train, test = order[TEST_ROWS:], order[:TEST_ROWS]
    names = tuple(str(name) for name in bunch.target_names)
    return Dataset("digits", x[train], y[train], x[test], y[test], names, "unit")
