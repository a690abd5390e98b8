"""Your own data: arrays in memory, or an ``.npz`` file of them."""

from __future__ import annotations

import collections
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ladder_jax.data.base import DataError, Dataset, check_examples
from ladder_jax.data.npz import read_npz
from ladder_jax.data.scaling import scale_of, to_scale

NO_LABEL = -1
"""The label of an example without one, as in scikit-learn."""

_ARRAYS = ("x", "y", "x_test", "y_test", "class_names")


def from_arrays(
    x: Any,
    y: Any,
    x_test: Any = None,
    y_test: Any = None,
    *,
    class_names: Sequence[str] = (),
    name: str = "arrays",
) -> Dataset:
    """A ``Dataset`` of your own.

    Without ``x_test`` there is no test set; nothing is taken from the training
    examples in its place (``Config.validation`` holds labelled ones out).

    Args:
      x: ``[n, ...]``, numbers of any kind; bytes (uint8) are taken for pixels and
        divided by 255, unless they are 0 and 1 alone. ``scaling.SCALES`` says what
        that means for rows that come later.
      y: ``[n]``, integers: classes from 0, without a gap, or -1 for no label.
      x_test: ``[m, ...]``, put on the scale of ``x``, or None.
      y_test: ``[m]``, each a class, or None.
      class_names: one a class; the numbers, if none are given.
      name: for messages and results.

    Returns:
      A ``Dataset``.

    Raises:
      DataError: shapes, dtypes or values are wrong.

    Example:
      >>> import numpy as np
      >>> own = from_arrays(np.zeros((3, 2)), np.array([0, 1, -1]), class_names=["no", "yes"])
      >>> own.y_train.tolist(), own.class_names, len(own.x_test)
      ([0, 1, -1], ('no', 'yes'), 0)
    """
    x, y = _features(f"{name}, x", x), _labels(f"{name}, y", y)
    scale = scale_of(x)
    names = tuple(str(item) for item in class_names)
    classes = len(names) or int(y.max(initial=NO_LABEL)) + 1
    if len(y) and not (y != NO_LABEL).any():
        raise DataError(f"{name}, y: all labels are -1 (no label); give some of each class.")
    check_examples(f"{name}, x and y", x, y, classes, unlabeled=True)
    present = np.unique(y[y != NO_LABEL])
    if len(present) < classes:  # not by counting to the largest label, which may be any
        gaps = np.flatnonzero(present != np.arange(len(present)))
        missing = gaps[0] if gaps.size else len(present)
        raise DataError(
            f"{name}, y: no example of class {missing}, though there are {classes} classes; "
            "number them from 0 without a gap, and give -1 where there is no label."
        )
    twice = [item for item, times in collections.Counter(names).items() if times > 1]
    if twice:
        raise DataError(f"{name}: class name {twice[0]!r} given twice; give each class its own.")
    if classes < 2:
        raise DataError(f"{name}, y: one class alone; give at least two.")
    if (x_test is None) != (y_test is None):
        raise DataError(f"{name}: x_test and y_test go together; give both or neither.")
    if x_test is None:
        x_test, y_test = x[:0], y[:0]
    else:
        x_test, y_test = _features(f"{name}, x_test", x_test), _labels(f"{name}, y_test", y_test)
        check_examples(f"{name}, x_test and y_test", x_test, y_test, classes)
    x, x_test = to_scale(f"{name}, x", x, scale), to_scale(f"{name}, x_test", x_test, scale)
    if x.shape[1:] != x_test.shape[1:]:
        raise DataError(
            f"{name}: a row of x is {x.shape[1:]}, one of x_test {x_test.shape[1:]}; they must "
            "be of one shape."
        )
    names = names or tuple(str(number) for number in range(classes))
    return Dataset(name, x, y.astype(np.int32), x_test, y_test.astype(np.int32), names, scale)


