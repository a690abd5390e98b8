"""Flags of the commands that train, and the config they define."""

from __future__ import annotations

import contextlib
import math
import pathlib
import shlex
from collections.abc import Container, Iterable, Iterator

import jax
import numpy as np
from absl import flags
from ml_collections import config_flags

from experiments import cli, compare, members
from ladder_jax import data, errors, population
from ladder_jax.config import Config
from ladder_jax.data import preprocessing
from ladder_jax.errors import ConfigError
from ladder_jax.run import files, inputs, multiprocess, program

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Experiment: the name of a config or the path of its file. Default: digits."
)
_SPLIT = flags.DEFINE_string(
    "split",
    None,
    "Named split of labelled examples, DATASET.SEED@LABELS, the same for all --seeds.",
)
_VALIDATION = flags.DEFINE_integer(
    "validation", None, "Labelled training examples to hold out.", lower_bound=0
)
OVERWRITE = flags.DEFINE_bool(
    "overwrite", False, "Whether to start over, replacing files in --workdir."
)
_CACHE = flags.DEFINE_string(
    "compilation_cache",
    None,
    "Folder that keeps compiled programs for the next start. Default: the user's cache folder.",
)
SHARED = (
    _CONFIG,
    *(cli.DATASET, cli.DATA_DIR, cli.LABELS, _SPLIT, _VALIDATION, cli.SEEDS),
    *(cli.POPULATION, cli.WORKDIR, OVERWRITE, _CACHE),
)
"""Flags that ``--help`` lists after a command's own."""
FEW_UPDATES = 1000
"""Number of parameter updates in a run below which more epochs are suggested."""
MOST_SPREAD = 3.0
"""Standard deviation of a user's examples above which another scale is suggested."""


def read_config() -> Config:
    """Reads the config file and applies the flags."""
    values = _CONFIG.value.to_dict()
    if _SPLIT.value is not None:
        values["split"] = _SPLIT.value
        values["dataset"], _, values["labels"] = data.parse_split(_SPLIT.value)
    if cli.DATASET.value is not None:
        values["dataset"] = cli.DATASET.value
        if data.is_file(cli.DATASET.value) and "labels" not in _overridden():
            values["labels"] = -1
    if cli.DATA_DIR.value is not None:
        values["data_dir"] = cli.DATA_DIR.value
    if _VALIDATION.value is not None:
        values["validation"] = _VALIDATION.value
    if cli.LABELS.value is not None and _SPLIT.value is not None:
        raise ConfigError("--split says how many labels; leave --labels out.")
    if cli.LABELS.value is not None:
        if not (cli.LABELS.value.isdecimal() or cli.LABELS.value == "all"):
            raise ConfigError(f"--labels={cli.LABELS.value}; give a number, or 'all'.")
        values["labels"] = 0 if cli.LABELS.value == "all" else int(cli.LABELS.value)
    return Config.create(values | members.followed(values, _overridden()))


def tell_followed(config: Config) -> None:
    """Prints the per-level lists adjusted to the depth, in the primary process only."""
    if not multiprocess.is_primary():
        return
    for name in members.followed(_CONFIG.value.to_dict(), _overridden()):
        print(f"{name}={getattr(config, name)} for {config.levels} levels")


def tell_unsuited(config: Config, dataset: data.Dataset, task: inputs.Task) -> None:
    """Prints hints on settings that are unlikely to suit the user's own data.

    Args:
      config: the settings.
      dataset: the data set.
      task: the data prepared for the run.
    """
    if not multiprocess.is_primary():
        return
    updates = task.spec.steps * config.epochs
    if len(dataset.x_train.shape) == 2 and _config_file() == "digits":
        suited = "table_numbers" if dataset.kind == "numbers" else "table"
        print(f"{dataset.name} has rows of features, for which --config={suited} has settings")
    elif data.is_file(config.dataset) and (spread := _spread(dataset, task)) > MOST_SPREAD:
        advice = "--config.preprocess=standardize makes it 1"
        if dataset.scale == "pixels":
            advice = f"give pixels as bytes (uint8), which become 0 to 1, or {advice}"
        print(
            f"the standard deviation of {dataset.name} is {spread:.3g}, for which the noise is "
            f"too small and the denoising costs are too large; {advice}"
        )
    if updates < FEW_UPDATES:
        epochs = math.ceil(config.epochs * FEW_UPDATES / updates)
        print(f"only {updates} updates in all; --config.epochs={epochs} makes {FEW_UPDATES}")


