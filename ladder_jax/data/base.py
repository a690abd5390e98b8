"""What a data set is, and the checks that every one must pass."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np


class DataError(ValueError):
    """Something is wrong with the data given; the message says what to change."""


class Examples(Protocol):
    """Rows that are read when asked for: an array, a memory map, a prepared set.

    ``rows[indices]`` and ``rows[start:stop]`` give float arrays ``[k, ...]``.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any: ...


class Dataset(NamedTuple):
    """Images or rows with their classes.

    Attributes:
      name: e.g. ``"mnist"``.
      x_train: float32 or float64 ``[n, ...]``; bytes of images as 0 to 1.
      y_train: int32 ``[n]``, classes from 0; -1 where there is no label.
      x_test: float32 ``[m, ...]``; m is 0 where there is no test set.
      y_test: int32 ``[m]``.
      class_names: one a class.
      scale: what numbers the examples were, one of ``scaling.SCALES``.
    """

    name: str
    x_train: Examples
    y_train: np.ndarray
    x_test: Examples
    y_test: np.ndarray
    class_names: tuple[str, ...]
    scale: str = "unknown"


class Rows:
    """Chosen rows of examples, transformed when they are read.

    Args:
      source: the examples.
      chosen: numbers of the rows, in the order wanted; None for all.
      transform: of rows ``[k, ...]`` to rows; None for none.

    Example:
      >>> import numpy as np
      >>> rows = Rows(np.arange(6.0).reshape(3, 2), np.array([2, 0]), lambda x: x + 1)
      >>> rows.shape, rows[1:].tolist()
      ((2, 2), [[1.0, 2.0]])
    """

    def __init__(
        self,
        source: Examples,
        chosen: np.ndarray | None = None,
        transform: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        self._source = source
        self._chosen = np.arange(len(source)) if chosen is None else chosen
        self._transform = transform or (lambda x: x)
        row_shape = self._transform(np.zeros((1, *source.shape[1:]), np.float32)).shape[1:]
        self.shape: tuple[int, ...] = (len(self._chosen), *row_shape)

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, rows: Any, /) -> np.ndarray:
        return self._transform(np.asarray(self._source[self._chosen[rows]]))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


def to_float(x: np.ndarray) -> np.ndarray:
    """Numbers as float32 where that holds them all, else as float64.

    Example:
      >>> import numpy as np
      >>> [to_float(np.array([3], dtype)).dtype.name for dtype in ("u1", "f4", "i8", "f8")]
      ['float32', 'float32', 'float64', 'float64']
    """
    small = x.dtype in (np.bool_, np.uint8, np.int8, np.uint16, np.int16, np.float16, np.float32)
    with np.errstate(over="ignore"):  # of long doubles: an infinity is found and reported
        return x.astype(np.float32 if small else np.float64, copy=False)


def place(wrong: np.ndarray) -> str:
    """Names the first place of one row that is marked.

    Example:
      >>> place(np.array([False, True])), place(np.array([[False, True]]))
      ('column 1', 'position (0, 1)')
    """
    index = tuple(map(int, np.argwhere(wrong)[0]))
    return f"column {index[0]}" if len(index) == 1 else f"position {index}"


def check_finite(name: str, x: np.ndarray, first: int = 0) -> None:
    """That no row has NaN or infinite values.

    Args:
      name: of the rows, for the message.
      x: ``[n, ...]``.
      first: the number of the first row, for the message.

    Raises:
      DataError: one has.

    Example:
      >>> check_finite("x", np.ones((2, 3)))
    """
    bad = np.flatnonzero(~np.isfinite(x).all(tuple(range(1, x.ndim))))
    if bad.size:
        raise DataError(
            f"{name}: NaN or infinite values in {bad.size} row(s), the first is row "
            f"{first + bad[0]}, {place(~np.isfinite(x[bad[0]]))}; remove or replace them."
        )


def check_new(name: str, x: np.ndarray, shape: tuple[int, ...]) -> None:
    """That rows that come after training are numbers of the shape of those of training.

    Args:
      name: of the rows, for the messages.
      x: ``[n, *shape]``, with or without its axes of 1, or each row flat.
      shape: of one row in training.

    Raises:
      DataError: they are not.

    Example:
      >>> check_new("x", np.ones((3, 4)), (2, 2))
    """
    shapes = (shape, (math.prod(shape),))
    # Axes of 1, such as a grey image's channel, may be left out or added.
    given = tuple(size for size in x.shape[1:] if size != 1)
    if x.ndim < 2 or given not in [tuple(n for n in s if n != 1) for s in shapes]:
        wanted = " or ".join(f"[n, {', '.join(map(str, s))}]" for s in dict.fromkeys(shapes))
        raise DataError(f"{name} has shape {x.shape}; wanted {wanted}, as in training.")
    if x.dtype.kind not in "fiub":
        raise DataError(f"{name} has dtype {x.dtype}; give numbers.")


def check_examples(
    name: str, x: np.ndarray, y: np.ndarray, classes: int, *, unlabeled: bool = False
) -> None:
    """That features and labels of one split fit each other.

    Args:
      name: of the split, for the messages.
      x: features.
      y: labels.
      classes: how many there are.
      unlabeled: whether -1, no label, is allowed.

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
    outside = np.flatnonzero((y < (-1 if unlabeled else 0)) | (y >= classes))
    if outside.size:
        row = outside[0]
        no_label = " (or -1: no label)" if unlabeled else ""
        raise DataError(
            f"{name}: label {y[row]} in row {row}; labels run from 0 to {classes - 1}{no_label}."
        )
    check_finite(name, x)
