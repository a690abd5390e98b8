"""Many ladders at once: one compiled program under ``vmap`` over stacked states."""

from __future__ import annotations

import contextlib
import functools
import operator
import os
import pathlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from ladder_jax import data, parallel, training
from ladder_jax.build import build_optimizer, train_step
from ladder_jax.checkpoints import Checkpoints, Reached
from ladder_jax.config import Config
from ladder_jax.crew import Crew, check_alike, gather
from ladder_jax.epochs import Member, Progress, Training, check_progress
from ladder_jax.evaluation import Evaluator, make_programs
from ladder_jax.files import as_path, remove
from ladder_jax.guard import NotFiniteError
from ladder_jax.loop import check_processes, train_members
from ladder_jax.metrics_log import lines_in
from ladder_jax.outcome import Result, begin, is_done, load
from ladder_jax.training import TrainData, TrainState
from ladder_jax.types import Array, Hyper
from ladder_jax.workfolder import CHECKPOINTS, data_record, open_run


def make_population_epoch(
    config: Config, crew: Crew, steps: int, mesh: Mesh
) -> Callable[[TrainState], tuple[TrainState, training.Metrics]]:
    """One compiled epoch of all members.

    Args:
      config: of any member.
      crew: of ``gather``.
      steps: of the whole run.
      mesh: of ``parallel.make_mesh``.

    Returns:
      ``epoch(states) -> (states, metrics)``, both with the members as first axis.
      The states given are donated.
    """
    net, sizes = crew.nets[0], crew.tasks[0].sizes

    def member(state: TrainState, data: TrainData, hyper: Hyper, rate: Array) -> Any:
        optimizer = build_optimizer(config, steps, rate)
        step = train_step(config, net, optimizer, steps, hyper)
        return training.make_epoch(step, sizes, parallel.over_rows(mesh))(state, data)

    axes: Any = (0, crew.axes, 0, 0)
    members = jax.jit(
        jax.vmap(member, in_axes=axes, spmd_axis_name=parallel.MEMBER), donate_argnums=0
    )
    return lambda states: members(states, crew.data, crew.hypers, crew.rates)


def train_population(
    members: Mapping[str, Config],
    workdir: str | os.PathLike[str],
    *,
    dataset: data.Dataset | None = None,
    overwrite: bool = False,
    progress: Progress = lambda metrics: None,
) -> dict[str, Result]:
    """Trains all members as one program; each has the files of a run of its own.

    A member's result is that of ``train_and_evaluate`` with its config, up to the
    rounding of float32: labels, order and noise are the same. Where examples are held
    out, each member has its own ``best_epoch`` and ``best.npz``. The checkpoints in
    ``workdir`` are of all members together: there, the best is that with the least
    mean validation error over the members, which need be no member's own best.

    Args:
      members: by name, which is that of the member's folder in ``workdir``.
      workdir: the folder.
      dataset: the data, instead of those that the configs name.
      overwrite: whether it may hold an earlier run's files.
      progress: called after each epoch with the means over the members.

    Returns:
      One ``Result`` a member.

    Raises:
      ConfigError: the members are not alike, a setting or a folder is wrong.
      DataError: the data are.
      Interrupted: SIGTERM or Ctrl-C; what is done is saved.
      NotFiniteError: NaN or infinity in a member's loss.
      WriteError: a file cannot be written.
    """
    check_progress(progress)
    configs = list(members.values())
    check_alike(configs)
    check_processes(configs[0], together=True)
    crew = gather(configs, dataset)
    folder = as_path(workdir)
    with contextlib.ExitStack() as opened:
        folders = [
            opened.enter_context(
                open_run(
                    folder / name,
                    config,
                    data_record(task.labeled, task.checksums),
                    overwrite=overwrite,
                )
            )
            for (name, config), task in zip(members.items(), crew.tasks, strict=True)
        ]
        if all(map(is_done, folders)):
            return dict(zip(members, map(load, folders, crew.nets), strict=True))
        for f, config, task in zip(folders, configs, crew.tasks, strict=True):
            begin(f, task, config.preprocess)
        saved = opened.enter_context(
            Checkpoints(_checkpoints(folder, members, overwrite=overwrite), configs[0].keep)
        )
        results = _train(configs, crew, folders, saved, progress)
    return dict(zip(members, results, strict=True))


def _checkpoints(
    folder: pathlib.Path, members: Mapping[str, Config], *, overwrite: bool
) -> pathlib.Path:
    """The folder of the checkpoints of these members together."""
    which = zlib.crc32(" ".join(members).encode())
    path = folder / f"{CHECKPOINTS}-{which:08x}"
    if overwrite:
        remove(path)
    return path


def _begin(configs: Sequence[Config], crew: Crew, mesh: Mesh, steps: int) -> TrainState:
    """The states that the members' seeds give, stacked."""
    optimizer = build_optimizer(configs[0], steps)
    create = functools.partial(training.create_train_state, crew.nets[0], optimizer)
    keys = jnp.stack([jax.random.key(config.seed) for config in configs])
    states: TrainState = jax.jit(jax.vmap(create))(keys)
    return parallel.over_members(mesh, states)


def _train(
    configs: Sequence[Config],
    crew: Crew,
    folders: Sequence[pathlib.Path],
    saved: Checkpoints,
    progress: Progress,
) -> list[Result]:
    """The epochs that are left, and what came of every member."""
    first, mesh = crew.tasks[0], parallel.make_mesh(len(configs))
    steps = training.steps_per_epoch(first.train, first.sizes) * configs[0].epochs
    programs = make_programs(configs[0], crew.nets[0], mesh)
    members = [
        Member(config, folder, task, Evaluator(config, net, task, mesh, programs))
        for config, folder, task, net in zip(configs, folders, crew.tasks, crew.nets, strict=True)
    ]
    run = Training(
        members,
        saved,
        make_population_epoch(configs[0], crew, steps, mesh),
        lambda tree, k: jax.tree.map(operator.itemgetter(k), tree),
        functools.partial(_not_finite, folders, saved),
    )
    states = _begin(configs, crew, mesh, steps)
    states, reached = saved.restore(states, min(map(lines_in, folders))) or (states, Reached())
    return train_members(run, states, reached, progress)


def _not_finite(
    folders: Sequence[pathlib.Path], saved: Checkpoints, number: int, members: list[int]
) -> NotFiniteError:
    """What to say of members whose loss or parameters are not finite."""
    names = ", ".join(folders[k].name for k in members)
    kept = f"; checkpoints up to epoch {saved.epochs[-1]} are kept" if saved.epochs else ""
    return NotFiniteError(
        f"NaN or infinity in epoch {number} of {names}{kept}. Train such a member alone to learn "
        "the step and the level, or leave it out."
    )