def _features(name: str, given: Any) -> np.ndarray:
    x: np.ndarray = np.asarray(given)
    if x.dtype.kind not in "biuf":
        raise DataError(f"{name}: dtype {x.dtype}; give numbers.")
    if x.ndim < 2 or 0 in x.shape[1:]:
        raise DataError(f"{name}: shape {x.shape}; give [rows, features] or [rows, height, ...].")
    return x


def _labels(name: str, y: Any) -> np.ndarray:
    y = np.asarray(y)
    if y.dtype.kind not in "iu":
        raise DataError(f"{name}: dtype {y.dtype}; give class numbers as integers.")
    if y.ndim != 1:
        raise DataError(f"{name}: shape {y.shape}; give one label a row, [rows].")
    if y.size and int(y.max()) >= 2**31 - 1:
        raise DataError(f"{name}: label {y.max()}; number the classes from 0 without a gap.")
    return np.asarray(y, np.int64)


def load_npz(path: str | pathlib.Path) -> Dataset:
    """A ``Dataset`` from an ``.npz`` file with ``x``, ``y`` and more, by these names.

    Optional are ``x_test``, ``y_test`` and ``class_names`` (strings). Their
    meanings are those of ``from_arrays``.

    Args:
      path: of the file, as ``numpy.savez`` or ``savez_compressed`` writes it.

    Returns:
      A ``Dataset`` of the file's name.

    Raises:
      DataError: the file is missing, damaged or holds Python objects, ``x`` or
        ``y`` is missing, or values are wrong.

    Example:
      >>> import pathlib, tempfile
      >>> import numpy as np
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder) / "mine.npz"
      ...     np.savez(path, x=np.zeros((3, 2)), y=[0, 1, -1])
      ...     load_npz(path).class_names
      ('0', '1')
    """
    path = pathlib.Path(path).expanduser()
    arrays = read_npz(path, _ARRAYS)
    _require(path, arrays, ("x", "y"))
    names = _class_names(path, arrays)
    return from_arrays(**arrays, class_names=names, name=path.stem)


def load_test_npz(
    path: str | pathlib.Path, classes: int
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Examples to test on from an ``.npz`` file: ``x_test``, ``y_test``, or else ``x``, ``y``.

    Args:
      path: as for ``load_npz``.
      classes: how many there are; not each must be there.

    Returns:
      ``(x, y, class names)``, x as it is in the file, no names where it has none.

    Raises:
      DataError: as ``load_npz``, or an example has no label.

    Example:
      >>> import pathlib, tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder) / "new.npz"
      ...     np.savez(path, x=np.zeros((2, 3)), y=[0, 0])
      ...     load_test_npz(path, classes=2)[1].tolist()
      [0, 0]
    """
    path = pathlib.Path(path).expanduser()
    arrays = read_npz(path, _ARRAYS)
    suffix = "_test" if {"x_test", "y_test"} & arrays.keys() else ""
    x_key, y_key = f"x{suffix}", f"y{suffix}"
    _require(path, arrays, (x_key, y_key))
    x, y = _features(f"{path}, {x_key}", arrays[x_key]), _labels(f"{path}, {y_key}", arrays[y_key])
    check_examples(f"{path}, {x_key} and {y_key}", x, y, classes)
    return x, y.astype(np.int32), _class_names(path, arrays)


def _require(path: pathlib.Path, arrays: dict[str, np.ndarray], keys: Sequence[str]) -> None:
    for key in keys:
        if key not in arrays:
            wanted = ", ".join(f"{name}={name}" for name in keys)
            raise DataError(f"{path}: no array {key!r}; write it with numpy.savez(path, {wanted}).")


def _class_names(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> tuple[str, ...]:
    """The names in a file, taken out of its arrays; none where it has none."""
    names = arrays.pop("class_names", np.zeros(0, str))
    if names.ndim != 1 or names.dtype.kind != "U":
        raise DataError(f"{path}: class_names must be a list of strings, one a class.")
    try:
        return tuple(names.tolist())
    except ValueError as error:  # bytes that are no characters
        raise DataError(f"{path}: class_names are damaged ({error}).") from error
