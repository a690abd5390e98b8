"""Your own data, as arrays in memory or an ``.npz`` file, and the scale of its numbers.

The same pixels may come as bytes, other integers, floats or cells of a CSV file. The
scale of the training rows is kept with the model; later rows are put on that scale, or
refused if they may be on another. Files are read without pickle and without trusting
their headers.
"""

from __future__ import annotations

import math
import pathlib
import sys
import zipfile
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from ladder_jax.data import base, labels
from ladder_jax.data.base import Dataset, to_float
from ladder_jax.errors import DataError

# Each comment says how later rows are treated.
SCALES = {
    # Integers of any dtype, 0 to 255, are divided; floats must be divided already.
    "bytes": "bytes (uint8), divided by 255",
    # Bytes are divided; other integers are refused above 1 in images, above 10 in features.
    "unit": "numbers from 0 to 1",
    # Integers, bytes included, are refused above 1 in images, above 10 in features.
    "binary": "0 and 1 alone",
    # Images of fractions from 0 to 1 are refused.
    "pixels": "whole numbers from 0 to 255, as they were",
    # Images of bytes are refused.
    "numbers": "numbers, as they were",
    # Runs of earlier versions did not record the scale.
    "unknown": "not written down; bytes (uint8) are divided by 255, all else is as it is",
}
"""Scales of training rows; later rows are put on the same scale, or refused."""

_MOST_SCALED = 10.0
"""Upper bound on pixels divided by 255, including any noise added to them."""
_ALIASES = {
    "x": ("x_train", "train_images"),
    "y": ("y_train", "train_labels"),
    "x_test": ("test_images",),
    "y_test": ("test_labels",),
}
"""Names that Keras and MedMNIST give these arrays."""
_READ_HEADER = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def scale_of(x: np.ndarray) -> str:
    """Returns the scale of training rows ``[n, ...]``, one of ``SCALES``.

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
    whole = all((part == np.floor(part)).all() for part in base.chunks(x))
    if high <= 1:
        return "binary" if whole else "unit"
    return "pixels" if whole else "numbers"


def to_scale(name: str, x: np.ndarray, scale: str) -> np.ndarray:
    """Puts rows ``[n, ...]`` on the scale of the training rows, as float32 or float64.

    Raises:
      DataError: the rows are on another scale, or may be.

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
    divide = integers if scale == "bytes" else is_bytes and scale in ("unit", "unknown")
    limit = 1 if is_image else _MOST_SCALED
    if divide and high == 1 and (scale == "unit" or not is_bytes):
        wanted = "is 1 white, or 1 of 255? Give floats from 0 to 1"
    elif divide and (low < 0 or high > 255):
        wanted = "give integers from 0 to 255, or floats from 0 to 1"
    elif integers and not divide and scale in ("unit", "binary") and high > limit:
        wanted = "divide pixels by 255, and give other numbers as floats"
    elif scale == "bytes" and not integers and _undivided(x):
        wanted = "divide them by 255, or give integers"
    elif scale == "pixels" and is_image and low >= 0 and high <= 1 and scale_of(x) == "unit":
        wanted = "multiply them by 255"
    elif scale == "numbers" and is_image and is_bytes:
        wanted = "scale them as in training and give floats"
    else:
        return x.astype(np.uint8, copy=False) / np.float32(255) if divide else to_float(x)
    raise DataError(
        f"{name}: {x.dtype} from {low:g} to {high:g}, but in training {SCALES[scale]}; {wanted}."
    )


def _undivided(x: np.ndarray) -> bool:
    """Returns whether any row of floats cannot be pixels divided by 255."""
    for part in base.chunks(x.reshape(len(x), -1)):
        peaks = np.abs(part).max(1)
        if (peaks > _MOST_SCALED).any() or (part[peaks > 1] % 1 == 0).all(1).any():
            return True
    return False


