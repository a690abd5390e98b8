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

from ladder_jax import (
    activations,
    adversarial,
    chunks,
    combinators,
    data,
    precision,
    training,
    transforms,
    words,
)
from ladder_jax.config import Config, ConfigError
from ladder_jax.ladder import ladder
from ladder_jax.training import BatchSizes, TrainData
from ladder_jax.types import Ladder, Params, Shape, Statistics

Progress = Callable[[dict[str, Any]], None]


class Task(NamedTuple):
    """The data of one run: what is trained on and what is tested on.

    Attributes:
      train: the examples, on the device.
      sizes: rows a step.
      test: ``(x, y)``.
      validation: ``(x, y)``, or None.
      labeled: numbers of the labelled rows within the official training set.
      class_names: one a class.
    """

    train: TrainData
    sizes: BatchSizes
    test: tuple[jax.Array, jax.Array]
    validation: tuple[jax.Array, jax.Array] | None
    labeled: np.ndarray
    class_names: tuple[str, ...]


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


def build_ladder(config: Config, input_shape: Shape, classes: int) -> Ladder:
    """The ladder that a config describes.

    Args:
      config: the settings.
      input_shape: of one example.
      classes: how many there are.

    Returns:
      A ``Ladder``.

    Raises:
      ConfigError: settings contradict each other.

    Example:
      >>> build_ladder(Config(units=(5,)), (64,), 10).shapes
      ((64,), (5,), (10,))
    """
    encoder = config.encoder or "-".join(map(str, (*config.units, classes)))
    names = config.combinators * (config.levels if len(config.combinators) == 1 else 1)
    noise, costs = config.noise_std, config.denoising_cost
    layers = words.encoder(encoder)
    if config.compute_dtype != "float32":
        dtype = precision.DTYPES[config.compute_dtype]
        layers = [precision.compute_in(dtype, layer) for layer in layers]
    try:
        net = ladder(
            input_shape,
            layers,
            combinators=[
                None if name == "none" else combinators.COMBINATORS[name]() for name in names
            ],
            noise_std=noise[0] if len(noise) == 1 else noise,
            denoising_cost=costs[0] if len(costs) == 1 else costs,
            activation=activations.ACTIVATIONS[config.activation](),
            top=activations.softmax(gain=config.top_gain),
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if net.shapes[-1][-1] != classes:
        raise ConfigError(
            f"encoder ends with {net.shapes[-1][-1]} units, but {config.dataset} has {classes} "
            "classes; end with as many."
        )
    return net


def build_optimizer(config: Config, steps: int) -> optax.GradientTransformation:
    """Adam with the config's schedule, and what follows it.

    Args:
      config: the settings.
      steps: of the whole run.

    Returns:
      An optax transformation.

    Example:
      >>> import jax.numpy as jnp
      >>> state = build_optimizer(Config(average=0.9), steps=3).init(jnp.zeros(2))
      >>> transforms.averaged(state).tolist()
      [0.0, 0.0]
    """
    rate = training.constant_then_linear(config.learning_rate, steps, config.decay_from)
    parts = [optax.adam(rate)]
    if config.unit_norm:
        parts.append(transforms.unit_norm_weights())
    if config.average:
        parts.append(transforms.average_params(config.average))
    return optax.chain(*parts)


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
        noise_std=(0.3,) + (0.5,) * (config.levels - 1),
    )


