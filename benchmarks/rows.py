"""Times one training step of every MNIST row of RESULTS.md, interleaved.

  python -m benchmarks.rows
  python -m benchmarks.rows --output=experiments/results/step_times.json --overwrite_output

Prints milliseconds per step, and the time of a run relative to that of the supervised net
with the same number of labels. The file holds the step times by config, and the machine;
RESULTS.md takes its times from it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import jax
import numpy as np
from absl import flags

from benchmarks import timers
from benchmarks.table import machine
from experiments import cli, relative_time, tables
from ladder_jax import data
from ladder_jax.config import Config
from ladder_jax.run import files, inputs, workfolder
from ladder_jax.run.program import compile_program

_ROUNDS = flags.DEFINE_integer("rounds", 7, "How often each is timed.", lower_bound=1)
_IMAGES = flags.DEFINE_integer("images", 3000, "Images in one timing.", lower_bound=1000)


def images(rows: int) -> data.Dataset:
    """Returns random images of MNIST's shape."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (rows, 28, 28, 1), np.uint8)
    return data.from_arrays(x, np.arange(rows) % 10, x[:10], np.arange(10))


def run_timer(config: Config, dataset: data.Dataset) -> timers.Timer:
    """Makes a timer of one epoch of a config on a data set; seconds per step."""
    task = inputs.prepare(config, dataset)
    compiled = compile_program(config, task.spec)
    state = compiled.init(jax.random.key(0))
    return timers.in_turn(lambda s: compiled.epoch(s, task.train), state, task.spec.steps)


def program(config: Config) -> Config:
    """Returns a config that is equal for configs whose compiled steps differ only in constants.

    Examples:
      >>> full, bottom = (row.settings(0) for row in tables.TABLES["mnist"][4:6])
      >>> full == bottom, program(full) == program(bottom)
      (False, True)
    """
    labels = min(config.labels, config.batch_labeled)  # 0: all
    return dataclasses.replace(
        config,
        name="",
        # Most steps of a run that spreads labels have a full batch of them.
        labels=config.batch_labeled if config.spread_labels else labels,
        spread_labels="",
        noise_std=(0.3,),
        denoising_cost=tuple(float(name != "none") for name in config.combinators),
        compute_dtype="float32",
    )


def measure(rows: Sequence[tables.Row], images_each: int, rounds: int) -> dict[str, float]:
    """Returns median milliseconds per step by config, with float32 products throughout."""
    dataset = images(images_each)
    programs = {row.config: program(row.settings(0)) for row in rows}
    timers_by_program = {config: run_timer(config, dataset) for config in programs.values()}
    medians = timers.interleaved(timers_by_program, rounds)
    return {name: round(1000 * medians[config], 3) for name, config in programs.items()}


def main() -> None:
    """Measures, prints and writes the file."""
    path = cli.output_path("") if cli.OUTPUT.value else None
    load, rows = os.getloadavg()[0], tables.TABLES["mnist"]
    step_ms = measure(rows, _IMAGES.value, _ROUNDS.value)
    for row in rows:
        ratio = relative_time.time_ratio(row, rows, step_ms)
        relative = "" if ratio is None else f", a run {ratio:5.2f} times the supervised net's"
        print(f"{row.row:8}{row.labels:>5} labels {step_ms[row.config]:8.2f} ms per step{relative}")
    if path is not None:
        about = {"rounds": _ROUNDS.value, "load": round(load, 2), "processor": machine()}
        files.write_json(path, {"step_ms": step_ms} | about | {"versions": workfolder.versions()})


if __name__ == "__main__":
    about = {"output": "File to write the times to, as JSON. Default: none."}
    cli.run(main, shared=(cli.OUTPUT, cli.OVERWRITE_OUTPUT), about=about)
