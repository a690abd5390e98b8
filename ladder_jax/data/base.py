"""The ``Dataset`` type, the checks that every data set must pass, and batches gathered ahead."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from ladder_jax.errors import DataError

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's mode for each number of channels."""

MOST_DEFLATED = 1100
"""Upper bound on the expansion of a deflate stream, which is at most 1,032-fold (RFC 1951's
longest matches in the shortest codes); a header that declares more is wrong."""

THREADS, AHEAD = 2, 8
"""Number of threads that gather batches, and of batches gathered in advance."""

HostBatch = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Labelled rows, their labels, unlabelled rows."""


class Examples(Protocol):
    """Rows that are read on access: an array, a memory map or a prepared set.

    ``rows[indices]`` and ``rows[start:stop]`` return float arrays ``[k, ...]``.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any: ...


class Dataset(NamedTuple):
    """Images or rows with their labels; ``data.labels`` lists the kinds of labels.

    Attributes:
      name: name of the data set, e.g. ``"mnist"``.
      x_train: float32 or float64 ``[n, ...]``; bytes of images are divided by 255.
      y_train: int32 ``[n]``, classes from 0; -1 marks an unlabelled row. For other
        kinds: int32 ``[n, height, width]`` with -1, float ``[n, d]`` with NaN, or int32
        ``[n, k]`` with -1 for no label.
      x_test: float32 or float64 ``[m, ...]``; m is 0 if there is no test set.
      y_test: int32 ``[m]``, or as ``y_train``; each row has at least one label.
      class_names: one name per class; for numbers or several labels, one per column.
      scale: scale of the examples as they were given, one of ``SCALES``.
      kind: kind of the labels, one of ``KINDS``.
      feature_names: column names of a table; () if there are none.
    """

    name: str
    x_train: Examples
    y_train: np.ndarray
    x_test: Examples
    y_test: np.ndarray
    class_names: tuple[str, ...]
    scale: str = "unknown"
    kind: str = "classes"
    feature_names: tuple[str, ...] = ()


