"""``train_and_evaluate(config, workdir)``: a whole run, which goes on where it was stopped."""

from __future__ import annotations

import os
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from ladder_jax import data, guard, interrupts, parallel, streaming, training
from ladder_jax.build import build_ladder, build_optimizer, loss_net
from ladder_jax.checkpoints import Checkpoints, Reached
from ladder_jax.config import Config
from ladder_jax.data import preprocessing
from ladder_jax.evaluation import Evaluator, evaluated
from ladder_jax.metrics_log import MetricsLog, metrics_line
from ladder_jax.tasks import Task, prepare
from ladder_jax.training import TrainState
from ladder_jax.types import Ladder, Params, Statistics
from ladder_jax.workfolder import (
    CHECKPOINTS,
    load_params,
    load_summary,
    open_run,
    replacing,
    save_params,
    versions,
    write_json,
    write_labels,
)

Progress = Callable[[dict[str, Any]], None]


class Result(NamedTuple):
    """What a run ends with.

    Attributes:
      params: of the ladder.
      statistics: what prediction is normalised with.
      decoder_statistics: what the decoder is, where rows come one by one.
      summary: figures and circumstances, as in ``result.json``.
    """

    params: Params
    statistics: Statistics
    decoder_statistics: Statistics
    summary: dict[str, Any]


def _make_epoch(
    config: Config, net: Ladder, task: Task, optimizer: Any, mesh: Mesh
) -> Callable[..., Any]:
    step = training.make_train_step(loss_net(config, net), optimizer)
    if config.resident:
        return training.make_epoch(step, task.sizes, parallel.over_rows(mesh))
    return streaming.make_epoch(step, task.sizes)


class _Run(NamedTuple):
    """The parts of a run."""

    config: Config
    folder: pathlib.Path
    task: Task
    net: Ladder
    optimizer: Any
    epoch: Callable[..., Any]
    evaluator: Evaluator
    saved: Checkpoints
    mesh: Mesh

    def start(self) -> tuple[TrainState, Reached]:
        """The newest good checkpoint, or the state that the seed gives."""
        key = jax.random.key(self.config.seed)
        fresh = training.create_train_state(self.net, self.optimizer, key)
        fresh = parallel.everywhere(self.mesh, fresh)
        log = self.folder / "metrics.jsonl"
        found = self.saved.restore(fresh, log.stat().st_size if log.exists() else 0)
        return found or (fresh, Reached())


def _make_run(config: Config, folder: pathlib.Path, task: Task, net: Ladder) -> _Run:
    steps = training.steps_per_epoch(task.train, task.sizes)
    optimizer = build_optimizer(config, steps * config.epochs)
    mesh = parallel.make_mesh()
    return _Run(
        config,
        folder,
        task,
        net,
        optimizer,
        _make_epoch(config, net, task, optimizer, mesh),
        Evaluator(config, net, task, mesh),
        Checkpoints(folder / CHECKPOINTS, config.keep),
        mesh,
    )


def _not_finite(run: _Run, number: int) -> guard.NotFiniteError:
    """What to say of an epoch that went wrong, from going through it again."""
    state, reached = run.start()
    for _ in range(reached.epoch + 1, number):
        state, _ = run.epoch(state, run.task.train)
    net = loss_net(run.config, run.net)  # what was trained, adversarial noise included
    origin = guard.find_origin(net, run.optimizer, state, run.task.train, run.task.sizes)
    good = run.saved.folder / str(reached.epoch) if reached.epoch else None
    return guard.NotFiniteError(guard.message(origin, number, good, run.config))