def new_rows(
    name: str, x: Any, shape: tuple[int, ...], first: int = 0, scale: str = "unknown"
) -> np.ndarray:
    """Returns new rows in the shape and on the scale of the training rows, all finite.

    Rows of ``x`` may be flat. Messages call them ``name`` and number them from ``first``.

    Raises:
      DataError: the shape, the dtype, the scale or a value is wrong.

    Examples:
      >>> new_rows("x", np.full((2, 4), 255, np.uint8), (2, 2))[1].tolist()
      [[1.0, 1.0], [1.0, 1.0]]
    """
    x = base.as_array(name, x)
    base.check_new(name, x, shape)
    x = x.reshape(len(x), *shape)
    base.check_finite(name, x, first)
    return to_scale(name, x, scale)


def from_arrays(
    x: Any,
    y: Any,
    x_test: Any = None,
    y_test: Any = None,
    *,
    class_names: Sequence[str] = (),
    name: str = "arrays",
    kind: str = "",
    ignore: Sequence[int] = labels.VOID,
) -> Dataset:
    """Makes a ``Dataset`` from your own arrays.

    Without ``x_test`` the test set is empty; no training examples are moved into it
    (``Config.validation`` holds labelled ones out).

    Args:
      x: examples ``[n, ...]`` of any numeric dtype; bytes (uint8) are taken as pixels and
        divided by 255, unless all are 0 or 1. ``SCALES`` says what this means for later
        rows. The column names of a data frame are kept as ``feature_names``.
      y: labels, one of: classes ``[n]``, integers from 0 without a gap, -1 for no label, or
        their names as text, "" for no label; a class per pixel, integers
        ``[n, height, width]``, for images with or without a channel axis; numbers ``[n]`` or
        ``[n, d]``, NaN for no label; several labels ``[n, k]``, integers 0, 1 or -1 for no label.
      x_test: test examples ``[m, ...]``, put on the scale of ``x``, or None. If both are data
        frames, they have the same columns in the same order.
      y_test: as ``y``, except that each row needs a label, or None.
      class_names: one name per class, in order, or per column of ``y``; if empty, the
        class numbers, or the names in ``y``, sorted.
      name: name of the data set, for messages and results.
      kind: kind of the labels, one of ``KINDS``; "" infers it as ``labels.kind_of`` does,
        which refuses whole numbers given as floats.
      ignore: values of a mask that mark pixels without a label.

    Raises:
      DataError: shapes, dtypes or values are wrong.

    Examples:
      >>> dataset = from_arrays(np.zeros((3, 2)), np.array([0, 1, -1]), class_names=["no", "yes"])
      >>> dataset.y_train.tolist(), dataset.class_names, len(dataset.x_test)
      ([0, 1, -1], ('no', 'yes'), 0)
    """
    no_label = math.nan if kind == "numbers" else labels.NO_LABEL
    features = base.column_names(x)
    base.check_columns(f"{name}, x_test", x_test, features)
    x, y = _features(f"{name}, x", x), labels.as_array(f"{name}, y", y, no_label)
    names = tuple(str(item) for item in class_names)
    if kind in ("", "classes") and labels.is_text(y):
        y, names = labels.number_text(f"{name}, y", y, names)
    kind = kind or labels.kind_of(f"{name}, y", y)
    y = labels.as_kind(f"{name}, y", y, kind, ignore)
    known = len(names) or labels.count(y, kind)
    labels.check_any(f"{name}, y", y, kind)
    labels.check(f"{name}, x and y", x, y, kind, known, unlabeled=True)
    labels.check_training(name, y, kind, known, names)
    if (x_test is None) != (y_test is None):
        raise DataError(f"{name}: x_test and y_test go together; give both or neither.")
    if x_test is None:
        x_test, y_test = x[:0], y[:0]
    else:
        x_test = _features(f"{name}, x_test", x_test)
        y_test = labels.as_array(f"{name}, y_test", y_test, no_label)
        if kind == "classes" and names and labels.is_text(y_test):
            y_test, _ = labels.number_text(f"{name}, y_test", y_test, names)
        y_test = labels.as_kind(f"{name}, y_test", y_test, kind, ignore)
        labels.check(f"{name}, x_test and y_test", x_test, y_test, kind, known)
    if kind == "pixels":
        x, x_test = (part[..., None] if part.ndim == 3 else part for part in (x, x_test))
    scale = scale_of(x)
    x, x_test = to_scale(f"{name}, x", x, scale), to_scale(f"{name}, x_test", x_test, scale)
    if x.shape[1:] != x_test.shape[1:]:
        raise DataError(
            f"{name}: a row of x is {x.shape[1:]}, one of x_test {x_test.shape[1:]}; they must "
            "be of one shape."
        )
    if kind == "classes":
        y, y_test = y.astype(np.int32), y_test.astype(np.int32)
    names = names or tuple(str(number) for number in range(known))
    return Dataset(name, x, y, x_test, y_test, names, scale, kind, features)


