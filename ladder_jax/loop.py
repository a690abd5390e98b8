"""``train_and_evaluate(config, workdir)``: a whole run, callable from a notebook."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from ladder_jax import adversarial, data, parallel, streaming, training
from ladder_jax.build import build_ladder, build_optimizer
from ladder_jax.config import Config
from ladder_jax.data import preprocessing
from ladder_jax.evaluation import Evaluator, evaluated
from ladder_jax.tasks import Task, prepare
from ladder_jax.training import TrainState
from ladder_jax.types import Ladder, Params, Statistics
from ladder_jax.workfolder import make_workdir, save_params, versions, write_json

Progress = Callable[[dict[str, Any]], None]


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


def loss_net(config: Config, net: Ladder) -> Ladder:
    """The ladder whose loss is trained: that given, or one with adversarial noise.

    Example:
      >>> from ladder_jax import presets
      >>> net = presets.mlp(4, [3, 2])
      >>> loss_net(Config(), net) is net
      True
    """
    if config.adversarial == "none":
        return net
    return adversarial.virtual_adversarial(net, levels=config.adversarial)  # type: ignore[arg-type]


def _make_epoch(
    config: Config, net: Ladder, task: Task, optimizer: Any, mesh: Mesh
) -> Callable[..., Any]:
    step = training.make_train_step(loss_net(config, net), optimizer)
    if config.resident:
        return training.make_epoch(step, task.sizes, parallel.over_rows(mesh))
    return streaming.make_epoch(step, task.sizes)


def start(folder: pathlib.Path, config: Config, task: Task) -> None:
    """Writes down what a run is about to do.

    Args:
      folder: of the run; made if it is not there.
      config: the settings.
      task: the data.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", dataclasses.asdict(config))
    write_json(folder / "labels.json", task.labeled.tolist())
    (folder / "metrics.jsonl").write_text("")
    if config.preprocess != "none":
        preprocessing.save(folder / "preprocess.npz", task.preprocessing)


def finish(
    folder: pathlib.Path,
    config: Config,
    task: Task,
    evaluator: Evaluator,
    state: TrainState,
    seconds: float,
) -> Result:
    """Evaluates a run's last state and writes parameters and result.

    Args:
      folder: of the run.
      config: the settings.
      task: the data.
      evaluator: of the task.
      state: the last.
      seconds: that training took.
    """
    params = evaluated(config, state)
    statistics = evaluator.statistics(params)
    summary = {
        "dataset": config.dataset,
        "labels": len(task.labeled),
        "seed": config.seed,
        "class_names": task.class_names,
        **evaluator.errors(params, statistics),
        "steps": int(state.step),
        "seconds": round(seconds, 2),
        "versions": versions(),
    }
    save_params(folder / "params.npz", params, statistics)
    write_json(folder / "result.json", summary)
    return Result(params, statistics, summary)


def metrics_line(number: int, metrics: training.Metrics) -> dict[str, Any]:
    """A line of ``metrics.jsonl``: the epoch's number and its means over the steps."""
    figures = {name: np.asarray(value).round(7).tolist() for name, value in metrics.items()}
    return {"epoch": number} | figures


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
    net = build_ladder(config, task.train.unlabeled.shape[1:], len(task.class_names))
    folder = make_workdir(workdir, overwrite=overwrite)
    start(folder, config, task)

    mesh = parallel.make_mesh()
    steps = training.steps_per_epoch(task.train, task.sizes)
    optimizer = build_optimizer(config, steps * config.epochs)
    create = functools.partial(training.create_train_state, net, optimizer)
    state = parallel.everywhere(mesh, create(jax.random.key(config.seed)))
    epoch = _make_epoch(config, net, task, optimizer, mesh)
    evaluator = Evaluator(config, net, task, mesh)

    started = time.perf_counter()
    with (folder / "metrics.jsonl").open("w", buffering=1) as log:
        for number in range(1, config.epochs + 1):
            state, metrics = epoch(state, task.train)
            line = metrics_line(number, metrics)
            if number % config.eval_every == 0 or number == config.epochs:
                line |= evaluator.watched(evaluated(config, state))
            line["seconds"] = round(time.perf_counter() - started, 2)
            log.write(json.dumps(line) + "\n")
            progress(line)
    return finish(folder, config, task, evaluator, state, time.perf_counter() - started)