def prepare(config: Config) -> Task:
    """Loads the data, chooses labels and holds out validation, all from the seed.

    Args:
      config: the settings.

    Returns:
      A ``Task``.

    Raises:
      DataError: the data are missing, wrong, or too few for the settings.
    """
    dataset = data.load(config.dataset, config.data_dir)
    kept, held_out = data.hold_out(len(dataset.x_train), config.validation, config.seed)
    classes = len(dataset.class_names)
    chosen = data.choose_labeled(dataset.y_train[kept], config.labels, config.seed, classes)
    labeled = kept[chosen]
    if len(kept) < config.batch_unlabeled:
        raise data.DataError(
            f"batch_unlabeled={config.batch_unlabeled}, but there are {len(kept)} training "
            "examples; give fewer."
        )

    def flat(x: np.ndarray) -> jax.Array:
        return jnp.asarray(x if config.images else x.reshape(len(x), -1))

    labels = jnp.asarray(dataset.y_train[labeled])
    unlabeled = flat(dataset.x_train[kept])
    everything = len(labeled) == len(kept)
    tied = everything and config.batch_labeled == config.batch_unlabeled
    train = TrainData(
        unlabeled if everything else flat(dataset.x_train[labeled]), labels, unlabeled
    )
    sizes = BatchSizes(min(config.batch_labeled, len(labeled)), config.batch_unlabeled, tied)
    validation = None
    if config.validation:
        validation = flat(dataset.x_train[held_out]), jnp.asarray(dataset.y_train[held_out])
    test = flat(dataset.x_test), jnp.asarray(dataset.y_test)
    return Task(train, sizes, test, validation, labeled, dataset.class_names)


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
    overwrite: bool = False,
    progress: Progress = lambda metrics: None,
) -> Result:
    """Trains one ladder, tests it and writes all of it down.

    Into the folder go ``config.json``, ``labels.json`` (the numbers of the labelled
    rows), ``metrics.jsonl`` (a line an epoch), ``params.npz`` and ``result.json``.

    Args:
      config: the settings.
      workdir: the folder.
      overwrite: whether it may hold an earlier run's files.
      progress: called after each epoch with its line of metrics.

    Returns:
      A ``Result``.

    Raises:
      ConfigError: a setting or the folder is wrong.
      DataError: the data are.
    """
    task = prepare(config)
    net = build_ladder(config, task.train.unlabeled.shape[1:], len(task.class_names))
    folder = make_workdir(workdir, overwrite=overwrite)
    _write_json(folder / "config.json", dataclasses.asdict(config))
    _write_json(folder / "labels.json", task.labeled.tolist())

    steps = training.steps_per_epoch(task.train, task.sizes)
    optimizer = build_optimizer(config, steps * config.epochs)
    state = training.create_train_state(net, optimizer, jax.random.key(config.seed))
    trained = net
    if config.adversarial != "none":
        trained = adversarial.virtual_adversarial(net, levels=config.adversarial)  # type: ignore[arg-type]
    epoch = training.make_epoch(training.make_train_step(trained, optimizer), task.sizes)
    statistics_of = chunks.make_statistics(net) if config.images else jax.jit(net.statistics)
    error_rate = (chunks if config.images else training).make_error_rate(net)
    watched_name = "test" if task.validation is None else "validation"
    watched = task.test if task.validation is None else task.validation

    def evaluate(params: Params, x: jax.Array, y: jax.Array) -> float:
        rows = task.train.labeled if config.statistics == "labeled" else task.train.unlabeled
        return 100 * float(error_rate(params, statistics_of(params, rows), x, y))

    def kept(state: training.TrainState) -> Params:
        return transforms.averaged(state.opt_state) if config.average else state.params

    started = time.perf_counter()
    with (folder / "metrics.jsonl").open("w", buffering=1) as log:
        for number in range(1, config.epochs + 1):
            state, metrics = epoch(state, task.train)
            line: dict[str, Any] = {"epoch": number} | {
                name: np.asarray(value).round(7).tolist() for name, value in metrics.items()
            }
            if number % config.eval_every == 0 or number == config.epochs:
                line[f"{watched_name}_error"] = evaluate(kept(state), *watched)
            line["seconds"] = round(time.perf_counter() - started, 2)
            log.write(json.dumps(line) + "\n")
            progress(line)

    params = kept(state)
    rows = task.train.labeled if config.statistics == "labeled" else task.train.unlabeled
    statistics = statistics_of(params, rows)
    summary: dict[str, Any] = {
        "dataset": config.dataset,
        "labels": len(task.labeled),
        "seed": config.seed,
        "test_error": evaluate(params, *task.test),
    }
    if task.validation is not None:
        summary["validation_error"] = evaluate(params, *task.validation)
    summary |= {
        "steps": int(state.step),
        "seconds": round(time.perf_counter() - started, 2),
        "versions": versions(),
    }
    save_params(folder / "params.npz", params, statistics)
    _write_json(folder / "result.json", summary)
    return Result(params, statistics, summary)
