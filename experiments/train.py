"""Trains ladders, and baselines to compare them with.

  python -m experiments.train                            digits, 100 labels
  python -m experiments.train --seeds=5                  five seeds, mean and sd
  python -m experiments.train --config=mnist:labels=100 --data_dir=FOLDER
  python -m experiments.train --config=mnist:labels=100 --split=mnist.3@100 --data_dir=FOLDER
  python -m experiments.train --dataset=mine.npz --validation=50
  python -m experiments.train --vary=noise_std=0.2,0.3 --validation=300

Any setting of a config is a flag:

  python -m experiments.train --config.epochs=20 --config.units="(500, 100)"

If another depth is given without per-level lists, the config's lists of noise, combinators
and denoising costs are adapted to it: the first, the second and the remaining levels, as
printed.

Several processes, on one or more machines, train one ladder on all their devices. Start each
with the same flags and --coordinator=HOST:PORT --processes=N --process_id=I, or with
--distributed on a TPU pod or under Slurm. Only process 0 writes and prints.

To resume a stopped run, repeat the command with --workdir=FOLDER.
Exit status 75: stopped by SIGTERM with progress saved; 130: the same for Ctrl-C.
"""

from __future__ import annotations

import pathlib
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from absl import flags

from experiments import baselines, cli, compare, members, processes, report, settings
from ladder_jax import data, loop
from ladder_jax.config import Config
from ladder_jax.errors import ConfigError
from ladder_jax.run import files, inputs, multiprocess, signals, workfolder
from ladder_jax.run.evaluation import error_name
from ladder_jax.run.workfolder import REPORT

_VARY = flags.DEFINE_multi_string(
    "vary",
    [],
    "Setting and its values, e.g. learning_rate=0.001,0.002; trains a ladder per combination.",
)
_SAMPLE = flags.DEFINE_integer(
    "sample", 0, "How many combinations of --vary to draw; 0: all.", lower_bound=0
)
_COMPARE = flags.DEFINE_multi_enum(
    "compare",
    ["supervised"],
    ["none", "supervised", compare.ENSEMBLE, *baselines.BASELINES],
    "Baselines to compare with on the same splits, or ensemble, the mean probabilities of the "
    "seeds' ladders; may be given several times.",
)
_REPORT = flags.DEFINE_bool(
    "report", True, "Whether to write report.html in the folder of each ladder and in --workdir."
)


def measured(config: Config, task: inputs.Task) -> str:
    """Returns which error is reported: "test", or "validation" for held-out examples.

    Settings are compared only on held-out examples.

    Raises:
      ConfigError: neither exists, or no examples are held out to compare settings.
    """
    if _VARY.value:
        members.variations(config, _VARY.value)
        settings.check_held_out("--vary", task)
    if task.test is not None and not _VARY.value:
        return "test"
    if task.validation is not None:
        return "validation"
    raise ConfigError(
        f"{config.dataset} has no test set to measure errors on; hold out labelled examples, e.g. "
        "--validation=50, or add one (to an .npz file x_test and y_test)."
    )


def check_compared(dataset: data.Dataset) -> None:
    """Checks that the baselines can learn the labels of the data set.

    Raises:
      ConfigError: a baseline cannot.
    """
    classifiers = [
        name for name in _COMPARE.value if name in (compare.ENSEMBLE, *baselines.BASELINES)
    ]
    if classifiers and dataset.kind != "classes":
        raise ConfigError(
            f"--compare={classifiers[0]} is a classifier, but the labels of {dataset.name} are "
            f"{dataset.kind}; give --compare=supervised or --compare=none."
        )


def check_ensemble(config: Config, dataset: data.Dataset) -> None:
    """Checks that the ladders of an ensemble, if one is to be compared, share their labels.

    Raises:
      ConfigError: there is only one ladder, or the seeds have different rows.
    """
    if compare.ENSEMBLE not in _COMPARE.value:
        return
    cause = f"--compare={compare.ENSEMBLE} takes the mean of several seeds' ladders"
    if cli.SEEDS.value < 2:
        raise ConfigError(f"{cause}; give --seeds=5 or so.")
    if multiprocess.is_multiprocess():
        raise ConfigError(f"{cause} in one process; leave it out, or start one process.")
    first, *others = (
        inputs.choose_rows(seeded, dataset) for seeded in members.seeded(config, cli.SEEDS.value)
    )
    if not all(all(map(np.array_equal, first, rows)) for rows in others):
        raise ConfigError(
            f"{cause}, which share their labels, but each seed labels or holds out other examples; "
            "give --split=DATASET.SEED@LABELS and no --validation."
        )


