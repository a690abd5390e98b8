"""``write_comparison``: one page over all runs of a command."""

from __future__ import annotations

import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ladder_jax import workfolder
from ladder_jax.config import ConfigError
from ladder_jax.files import as_path
from ladder_jax.metrics_log import read_lines
from ladder_jax.report import figures
from ladder_jax.report.measures import mean_interval, over_seeds
from ladder_jax.report.page import write_page
from ladder_jax.workfolder import REPORT

_OF_A_RUN = ("name", "seed", "split", "data_dir")
"""Settings in which runs of one kind may differ."""
_OF_A_SPLIT = ("dataset", "labels", "label_choice", "validation", "split", "seed")
"""Settings that say which examples have labels."""


class Run(NamedTuple):
    """A finished run, of which there may be no folder.

    Attributes:
      name: of its folder, or of what was trained.
      config: its settings as JSON has them.
      error: in percent.
      summary: ``result.json``; empty where it has no folder.
      lines: of its metrics.
      report: whether it has a page of its own.
    """

    name: str
    config: dict[str, Any]
    error: float
    summary: dict[str, Any]
    lines: list[dict[str, Any]]
    report: bool

    @property
    def split(self) -> tuple[str, ...]:
        """What its labelled examples follow from."""
        return tuple(str(self.config[name]) for name in _OF_A_SPLIT)


class Row(NamedTuple):
    """What was trained, and its errors over the seeds, in percent."""

    name: str
    runs: list[Run]
    errors: list[float]

    @property
    def figures(self) -> dict[str, float | None]:
        """Those over its seeds, by name."""
        return over_seeds(self.errors)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Student's, of 95 %, of the mean."""
        return mean_interval(self.errors)


class Paired(NamedTuple):
    """Two things trained on the same splits.

    Attributes:
      name: of one.
      other: of the other.
      n: how many splits.
      difference: mean of the first's errors less the other's, in percentage points.
      interval: Student's, of 95 %, of that mean.
      p: of the paired t-test; None where all differences are the same.
    """

    name: str
    other: str
    n: int
    difference: float
    interval: tuple[float, float] | None
    p: float | None


def read_runs(folder: pathlib.Path) -> list[Run]:
    """Reads the finished runs in the folders of a folder, by name and seed."""
    found = []
    for path in folder.glob("*/result.json"):
        own = path.parent
        config = workfolder.as_json(workfolder.read_config(own))
        known = workfolder.load_summary(own), read_lines(own), (own / REPORT).exists()
        found.append(Run(own.name, config, math.nan, *known))
    return sorted(found, key=lambda run: (run.name.rpartition("-")[0], run.config["seed"]))


def differing(runs: Sequence[Run]) -> list[str]:
    """Lists the settings, other than names and seeds, that are not the same in all runs."""
    settings = [name for name in runs[0].config if name not in _OF_A_RUN]
    return [s for s in settings if len({str(run.config[s]) for run in runs}) > 1]


def kinds(runs: Sequence[Run], settings: Sequence[str]) -> dict[str, list[Run]]:
    """Groups runs that agree in some settings, by their folders' name without what differs."""
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(tuple(str(run.config[s]) for s in settings), []).append(run)
    named: dict[str, list[Run]] = {}
    for group in groups.values():
        first = group[0]
        name = first.name.removesuffix(f"-{first.config['seed']}")
        if len({run.config["labels"] for run in group}) > 1:
            name = name.removesuffix(f"-{first.config['labels']}")
        named[first.name if name in named else name] = group
    return named


def _measured(runs: Sequence[Run], errors: Mapping[str, Sequence[float]] | None) -> str:
    """On which examples: those of the errors given, else the test set if there is one."""
    known = {error for row in (errors or {}).values() for error in row}
    for name in ("test", "validation"):
        found = {run.summary.get(f"{name}_error") for run in runs}
        if None not in found and (errors is None or found & known):
            return name
    raise ConfigError("no test or validation error is of all runs; there is nothing to compare.")


