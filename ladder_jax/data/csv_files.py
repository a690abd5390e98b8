"""CSV tables: a line of column names, then one example per line, its label in one column."""

from __future__ import annotations

import contextlib
import csv
import itertools
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

import numpy as np

from ladder_jax.data import labels
from ladder_jax.data.arrays import from_arrays
from ladder_jax.data.base import Dataset
from ladder_jax.errors import DataError

LABELS = {"class": "classes", "label": "classes", "number": "numbers", "target": "numbers"}
"""Names of the label column, in upper or lower case, and the kind of its labels."""

MOST_LINE = 2**24
"""Maximum number of characters in a line."""


def reader_of(path: pathlib.Path, file: TextIO, most: int = MOST_LINE) -> Any:
    """Returns a ``csv.reader`` of a file.

    Args:
      path: path of the file, for messages.
      file: the opened file; its cells are separated by tabs or semicolons if its first line has
        any outside of quotes, else by commas.
      most: maximum number of characters in a line.

    Raises:
      DataError: a line is longer, once the reader reaches it.
      csv.Error: likewise, quotes are not closed, or followed by more text in their cell.

    Examples:
      >>> import io
      >>> list(reader_of(pathlib.Path("a.csv"), io.StringIO("a;b\\n1;2,5\\n")))
      [['a', 'b'], ['1', '2,5']]
    """
    lines = _bounded_lines(path, file, most)
    first = next(lines, "")
    unquoted = re.sub('"[^"]*"', "", first)
    delimiter = next((delimiter for delimiter in "\t;" if delimiter in unquoted), ",")
    # Unless strict, a quote that is not closed makes all lines below it one cell.
    return csv.reader(itertools.chain([first], lines), delimiter=delimiter, strict=True)


def bad_quotes(path: pathlib.Path, reader: Any, error: csv.Error) -> DataError:
    """Returns the error that says where a ``csv.reader`` failed, nearly always for its quotes."""
    return DataError(
        f"{path}, line {reader.line_num}: {error}; close each quote that opens a cell, and double "
        "those within."
    )


def _bounded_lines(path: pathlib.Path, file: TextIO, most: int) -> Iterator[str]:
    """Yields the lines of a file, reading at most ``most`` characters of each."""
    while line := file.readline(most):
        if len(line) == most and not line.endswith("\n"):
            raise DataError(f"{path}: a line of more than {most} characters; give one per example.")
        yield line


def as_number(cell: str) -> float | None:
    """Returns the number in a cell, or None if it is not a number.

    Examples:
      >>> as_number(" 1.5"), as_number("red")
      (1.5, None)
    """
    try:
        return float(cell) if "_" not in cell else None  # Python reads 1_2 as 12
    except ValueError:
        return None


def is_whole(cell: str) -> bool:
    """Returns whether a cell holds an integer, without a decimal point.

    Examples:
      >>> is_whole("-12 "), is_whole("1.0")
      (True, False)
    """
    return re.fullmatch(r"[+-]?\d+", cell.strip()) is not None


def label_column(names: Sequence[str]) -> int | None:
    """Returns the index of the only column named in ``LABELS``; None if there is none, or more.

    Examples:
      >>> label_column(["height", "width", "Class"]), label_column(["x", "y"])
      (2, None)
    """
    columns = [i for i, name in enumerate(names) if name.strip().lower() in LABELS]
    return columns[0] if len(columns) == 1 else None


def feature_columns(
    path: pathlib.Path, names: Sequence[str], size: int, known: Sequence[str] = ()
) -> list[int]:
    """Returns the indices of a file's feature columns, in training order.

    Args:
      path: path of the file, for messages.
      names: names of its columns.
      size: number of features in training.
      known: names of the features in training, if they had any; other columns are then ignored.

    Raises:
      DataError: a feature has no column, or several.

    Examples:
      >>> feature_columns(pathlib.Path("a.csv"), ["b", "id", "a"], 2, ["a", "b"])
      [2, 0]
      >>> feature_columns(pathlib.Path("a.csv"), ["a", "b", "class"], 2)
      [0, 1]
    """
    names = [name.strip() for name in names]
    for name in known:
        if name not in names:
            raise DataError(f"{path}: no column {name!r}, which the training data had; add it.")
        if names.count(name) > 1:
            raise DataError(f"{path}: {names.count(name)} columns {name!r}; keep one of them.")
    if known:
        return [names.index(name) for name in known]
    label = label_column(names) if len(names) == size + 1 else None
    return [i for i in range(len(names)) if i != label]


def cells_of(where: str, line: Sequence[str], wanted: int, columns: Sequence[int]) -> list[str]:
    """Returns the cells of a line in the given columns; the line must have ``wanted`` cells."""
    if len(line) != wanted:
        raise DataError(f"{where}: {len(line)} values; wanted {wanted}, as names in line 1.")
    return [line[column] for column in columns]


