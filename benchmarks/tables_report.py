"""What ``benchmarks.tables`` shows of its fits: a table per number of labels, and diagrams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from benchmarks import ranks
from ladder_jax.report.figures import Picture


class Key(NamedTuple):
    """What is fitted: the set, labels per class, the split, the method and its settings."""

    set: str
    labels: int
    split: int
    method: str
    settings: str


class Fit(NamedTuple):
    """What came of one fit.

    Attributes:
      error: on the test rows, in percent.
      seconds: of ``fit``.
      first: whether it was the process's first of its set, labels and method, in which
        a ladder compiles or reads its program.
    """

    error: float
    seconds: float
    first: bool


Fits = dict[Key, Fit]


def mean_errors(fits: Fits) -> tuple[list[str], list[str], np.ndarray]:
    """Returns sets, methods, and the mean over the splits, ``[sets, methods]``.

    Args:
      fits: of one number of labels.
    """
    sets = list(dict.fromkeys(key.set for key in fits))
    methods = list(dict.fromkeys(key.method for key in fits))
    errors = np.zeros((len(sets), len(methods)))
    splits = len({key.split for key in fits})
    for key, done in fits.items():
        errors[sets.index(key.set), methods.index(key.method)] += done.error / splits
    return sets, methods, errors


def table(fits: Fits) -> str:
    """Returns the errors of one number of labels as a Markdown table.

    Examples:
      >>> key = Key("iris", 2, 0, "ladder", "")
      >>> fits = {key: Fit(4.0, 1.0, True), key._replace(method="k_nearest"): Fit(8.0, 0.1, True)}
      >>> print(table(fits))
      | 2 labels per class, error in % | ladder | k_nearest |
      |---|--:|--:|
      | iris | 4.0 | 8.0 |
      | **mean error** | 4.0 | 8.0 |
      | **mean rank** | 1.00 | 2.00 |
      | **wins**, shared ones included | 1 | 0 |
      | **seconds per fit**, median | 1.000 | 0.100 |
      | the first in the process, median | 1.000 | 0.100 |
    """
    sets, methods, errors = mean_errors(fits)
    placed = ranks.ranks_of(errors)
    wins = (np.round(errors, 9) == np.round(errors, 9).min(1, keepdims=True)).sum(0)

    def seconds(first: bool) -> list[str]:
        """Medians by method; a dash where a resumed run has no first fit."""
        times = [
            [
                done.seconds
                for key, done in fits.items()
                if key.method == method and (done.first or not first)
            ]
            for method in methods
        ]
        return [f"{np.median(some):.3f}" if some else "-" for some in times]

    rows = [
        (name, [f"{error:.1f}" for error in row]) for name, row in zip(sets, errors, strict=True)
    ]
    rows += [
        ("**mean error**", [f"{error:.1f}" for error in errors.mean(0)]),
        ("**mean rank**", [f"{rank:.2f}" for rank in placed.mean(0)]),
        ("**wins**, shared ones included", [str(number) for number in wins]),
        ("**seconds per fit**, median", seconds(False)),
        ("the first in the process, median", seconds(True)),
    ]
    labels = next(iter(fits)).labels
    lines = [f"| {labels} labels per class, error in % | {' | '.join(methods)} |"]
    lines.append("|---|" + "--:|" * len(methods))
    return "\n".join(lines + [f"| {name} | {' | '.join(cells)} |" for name, cells in rows])


def remark(fits: Fits) -> str:
    """Returns whether the ranks of a table differ significantly, in a line."""
    errors = mean_errors(fits)[2]
    sets, methods = errors.shape
    if methods < 2:
        return "One method alone has no rank."
    chance = ranks.friedman(errors)
    said = "" if chance is None else f"Friedman's test: p = {chance:.2g}. "
    distance = ranks.critical_distance(methods, sets)
    return f"{said}Mean ranks differ significantly from {distance:.2f} on (Nemenyi, {sets} set(s))."


def diagrams(by_labels: Mapping[int, Fits]) -> Picture:
    """Draws the critical-difference diagrams, one per number of labels."""
    placed, distances = {}, {}
    for labels, fits in by_labels.items():
        sets, methods, errors = mean_errors(fits)
        title, means = f"{labels} labels per class", ranks.ranks_of(errors).mean(0).tolist()
        placed[title] = dict(zip(methods, means, strict=True))
        distances[title] = ranks.critical_distance(len(methods), len(sets))
    return ranks.diagram(placed, distances)
