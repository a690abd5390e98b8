"""Report of ``benchmarks.tables``: tables for each number of labels, and diagrams."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks import ranks
from benchmarks.tables_tasks import Task
from ladder_jax.report.figures import Picture


class Key(NamedTuple):
    """Identifies a fit by the set, number of labels, split, method and the method's settings."""

    set: str
    labels: int
    split: int
    method: str
    settings: str


class Fit(NamedTuple):
    """Holds the result of one fit.

    Attributes:
      error: error on the test rows, in percent of the unit.
      seconds: duration of ``fit``.
      first: whether it was the process's first fit of its set, labels and method, in which
        a ladder compiles or reads its program.
      unit: unit of the error: 1, or the error on these test rows that counts as 100 percent.
    """

    error: float
    seconds: float
    first: bool
    unit: float = 1.0


Fits = dict[Key, Fit]


def mean_errors(
    fits: Fits, value: Callable[[Fit], float] = lambda done: done.error
) -> tuple[list[str], list[str], np.ndarray]:
    """Returns sets, methods, and the means over the splits, ``[sets, methods]``.

    Args:
      fits: fits with the same number of labels.
      value: function that returns the value of a fit to average.
    """
    sets = list(dict.fromkeys(key.set for key in fits))
    methods = list(dict.fromkeys(key.method for key in fits))
    errors = np.zeros((len(sets), len(methods)))
    splits = len({key.split for key in fits})
    for key, done in fits.items():
        errors[sets.index(key.set), methods.index(key.method)] += value(done) / splits
    return sets, methods, errors


def markdown(title: str, columns: Sequence[str], rows: Iterable[tuple[str, list[str]]]) -> str:
    """Formats rows, each a name and its cells, as a Markdown table.

    Examples:
      >>> print(markdown("set", ["error"], [("iris", ["4.0"])]))
      | set | error |
      |---|--:|
      | iris | 4.0 |
    """
    lines = [f"| {title} | {' | '.join(columns)} |", "|---|" + "--:|" * len(columns)]
    return "\n".join(lines + [f"| {name} | {' | '.join(cells)} |" for name, cells in rows])


def table(fits: Fits, task: Task) -> str:
    """Returns the errors of one number of labels as a Markdown table.

    Examples:
      >>> from benchmarks.tables_tasks import TASKS
      >>> key = Key("iris", 2, 0, "ladder", "")
      >>> fits = {key: Fit(4.0, 1.0, True), key._replace(method="k_nearest"): Fit(8.0, 0.1, True)}
      >>> print(table(fits, TASKS["classes"]))
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
    method_ranks = ranks.ranks_of(errors)
    wins = (np.round(errors, 9) == np.round(errors, 9).min(1, keepdims=True)).sum(0)

    def seconds(first: bool) -> list[str]:
        """Returns medians by method; a dash where a resumed run has no first fit."""
        times = [
            [
                done.seconds
                for key, done in fits.items()
                if key.method == method and (done.first or not first)
            ]
            for method in methods
        ]
        return [f"{np.median(method_times):.3f}" if method_times else "-" for method_times in times]

    rows = [
        (name, [f"{error:.1f}" for error in row]) for name, row in zip(sets, errors, strict=True)
    ]
    rows += [
        ("**mean error**", [f"{error:.1f}" for error in errors.mean(0)]),
        ("**mean rank**", [f"{rank:.2f}" for rank in method_ranks.mean(0)]),
        ("**wins**, shared ones included", [str(number) for number in wins]),
        ("**seconds per fit**, median", seconds(False)),
        ("the first in the process, median", seconds(True)),
    ]
    title = f"{next(iter(fits)).labels} {task.unit}, {task.error}"
    return markdown(title, methods, rows)


def table_in_units(fits: Fits, task: Task) -> str:
    """Returns errors as ``table`` does, but in each set's own unit, to three digits.

    Examples:
      >>> from benchmarks.tables_tasks import TASKS
      >>> fits = {Key("Auto", 20, 0, "ladder", ""): Fit(50.0, 1.0, True, 7.9)}
      >>> print(table_in_units(fits, TASKS["numbers"]))
      | 20 targets, RMSE in the targets' own unit | ladder |
      |---|--:|
      | Auto | 3.95 |
    """
    sets, methods, errors = mean_errors(fits, lambda done: done.error * done.unit / 100)
    digits = lambda error: np.format_float_positional(error, 3, fractional=False, trim="-")
    rows = ((name, list(map(digits, row))) for name, row in zip(sets, errors, strict=True))
    title = f"{next(iter(fits)).labels} {task.unit}, RMSE in the targets' own unit"
    return markdown(title, methods, rows)


def tables(fits: Fits, task: Task) -> list[str]:
    """Returns the tables and the remark for one number of labels."""
    in_units = [table_in_units(fits, task)] if task.sets.kind == "numbers" else []
    return [table(fits, task), remark(fits), *in_units]


def remark(fits: Fits) -> str:
    """Returns one line on whether the ranks of a table differ significantly."""
    errors = mean_errors(fits)[2]
    sets, methods = errors.shape
    if methods < 2:
        return "One method alone has no rank."
    p_value = ranks.friedman(errors)
    test = "" if p_value is None else f"Friedman's test: p = {p_value:.2g}. "
    distance = ranks.critical_distance(methods, sets)
    return f"{test}Mean ranks differ significantly from {distance:.2f} on (Nemenyi, {sets} set(s))."


def diagrams(by_labels: Mapping[int, Fits], unit: str) -> Picture:
    """Draws the critical-difference diagrams, one per number of labels.

    Args:
      by_labels: fits by number of labels.
      unit: unit that labels are counted in.
    """
    method_ranks, distances = {}, {}
    for labels, fits in by_labels.items():
        sets, methods, errors = mean_errors(fits)
        title, means = f"{labels} {unit}", ranks.ranks_of(errors).mean(0).tolist()
        method_ranks[title] = dict(zip(methods, means, strict=True))
        distances[title] = ranks.critical_distance(len(methods), len(sets))
    return ranks.diagram(method_ranks, distances)