def _train(run: _Run, progress: Progress) -> tuple[TrainState, Reached]:
    """The epochs that are left, each with its line in the metrics file."""
    config = run.config
    state, reached = run.start()
    before, started = reached.seconds, time.perf_counter()
    saved_at = started
    with interrupts.deferred() as stopped, MetricsLog(run.folder, reached.log_bytes) as log:
        for number in range(reached.epoch + 1, config.epochs + 1):
            state, metrics = run.epoch(state, run.task.train)
            line = metrics_line(number, metrics)
            last = number == config.epochs
            if number % config.eval_every == 0 or last:
                line |= run.evaluator.watched(evaluated(config, state))
            now, signal = time.perf_counter(), stopped()
            due = now - saved_at >= config.checkpoint_seconds and not run.saved.busy
            error = line.get("validation_error")
            is_best = error is not None and (reached.best is None or error < reached.best[1])
            saving = due or is_best or signal is not None
            healthy = guard.is_finite(state.params) if saving or last else True
            if not (healthy and np.isfinite(line["loss"])):
                raise _not_finite(run, number)
            best = (number, float(error)) if is_best and error is not None else reached.best
            reached = Reached(number, log.append(line), before + now - started, best)
            progress(line | {"seconds": round(reached.seconds, 2)})
            if saving:
                log.sync()
                run.saved.save(state, reached, error=error if is_best else None)
                saved_at = now
            if signal is not None:
                run.saved.wait()
                raise interrupts.Interrupted(signal, f"stopped after epoch {number}, saved")
    return state, reached


def begin(folder: pathlib.Path, task: Task, chain: str) -> None:
    """Writes down which rows a run has and what they have been through.

    Args:
      folder: of the run.
      task: its data.
      chain: the config's ``preprocess``.
    """
    write_labels(folder, task.labeled.tolist())
    if chain != "none":
        with replacing(folder / "preprocess.npz") as path:
            preprocessing.save(path, task.preprocessing)


def finish(
    folder: pathlib.Path,
    config: Config,
    task: Task,
    evaluator: Evaluator,
    state: TrainState,
    reached: Reached,
) -> Result:
    """Tests the ladder and writes down what came of the run.

    Args:
      folder: of the run.
      config: the settings.
      task: the data.
      evaluator: of the task.
      state: the last.
      reached: how far the run is.
    """
    started = time.perf_counter()
    trained = evaluator.trained(evaluated(config, state))
    best = {} if reached.best is None else {"best_epoch": reached.best[0]}
    summary = {
        "dataset": config.dataset,
        "labels": len(task.labeled),
        "seed": config.seed,
        "class_names": task.class_names,
        "example_shape": task.example_shape,
        **evaluator.errors(trained.params, trained.statistics),
        **best,
        "steps": int(state.step),
        "seconds": round(reached.seconds + time.perf_counter() - started, 2),
        "versions": versions(),
    }
    save_params(folder / "params.npz", trained)
    write_json(folder / "result.json", summary)
    return Result(*trained, summary)


def load(folder: pathlib.Path, net: Ladder) -> Result:
    """The result of a run that is done.

    Args:
      folder: of the run.
      net: its ladder.
    """
    return Result(*load_params(folder, net), load_summary(folder))


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
    (where there is any) and ``result.json``; ``checkpoints`` while it trains, and
    after it the one that was best on validation examples.

    A folder in which the same run was begun is gone on with, to the same numbers as
    without the stop; one in which it is done gives its result.

    Args:
      config: the settings.
      workdir: the folder.
      dataset: the data, instead of those that the config names; your own arrays are
        made one by ``data.from_arrays``.
      overwrite: whether to begin anew where it holds an earlier run.
      progress: called after each epoch with its line of metrics and the seconds so far.

    Returns:
      A ``Result``.

    Raises:
      ConfigError: a setting is wrong, or the folder holds something else.
      DataError: the data are.
      Interrupted: SIGTERM or Ctrl-C; what is done is saved.
      NotFiniteError: NaN or infinity in the loss.
      WriteError: a file cannot be written.
    """
    task = prepare(config, dataset)
    net = build_ladder(config, task.train.unlabeled.shape[1:], len(task.class_names))
    with open_run(workdir, config, overwrite=overwrite) as folder:
        if (folder / "result.json").exists():
            return load(folder, net)
        run = _make_run(config, folder, task, net)
        begin(folder, task, config.preprocess)
        with run.saved:
            state, reached = _train(run, progress)
            result = finish(folder, config, task, run.evaluator, state, reached)
            run.saved.finish(None if reached.best is None else reached.best[0])
    return result
