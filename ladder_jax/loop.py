"""``train_and_evaluate(config, workdir)``: a whole run, callable from a notebook."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import pathlib
import platform
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ladder_jax import activations, combinators, data, presets, streaming, training
from ladder_jax.config import Config, ConfigError
from ladder_jax.data import preprocessing
from ladder_jax.training import BatchSizes, TrainData
from ladder_jax.types import Ladder, Params, Statistics

Progress = Callable[[dict[str, Any]], None]


class Task(NamedTuple):
    """The data of one run: what is trained on and what is tested on.

    Attributes:
      train: the examples, on the device (or with the host, if not resident).
      sizes: rows a step.
      test: ``(x, y)``, or None where the data have no test set.
      validation: ``(x, y)``, or None.
      labeled: numbers of the labelled rows within the official training set.
      class_names: one a class.
      preprocessing: what ``x`` has been through.
    """

    train: Any
    sizes: BatchSizes
    test: tuple[Any, Any] | None
    validation: tuple[Any, Any] | None
    labeled: np.ndarray
    class_names: tuple[str, ...]
    preprocessing: preprocessing.Preprocessing


class Result(NamedTuple):
    """What a run ends with.

    Attributes:
      params: of the ladder.
      statistics: what prediction is normalised with.
      summary: figures and circumstances, as in ``result.json``.
    """

    params: Params
    statistics: Statistics
    summary: dict[str, Any]


def build_ladder(config: Config, features: int, classes: int) -> Ladder:
    """The ladder that a config describes.

    Args:
      config: the settings.
      features: of the input.
      classes: how many there are.

    Returns:
      A ``Ladder``.

    Raises:
      ConfigError: settings contradict each other.

    Example:
      >>> build_ladder(Config(units=(5,)), 64, 10).shapes
      ((64,), (5,), (10,))
    """
    levels = len(config.units) + 2
    words = config.combinators * (levels if len(config.combinators) == 1 else 1)
    gs = [None if word == "none" else combinators.COMBINATORS[word]() for word in words]
    noise, costs = config.noise_std, config.denoising_cost
    try:
        return presets.mlp(
            features,
            (*config.units, classes),
            combinators=gs,
            noise_std=noise[0] if len(noise) == 1 else noise,
            denoising_cost=costs[0] if len(costs) == 1 else costs,
            activation=activations.ACTIVATIONS[config.activation](),
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error


def supervised(config: Config) -> Config:
    """The supervised net of the same size: no decoder, the paper's baseline noise.

    Example:
      >>> supervised(Config(units=(5,))).noise_std
      (0.3, 0.5, 0.5)
    """
    return dataclasses.replace(
        config,
        combinators=("none",),
        denoising_cost=(0.0,),
        noise_std=(0.3,) + (0.5,) * (len(config.units) + 1),
    )


def choose_rows(config: Config, dataset: data.Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which training examples keep their label, which are trained on, which held out.

    Args:
      config: the settings.
      dataset: the data.

    Returns:
      Sorted row numbers ``(labeled, kept, held_out)``, the first a part of the
      second; only examples with a label are held out.

    Raises:
      DataError: there are too few, or the split is of another data set.

    Example:
      >>> import numpy as np
      >>> own = data.from_arrays(np.zeros((4, 2)), [0, -1, 1, -1])
      >>> [rows.tolist() for rows in choose_rows(Config(labels=-1), own)]
      [[0, 2], [0, 1, 2, 3], []]
    """
    y, classes = dataset.y_train, len(dataset.class_names)
    named = np.zeros(0, int)
    if config.split:
        if data.parse_split(config.split).dataset != dataset.name:
            raise data.DataError(f"split {config.split} is not one of {dataset.name}.")
        named = data.named_split(config.split, y, classes)
    held_out = np.zeros(0, int)
    if config.validation:
        free = np.setdiff1d(np.flatnonzero(y >= 0), named)
        held_out = free[data.hold_out(len(free), config.validation, config.seed)[1]]
    kept = np.setdiff1d(np.arange(len(y)), held_out)
    if config.split:
        return named, kept, held_out
    if config.labels == -1 and (y[kept] >= 0).all():
        raise data.DataError(
            f"{dataset.name}: no example is marked as unlabelled (-1); say how many labels to "
            "keep, e.g. --labels=100, or --labels=all."
        )
    chosen = data.choose_labeled(
        y[kept], max(config.labels, 0), config.seed, classes, config.label_choice
    )
    return kept[chosen], kept, held_out


