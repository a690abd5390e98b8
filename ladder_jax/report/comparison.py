"""Page that compares all runs of a command."""

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
from ladder_jax.report.page import experiment_name, write_page
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
    error: float  # in percent or, for numbers, in their units
    summary: dict[str, Any]  # empty if it has no folder, as are ``lines``
    lines: list[dict[str, Any]]  # of its metrics
    report: bool  # whether it has its own page

    def settings(self, names: Sequence[str]) -> tuple[str, ...]:
        """Returns the values of some settings as strings."""
        return tuple(str(self.config[name]) for name in names)


class Row(NamedTuple):
    """Holds a trained model and its errors over the seeds, or the differences of two."""

    name: str
    runs: list[Run]
    errors: list[float]

    @property
    def spread(self) -> Spread:
        """Computes statistics over the seeds."""
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
        """Computes Student's p value for a mean of 0; None if all values are the same."""
        from scipy.stats import ttest_1samp

        same = np.ptp(self.errors) < 1e-9  # up to rounding
        return None if same else float(ttest_1samp(self.errors, 0).pvalue)


def paired(rows: Sequence[Row]) -> list[Row]:
    """Subtracts each row, split by split, from the first that shares two or more splits."""
    by_split = [{run.settings(_OF_A_SPLIT): run.error for run in row.runs} for row in rows]
    pairs = []
    for i, row in enumerate(rows):
        for other, errors in zip(rows[:i], by_split, strict=False):
            deltas = [errors[key] - error for key, error in by_split[i].items() if key in errors]
            if len(deltas) > 1:
                pairs.append(Row(f"{other.name} \N{MINUS SIGN} {row.name}", [], deltas))
                break
    return pairs


def _read_runs(folder: pathlib.Path) -> list[Run]:
    """Reads the finished runs in the subfolders of a folder, sorted by name and seed."""
    runs = []
    for path in (result.parent for result in folder.glob("*/result.json")):
        config = as_json(read_config(path))
        known = load_summary(path), read_lines(path), (path / REPORT).exists()
        runs.append(Run(path.name, config, math.nan, *known))
    if not runs:
        raise ConfigError(f"{folder} holds no finished run; give the folder of a command.")
    return sorted(runs, key=lambda run: (run.name.rpartition("-")[0], run.config["seed"]))


def _kinds(runs: Sequence[Run], settings: Sequence[str]) -> dict[str, list[Run]]:
    """Groups runs that agree in some settings, keyed by folder name without the differing parts."""
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


def _measured(runs: Sequence[Run], wanted: str | None) -> str:
    """Returns which error is known for all runs: the wanted one, or else "test", "validation"."""
    names = ("test", "validation") if wanted is None else (wanted,)
    for name in names:
        if all(run.summary.get(f"{name}_error") is not None for run in runs):
            return name
    raise ConfigError(
        f"no {' or '.join(names)} error is known for all runs; there is nothing to compare."
    )


def _differing(runs: Sequence[Run]) -> list[str]:
    """Returns the settings in which runs of different kinds differ."""
    settings = [name for name in runs[0].config if name not in _OF_A_RUN]
    return [name for name in settings if len({run.settings([name]) for run in runs}) > 1]


def _named(
    folder: pathlib.Path, runs: Sequence[Run], models: Mapping[str, Sequence[str | float]]
) -> list[Run]:
    """Selects the runs that models name."""
    by_name = {run.name: run for run in runs}
    names = [value for values in models.values() for value in values if isinstance(value, str)]
    missing = [name for name in names if name not in by_name]
    if missing or not names:
        lacks = f"holds no finished run {missing[0]}" if missing else "is compared with no run"
        raise ConfigError(f"{folder} {lacks}; models may name {', '.join(by_name)}.")
    return [by_name[name] for name in dict.fromkeys(names)]


def _rows(runs: Sequence[Run], models: Mapping[str, Sequence[str | float]]) -> list[Row]:
    """Makes a row of each model.

    One without runs takes the splits of the first that has some; a single error, as of an ensemble,
    belongs to none of several splits.
    """
    by_name = {run.name: run for run in runs}
    groups = {
        title: [by_name[value] for value in values if isinstance(value, str)]
        for title, values in models.items()
    }
    splits = next(group for group in groups.values() if group)
    rows = []
    for title, values in models.items():
        errors = [by_name[v].error if isinstance(v, str) else float(v) for v in values]
        group = groups[title]
        if not group and len(errors) >= min(2, len(splits)):
            group = [
                Run(title, run.config, error, {}, [], False)
                for run, error in zip(splits, errors, strict=False)
            ]
        rows.append(Row(title, group, errors))
    return rows


def write_comparison(
    workdir: str | os.PathLike[str],
    models: Mapping[str, Sequence[str | float]] | None = None,
    measured: str | None = None,
) -> pathlib.Path:
    """Writes a ``report.html`` that compares the runs in a folder's subfolders, with links.

    Args:
      workdir: folder of a command or of ``population.train_population``.
      models: for each trained model, the names of its runs' folders or, for a baseline without
        runs, its errors on the splits of the first model's runs (for an ensemble, one error); None:
        all runs, grouped by the settings in which they differ.
      measured: "test" or "validation", the examples that the errors are of; None: "test" if that
        error is known for all runs, else "validation".

    Returns:
      The path of the page.

    Raises:
      ConfigError: no run is finished, one that is named is missing, or the error to compare is not
        known for all runs.
      WriteError: the page cannot be written.
    """
    folder = as_path(workdir)
    runs = _read_runs(folder)
    if models is not None:
        runs = _named(folder, runs, models)
    measured = _measured(runs, measured)
    runs = [run._replace(error=run.summary[f"{measured}_error"]) for run in runs]
    differing = _differing(runs)
    if models is None:
        kinds = _kinds(runs, differing)
        models = {title: [run.name for run in group] for title, group in kinds.items()}
    rows = _rows(runs, models)
    lines = {row.name: [run.lines for run in row.runs if run.lines] for row in rows}
    percent = not str(runs[0].summary.get("target")).startswith("numbers")
    curves = [figures.spread({row.name: row.errors for row in rows}, measured, percent)]
    if any(len(figures.series(run.lines, f"{measured}_error")[0]) > 1 for run in runs):
        curves.append(figures.error_curves(lines, measured, percent))
    if len({run.summary["labels"] for run in runs}) > 1:
        points: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
        for kind, kind_runs in _kinds(runs, [s for s in differing if s != "labels"]).items():
            for run in kind_runs:
                points[kind][run.summary["labels"]].append(run.error)
        curves.append(figures.error_over_labels(points, measured, percent=percent))
    config, summary = runs[0].config, runs[0].summary
    content = {
        "experiment": experiment_name(config["name"], summary["dataset"]),
        "summary": summary,
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
