"""Rewrites the reports of finished runs: report.html in each folder.

  python -m experiments.report --workdir=RUN

RUN is the folder of a run, or of a command with several runs: each ladder then gets a page,
and another page compares them.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from collections.abc import Callable

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


def of_command(folder: pathlib.Path, errors: compare.Errors) -> None:
    """Writes the page that compares the models that a command trained.

    Args:
      folder: folder of the command.
      errors: errors by model and seed, from ``compare.compare``.
    """
    attempt(folder, lambda: report.write_comparison(folder, errors))


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
        summary = cli.read_json(folder / compare.SUMMARY)
        errors = {title: row["errors"] for title, row in summary.items()}
        print(report.write_comparison(folder, errors))


if __name__ == "__main__":
    cli.run(main, shared=(cli.WORKDIR, cli.DATASET, cli.DATA_DIR), about=cli.READS)