def prepare(config: Config, dataset: data.Dataset | None = None) -> Task:
    """Loads the data, chooses labels and holds out validation, all from the seed.

    Args:
      config: the settings.
      dataset: the data, instead of those that the config names.

    Returns:
      A ``Task``.

    Raises:
      DataError: the data are missing, wrong, or too few for the settings.
    """
    if dataset is None:
        dataset = data.load(config.dataset, config.data_dir, in_memory=config.resident)
    if not config.resident:
        data.stream.check_installed()
    labeled, kept, held_out = choose_rows(config, dataset)
    if len(kept) < config.batch_unlabeled:
        raise data.DataError(
            f"batch_unlabeled={config.batch_unlabeled}, but there are {len(kept)} training "
            "examples; give fewer."
        )
    fitted = preprocessing.fit(config.preprocess, data.Rows(dataset.x_train, kept))
    put: Callable[[Any], Any] = jnp.asarray if config.resident else lambda array: array

    def flat(x: data.Examples, chosen: np.ndarray | None = None) -> Any:
        def transform(part: np.ndarray) -> np.ndarray:
            return preprocessing.apply(fitted, part).reshape(len(part), -1)

        rows = data.Rows(x, chosen, transform)
        return put(rows[:]) if config.resident else rows

    unlabeled = flat(dataset.x_train, kept)
    everything = len(labeled) == len(kept)
    tied = everything and config.batch_labeled == config.batch_unlabeled
    x_labeled = unlabeled if everything else put(np.asarray(flat(dataset.x_train, labeled)))
    holder = TrainData if config.resident else streaming.HostData
    train = holder(x_labeled, put(dataset.y_train[labeled]), unlabeled)
    sizes = BatchSizes(min(config.batch_labeled, len(labeled)), config.batch_unlabeled, tied)
    validation = test = None
    if len(held_out):
        validation = flat(dataset.x_train, held_out), put(dataset.y_train[held_out])
    if len(dataset.y_test):
        test = flat(dataset.x_test), put(dataset.y_test)
    return Task(train, sizes, test, validation, labeled, dataset.class_names, fitted)


def make_workdir(workdir: str | os.PathLike[str], *, overwrite: bool = False) -> pathlib.Path:
    """An empty folder to write into.

    Args:
      workdir: the folder; made if it is not there.
      overwrite: whether files of an earlier run in it may be replaced.

    Returns:
      Its path.

    Raises:
      ConfigError: it holds files already, or cannot be written to.
    """
    folder = pathlib.Path(workdir).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        occupied = any(folder.iterdir())
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(f"workdir {folder}: {error.strerror}; give another folder.") from error
    if occupied and not overwrite:
        raise ConfigError(
            f"workdir {folder} is not empty; give another folder, or --overwrite to replace what "
            "is in it."
        )
    return folder


def versions() -> dict[str, str]:
    """The versions and the machine that a result depends on.

    Example:
      >>> sorted(versions())[:3]
      ['cores', 'device', 'flax']
    """
    names = ("ladder_jax", "jax", "jaxlib", "flax", "optax", "numpy")
    found = {name: importlib.metadata.version(name) for name in names}
    device = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    cores = str(os.cpu_count())
    return found | {"python": platform.python_version(), "device": device, "cores": cores}


