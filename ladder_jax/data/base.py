"""What a data set is, and the checks that every one must pass."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class DataError(ValueError):
    """Something is wrong with the data given; the message says what to change."""


class Dataset(NamedTuple):
    """Images or rows with their classes.

    Attributes:
      name: e.g. ``"mnist"``.
      x_train: float32 ``[n, ...]``; pixels from 0 to 1.
      y_train: int32 ``[n]``, classes from 0.
      x_test: float32 ``[m, ...]``.
      y_test: int32 ``[m]``.
      class_names: one a class.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]


def check_examples(name: str, x: np.ndarray, y: np.ndarray, classes: int) -> None:
    """That features and labels of one split fit each other.

    Args:
      name: of the split, for the messages.
      x: features.
      y: labels.
      classes: how many there are.

    Raises:
      DataError: a count, dtype or value is wrong.

    Example:
      >>> import numpy as np
      >>> check_examples("train", np.zeros((2, 3)), np.array([0, 2]), classes=2)
      Traceback (most recent call last):
      ...
      ladder_jax.data.base.DataError: train: label 2 in row 1; labels run from 0 to 1.
    """
    if len(x) != len(y):
        raise DataError(f"{name}: {len(x)} examples but {len(y)} labels; give one label each.")
    if len(x) == 0:
        raise DataError(f"{name}: no examples; give at least one.")
    if not np.issubdtype(np.asarray(y).dtype, np.integer):
        raise DataError(
            f"{name}: labels have dtype {np.asarray(y).dtype}; give class numbers as integers."
        )
    outside = np.flatnonzero((y < 0) | (y >= classes))
    if outside.size:
        row = outside[0]
        raise DataError(f"{name}: label {y[row]} in row {row}; labels run from 0 to {classes - 1}.")
    bad = np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(1))
    if bad.size:
        raise DataError(
            f"{name}: NaN or infinite values in {bad.size} row(s), the first is row {bad[0]}; "
            "remove or replace them."
        )
