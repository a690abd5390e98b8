"""Trains ladders and what they are compared with.

  python -m experiments.train                            digits, 100 labels
  python -m experiments.train --seeds=5                  five seeds, mean and sd
  python -m experiments.train --config=mnist_100 --data_dir=FOLDER
  python -m experiments.train --config=mnist_100 --split=mnist.3@100 --data_dir=FOLDER
  python -m experiments.train --dataset=mine.npz --validation=50

Any setting of a config is a flag: --config.epochs=20 --config.units="(500, 100)".
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import time
from typing import Any

from absl import flags
from ml_collections import config_flags
from tqdm import tqdm

from experiments import cli
from ladder_jax import build, data, loop, tasks, workfolder
from ladder_jax.config import Config, ConfigError

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "An experiment: a name in experiments/configs or a path; default: digits."
)
_LABELS = flags.DEFINE_string(
    "labels",
    None,
    "How many labelled examples: a number, or 'all'. Default: the config's; for a file, those that "
    "it has.",
)
_SPLIT = flags.DEFINE_string(
    "split", None, "Labelled examples by name, DATASET.SEED@LABELS, the same for all --seeds."
)
_VALIDATION = flags.DEFINE_integer(
    "validation", None, "Labelled training examples to hold out.", lower_bound=0
)
_SEEDS = flags.DEFINE_integer("seeds", 1, "How many seeds, from the config's on.", lower_bound=1)
_COMPARE = flags.DEFINE_multi_enum(
    "compare",
    ["supervised"],
    ["none", "supervised", "label_spreading", "self_training"],
    "What to compare with on the same splits; may be given several times.",
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder to write to; default: runs/NAME-TIME.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Whether to replace files in --workdir.")

Errors = dict[str, list[float]]


def read_config() -> Config:
    """The config file's settings with the flags' over them."""
    values = _CONFIG.value.to_dict()
    if _SPLIT.value is not None:
        values["split"] = _SPLIT.value
        values["dataset"], _, values["labels"] = data.parse_split(_SPLIT.value)
    if cli.DATASET.value is not None:
        values["dataset"] = cli.DATASET.value
        if data.is_file(cli.DATASET.value) and not _is_overridden("labels"):
            values["labels"] = -1
    if cli.DATA_DIR.value is not None:
        values["data_dir"] = cli.DATA_DIR.value
    if _VALIDATION.value is not None:
        values["validation"] = _VALIDATION.value
    if _LABELS.value is not None and _SPLIT.value is not None:
        raise ConfigError("--split says how many labels; leave --labels out.")
    if _LABELS.value is not None:
        if not (_LABELS.value.isdigit() or _LABELS.value == "all"):
            raise ConfigError(f"--labels={_LABELS.value}; give a number, or 'all'.")
        values["labels"] = 0 if _LABELS.value == "all" else int(_LABELS.value)
    return Config.create(values)


def _is_overridden(setting: str) -> bool:
    """Whether --config.SETTING is given."""
    return setting in config_flags.get_override_values(flags.FLAGS["config"])


def measured(config: Config, task: tasks.Task) -> str:
    """Which error is reported: of the test set, or of the examples held out.

    Raises:
      ConfigError: there is neither.
    """
    if task.test is not None:
        return "test"
    if task.validation is not None:
        return "validation"
    raise ConfigError(
        f"{config.dataset} has no x_test, y_test to measure errors on; add them, or hold out "
        "labelled examples, e.g. --validation=50."
    )


def train(config: Config, folder: Any, title: str) -> float:
    """One run under a progress bar; its error in percent."""
    with tqdm(total=config.epochs, desc=title, unit="epoch", mininterval=0.5) as bar:

        def progress(metrics: dict[str, Any]) -> None:
            bar.update()
            errors = {k: f"{v:.2f} %" for k, v in metrics.items() if k.endswith("_error")}
            if errors:
                bar.set_postfix(errors)

        result = loop.train_and_evaluate(config, folder, overwrite=True, progress=progress)
    summary = result.summary
    return float(summary["test_error"] if "test_error" in summary else summary["validation_error"])


def compare(config: Config, folder: Any, names: list[str]) -> Errors:
    """Error of the ladder and of what it is compared with, one list of seeds each."""
    errors: Errors = {name: [] for name in ("ladder", *names)}
    for seed in range(config.seed, config.seed + _SEEDS.value):
        seeded = dataclasses.replace(config, seed=seed)
        for name in errors:
            if name == "ladder":
                error = train(seeded, folder / f"ladder-{seed}", f"ladder, seed {seed}")
            elif name == "supervised":
                settings = build.supervised(seeded)
                error = train(settings, folder / f"supervised-{seed}", f"supervised, seed {seed}")
            else:
                from experiments import baselines  # scikit-learn only where asked for

                error = baselines.baseline_error(name, tasks.prepare(seeded))
            errors[name].append(error)
    return errors


def summarize(errors: Errors) -> dict[str, dict[str, Any]]:
    """Mean and standard deviation over the seeds."""
    return {
        name: {
            "mean": statistics.fmean(values),
            "sd": statistics.stdev(values) if len(values) > 1 else None,
            "errors": values,
        }
        for name, values in errors.items()
    }


def table(config: Config, task: tasks.Task, summary: dict[str, dict[str, Any]]) -> str:
    """The summary as text."""
    labels = f"{len(task.labeled)} labels" + (f" ({config.split})" if config.split else "")
    title = f"{measured(config, task)} error in %, {config.dataset}"
    lines = [f"{title}, {labels}, {_SEEDS.value} seed(s)"]
    for name, row in summary.items():
        spread = "" if row["sd"] is None else f" +- {row['sd']:.2f}"
        each = "" if row["sd"] is None else "   " + " ".join(f"{e:.2f}" for e in row["errors"])
        lines.append(f"  {name:<16}{row['mean']:6.2f}{spread}{each}")
    return "\n".join(lines)


def main() -> None:
    """Reads the flags, trains, prints the table and where everything was written."""
    config = read_config()
    task = tasks.prepare(config)  # bad data ends the run before a folder is made
    measured(config, task)
    default = f"runs/{config.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder = workfolder.make_workdir(_WORKDIR.value or default, overwrite=_OVERWRITE.value)
    names = [name for name in dict.fromkeys(_COMPARE.value) if name != "none"]
    summary = summarize(compare(config, folder, names))
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    print(table(config, task, summary))
    print(f"config, metrics, labels and parameters are in {folder}")


if __name__ == "__main__":
    cli.run(main, config="digits")
