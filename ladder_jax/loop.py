"""``train_and_evaluate(config, workdir)``: a whole run, which goes on where it was stopped."""

from __future__ import annotations

import os
import pathlib
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from ladder_jax import data, epochs, guard, parallel, streaming, training
from ladder_jax.build import build_ladder, build_optimizer, loss_net, train_step
from ladder_jax.checkpoints import Checkpoints, Reached
from ladder_jax.config import Config, ConfigError
from ladder_jax.epochs import Member, Progress, Training
from ladder_jax.evaluation import Evaluator
from ladder_jax.metrics_log import lines_in
from ladder_jax.outcome import Result, begin, finish, is_done, load
from ladder_jax.tasks import Task, prepare
from ladder_jax.training import TrainState
from ladder_jax.types import Ladder
from ladder_jax.workfolder import CHECKPOINTS, data_record, deciding, open_run


def _make_epoch(
    config: Config, task: Task, step: Callable[..., Any], mesh: Mesh
) -> Callable[..., Any]:
    if not config.resident:
        return streaming.make_epoch(step, task.sizes)
    epoch = training.make_epoch(step, task.sizes, parallel.over_rows(mesh))
    if not parallel.several():
        return epoch
    # So that each process can read what comes of it.
    return lambda state, data: parallel.everywhere(mesh, epoch(state, data))


class _Run(NamedTuple):
    """The parts of a run."""

    member: Member
    net: Ladder
    optimizer: Any
    step: Callable[..., Any]
    epoch: Callable[..., Any]
    saved: Checkpoints
    mesh: Mesh

    def start(self) -> tuple[TrainState, Reached]:
        """The newest good checkpoint, or the state that the seed gives."""
        key = jax.random.key(self.member.config.seed)
        fresh = training.create_train_state(self.net, self.optimizer, key)
        fresh = parallel.everywhere(self.mesh, fresh)
        found = self.saved.restore(fresh, lines_in(self.member.folder))
        return found or (fresh, Reached())

    def not_finite(self, number: int, members: list[int]) -> guard.NotFiniteError:
        """What to say of an epoch that went wrong, from going through it again."""
        del members  # there is one
        config, _, task, _ = self.member
        state, reached = self.start()
        for _ in range(reached.epoch + 1, number):
            state, _ = self.epoch(state, task.train)
        net = loss_net(config, self.net)  # what was trained, adversarial noise included
        origin = guard.find_origin(net, self.step, state, task.train, task.sizes)
        good = self.saved.folder / str(reached.epoch) if reached.epoch else None
        largest = guard.largest_input(task.train)
        told = parallel.from_first(lambda: guard.message(origin, number, good, config, largest))
        return guard.NotFiniteError(told)

    def training(self) -> Training:
        """A run is a population of one, whose arrays have no axis for it."""
        return Training(
            [self.member],
            self.saved,
            lambda state: self.epoch(state, self.member.task.train),
            lambda tree, k: tree,
            self.not_finite,
        )


def _make_run(config: Config, folder: pathlib.Path, task: Task, net: Ladder) -> _Run:
    steps = training.steps_per_epoch(task.train, task.sizes) * config.epochs
    optimizer = build_optimizer(config, steps)
    step = train_step(config, net, optimizer, steps)
    mesh = parallel.make_mesh()
    if parallel.several():
        task = _shared(config, task, mesh)
    return _Run(
        Member(config, folder, task, Evaluator(config, net, task, mesh)),
        net,
        optimizer,
        step,
        _make_epoch(config, task, step, mesh),
        Checkpoints(folder / CHECKPOINTS, config.keep),
        mesh,
    )


def _shared(config: Config, task: Task, mesh: Mesh) -> Task:
    """A task whose examples are arrays of all processes, which must have read the same.

    Raises:
      ConfigError: they have not, or have other settings.
    """
    mark = zlib.crc32(repr(deciding(config)).encode())
    arrays = task.train, task.test, task.validation
    for leaf in jax.tree.leaves(arrays):
        mark = zlib.crc32(np.ascontiguousarray(leaf).data, mark)
    mark >>= 1  # to int32
    high, low = parallel.most(mark, -mark)
    if high != -low:
        raise ConfigError(
            "the processes have different data or settings; start all of them with the same "
            "flags and the same data files."
        )
    train, test, validation = parallel.everywhere(mesh, arrays)
    if task.train.labeled is task.train.unlabeled:  # held once
        train = train._replace(labeled=train.unlabeled)
    return task._replace(train=train, test=test, validation=validation)


def check_processes(config: Config, *, together: bool = False) -> None:
    """That several processes, if there are, can train this.

    Args:
      config: the settings.
      together: whether several ladders are trained as one program.

    Raises:
      ConfigError: they cannot.
    """
    if parallel.several() and not config.resident:
        raise ConfigError(
            "resident is False; several processes train on resident data alone: leave it out, or "
            "start one process."
        )
    if parallel.several() and together:
        raise ConfigError(
            "a population is trained by one process alone; leave --population=on out, so that its "
            "members are trained one after another, each on all devices."
        )


def train_members(
    run: Training, state: TrainState, reached: Reached, progress: Progress
) -> list[Result]:
    """Trains what is left, tests it and leaves no checkpoint but the best.

    Args:
      run: what is trained.
      state: of ``reached.epoch`` epochs.
      reached: how far it is.
      progress: as for ``train_and_evaluate``.

    Returns:
      One ``Result`` a member.
    """
    state, reached, found = epochs.train(run, state, reached, progress)
    found = found or run.evaluate(state)
    bests = reached.bests or (None,) * len(found)
    results = [
        finish(member, at, run.steps(state), reached.seconds, best)
        for member, at, best in zip(run.members, found, bests, strict=True)
    ]
    with parallel.together():
        run.saved.finish(reached.best and reached.best[0])
    return results


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
    rows), ``examples.json`` (checksums of the data), ``metrics.jsonl`` (a line an
    epoch), ``params.npz``, ``preprocess.npz`` (where there is any) and ``result.json``;
    ``best.npz``, the parameters that were best on validation examples, if any are held
    out; ``checkpoints`` while it trains, and after it the one that was best on them.

    Of several processes the first has the folder, the others a temporary one; all
    have the result.

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
      PeerError: another process of the job failed.
      WriteError: a file cannot be written.
    """
    epochs.check_progress(progress)
    check_processes(config)
    task = prepare(config, dataset)
    net = build_ladder(config, task.train.unlabeled.shape[1:], len(task.class_names))
    record = data_record(task.labeled, task.checksums)
    with open_run(workdir, config, record, overwrite=overwrite) as folder:
        done = parallel.from_first(lambda: load(folder, net) if is_done(folder) else None)
        if done is not None:
            return done
        run = _make_run(config, folder, task, net)
        begin(folder, task, config.preprocess)
        with run.saved:
            (result,) = train_members(run.training(), *run.start(), progress)
    return result
