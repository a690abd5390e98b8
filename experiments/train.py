"""Trains ladders and what they are compared with.

  python -m experiments.train                            digits, 100 labels
  python -m experiments.train --seeds=5                  five seeds, mean and sd
  python -m experiments.train --config=mnist_100 --data_dir=FOLDER
  python -m experiments.train --config=mnist_100 --split=mnist.3@100 --data_dir=FOLDER
  python -m experiments.train --dataset=mine.npz --validation=50
  python -m experiments.train --vary=noise_std=0.2,0.3 --validation=300

Any setting of a config is a flag:

  python -m experiments.train --config.epochs=20 --config.units="(500, 100)"

Where another depth is given and no lists are, the config's lists of noise, combinators and
denoising costs follow it: the first, the second and the rest, as printed.

Several processes, on one machine or many, train one ladder on all their devices, each
started with the same flags and --coordinator=HOST:PORT --processes=N --process_id=I,
or on a TPU pod or with Slurm with --distributed. The first alone writes and prints.

A run that was stopped goes on where it was, by the same command with --workdir=FOLDER.
Exit status 75: stopped by SIGTERM, what was done is saved; 130: the same by Ctrl-C.
"""

from __future__ import annotations

import pathlib
import time
from typing import Any

from absl import flags

from experiments import baselines, cli, compare, members, processes, report, settings
from ladder_jax import data, files, interrupts, loop, parallel, tasks, workfolder
from ladder_jax.config import Config, ConfigError
from ladder_jax.workfolder import REPORT

_VARY = flags.DEFINE_multi_string(
    "vary",
    [],
    "A setting and its values, e.g. learning_rate=0.001,0.002: a ladder for every combination.",
)
_SAMPLE = flags.DEFINE_integer(
    "sample", 0, "How many combinations of --vary to draw; 0: all.", lower_bound=0
)
_COMPARE = flags.DEFINE_multi_enum(
    "compare",
    ["supervised"],
    ["none", "supervised", *baselines.BASELINES],
    "What to compare with on the same splits; may be given several times.",
)
_REPORT = flags.DEFINE_bool(
    "report", True, "Whether to write report.html in the folder of each ladder and in --workdir."
)


def measured(config: Config, task: tasks.Task) -> str:
    """Which error is reported: of the test set, or of the examples held out.

    Settings are compared on the latter alone.

    Raises:
      ConfigError: there is neither, or no examples are held out for a comparison.
    """
    if _VARY.value:
        members.variations(config, _VARY.value)
        settings.check_held_out("--vary", task)
    if task.test is not None and not _VARY.value:
        return "test"
    if task.validation is not None:
        return "validation"
    raise ConfigError(
        f"{config.dataset} has no x_test, y_test to measure errors on; add them, or hold out "
        "labelled examples, e.g. --validation=50."
    )


def table(config: Config, task: tasks.Task, summary: dict[str, dict[str, Any]]) -> str:
    """The summary as text."""
    labels = f"{len(task.labeled)} labels" + (f" ({config.split})" if config.split else "")
    title = f"{measured(config, task)} error in %, {config.dataset}"
    heading = f"{title}, {labels}, {cli.SEEDS.value} seed(s)"
    return "\n".join([heading, *compare.lines(summary)])


def run(config: Config, dataset: data.Dataset, task: tasks.Task, folder: pathlib.Path) -> None:
    """Trains in a folder; the first process prints the table and writes it down."""
    names = [name for name in dict.fromkeys(_COMPARE.value) if name != "none"]
    varied = members.variations(config, _VARY.value, _SAMPLE.value)
    reporting = _REPORT.value and parallel.is_first()
    errors = compare.compare(
        varied,
        names,
        cli.SEEDS.value,
        folder,
        measured(config, task),
        dataset,
        together=settings.POPULATION.value,
        overwrite=settings.OVERWRITE.value,
        finished=lambda run: report.of_run(run, dataset) if reporting else None,
    )
    summary = compare.summarize(errors)
    if not parallel.is_first():
        return
    files.write_json(folder / compare.SUMMARY, summary)
    if _REPORT.value:
        report.of_command(folder, errors)
    print(table(config, task, summary))
    print(f"config, metrics, labels and parameters are in {folder}")
    if _REPORT.value:
        print(f"to look at: {folder / REPORT}")


def check_unfinished(folder: str) -> None:
    """That no result is written over.

    Raises:
      ConfigError: a command is done in this folder.
    """
    done = files.as_path(folder) / compare.SUMMARY
    if done.exists() and not settings.OVERWRITE.value:
        raise ConfigError(
            f"workdir {folder} holds a finished run; give another folder, or --overwrite to "
            "replace what is in it."
        )


def main() -> None:
    """Reads the flags and runs; a signal ends it with how to go on."""
    config = settings.read_config()
    settings.keep_programs()
    processes.join()
    loop.check_processes(config, together=settings.POPULATION.value == "on")
    with interrupts.at_once():
        # Bad data ends the run before a folder is made.
        dataset = data.load(config.dataset, config.data_dir, in_memory=config.resident)
        task = tasks.prepare(config, dataset)
        measured(config, task)
        workdir = cli.WORKDIR.value or f"runs/{config.name}-{time.strftime('%Y%m%d-%H%M%S')}"
        parallel.from_first(lambda: check_unfinished(workdir))
        settings.tell_followed(config)
        overwrite = settings.OVERWRITE.value
        with workfolder.open_run(workdir, config, task.checksums, overwrite=overwrite) as folder:
            files.remove(folder / compare.SUMMARY)
            with settings.resumable(folder):
                run(config, dataset, task, folder)


if __name__ == "__main__":
    cli.run(main, config="digits", shared=(*settings.SHARED, *processes.FLAGS))
