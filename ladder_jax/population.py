"""Many ladders at once: one compiled program under ``vmap`` over stacked states."""

from __future__ import annotations

import contextlib
import functools
import operator
import os
import pathlib
import shutil
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from ladder_jax import data, interrupts, parallel, training
from ladder_jax.build import build_optimizer, loss_net
from ladder_jax.checkpoints import Checkpoints, Reached
from ladder_jax.config import Config
from ladder_jax.crew import Crew, check_alike, gather
from ladder_jax.evaluation import Evaluator, evaluated
from ladder_jax.guard import NotFiniteError
from ladder_jax.loop import Progress, Result, begin, finish, load
from ladder_jax.metrics_log import MetricsLog, length_of, metrics_line
from ladder_jax.training import TrainData, TrainState
from ladder_jax.types import Array, Hyper
from ladder_jax.workfolder import CHECKPOINTS, open_run

Tree = TypeVar("Tree")


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
    net, sizes = loss_net(config, crew.nets[0]), crew.tasks[0].sizes

    def member(state: TrainState, data: TrainData, hyper: Hyper, rate: Array) -> Any:
        train_step = training.make_train_step(net, build_optimizer(config, steps, rate), hyper)
        return training.make_epoch(train_step, sizes, parallel.over_rows(mesh))(state, data)

    axes: Any = TrainData._make((0, 0, None if crew.shared else 0))
    members = jax.jit(
        jax.vmap(member, in_axes=(0, axes, 0, 0), spmd_axis_name=parallel.MEMBER), donate_argnums=0
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
    rounding of float32: labels, order and noise are the same.

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
    configs = list(members.values())
    check_alike(configs)
    crew = gather(configs, dataset)
    folder = pathlib.Path(workdir).expanduser()
    with contextlib.ExitStack() as opened:
        folders = [
            opened.enter_context(open_run(folder / name, config, overwrite=overwrite))
            for name, config in members.items()
        ]
        if all((f / "result.json").exists() for f in folders):
            return {
                name: load(f, net) for name, f, net in zip(members, folders, crew.nets, strict=True)
            }
        for f, config, task in zip(folders, configs, crew.tasks, strict=True):
            begin(f, task, config.preprocess)
        saved = opened.enter_context(
            Checkpoints(_checkpoints(folder, members, overwrite=overwrite), configs[0].keep)
        )
        evaluators, states, reached = _train(configs, crew, folders, saved, progress)
        results = {
            name: finish(
                folders[k], configs[k], crew.tasks[k], evaluators[k], _member(states, k), reached
            )
            for k, name in enumerate(members)
        }
        saved.finish(None)
    return results


def _checkpoints(
    folder: pathlib.Path, members: Mapping[str, Config], *, overwrite: bool
) -> pathlib.Path:
    """The folder of the checkpoints of these members together."""
    which = zlib.crc32(" ".join(members).encode())
    path = folder / f"{CHECKPOINTS}-{which:08x}"
    if overwrite:
        shutil.rmtree(path, ignore_errors=True)
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
) -> tuple[list[Evaluator], TrainState, Reached]:
    """The epochs that are left, each with a line in every member's metrics file."""
    config, mesh = configs[0], parallel.make_mesh(len(configs))
    steps = training.steps_per_epoch(crew.tasks[0].train, crew.tasks[0].sizes) * config.epochs
    states = _begin(configs, crew, mesh, steps)
    states, reached = saved.restore(states) or (states, Reached())
    epoch = make_population_epoch(config, crew, steps, mesh)
    each = zip(configs, crew.nets, crew.tasks, strict=True)
    evaluators = [Evaluator(*parts, mesh) for parts in each]
    before, started = reached.seconds, time.perf_counter()
    saved_at = started
    with contextlib.ExitStack() as opened:
        stopped = opened.enter_context(interrupts.deferred())
        lengths = [length_of(f, reached.epoch) for f in folders]
        logs = [
            opened.enter_context(MetricsLog(f, n)) for f, n in zip(folders, lengths, strict=True)
        ]
        for number in range(reached.epoch + 1, config.epochs + 1):
            states, metrics = epoch(states)
            due = number % config.eval_every == 0 or number == config.epochs
            lines = []
            for k, log in enumerate(logs):
                line = metrics_line(number, _member(metrics, k))
                if due:
                    line |= evaluators[k].watched(evaluated(config, _member(states, k)))
                log.append(line)
                lines.append(line)
            _check_finite(number, lines, folders, saved)
            now = time.perf_counter()
            reached = Reached(number, 0, before + now - started)
            progress(_means(lines) | {"seconds": round(reached.seconds, 2)})
            signal = stopped()
            late = now - saved_at >= config.checkpoint_seconds and not saved.busy
            if late or signal is not None:
                for log in logs:
                    log.sync()
                saved.save(states, reached)
                saved_at = now
            if signal is not None:
                saved.wait()
                raise interrupts.Interrupted(signal, f"stopped after epoch {number}, saved")
    return evaluators, states, reached


def _check_finite(
    number: int,
    lines: Sequence[dict[str, Any]],
    folders: Sequence[pathlib.Path],
    saved: Checkpoints,
) -> None:
    """That no member's loss is NaN or infinite."""
    wrong = [
        f.name for f, line in zip(folders, lines, strict=True) if not np.isfinite(line["loss"])
    ]
    if wrong:
        kept = f"; checkpoints up to epoch {saved.epochs[-1]} are kept" if saved.epochs else ""
        raise NotFiniteError(
            f"NaN or infinity in epoch {number} of {', '.join(wrong)}{kept}. Train such a member "
            "alone to learn the step and the level, or leave it out."
        )


def _member(tree: Tree, k: int) -> Tree:
    """One of stacked trees."""
    member: Tree = jax.tree.map(operator.itemgetter(k), tree)
    return member


def _means(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of each figure over the members."""
    return {name: np.mean([line[name] for line in lines], 0).tolist() for name in lines[0]}
