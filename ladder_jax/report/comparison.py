"""Writes one page that compares all runs of a command."""

from __future__ import annotations

import math
import os
import pathlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ladder_jax.errors import ConfigError
from ladder_jax.report import figures
from ladder_jax.report.measures import Spread, over_seeds
from ladder_jax.report.page import write_page
from ladder_jax.run.evaluation import error_name
from ladder_jax.run.files import as_path
from ladder_jax.run.workfolder import REPORT, as_json, load_summary, read_config, read_lines

_OF_A_RUN = ("name", "seed", "split", "data_dir")
"""Settings in which runs of one kind may differ."""
_OF_A_SPLIT = ("dataset", "labels", "label_choice", "validation", "split", "seed")
"""Settings that determine which examples have labels."""


class Run(NamedTuple):
    """Holds a finished run."""

    name: str
    config: dict[str, Any]
    error: float  # in percent, or of numbers in their units
    summary: dict[str, Any]  # empty where it has no folder, like the lines of its metrics
    lines: list[dict[str, Any]]
    report: bool  # whether it has a page of its own

    def settings(self, names: Sequence[str]) -> tuple[str, ...]:
        """Returns some settings as words."""
        return tuple(str(self.config[name]) for name in names)


class Row(NamedTuple):
    """Holds what was trained, and its errors over the seeds; or their differences."""

    name: str
    runs: list[Run]
    errors: list[float]

    @property
    def spread(self) -> Spread:
        """Statistics over the seeds."""
        return over_seeds(self.errors)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Computes Student's 95 % interval of the mean; None for a single value."""
        from scipy import stats

        n, mean = len(self.errors), self.spread.mean
        half = float(stats.t.ppf(0.975, n - 1) * stats.sem(self.errors)) if n > 1 else 0.0
        return (mean - half, mean + half) if n > 1 else None

    @property
    def p(self) -> float | None:
        """Computes Student's p value of a mean of 0; None where all values are the same."""
        from scipy.stats import ttest_1samp

        same = np.ptp(self.errors) < 1e-9  # but for rounding
        return None if same else float(ttest_1samp(self.errors, 0).pvalue)


def paired(rows: Sequence[Row]) -> list[Row]:
    """Subtracts each row from the first that shares two splits or more with it, split by split."""
    by_split = [{run.settings(_OF_A_SPLIT): run.error for run in row.runs} for row in rows]
    pairs = []
    for i, row in enumerate(rows):
        for other, errors in zip(rows[:i], by_split, strict=False):
            less = [errors[key] - error for key, error in by_split[i].items() if key in errors]
            if len(less) > 1:
                pairs.append(Row(f"{other.name} \N{MINUS SIGN} {row.name}", [], less))
                break
    return pairs


def _read_runs(folder: pathlib.Path) -> list[Run]:
    """Reads the finished runs in the folders of a folder, by name and seed."""
    runs = []
    for path in (result.parent for result in folder.glob("*/result.json")):
        config = as_json(read_config(path))
        known = load_summary(path), read_lines(path), (path / REPORT).exists()
        runs.append(Run(path.name, config, math.nan, *known))
    if not runs:
        raise ConfigError(f"{folder} holds no finished run; give the folder of a command.")
    return sorted(runs, key=lambda run: (run.name.rpartition("-")[0], run.config["seed"]))


def _kinds(runs: Sequence[Run], settings: Sequence[str]) -> dict[str, list[Run]]:
    """Groups runs that agree in some settings, by their folders' name without what differs."""
    groups: dict[tuple[str, ...], list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.settings(settings)].append(run)
    named: dict[str, list[Run]] = {}
    for group in groups.values():
        first = group[0]
        name = first.name.removesuffix(f"-{first.config['seed']}")
        if len({run.config["labels"] for run in group}) > 1:
            name = name.removesuffix(f"-{first.config['labels']}")
        named[first.name if name in named else name] = group
    return named


def _measured(runs: Sequence[Run], errors: Mapping[str, Sequence[float]] | None) -> str:
    """Returns the examples that the errors given are of, else "test" if there are any."""
    given = {error for row in (errors or {}).values() for error in row}
    for name in ("test", "validation"):
        known = {run.summary.get(f"{name}_error") for run in runs}
        if None not in known and (errors is None or known & given):
            return name
    raise ConfigError("no test or validation error is of all runs; there is nothing to compare.")


def _rows(
    groups: Mapping[str, list[Run]], errors: Mapping[str, Sequence[float]] | None
) -> list[Row]:
    """Finds the runs of each list of errors; those without a folder have the first's splits."""
    known = {name: [run.error for run in runs] for name, runs in groups.items()}
    rows, left = [], dict(groups)
    for name, values in (known if errors is None else errors).items():
        kind = next((kind for kind in left if known[kind] == list(values)), None)
        pairs = zip(next(iter(groups.values())), values, strict=False)
        runs = [Run(name, run.config, error, {}, [], False) for run, error in pairs]
        rows.append(Row(name, runs if kind is None else left.pop(kind), list(values)))
    return rows


def write_comparison(
    workdir: str | os.PathLike[str], errors: Mapping[str, Sequence[float]] | None = None
) -> pathlib.Path:
    """Writes a ``report.html`` over the runs in a folder's folders, with links to theirs.

    Args:
      workdir: the folder, of a command or of ``population.train_population``.
      errors: as runs have them, one per seed, by what was trained, baselines included; None:
        those of the runs.

    Returns:
      The path of the page.

    Raises:
      ConfigError: there is no finished run, or none with an error.
      WriteError: the page cannot be written.
    """
    folder = as_path(workdir)
    runs = _read_runs(folder)
    measured = _measured(runs, errors)
    runs = [run._replace(error=run.summary[f"{measured}_error"]) for run in runs]
    settings = [name for name in runs[0].config if name not in _OF_A_RUN]
    differing = [name for name in settings if len({run.settings([name]) for run in runs}) > 1]
    groups = _kinds(runs, differing)
    rows = _rows(groups, errors)
    lines = {kind: [run.lines for run in of_kind] for kind, of_kind in groups.items()}
    percent = not str(runs[0].summary.get("target")).startswith("numbers")
    curves = [
        figures.spread({row.name: row.errors for row in rows}, measured, percent),
        figures.error_curves(lines, measured, percent),
    ]
    if len({run.summary["labels"] for run in runs}) > 1:
        points: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
        for kind, of_kind in _kinds(runs, [s for s in differing if s != "labels"]).items():
            for run in of_kind:
                points[kind][run.summary["labels"]].append(run.error)
        curves.append(figures.error_over_labels(points, measured, percent=percent))
    content = {
        "config": runs[0].config,
        "summary": runs[0].summary,
        "rows": rows,
        "paired": paired(rows),
        "measured": measured,
        "percent": percent,
        "error_name": error_name(percent),
        "curves": curves,
        "differing": differing,
        "runs": [*runs, *(run for row in rows for run in row.runs if not run.summary)],
        "report": REPORT,
    }
    return write_page(folder / REPORT, "comparison.html", content, curves)