class Rows:
    """Holds a selection of examples, transformed on access.

    ``chosen`` lists row numbers in the order wanted (None: all rows); ``transform`` maps
    rows ``[k, ...]`` to rows (None: unchanged).

    Examples:
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


def chunks(x: Any, rows: int = 1000, least: int = 2) -> Iterator[Any]:
    """Yields parts of ``rows`` rows, at least one part; the last is no smaller than ``least``.

    A single row has no variance, so by default it joins the part before it.

    Examples:
      >>> [list(part) for part in chunks("abcde", 2)], list(chunks("abc", 2, least=1))
      ([['a', 'b'], ['c', 'd', 'e']], ['ab', 'c'])
    """
    start = 0
    while len(x) - start >= rows + least:
        yield x[start : start + rows]
        start += rows
    yield x[start:]


def batches(
    labeled: Examples,
    labels: np.ndarray,
    unlabeled: Examples,
    order_labeled: np.ndarray,
    order: np.ndarray,
) -> Iterator[HostBatch]:
    """Yields the batches of one epoch, gathered on the host ahead of the step that uses them.

    ``training.epoch_order`` returns the orders, ``[steps, rows per step]``. If every example
    has a label, pass the same object as labelled and unlabelled examples, and the same
    object as both orders: each row is then read only once.
    """
    grain = import_grain()
    tied = labeled is unlabeled and order_labeled is order

    def gather(step: int) -> HostBatch:
        rows = unlabeled[order[step]]
        chosen = order_labeled[step]
        return rows if tied else labeled[chosen], labels[chosen], rows

    options = grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=AHEAD)
    return iter(grain.MapDataset.range(len(order)).map(gather).to_iter_dataset(options))


def import_grain() -> Any:
    """Returns grain, which ``batches`` needs; raises a ``DataError`` if it is not installed."""
    return require("grain", "resident=False needs it", "'ladder_jax[stream]'")


def require(module: str, why: str, package: str) -> Any:
    """Returns an optional module; a ``DataError`` says why it is needed and how to install it."""
    top = module.partition(".")[0]
    if importlib.util.find_spec(top) is None:
        raise DataError(f"{top} is not installed, and {why}: pip install {package}.")
    return importlib.import_module(module)


def to_float(x: np.ndarray) -> np.ndarray:
    """Returns numbers as float32 if that holds every value of their dtype, else as float64."""
    small = np.can_cast(x.dtype, np.float32)
    with np.errstate(over="ignore"):  # a long double may become infinite, which is reported later
        return x.astype(np.float32 if small else np.float64, copy=False)


def as_array(name: str, values: Any, integer: float = math.nan) -> np.ndarray:
    """Returns values as an array, with the entries that a masked array hides made missing.

    Args:
      name: name of the values, for messages.
      values: an array, or what NumPy makes one of.
      integer: number in place of masked integers, as for ``unmask``.

    Raises:
      DataError: the rows of a list differ in shape.
    """
    try:
        return np.asarray(unmask(values, integer))
    except ValueError as error:  # "inhomogeneous shape"
        raise DataError(
            f"{name}: rows of different shapes; give each the same number of values, images the "
            "same height and width."
        ) from error


def unmask(values: Any, integer: float = math.nan) -> Any:
    """Makes the masked entries of a masked array missing, which NumPy and JAX would ignore.

    Args:
      values: any value; only a masked array is changed.
      integer: number in place of masked integers. Masked floats become NaN, entries of other
        types None.

    Returns:
      An array without a mask, or ``values`` itself.

    Examples:
      >>> masked = np.ma.array([3, 5], mask=[False, True])
      >>> unmask(masked).tolist(), unmask(masked, -1).tolist(), unmask([3, 5])
      ([3.0, nan], [3, -1], [3, 5])
    """
    if not isinstance(values, np.ma.MaskedArray):
        return values
    is_masked, numbers = np.ma.getmaskarray(values), values.data
    if not is_masked.any():
        return numbers
    if numbers.dtype.kind in "iuf":
        missing = np.asarray(integer if numbers.dtype.kind in "iu" else math.nan)
        return np.where(is_masked, missing, numbers)
    return np.where(is_masked, np.asarray(None), numbers.astype(object))


def is_frame(x: Any) -> bool:
    """Returns whether a value is a data frame, e.g. of pandas or polars."""
    return hasattr(x, "columns") and hasattr(x, "dtypes")


def column_names(x: Any) -> tuple[str, ...]:
    """Returns the column names of a data frame.

    They are () for any other value, and if they are not all text and all different.

    Examples:
      >>> column_names(np.zeros((3, 2)))
      ()
    """
    names = tuple(x.columns) if is_frame(x) else ()
    are_names = all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
    return names if are_names else ()


def check_columns(name: str, x: Any, known: tuple[str, ...]) -> None:
    """Checks that a data frame has the columns of the training rows, in their order.

    Args:
      name: name of the rows, for messages.
      x: rows of any type; only the columns of a data frame have names to check.
      known: names of the training columns; () if they had none.

    Raises:
      DataError: it has not.
    """
    given = column_names(x)
    if not known or not given or given == known:
        return
    problem = "the columns of training in another order"
    if missing := [column for column in known if column not in given]:
        problem = f"no column {missing[0]!r}"
    elif extra := [column for column in given if column not in known]:
        problem = f"a column {extra[0]!r}, which the training data had not"
    wanted = ", ".join(known[:10]) + (", ..." if len(known) > 10 else "")
    raise DataError(f"{name} has {problem}; give the columns of training in order: {wanted}.")


def place(wrong: np.ndarray) -> str:
    """Names the first place that is True in one row: "column 1" or "position (0, 1)"."""
    index = tuple(map(int, np.argwhere(wrong)[0]))
    return f"column {index[0]}" if len(index) == 1 else f"position {index}"


def not_finite(x: np.ndarray) -> np.ndarray:
    """Returns the row numbers of rows with NaN or infinite values."""
    return np.flatnonzero(~np.isfinite(x).all(tuple(range(1, x.ndim))))


def check_finite(name: str, x: np.ndarray, first: int = 0) -> None:
    """Checks that all values are finite; messages number the rows from ``first``."""
    bad = not_finite(x)
    if bad.size:
        raise DataError(
            f"{name}: NaN or infinite values in {bad.size} row(s), the first is row "
            f"{first + bad[0]}, {place(~np.isfinite(x[bad[0]]))}; remove or replace them."
        )


def check_new(name: str, x: np.ndarray, shape: tuple[int, ...]) -> None:
    """Checks that new rows are numeric and have the shape of the training rows.

    x is ``[n, *shape]``, with or without axes of size 1, or has flat rows.

    Raises:
      DataError: they do not; the message begins with ``name``.

    Examples:
      >>> check_new("x", np.ones((3, 4)), (2, 2))
    """
    shapes = (shape, (math.prod(shape),))
    # Axes of size 1, such as a grey image's channel, may be left out or added.
    sizes = tuple(size for size in x.shape[1:] if size != 1)
    if x.ndim < 2 or sizes not in [tuple(n for n in s if n != 1) for s in shapes]:
        wanted = " or ".join(f"[n, {', '.join(map(str, s))}]" for s in dict.fromkeys(shapes))
        raise DataError(f"{name} has shape {x.shape}; wanted {wanted}, as in training.")
    if x.dtype.kind not in "fiub":
        raise DataError(f"{name} has dtype {x.dtype}; give numbers.")


def check_lengths(name: str, x: np.ndarray, y: np.ndarray) -> None:
    """Checks that there is at least one example, and one label for each."""
    if len(x) != len(y):
        raise DataError(f"{name}: {len(x)} examples but {len(y)} labels; give one label each.")
    if len(x) == 0:
        raise DataError(f"{name}: no examples; give at least one.")


def check_examples(
    name: str, x: np.ndarray, y: np.ndarray, classes: int, *, unlabeled: bool = False
) -> None:
    """Checks that features and classes match; allows -1 (no label) only if ``unlabeled``."""
    check_lengths(name, x, y)
    if y.dtype.kind not in "iu":
        raise DataError(f"{name}: labels have dtype {y.dtype}; give class numbers as integers.")
    outside = np.flatnonzero((y < (-1 if unlabeled else 0)) | (y >= classes))
    if outside.size:
        row, or_none = outside[0], " (or -1: no label)" if unlabeled else ""
        raise DataError(
            f"{name}: label {y[row]} in row {row}; labels run from 0 to {classes - 1}{or_none}."
        )
    check_finite(name, x)


def read_into(file: Any, array: np.ndarray) -> bool:
    """Fills a contiguous array from a file, in parts; returns whether the file had enough bytes."""
    remaining = array.reshape(-1).view(np.uint8).data
    while remaining and (part := file.read(min(1 << 20, len(remaining)))):
        remaining[: len(part)] = part
        remaining = remaining[len(part) :]
    return not remaining