def _features(name: str, values: Any) -> np.ndarray:
    x = base.as_array(name, values)
    if x.dtype.kind not in "biuf":
        raise DataError(f"{name}: dtype {x.dtype}; give numbers.")
    if x.ndim < 2 or 0 in x.shape[1:]:
        raise DataError(f"{name}: shape {x.shape}; give [rows, features] or [rows, height, ...].")
    return x


def load_npz(path: str | pathlib.Path) -> Dataset:
    """Loads a ``Dataset`` from an ``.npz`` file with arrays ``x``, ``y`` and optional others.

    The optional arrays are ``x_test``, ``y_test``, ``class_names`` (strings), ``kind`` (a string)
    and ``ignore``; all mean the same as in ``from_arrays``. The file is written by
    ``numpy.savez`` or ``savez_compressed``. Files of Keras (``x_train``, ``y_train``) and
    MedMNIST (``train_images``, ``train_labels``, ``test_images``, ``test_labels``) are read as
    they are; MedMNIST's validation images are ignored.

    Raises:
      DataError: the file is missing, corrupt or holds Python objects, ``x`` or
        ``y`` is missing or occurs twice, or values are wrong.

    Examples:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder) / "mine.npz"
      ...     np.savez(path, x=np.zeros((3, 2)), y=[0, 1, -1])
      ...     load_npz(path).class_names
      ('0', '1')
    """
    path = pathlib.Path(path).expanduser()
    arrays, options = _read(path)
    require_arrays(path, arrays, ("x", "y"))
    return from_arrays(**arrays | options, name=path.stem)