def table(config: Config, task: inputs.Task, summary: dict[str, dict[str, Any]]) -> str:
    """Formats the summary as text."""
    percent = task.target.percent
    labels = f"{len(task.labeled)} labels" + (f" ({config.split})" if config.split else "")
    title = f"{measured(config, task)} {error_name(percent)}, {config.dataset}"
    heading = f"{title}, {labels}, {cli.SEEDS.value} seed(s)"
    return "\n".join([heading, *compare.lines(summary, percent)])


def run(
    configs: Mapping[str, Config], dataset: data.Dataset, known: compare.Known, folder: pathlib.Path
) -> None:
    """Trains in a folder; the primary process saves the summary and prints it as a table.

    Args:
      configs: the config, or each of its variations, as ``members.variations`` returns them.
      dataset: the data set.
      known: the config as given, and the data prepared for it.
      folder: folder of the command.
    """
    names = [name for name in dict.fromkeys(_COMPARE.value) if name != "none"]
    reporting = _REPORT.value and multiprocess.is_primary()
    trained = compare.compare(
        configs,
        names,
        cli.SEEDS.value,
        folder,
        measured(*known),
        dataset,
        together=cli.POPULATION.value,
        overwrite=settings.OVERWRITE.value,
        known=known,
        finished=lambda run: report.of_run(run, dataset) if reporting else None,
    )
    summary = compare.summarize(trained, measured(*known))
    if not multiprocess.is_primary():
        return
    if _REPORT.value:
        report.of_command(folder, summary)
    files.write_json(folder / compare.SUMMARY, summary)  # last: marks the command as done
    print(table(*known, summary))
    print(f"config, metrics, labels and parameters are in {folder}")
    if _REPORT.value:
        print(f"to look at: {folder / REPORT}")


def check_unfinished(folder: str) -> None:
    """Checks that no finished result would be overwritten.

    Raises:
      ConfigError: the folder holds a finished run.
    """
    done = files.as_path(folder) / compare.SUMMARY
    if done.exists() and not settings.OVERWRITE.value:
        raise ConfigError(
            f"workdir {folder} holds a finished run; give another folder, or --overwrite to "
            "replace what is in it."
        )


def main() -> None:
    """Reads the flags and trains; on a signal, stops and says how to resume."""
    config = settings.read_config()
    settings.keep_programs()
    processes.join()
    loop.check_processes(config, together=cli.POPULATION.value == "on")
    with signals.at_once():
        # Bad data must stop the run before a folder is created.
        dataset = inputs.load_data(config)
        settings.check_layers(config, dataset)
        check_compared(dataset)
        check_ensemble(config, dataset)
        task = inputs.prepare(config, dataset)
        measured(config, task)
        configs = members.variations(config, _VARY.value, _SAMPLE.value)
        settings.check_members(configs.values(), dataset, task)
        workdir = cli.WORKDIR.value or f"runs/{config.name}-{time.strftime('%Y%m%d-%H%M%S')}"
        multiprocess.broadcast_from_primary(lambda: check_unfinished(workdir))
        settings.tell_followed(config)
        settings.tell_unsuited(config, dataset, task)
        overwrite = settings.OVERWRITE.value
        with workfolder.open_run(workdir, config, task.checksums, overwrite=overwrite) as folder:
            files.remove(folder / compare.SUMMARY)
            if overwrite:
                compare.remove_runs(folder, "ladder", "supervised")
            with settings.resumable(folder):
                run(configs, dataset, (config, task), folder)


if __name__ == "__main__":
    cli.run(main, config="digits", shared=(*settings.SHARED, *processes.FLAGS))
