"""Reads new examples to predict: an ``.npz`` or ``.csv`` file, an image or a folder of images.

They are read in parts, so that a large CSV file or folder needs little memory.
"""

from __future__ import annotations

import csv
import itertools
import math
import pathlib
import stat
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TextIO

import numpy as np

from ladder_jax.data.arrays import read_npz, require_arrays
from ladder_jax.data.base import check_new
from ladder_jax.data.csv_files import (
    MOST_LINE,
    as_number,
    bad_quotes,
    cells_of,
    feature_columns,
    is_whole,
    reader_of,
)
from ladder_jax.data.images import as_image, is_image, read_image
from ladder_jax.errors import DataError

PART = 256
"""Number of rows read at a time."""

_MOST_BYTES = 2**26
"""Most bytes of images read at a time; a larger image is read by itself."""

_MOST_PER_NUMBER = 100
"""Most characters of a number in a CSV file, including its separator."""

HEADERS = ("auto", "yes", "no")
"""Options for whether the first line of a CSV file names its columns."""

_FEW = 3
"""Least count of numbers that rise or fall evenly not by chance; two more if unevenly."""

Tell = Callable[[str], object]


class Part(NamedTuple):
    """Holds consecutive rows of the input.

    Attributes:
      names: one name per row: its number in the input, from 0, or the name of its file.
      x: unscaled values ``[k, ...]``: bytes for images, integers for a part of a CSV file with
        only whole numbers, otherwise floats or the dtype of the array.
      source: origin of the rows, for messages.
      first: number of the first row.
    """

    names: list[str]
    x: np.ndarray
    source: str = "x"
    first: int = 0


def read(
    path: str | pathlib.Path,
    shape: tuple[int, ...],
    header: str = "auto",
    tell: Tell = lambda line: None,
    fit: bool = False,
    names: Sequence[str] = (),
) -> Iterator[Part]:
    """Yields the examples in a file or folder, at most ``PART`` rows at a time.

    Args:
      path: an ``.npz`` file with an array ``x``, ``[n, *shape]`` or with flat rows; a ``.csv``
        file with one example per line, numbers separated by commas, semicolons or tabs, with or
        without a line of column names; a PNG or JPEG file with one example; or a folder of such
        images, in the order of their names.
      shape: shape of one example in training.
      header: whether the first line of a CSV file names its columns: "yes", "no" or "auto": yes
        if it contains no number, or all ``names`` and not only numbers. "auto" refuses a first
        line of numbers that are the ``names``, or that rise or fall from column to column, such
        as wavelengths, unless the second line does so too.
      tell: function called with a line that says how the first line of a CSV file was read.
      fit: whether images of another size are scaled and cropped.
      names: names of the features in training, used to find the columns of a CSV file; other
        columns are ignored. Without names, a column of labels is ignored.

    Raises:
      DataError: the input is missing, corrupt, empty, or of another shape.

    Examples:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder) / "new.csv"
      ...     _ = path.write_text("height,width\\n1.5,2\\n3,4\\n")
      ...     [part.x.tolist() for part in read(path, (2,))]
      [[[1.5, 2.0], [3.0, 4.0]]]
    """
    if header not in HEADERS:
        raise DataError(f"header={header!r}; give one of {', '.join(HEADERS)}.")
    path, empty = pathlib.Path(path).expanduser(), True
    for part in _parts(path, shape, header, tell, fit, names):
        if len(part.x):
            empty = False
            yield part
    if empty:
        raise DataError(f"{path}: no examples; give at least one.")


def _parts(
    path: pathlib.Path,
    shape: tuple[int, ...],
    header: str,
    tell: Tell,
    fit: bool,
    names: Sequence[str],
) -> Iterator[Part]:
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            yield from _read_folder(path, shape, fit)
        elif is_image(path):
            yield from _read_images(path, [path], shape, fit)
        elif path.suffix.lower() == ".npz":
            yield from _read_npz(path, shape)
        elif path.suffix.lower() == ".csv":
            with path.open(encoding="utf-8-sig", newline="") as file:
                rows = _csv_rows(path, file, math.prod(shape), header, tell, names)
                yield from _read_csv(path, rows)
        else:
            raise DataError(
                f"{path}: give an .npz file, a .csv file, a PNG or JPEG file or a folder of them."
            )
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}.") from error


def _read_npz(path: pathlib.Path, shape: tuple[int, ...]) -> Iterator[Part]:
    arrays = read_npz(path, ["x"])
    require_arrays(path, arrays, ["x"])
    x, name = arrays["x"], f"{path}, x"
    check_new(name, x, shape)
    for start in range(0, len(x), PART):
        yield _numbered(x[start : start + PART], name, start)


def _numbered(x: np.ndarray, source: str, start: int) -> Part:
    return Part([str(start + i) for i in range(len(x))], x, source, start)


