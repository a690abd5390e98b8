"""Measures how long this machine trains a ladder until it reaches the paper's error.

  python -m benchmarks.time_to_error --data_dir=FOLDER
  python -m benchmarks.time_to_error --data_dir=FOLDER --models=quick --seeds=5 --held_out=0

MNIST, 100 labels, with the paper's settings (full), our recipe (tuned) and its short form
(quick). The clock stops when the error on held-out training images reaches --error; the
test error is that at the end of the run. With --held_out=0 all images are trained on and
no test image is looked at before the end, so no time to an error is given.

Each run is a folder in --workdir, next to a file with its curve: an interrupted benchmark
resumes.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from benchmarks.table import machine
from experiments import cli, configs
from ladder_jax import data, loop
from ladder_jax.config import Config
from ladder_jax.run import files, workfolder

MODELS = ("full", "tuned", "quick")

_MODELS = flags.DEFINE_list("models", list(MODELS), "Which settings.")
_ERROR = flags.DEFINE_float("error", 1.06, "The held-out error to reach, in percent.")
_HELD_OUT = flags.DEFINE_integer("held_out", 10_000, "Training images held out.", lower_bound=0)


class Timed(NamedTuple):
    """Holds the result of one run.

    Attributes:
      model: name of the settings.
      seed: seed of the run.
      compute_dtype: dtype of the matrix products.
      epochs: epochs of the whole run.
      seconds_to_error: seconds until the held-out error was reached; None if it never was.
      validation_error: held-out error at the end, in percent; None if nothing was held out.
      test_error: test error at the end, in percent.
      seconds: seconds of the whole run.
    """

    model: str
    seed: int
    compute_dtype: str
    epochs: int
    seconds_to_error: float | None
    validation_error: float | None
    test_error: float
    seconds: float


def seconds_to(error: float, curve: Sequence[dict[str, Any]]) -> float | None:
    """Returns the seconds until a held-out error was reached; None if it never was.

    Examples:
      >>> lines = [{"seconds": 2.0, "validation_error": 3.0}, {"seconds": 4.0}]
      >>> seconds_to(3.5, lines), seconds_to(1.0, lines)
      (2.0, None)
    """
    reached = [line["seconds"] for line in curve if line.get("validation_error", np.inf) <= error]
    return min(reached, default=None)


def timed(
    model: str, config: Config, dataset: data.Dataset, folder: pathlib.Path, error: float
) -> Timed:
    """Trains or resumes one ladder; its curve is a file next to the folder."""
    curve = folder.with_name(f"{folder.name}.curve.jsonl")
    lines = [json.loads(line) for line in (files.read_bytes(curve) or b"").splitlines()]
    with files.Log(curve, len(lines)) as log:

        def progress(line: dict[str, Any]) -> None:
            logged_names = ("epoch", "seconds", "validation_error")
            lines.append({name: line[name] for name in logged_names if name in line})
            log.append(lines[-1])

        summary = loop.train_and_evaluate(
            config, folder, dataset=dataset, progress=progress
        ).summary
    return Timed(
        model,
        config.seed,
        workfolder.read_config(folder).compute_dtype,
        config.epochs,
        seconds_to(error, list({line["epoch"]: line for line in lines}.values())),  # the last try
        summary.get("validation_error"),
        summary["test_error"],
        summary["seconds"],
    )


def settings(model: str, seed: int, held_out: int, epochs: int | None) -> Config:
    """Returns the settings of one run, evaluated after each epoch if images are held out."""
    config = configs.load(f"mnist:labels=100,model={model}")
    return dataclasses.replace(
        config,
        seed=seed,
        validation=held_out,
        epochs=epochs or config.epochs,
        eval_every=1 if held_out else epochs or config.epochs,
    )


def shown(run: Timed) -> str:
    """Formats a line of the table.

    Examples:
      >>> shown(Timed("quick", 0, "float32", 55, None, 1.2, 1.1, 60.0))
      'quick   seed   0  float32    55 epochs     60 s  never below  held out 1.20 %  test 1.10 %'
    """
    reached = "never below"
    if run.seconds_to_error is not None:
        reached = f"after {run.seconds_to_error:.0f} s"
    held_out_text = (
        ""
        if run.validation_error is None
        else f"  {reached}  held out {run.validation_error:.2f} %"
    )
    return (
        f"{run.model:7} seed {run.seed:3}  {run.compute_dtype:9}{run.epochs:4} epochs "
        f"{run.seconds:6.0f} s{held_out_text}  test {run.test_error:.2f} %"
    )


def main() -> None:
    """Trains the ladders, prints the results and writes the file."""
    path = cli.output_path("") if cli.OUTPUT.value else None
    load = os.getloadavg()[0]
    dataset = data.load("mnist", cli.DATA_DIR.value or "")
    folder = files.as_path(cli.WORKDIR.value or "runs/time_to_error")
    files.make_folder(folder)
    runs = []
    for seed in cli.seeds():
        for model in _MODELS.value:
            config = settings(model, seed, _HELD_OUT.value, cli.EPOCHS.value)
            name = f"{model}-{seed}-{config.validation}-{config.epochs}"
            runs.append(timed(model, config, dataset, folder / name, _ERROR.value))
            print(shown(runs[-1]), flush=True)
    for model in _MODELS.value:
        errors = [run.test_error for run in runs if run.model == model]
        print(f"{model:7} test {np.mean(errors):.3f} % over {len(errors)} seeds")
    about = {"processor": machine(), "load": round(load, 2), "versions": workfolder.versions()}
    print(f"{about['processor']}; load at the start {load:.1f}")
    if path is not None:
        run_settings = {"error": _ERROR.value, "validation": _HELD_OUT.value}
        files.write_json(path, {"runs": [run._asdict() for run in runs]} | run_settings | about)


if __name__ == "__main__":
    flag_help = {"output": "File to write the runs to, as JSON. Default: none."}
    flag_help["workdir"] = f"{cli.WORKDIR_HELP} Default: runs/time_to_error."
    shared_flags = (
        cli.DATA_DIR,
        cli.SEEDS,
        cli.FIRST_SEED,
        cli.EPOCHS,
        cli.WORKDIR,
        cli.OUTPUT,
        cli.OVERWRITE_OUTPUT,
    )
    cli.run(main, shared=shared_flags, about=flag_help)