def _spread(dataset: data.Dataset, task: inputs.Task) -> float:
    """Computes the standard deviation of the first preprocessed examples, without JAX."""
    first = preprocessing.apply(task.preprocessing, np.asarray(dataset.x_train[:1000]))
    return float(np.std(first))


def _config_file() -> str:
    """Returns the stem of the config file's name."""
    return pathlib.Path(config_flags.get_config_filename(flags.FLAGS["config"])).stem


def _overridden() -> Container[str]:
    """Returns the names of the settings given as --config.SETTING."""
    names: Container[str] = config_flags.get_override_values(flags.FLAGS["config"])
    return names


def check_layers(config: Config, dataset: data.Dataset) -> None:
    """Checks that data with a class per pixel are not given the default config's layers.

    Raises:
      ConfigError: the data have a class per pixel, and no layers were chosen for them.
    """
    chosen = "units" in _overridden() or "encoder" in _overridden()
    chosen = chosen or _config_file() != "digits"
    if dataset.kind == "pixels" and not chosen:
        raise ConfigError(
            f"{dataset.name} has a class per pixel, for which the layers of --config=digits are "
            "too wide; give --config.units=16,16,16 and the like, or an --config.encoder such as "
            "that of --config=textured_digits."
        )


def check_members(configs: Iterable[Config], dataset: data.Dataset, task: inputs.Task) -> None:
    """Checks, before a folder is made or its content is replaced, that all members can be trained.

    Args:
      configs: configs of the command, with the first seed.
      dataset: the data set.
      task: the data prepared for the first seed.

    Raises:
      ConfigError: a seed is too large, the layers or spread_labels do not fit the data, or the
        seeds cannot be trained as the population that --population=on asks for.
      DataError: with one of the seeds, a class has no label, or no row lacks one to spread.
    """
    first, *_ = configs = list(configs)
    for config in configs:
        program.build_ladder(config, task.spec.input_shape, task.spec.target)
        inputs.check_spread(config, task)
    rows = {c: inputs.choose_rows(c, dataset) for c in members.seeded(first, cli.SEEDS.value)}
    if compare.is_population({str(c.seed): c for c in rows}, cli.POPULATION.value):
        labels = [inputs.read_labels(c, dataset, chosen) for c, chosen in rows.items()]
        population.check_same_target(first, [each.target for each in labels])


def check_held_out(what: str, task: inputs.Task) -> None:
    """Checks that there are held-out examples to compare settings on.

    Args:
      what: name of the flag or command that compares settings, for the message.
      task: the data.

    Raises:
      ConfigError: no examples are held out.
    """
    if task.validation is None:
        raise ConfigError(
            f"{what} compares settings, which is not done on test data; hold out labelled "
            "examples, e.g. --validation=200."
        )


def keep_programs() -> None:
    """Sets the persistent compilation cache to the folder in --compilation_cache."""
    if _CACHE.value is not None:
        update = jax.config.update
        update("jax_compilation_cache_dir", str(files.as_path(_CACHE.value)))  # type: ignore[no-untyped-call]
        update("jax_persistent_cache_min_compile_time_secs", 0)  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def resumable(folder: pathlib.Path) -> Iterator[None]:
    """Adds how to resume the command to the message of an interruption."""
    try:
        yield
    except errors.Interrupted as stop:
        if not multiprocess.is_primary():
            raise  # the primary process says how to resume
        again = f"the same command with {shlex.quote(f'--workdir={folder}')}"
        again += " and without --overwrite" if OVERWRITE.value else ""
        raise errors.Interrupted(stop.number, f"{stop}; to resume: {again}") from stop
