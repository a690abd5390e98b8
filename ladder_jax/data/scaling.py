"""What numbers the training rows were, and how later rows come to the same.

The same pixels may be bytes, integers of another kind, floats or cells of a CSV file.
What they were in training is kept with the model; a row that comes later is put on
that scale, or refused where it cannot be told to be on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ladder_jax.data.base import DataError, check_finite, check_new, to_float

SCALES = {
    "bytes": "bytes (uint8), divided by 255",
    "unit": "numbers from 0 to 1",
    "binary": "0 and 1 alone",
    "pixels": "whole numbers from 0 to 255, as they were",
    "numbers": "numbers, as they were",
    "unknown": "not written down; bytes (uint8) are divided by 255, all else is as it is",
}
"""What training rows may have been. Later rows, by it:

* bytes: integers of any dtype, from 0 to 255, are divided by 255; floats are taken as
  divided already, and refused where they cannot be.
* unit: bytes (uint8) are divided by 255; other integers are refused in images above 1,
  in rows of features above 10.
* binary: integers are refused in the same way.
* pixels: all is as it is; images of fractions from 0 to 1 are refused.
* numbers: all is as it is; images of bytes are refused.
* unknown: of a run of an earlier version, which did not write it down.
"""

_MOST_SCALED = 10.0
"""What was divided by 255 is below it, noise on it included."""
_CHUNK = 1000


def scale_of(x: np.ndarray) -> str:
    """Returns which of ``SCALES`` training rows are.

    Args:
      x: ``[n, ...]``, numbers.

    Examples:
      >>> [scale_of(np.array([[0, 200]], dtype)) for dtype in (np.uint8, np.int64)]
      ['bytes', 'pixels']
      >>> [scale_of(np.array([[0, high]])) for high in (0.5, 1.0, 1.5)]
      ['unit', 'binary', 'numbers']
    """
    if x.dtype == bool or not x.size:
        return "binary" if x.size else "unknown"
    low, high = x.min(), x.max()
    if high > 1 and x.dtype == np.uint8:
        return "bytes"
    if not (low >= 0 and high <= 255):
        return "numbers"
    whole = all((part == np.floor(part)).all() for part in _parts(x))
    if high <= 1:
        return "binary" if whole else "unit"
    return "pixels" if whole else "numbers"


def _parts(x: np.ndarray) -> Iterator[np.ndarray]:
    return (x[start : start + _CHUNK] for start in range(0, len(x), _CHUNK))


def to_scale(name: str, x: np.ndarray, scale: str) -> np.ndarray:
    """Puts rows on the scale that those of training had.

    Args:
      name: of the rows, for the message.
      x: ``[n, ...]``, numbers.
      scale: one of ``SCALES``.

    Returns:
      float32 or float64, the shape of ``x``.

    Raises:
      DataError: it cannot be told that they are on it.

    Examples:
      >>> to_scale("x", np.array([[0, 255]]), "bytes").tolist()
      [[0.0, 1.0]]
      >>> to_scale("x", np.array([[0, 255]], np.uint8), "pixels").tolist()
      [[0.0, 255.0]]
    """
    if not x.size:
        return to_float(x)
    integers, is_bytes, is_image = x.dtype.kind in "iu", x.dtype == np.uint8, x.ndim > 2
    low, high = x.min(), x.max()
    divided = integers if scale == "bytes" else is_bytes and scale in ("unit", "unknown")
    most = 1 if is_image else _MOST_SCALED
    if divided and high == 1 and (scale == "unit" or not is_bytes):
        wanted = "is 1 white, or 1 of 255? Give floats from 0 to 1"
    elif divided and (low < 0 or high > 255):
        wanted = "give integers from 0 to 255, or floats from 0 to 1"
    elif integers and not divided and scale in ("unit", "binary") and high > most:
        wanted = "divide pixels by 255, and give other numbers as floats"
    elif scale == "bytes" and not integers and _undivided(x):
        wanted = "divide them by 255, or give integers"
    elif scale == "pixels" and is_image and low >= 0 and high <= 1 and scale_of(x) == "unit":
        wanted = "multiply them by 255"
    elif scale == "numbers" and is_image and is_bytes:
        wanted = "scale them as in training and give floats"
    else:
        return x.astype(np.uint8, copy=False) / np.float32(255) if divided else to_float(x)
    raise DataError(
        f"{name}: {x.dtype} from {low:g} to {high:g}, but in training {SCALES[scale]}; {wanted}."
    )


def _undivided(x: np.ndarray) -> bool:
    """Whether a row of floats can be no pixels that were divided by 255."""
    for part in _parts(x.reshape(len(x), -1)):
        most = np.abs(part).max(1)
        if (most > _MOST_SCALED).any() or (part[most > 1] % 1 == 0).all(1).any():
            return True
    return False


def new_rows(
    name: str, x: Any, shape: tuple[int, ...], first: int = 0, scale: str = "unknown"
) -> np.ndarray:
    """Rows that come after training, on the scale of those of training.

    Args:
      name: of the rows, for the messages.
      x: ``[n, *shape]``, or each row flat.
      shape: of one row in training.
      first: the number of the first row, for the messages.
      scale: of training, one of ``SCALES``.

    Returns:
      float32 or float64 ``[n, *shape]``, all finite.

    Raises:
      DataError: shape, dtype, scale or a value is wrong.

    Example:
      >>> new_rows("x", np.full((2, 4), 255, np.uint8), (2, 2))[1].tolist()
      [[1.0, 1.0], [1.0, 1.0]]
    """
    x = np.asarray(x)
    check_new(name, x, shape)
    x = x.reshape(len(x), *shape)
    check_finite(name, x, first)
    return to_scale(name, x, scale)