def save_params(path: pathlib.Path, params: Params, statistics: Statistics) -> None:
    """Parameters and statistics as ``.npz``, keyed by their place in the tree."""
    leaves = jax.tree_util.tree_leaves_with_path({"params": params, "statistics": statistics})
    named = {
        jax.tree_util.keystr(place, simple=True, separator="/"): np.asarray(leaf)
        for place, leaf in leaves
    }
    np.savez(path, **named)  # type: ignore[arg-type]


def _write_json(path: pathlib.Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n")


def train_and_evaluate(
    config: Config,
    workdir: str | os.PathLike[str],
    *,
    dataset: data.Dataset | None = None,
    overwrite: bool = False,
    progress: Progress = lambda metrics: None,
) -> Result:
    """Trains one ladder, tests it and writes all of it down.

    Into the folder go ``config.json``, ``labels.json`` (the numbers of the labelled
    rows), ``metrics.jsonl`` (a line an epoch), ``params.npz``, ``preprocess.npz``
    (where there is any) and ``result.json``.

    Args:
      config: the settings.
      workdir: the folder.
      dataset: the data, instead of those that the config names; your own arrays are
        made one by ``data.from_arrays``.
      overwrite: whether it may hold an earlier run's files.
      progress: called after each epoch with its line of metrics.

    Returns:
      A ``Result``.

    Raises:
      ConfigError: a setting or the folder is wrong.
      DataError: the data are.
    """
    task = prepare(config, dataset)
    features = task.train.unlabeled.shape[1]
    net = build_ladder(config, features, len(task.class_names))
    folder = make_workdir(workdir, overwrite=overwrite)
    _write_json(folder / "config.json", dataclasses.asdict(config))
    _write_json(folder / "labels.json", task.labeled.tolist())
    if config.preprocess != "none":
        preprocessing.save(folder / "preprocess.npz", task.preprocessing)

    steps = training.steps_per_epoch(task.train, task.sizes)
    schedule = training.constant_then_linear(
        config.learning_rate, steps * config.epochs, config.decay_from
    )
    optimizer = optax.adam(schedule)
    state = training.create_train_state(net, optimizer, jax.random.key(config.seed))
    kit: Any = training if config.resident else streaming
    epoch = kit.make_epoch(training.make_train_step(net, optimizer), task.sizes)
    statistics_of, error_rate = kit.make_statistics(net), kit.make_error_rate(net)
    watched_name = "test" if task.validation is None else "validation"
    watched = task.test if task.validation is None else task.validation

    def evaluate(params: Params, x: Any, y: Any) -> float:
        rows = task.train.labeled if config.statistics == "labeled" else task.train.unlabeled
        return 100 * float(error_rate(params, statistics_of(params, rows), x, y))

    started = time.perf_counter()
    with (folder / "metrics.jsonl").open("w", buffering=1) as log:
        for number in range(1, config.epochs + 1):
            state, metrics = epoch(state, task.train)
            line: dict[str, Any] = {"epoch": number} | {
                name: np.asarray(value).round(7).tolist() for name, value in metrics.items()
            }
            due = number % config.eval_every == 0 or number == config.epochs
            if due and watched is not None:
                line[f"{watched_name}_error"] = evaluate(state.params, *watched)
            line["seconds"] = round(time.perf_counter() - started, 2)
            log.write(json.dumps(line) + "\n")
            progress(line)

    rows = task.train.labeled if config.statistics == "labeled" else task.train.unlabeled
    statistics = statistics_of(state.params, rows)
    summary: dict[str, Any] = {
        "dataset": config.dataset,
        "labels": len(task.labeled),
        "seed": config.seed,
        "class_names": task.class_names,
    }
    if task.test is not None:
        summary["test_error"] = evaluate(state.params, *task.test)
    if task.validation is not None:
        summary["validation_error"] = evaluate(state.params, *task.validation)
    summary |= {
        "steps": int(state.step),
        "seconds": round(time.perf_counter() - started, 2),
        "versions": versions(),
    }
    save_params(folder / "params.npz", state.params, statistics)
    _write_json(folder / "result.json", summary)
    return Result(state.params, statistics, summary)