def load_csv(path: str | pathlib.Path) -> Dataset:
    """Loads a ``Dataset`` from a CSV file: a line of column names, then one example per line.

    Cells are separated by commas, semicolons or tabs.

    The label column is called class or label (text or whole numbers, numbered in sorted order)
    or number or target (numbers); an empty cell, or -1 for a class, means no label. All other
    columns are features, with a number in each cell.

    Raises:
      DataError: the file is missing or not a table of this form, or values are wrong.

    Examples:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder) / "pets.csv"
      ...     _ = path.write_text("height,weight,class\\n30,4.5,cat\\n60,31,dog\\n55,28,\\n")
      ...     pets = load_csv(path)
      >>> pets.x_train.tolist(), pets.y_train.tolist(), pets.class_names, pets.feature_names
      ([[30.0, 4.5], [60.0, 31.0], [55.0, 28.0]], [0, 1, -1], ('cat', 'dog'), ('height', 'weight'))
    """
    path = pathlib.Path(path).expanduser()
    with _opened(path) as (names, lines):
        column = label_column(names)
        if column is None:
            shown = f"{', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
            raise DataError(
                f"{path}: give the column of labels one of the names {', '.join(LABELS)}, and no "
                f"other column; line 1 has {shown}."
            )
        features = (*names[:column], *names[column + 1 :])
        if len(set(features)) < len(features) or "" in features:
            raise DataError(f"{path}, line 1: a column without a name of its own; give each one.")
        x, cells = _read(lines, names, [names.index(name) for name in features], column)
    kind = LABELS[names[column].lower()]
    y, classes = (_numbers(path, cells), ()) if kind == "numbers" else _classes(path, cells)
    dataset = from_arrays(x, y, class_names=classes, name=path.stem, kind=kind)
    return dataset._replace(feature_names=features)


def load_test_csv(
    path: str | pathlib.Path,
    classes: Sequence[str],
    size: int,
    kind: str = "classes",
    known: Sequence[str] = (),
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Loads test examples from a CSV file, as ``load_csv`` does.

    Args:
      path: path of the file.
      classes: names of the classes in training.
      size: number of features in training.
      kind: kind of the labels in training, one of ``KINDS``.
      known: names of the features in training, if they had any.

    Returns:
      ``(x, y, class names)``; the names are always empty.

    Raises:
      DataError: as ``load_csv``, or an example has no label or an unknown class.
    """
    path = pathlib.Path(path).expanduser()
    with _opened(path) as (names, lines):
        column = label_column(names)
        if column is None or LABELS[names[column].lower()] != kind:
            wanted = [name for name, label_kind in LABELS.items() if label_kind == kind]
            remedy = f"call one {' or '.join(wanted)}" if wanted else "give an .npz file"
            raise DataError(
                f"{path}: no column of labels that are {kind}, as in training; {remedy}."
            )
        columns = feature_columns(path, names, size, known)
        x, cells = _read(lines, names, [i for i in columns if i != column], column)
    if kind == "numbers":
        y = labels.as_kind(f"{path}", _numbers(path, cells), kind)
    else:
        y, _ = labels.number_text(f"{path}", np.array(cells), classes)
    labels.check(f"{path}", x, y, kind, len(classes))
    return x, y.astype(np.int32) if kind == "classes" else y, ()


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[tuple[list[str], Iterator[tuple[str, list[str]]]]]:
    """Yields the column names, and an iterator over the lines below as ``(place, cells)``."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = reader_of(path, file)
            names = [name.strip() for name in next(reader, [])]
            if not names:
                raise DataError(f"{path}: empty; give a line of column names, then examples.")
            yield names, ((f"{path}, line {reader.line_num}", line) for line in reader if line)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text; save it as UTF-8.") from error
    except csv.Error as error:
        raise bad_quotes(path, reader, error) from error


def _read(
    lines: Iterator[tuple[str, list[str]]], names: list[str], columns: list[int], label: int
) -> tuple[np.ndarray, list[str]]:
    """Returns the features ``[n, columns]``, integers if all are whole, and the label cells."""
    rows: list[np.ndarray] = []
    cells: list[str] = []
    whole = True
    for where, line in lines:
        rows.append(_features(where, line, names, columns))
        whole = whole and all(is_whole(line[i]) for i in columns)
        cells.append(line[label].strip())
    x = np.array(rows).reshape(len(rows), len(columns))
    whole = whole and bool((np.abs(x) < 2**53).all())
    return x.astype(np.int64) if whole else x, cells


def _features(where: str, line: list[str], names: list[str], columns: list[int]) -> np.ndarray:
    """Returns the features of one line."""
    cells = cells_of(where, line, len(names), columns)
    numbers = [as_number(cell) for cell in cells]
    if None in numbers:
        column = columns[numbers.index(None)]
        raise DataError(
            f"{where}, column {names[column]}: {line[column][:30]!r} is not a number; give one. "
            "(LadderClassifier takes categories and missing values.)"
        )
    return np.array(numbers)


def _classes(path: pathlib.Path, cells: list[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Numbers the classes in sorted order; whole numbers are sorted by value."""
    names = set(cells) - {"", str(labels.NO_LABEL)}
    labels.check_found(f"{path}", names)
    numbers = {name: number for name in names if (number := as_number(name)) is not None}
    fractions = [name for name, number in numbers.items() if number % 1]
    if fractions and len(numbers) == len(names):
        row = min(map(cells.index, fractions))
        raise DataError(
            f"{path}: label {cells[row][:30]!r} of example {row} is not a whole number; call the "
            "column number if its numbers are to be predicted, else name the classes in words."
        )
    whole = all(map(is_whole, names))
    return labels.number_text(
        f"{path}",
        np.array(cells),
        sorted(names, key=(lambda name: (int(name), name)) if whole else None),
    )


def _numbers(path: pathlib.Path, cells: list[str]) -> np.ndarray:
    """Returns labels that are numbers, NaN for an empty cell."""
    numbers = [as_number(cell) if cell else np.nan for cell in cells]
    if None in numbers:
        row = numbers.index(None)
        raise DataError(f"{path}: label {cells[row][:30]!r} of example {row} is not a number.")
    return np.array(numbers, np.float64)
