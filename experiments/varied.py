"""Shared parts of the commands that vary a config's settings: flags, config and output file."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from absl import flags

from experiments import cli, configs
from experiments.record import write_svg
from ladder_jax import data
from ladder_jax.config import Config
from ladder_jax.errors import ConfigError
from ladder_jax.report.figures import Picture
from ladder_jax.run import files, inputs, workfolder

Run = dict[str, Any]
Errors = dict[tuple[Any, ...], dict[float, list[float]]]

_BASE = flags.DEFINE_string("base", "digits", "Config to vary, as for experiments.train.")
SHARED = (
    *(_BASE, cli.DATA_DIR, cli.EPOCHS, cli.COMPUTE_DTYPE, cli.SEEDS, cli.FIRST_SEED),
    *(cli.WORKDIR, cli.OUTPUT, cli.OVERWRITE_OUTPUT),
)
"""Flags that these commands share."""


def about(name: str) -> dict[str, str]:
    """Returns the help texts of flags whose defaults depend on the command's name."""
    return {
        "output": f"File to write, as JSON, the plot beside it. Default: runs/{name}.json.",
        "workdir": f"Folder of the runs; stopped ones in it resume. Default: runs/{name}.",
    }


def output_path(command: str) -> pathlib.Path:
    """Returns the file to write: ``--output``, or the command's default.

    Raises:
      ConfigError: it, or the plot beside it, cannot be written or exists already.
    """
    path = cli.output_path(f"runs/{command}.json")
    if _picture(path) == path:
        raise ConfigError(
            f"--output={path} is JSON, and the plot beside it ends in {path.suffix}; give a name "
            "ending in .json."
        )
    cli.check_output(_picture(path))
    return path


def _picture(path: pathlib.Path) -> pathlib.Path:
    """Returns the file of the plot beside a file of runs."""
    return path.with_suffix(".svg")


def load() -> tuple[Config, data.Dataset]:
    """Loads the config to vary and its data."""
    config = configs.load(_BASE.value)
    config = dataclasses.replace(
        config,
        data_dir=cli.DATA_DIR.value or config.data_dir,
        epochs=cli.EPOCHS.value or config.epochs,
        compute_dtype=cli.COMPUTE_DTYPE.value or config.compute_dtype,
    )
    return config, inputs.load_data(config)


def by(runs: Sequence[Run], kind: Sequence[str], over: str, measured: str) -> Errors:
    """Groups measurements by kind of run, then by the varied value.

    Examples:
      >>> runs = [{"level": 0, "cost": 2.0, "error": 5.0}, {"level": 0, "cost": 2.0, "error": 6.0}]
      >>> by(runs, ["level"], "cost", "error")
      {(0,): {2.0: [5.0, 6.0]}}
    """
    grouped: Errors = {}
    for run in runs:
        errors = grouped.setdefault(tuple(run[name] for name in kind), {})
        errors.setdefault(run[over], []).append(run[measured])
    return grouped


def summary(run: pathlib.Path, *names: str) -> Run:
    """Returns parts of a finished run's result, with its date and commit if known."""
    known = workfolder.load_summary(run)
    when = [name for name in ("date", "commit") if name in known]
    return {name: known[name] for name in (*names, *when)}


def write(path: pathlib.Path, config: Config, picture: Picture, **measured: Any) -> None:
    """Writes the runs with their settings and versions to a file, and the plot beside it."""
    settings = {name: getattr(config, name) for name in ("labels", "epochs", "compute_dtype")}
    versions = {"versions": workfolder.versions()}
    files.write_json(path, {"base": _BASE.value} | settings | measured | versions)
    write_svg(picture.content, _picture(path))