def load_test_npz(
    path: str | pathlib.Path,
    classes: Sequence[str],
    kind: str = "classes",
    *,
    by_name: bool = False,
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Loads test examples from an ``.npz`` file: ``x_test, y_test`` or, if absent, ``x, y``.

    Args:
      path: path of the file.
      classes: names of the classes, or of the columns of ``y``, in training.
      kind: kind of the labels, one of ``KINDS``.
      by_name: whether integers are names of classes, if the file names none, or else numbers.

    Returns:
      ``(x, y, class names)``: x as stored in the file; the names are empty if it has none.

    Raises:
      DataError: as ``load_npz``, or an example has no label or an unknown class.
    """
    path = pathlib.Path(path).expanduser()
    arrays, options = _read(path)
    if options["kind"] not in ("", kind):
        raise DataError(
            f"{path}: kind is {options['kind']!r}, but in training labels were {kind}; give labels "
            "of that kind."
        )
    suffix = "_test" if {"x_test", "y_test"} & arrays.keys() else ""
    x_key, y_key = f"x{suffix}", f"y{suffix}"
    require_arrays(path, arrays, (x_key, y_key))
    x, y = _features(f"{path}, {x_key}", arrays[x_key]), arrays[y_key]
    if by_name and kind == "classes" and y.dtype.kind in "iu" and not options["class_names"]:
        y = y.astype(str)
    if kind == "classes" and labels.is_text(y):
        y, _ = labels.number_text(f"{path}, {y_key}", y, classes)
    y = labels.as_kind(f"{path}, {y_key}", y, kind, options["ignore"])
    labels.check(f"{path}, {x_key} and {y_key}", x, y, kind, len(classes))
    return x, y.astype(np.int32) if kind == "classes" else y, options["class_names"]


def _read(path: pathlib.Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the arrays of a file, and its other options, as arguments of ``from_arrays``."""
    arrays = read_npz(
        path, ("class_names", "kind", "ignore", *_ALIASES, *sum(_ALIASES.values(), ()))
    )
    for name, aliases in _ALIASES.items():
        present = [alias for alias in (name, *aliases) if alias in arrays]
        if len(present) > 1:
            raise DataError(f"{path}: both {present[0]!r} and {present[1]!r}; keep one of them.")
        if present:
            arrays[name] = arrays.pop(present[0])
    names = arrays.pop("class_names", np.zeros(0, str))
    kind, ignore = arrays.pop("kind", np.array("")), arrays.pop("ignore", np.array(labels.VOID))
    if names.ndim != 1 or names.dtype.kind != "U":
        raise DataError(f"{path}: class_names must be a list of strings, one per class.")
    if kind.ndim or kind.dtype.kind != "U":
        raise DataError(f"{path}: kind must be a string, one of {', '.join(labels.KINDS)}.")
    if ignore.ndim > 1 or ignore.dtype.kind not in "iu":
        raise DataError(f"{path}: ignore must be a list of integers.")
    options = {"class_names": tuple(names.tolist()), "kind": str(kind)}
    return arrays, options | {"ignore": ignore.reshape(-1).tolist()}


def require_arrays(path: pathlib.Path, arrays: Collection[str], keys: Sequence[str]) -> None:
    """Checks that a file has an array for each key."""
    for key in keys:
        if key not in arrays:
            wanted = ", ".join(f"{name}={name}" for name in keys)
            raise DataError(f"{path}: no array {key!r}; write it with numpy.savez(path, {wanted}).")


def read_npz(path: pathlib.Path, wanted: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Reads the arrays of an ``.npz`` file; only those named in ``wanted``, if it is given.

    Object arrays are refused, so nothing in the file is executed. No more memory is
    allocated than the arrays declare, and none if the file cannot hold that much.
    """
    try:
        with path.open("rb") as opened, zipfile.ZipFile(opened) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            return {
                name: _read_member(archive, info, f"{path}, {name}")
                for name, info in members.items()
                if wanted is None or name in wanted
            }
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or 'corrupt'}.") from error
    except Exception as error:
        # On corrupt bytes zipfile, zlib and NumPy's header parser raise a dozen types.
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise DataError(
            f"{path}: not an .npz file, or a corrupt one ({reason}); write it with numpy.savez."
        ) from error


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> np.ndarray:
    deflated = info.compress_type == zipfile.ZIP_DEFLATED
    if not deflated and info.compress_type != zipfile.ZIP_STORED:
        raise DataError(f"{name}: compression {info.compress_type}; write it with numpy.savez.")
    limit = archive.fp.seek(0, 2) * (base.MOST_DEFLATED if deflated else 1) if archive.fp else 0
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        if version not in _READ_HEADER:
            raise ValueError(f"npy format {version[0]}.{version[1]} is not known")
        shape, fortran, dtype = _READ_HEADER[version](file)
        if dtype.hasobject:
            raise DataError(
                f"{name}: holds Python objects (pickles), which are refused; save numbers, or "
                "text by astype(str)."
            )
        size = math.prod(shape) * max(dtype.itemsize, 1)  # NumPy gives empty text a character
        if not 0 <= size <= limit:
            raise DataError(f"{name}: declares {size} bytes, more than the file holds.")
        array = np.empty(shape[::-1] if fortran else shape, dtype)
        if size and (not base.read_into(file, array) or file.read(1)):
            raise DataError(f"{name}: not the {size} bytes that its header declares.")
        if size and dtype.kind == "U":
            codes = array.reshape(-1).view(np.dtype(np.uint32).newbyteorder(dtype.byteorder))
            if codes.max() > sys.maxunicode:
                raise DataError(f"{name}: corrupt text; write it again with numpy.savez.")
    return array.T if fortran else array
