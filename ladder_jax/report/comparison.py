"""``write_comparison``: one page over all runs of a command."""

from __future__ import annotations

import os
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ladder_jax import workfolder
from ladder_jax.config import ConfigError
from ladder_jax.files import as_path
from ladder_jax.metrics_log import read_lines
from ladder_jax.report import figures
from ladder_jax.report.page import write_page
from ladder_jax.workfolder import REPORT

_OF_A_RUN = ("name", "seed", "split", "data_dir")
"""Settings in which runs of one kind may differ."""


class Run(NamedTuple):
    """A finished run below the folder of a command.

    Attributes:
      name: of its folder.
      config: its settings as JSON has them.
      summary: ``result.json``.
      lines: of its metrics.
      report: whether it has a page of its own.
    """

    name: str
    config: dict[str, Any]
    summary: dict[str, Any]
    lines: list[dict[str, Any]]
    report: bool


class Row(NamedTuple):
    """What was trained and its errors over the seeds, in percent."""

    name: str
    seeds: int
    mean: float
    sd: float | None
    median: float
    least: float
    greatest: float


def read_runs(folder: pathlib.Path) -> list[Run]:
    """The finished runs in the folders of a folder, by name and seed."""
    found = []
    for path in folder.glob("*/result.json"):
        own = path.parent
        config = workfolder.as_json(workfolder.read_config(own))
        summary = workfolder.load_summary(own)
        found.append(Run(own.name, config, summary, read_lines(own), (own / REPORT).exists()))
    return sorted(found, key=lambda run: (run.name.rpartition("-")[0], run.config["seed"]))


def differing(runs: Sequence[Run]) -> list[str]:
    """Settings, other than names and seeds, that are not the same in all runs."""
    settings = [name for name in runs[0].config if name not in _OF_A_RUN]
    return [s for s in settings if len({str(run.config[s]) for run in runs}) > 1]


def kinds(runs: Sequence[Run], settings: Sequence[str]) -> dict[str, list[Run]]:
    """Runs that differ in their seeds alone, by their folders' name without the seed."""
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(tuple(str(run.config[s]) for s in settings), []).append(run)
    named: dict[str, list[Run]] = {}
    for group in groups.values():
        first = group[0]
        name = first.name.removesuffix(f"-{first.config['seed']}")
        named[first.name if name in named else name] = group
    return named


def _measured(runs: Sequence[Run], errors: Mapping[str, Sequence[float]] | None) -> str:
    """On which examples: those of the errors given, else the test set if there is one."""
    known = {error for row in (errors or {}).values() for error in row}
    for name in ("test", "validation"):
        found = {run.summary.get(f"{name}_error") for run in runs} - {None}
        if found & known or (found and errors is None):
            return name
    raise ConfigError("no run has a test or validation error; there is nothing to compare.")


def _rows(errors: Mapping[str, Sequence[float]]) -> list[Row]:
    return [
        Row(
            name,
            len(found),
            statistics.fmean(found),
            statistics.stdev(found) if len(found) > 1 else None,
            statistics.median(found),
            min(found),
            max(found),
        )
        for name, found in errors.items()
    ]


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
    groups = kinds(runs, settings)
    if errors is None:
        of = f"{measured}_error"
        errors = {name: [run.summary[of] for run in group] for name, group in groups.items()}
    lines = {name: [run.lines for run in group] for name, group in groups.items()}
    content = {
        "config": runs[0].config,
        "summary": runs[0].summary,
        "rows": _rows(errors),
        "measured": measured,
        "curves": [figures.spread(errors, measured), figures.error_curves(lines, measured)],
        "differing": settings,
        "runs": runs,
        "report": REPORT,
    }
    return write_page(folder / REPORT, "comparison.html", content)