def _read_csv(path: pathlib.Path, rows: Iterator[tuple[list[float], bool]]) -> Iterator[Part]:
    try:
        for start in itertools.count(0, PART):
            part = list(itertools.islice(rows, PART))
            if not part:
                return
            x = np.array([numbers for numbers, _ in part])
            if all(whole for _, whole in part) and np.abs(x).max() < 2**53:
                x = x.astype(np.int64)
            yield _numbered(x, str(path), start)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text; save it as UTF-8.") from error


def _csv_rows(
    path: pathlib.Path, file: TextIO, size: int, header: str, tell: Tell, names: Sequence[str]
) -> Iterator[tuple[list[float], bool]]:
    """Yields the numbers in each line, and whether all are written as integers."""
    max_length = MOST_LINE if names else _MOST_PER_NUMBER * (size + 10)  # allows for other columns
    reader = reader_of(path, file, max_length)
    lines = ((reader.line_num, cells) for cells in reader if cells)
    try:
        first_lines = list(itertools.islice(lines, 2))
        if first_lines:
            is_header = _is_header(path, [cells for _, cells in first_lines], header, names)
            tell(f"first line of {path} taken as {'names' if is_header else 'an example'}")
            if is_header:
                header_cells = first_lines.pop(0)[1]
                columns = feature_columns(path, header_cells, size, names)
                lines = (_chosen(path, line, len(header_cells), columns) for line in lines)
                first_lines = [
                    _chosen(path, line, len(header_cells), columns) for line in first_lines
                ]
        for number, cells in itertools.chain(first_lines, lines):
            yield _numbers(f"{path}, line {number}", cells, size)
    except csv.Error as error:
        raise bad_quotes(path, reader, error) from error


def _chosen(
    path: pathlib.Path, line: tuple[int, list[str]], wanted: int, columns: Sequence[int]
) -> tuple[int, list[str]]:
    """Returns the number of a line and its cells in the given columns."""
    number, cells = line
    return number, cells_of(f"{path}, line {number}", cells, wanted, columns)


def _is_header(
    path: pathlib.Path, lines: list[list[str]], header: str, names: Sequence[str]
) -> bool:
    """Returns whether the first of the given lines, the first in the file, names columns."""
    first, *remaining = [[as_number(cell) for cell in cells] for cells in lines]
    if header != "auto":
        return header == "yes"
    has_names = bool(names) and {cell.strip() for cell in lines[0]}.issuperset(names)
    if has_names and None in first:
        return True
    if has_names or (_is_ramp(first) and not any(map(_is_ramp, remaining))):
        like = "the names of the features in training" if has_names else "in order"
        raise DataError(
            f"{path}, line 1: {', '.join(lines[0][:2])} ... {lines[0][-1]} {like}, an example or "
            "column names; say --header=yes or --header=no."
        )
    return all(number is None for number in first)


def _is_ramp(numbers: list[float | None]) -> bool:
    """Returns whether numbers rise or fall monotonically, as rows of data rarely do by chance."""
    if len(numbers) < _FEW or None in numbers:
        return False
    steps = np.diff(np.array(numbers, float))
    is_even = np.allclose(steps, steps[0], rtol=1e-3)
    return bool((steps > 0).all() or (steps < 0).all()) and (is_even or len(numbers) > _FEW + 1)


def _numbers(where: str, cells: list[str], size: int) -> tuple[list[float], bool]:
    numbers = [as_number(cell) for cell in cells]
    if len(numbers) != size:
        raise DataError(f"{where}: {len(numbers)} values; wanted {size}, as in training.")
    known = [number for number in numbers if number is not None]
    if len(known) < size:
        column = numbers.index(None)
        raise DataError(
            f"{where}, column {column + 1}: {cells[column][:30]!r} is not a number. (If line 1 has "
            "column names, some of them numbers: --header=yes.)"
        )
    return known, all(map(is_whole, cells))


def _read_folder(folder: pathlib.Path, shape: tuple[int, ...], fit: bool) -> Iterator[Part]:
    paths = sorted(filter(is_image, folder.iterdir()))
    if not paths:
        raise DataError(f"{folder}: no PNG or JPEG files in it.")
    yield from _read_images(folder, paths, shape, fit)


def _read_images(
    source: pathlib.Path, paths: Sequence[pathlib.Path], shape: tuple[int, ...], fit: bool
) -> Iterator[Part]:
    image_shape = as_image(f"{source}", shape)
    rows = max(1, min(PART, _MOST_BYTES // math.prod(image_shape)))
    for start in range(0, len(paths), rows):
        part = paths[start : start + rows]
        pixels = np.stack([read_image(path, image_shape, fit=fit).ravel() for path in part])
        yield Part([path.name for path in part], pixels, str(source), start)
