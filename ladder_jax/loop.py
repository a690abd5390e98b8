"""``train_and_evaluate(config, workdir)``: a whole run, callable from a notebook."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from ladder_jax import adversarial, chunks, data, streaming, training, transforms
from ladder_jax.build import build_ladder, build_optimizer
from ladder_jax.config import Config
from ladder_jax.data import preprocessing
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


class _Evaluator:
    """Errors of parameters on the examples of a task, in percent."""

    def __init__(self, config: Config, net: Ladder, task: Task) -> None:
        kit: Any = training if config.resident and not config.images else streaming
        self._error_rate = kit.make_error_rate(net)
        self._statistics = (chunks if config.images else kit).make_statistics(net)
        labeled = config.statistics == "labeled"
        self._rows = task.train.labeled if labeled else task.train.unlabeled

    def statistics(self, params: Params) -> Statistics:
        """What predictions are normalised with."""
        found: Statistics = self._statistics(params, self._rows)
        return found

    def errors(
        self, params: Params, statistics: Statistics, sets: dict[str, tuple[Any, Any] | None]
    ) -> dict[str, float]:
        """By the name of each set that there is."""
        return {
            f"{name}_error": 100 * float(self._error_rate(params, statistics, *rows))
            for name, rows in sets.items()
            if rows is not None
        }


def _make_epoch(config: Config, net: Ladder, task: Task, optimizer: Any) -> Callable[..., Any]:
    if config.adversarial != "none":
        net = adversarial.virtual_adversarial(net, levels=config.adversarial)  # type: ignore[arg-type]
    kit: Any = training if config.resident else streaming
    epoch: Callable[..., Any] = kit.make_epoch(training.make_train_step(net, optimizer), task.sizes)
    return epoch


def _evaluated(config: Config, state: TrainState) -> Params:
    """The parameters that are evaluated and kept."""
    return transforms.averaged(state.opt_state) if config.average else state.params


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
    write_json(folder / "config.json", dataclasses.asdict(config))
    write_json(folder / "labels.json", task.labeled.tolist())
    if config.preprocess != "none":
        preprocessing.save(folder / "preprocess.npz", task.preprocessing)

    steps = training.steps_per_epoch(task.train, task.sizes)
    optimizer = build_optimizer(config, steps * config.epochs)
    state = training.create_train_state(net, optimizer, jax.random.key(config.seed))
    epoch = _make_epoch(config, net, task, optimizer)
    evaluator = _Evaluator(config, net, task)
    sets = {"test": task.test, "validation": task.validation}
    watched_name = "test" if task.validation is None else "validation"
    watched = {watched_name: sets[watched_name]}

    started = time.perf_counter()
    with (folder / "metrics.jsonl").open("w", buffering=1) as log:
        for number in range(1, config.epochs + 1):
            state, metrics = epoch(state, task.train)
            line: dict[str, Any] = {"epoch": number} | {
                name: np.asarray(value).round(7).tolist() for name, value in metrics.items()
            }
            if number % config.eval_every == 0 or number == config.epochs:
                params = _evaluated(config, state)
                line |= evaluator.errors(params, evaluator.statistics(params), watched)
            line["seconds"] = round(time.perf_counter() - started, 2)
            log.write(json.dumps(line) + "\n")
            progress(line)

    params = _evaluated(config, state)
    statistics = evaluator.statistics(params)
    summary = {
        "dataset": config.dataset,
        "labels": len(task.labeled),
        "seed": config.seed,
        "class_names": task.class_names,
        **evaluator.errors(params, statistics, sets),
        "steps": int(state.step),
        "seconds": round(time.perf_counter() - started, 2),
        "versions": versions(),
    }
    save_params(folder / "params.npz", params, statistics)
    write_json(folder / "result.json", summary)
    return Result(params, statistics, summary)
