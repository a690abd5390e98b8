"""Rewrites the reports of finished runs: report.html in each folder.

  python -m experiments.report --workdir=RUN

RUN is the folder of a run, or of a command with several runs: each ladder then gets a page,
and another page compares them.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from experiments import cli, compare
from ladder_jax import data, predictor, report
from ladder_jax.run import files, inputs, workfolder
from ladder_jax.run.workfolder import REPORT


def attempt(folder: pathlib.Path, write: Callable[[], pathlib.Path]) -> None:
    """Writes a page, or prints a warning if that fails, so that nothing else is lost.

    Args:
      folder: folder of the run or command, for the warning.
      write: function that writes the page.
    """
    try:
        write()
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        print(f"warning: no report in {folder}: {reason}", file=sys.stderr)


def of_run(folder: pathlib.Path, dataset: data.Dataset) -> None:
    """Writes the report of a finished run of a command, if it has none yet.

    Args:
      folder: folder of the run.
      dataset: the data set it was trained on.
    """
    if not (folder / REPORT).exists():
        attempt(folder, lambda: report.write(folder, dataset, compared=True))


def comparison(folder: pathlib.Path, summary: Mapping[str, Any]) -> pathlib.Path:
    """Writes the page that compares what a command trained, and returns its path.

    Args:
      folder: folder of the command.
      summary: result of ``compare.summarize``; one without the names of runs, as earlier versions
        wrote it, compares all runs in the folder.
    """
    if not any(row.get("runs") for row in summary.values()):
        return report.write_comparison(folder)
    models = {name: row["runs"] or row["errors"] for name, row in summary.items()}
    return report.write_comparison(folder, models, next(iter(summary.values()))["measured"])


def of_command(folder: pathlib.Path, summary: Mapping[str, Any]) -> None:
    """Writes the page of ``comparison``, or prints a warning."""
    attempt(folder, lambda: comparison(folder, summary))


def main() -> None:
    """Reads the flags, writes the reports and prints their paths."""
    folder = files.as_path(cli.find_workdir())
    runs = sorted(path.parent for path in folder.glob("ladder-*/result.json"))
    runs = runs or [predictor.find_run(folder)]
    config = workfolder.read_config(runs[0])
    config = dataclasses.replace(
        config,
        dataset=cli.DATASET.value or config.dataset,
        data_dir=cli.DATA_DIR.value or config.data_dir,
    )
    dataset = inputs.load_data(config)
    is_command = (folder / compare.SUMMARY).exists()
    for run in runs:
        print(report.write(run, dataset, compared=is_command or None))
    if is_command:
        print(comparison(folder, cli.read_json(folder / compare.SUMMARY)))


if __name__ == "__main__":
    cli.run(main, shared=(cli.WORKDIR, cli.DATASET, cli.DATA_DIR), about=cli.READS)