def _rows(
    groups: Mapping[str, list[Run]], errors: Mapping[str, Sequence[float]] | None
) -> list[Row]:
    """What is compared with the runs of each; those without a folder have the first's splits."""
    if errors is None:
        errors = {name: [run.error for run in runs] for name, runs in groups.items()}
    left, found = list(groups.values()), list[Row]()
    for name, values in errors.items():
        own = next((runs for runs in left if [run.error for run in runs] == list(values)), None)
        if own is None:
            first = next(iter(groups.values()))
            own = [
                Run(name, run.config, value, {}, [], False)
                for run, value in zip(first, values, strict=False)
            ]
        else:
            left.remove(own)
        found.append(Row(name, own, list(values)))
    return found


def paired(rows: Sequence[Row]) -> list[Paired]:
    """Tests each row against the first that shares two splits or more with it.

    Args:
      rows: what is compared.
    """
    from scipy.stats import ttest_rel

    found = []
    for i, row in enumerate(rows):
        ours = dict(zip((run.split for run in row.runs), row.errors, strict=False))
        for other in rows[:i]:
            theirs = dict(zip((run.split for run in other.runs), other.errors, strict=False))
            shared = [split for split in ours if split in theirs]
            if len(shared) < 2:
                continue
            a, b = [theirs[split] for split in shared], [ours[split] for split in shared]
            less = np.subtract(a, b)
            same = np.ptp(less) < 1e-9  # but for their rounding
            p = None if same else float(ttest_rel(a, b).pvalue)
            ends = mean_interval(less.tolist())
            found.append(Paired(other.name, row.name, len(a), float(less.mean()), ends, p))
            break
    return found


def _over_labels(runs: Sequence[Run], settings: Sequence[str], measured: str) -> list[Any]:
    """The error over the number of labels, where there are several."""
    if len({run.summary["labels"] for run in runs}) < 2:
        return []
    points: dict[str, dict[int, list[float]]] = {}
    for name, group in kinds(runs, [s for s in settings if s != "labels"]).items():
        for run in group:
            of = points.setdefault(name, {}).setdefault(run.summary["labels"], [])
            of.append(run.summary[f"{measured}_error"])
    return [figures.error_over_labels(points, measured)]


def write_comparison(
    workdir: str | os.PathLike[str], errors: Mapping[str, Sequence[float]] | None = None
) -> pathlib.Path:
    """Writes a ``report.html`` over the runs in a folder's folders, with links to theirs.

    Args:
      workdir: the folder, of a command or of ``population.train_population``.
      errors: in percent, one a seed, by what was trained, baselines included; None:
        those of the runs.

    Returns:
      The path of the page.

    Raises:
      ConfigError: there is no finished run, or none with an error.
      WriteError: the page cannot be written.
    """
    folder = as_path(workdir)
    runs = read_runs(folder)
    if not runs:
        raise ConfigError(f"{folder} holds no finished run; give the folder of a command.")
    measured, settings = _measured(runs, errors), differing(runs)
    runs = [run._replace(error=run.summary[f"{measured}_error"]) for run in runs]
    groups = kinds(runs, settings)
    rows = _rows(groups, errors)
    without_folder = [run for row in rows for run in row.runs if not run.summary]
    curves = [
        figures.spread({row.name: row.errors for row in rows}, measured),
        figures.error_curves(
            {k: [run.lines for run in runs] for k, runs in groups.items()}, measured
        ),
        *_over_labels(runs, settings, measured),
    ]
    content = {
        "config": runs[0].config,
        "summary": runs[0].summary,
        "rows": rows,
        "paired": paired(rows),
        "measured": measured,
        "curves": curves,
        "differing": settings,
        "runs": [*runs, *without_folder],
        "report": REPORT,
    }
    return write_page(folder / REPORT, "comparison.html", content, curves)
