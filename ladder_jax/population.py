"""Many ladders at once: one compiled program under ``vmap`` over stacked states."""

from __future__ import annotations

import dataclasses
import functools
import json
import operator
import os
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from ladder_jax import data, parallel, training
from ladder_jax.build import build_ladder, build_optimizer
from ladder_jax.config import Config, ConfigError
from ladder_jax.evaluation import Evaluator, evaluated
from ladder_jax.loop import Progress, Result, finish, loss_net, metrics_line, start
from ladder_jax.tasks import Task, prepare
from ladder_jax.training import TrainData, TrainState
from ladder_jax.types import Hyper
from ladder_jax.workfolder import make_workdir

MAY_DIFFER = ("name", "seed", "split", "noise_std", "denoising_cost", "learning_rate")
"""Settings in which the members of one program may differ."""


def check_alike(configs: Sequence[Config]) -> None:
    """That configs can be members of one population.

    Args:
      configs: at least one.

    Raises:
      ConfigError: there is none, they differ in what is not in ``MAY_DIFFER``, or
        their data do not rest on the device.

    Example:
      >>> check_alike([Config(seed=0), Config(seed=1, epochs=3)])
      Traceback (most recent call last):
      ...
      ladder_jax.config.ConfigError: members differ in epochs; those of one population may differ \
in name, seed, split, noise_std, denoising_cost, learning_rate alone.
    """
    if not configs:
        raise ConfigError("there is no member; give at least one.")
    settings = [field.name for field in dataclasses.fields(Config) if field.name not in MAY_DIFFER]
    differing = [s for s in settings if len({getattr(config, s) for config in configs}) > 1]
    if differing:
        raise ConfigError(
            f"members differ in {', '.join(differing)}; those of one population may differ in "
            f"{', '.join(MAY_DIFFER)} alone."
        )
    if not configs[0].resident:
        raise ConfigError("resident is False; a population is trained on resident data alone.")


def prepare_all(configs: Sequence[Config], dataset: data.Dataset | None) -> list[Task]:
    """One task a member; unlabelled rows that are the same for all are one array.

    Args:
      configs: alike.
      dataset: the data, instead of those that the configs name.
    """
    if dataset is None:
        dataset = data.load(configs[0].dataset, configs[0].data_dir)
    tasks = [prepare(configs[0], dataset)]
    for config in configs[1:]:
        task = prepare(config, dataset)
        shared, own = tasks[0].train.unlabeled, task.train.unlabeled
        if shared.shape == own.shape and bool((shared == own).all()):
            task = task._replace(train=task.train._replace(unlabeled=shared), test=tasks[0].test)
        tasks.append(task)
    return tasks


def _stack(trees: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def make_population_epoch(
    config: Config, task: Task, steps: int, mesh: Mesh, *, shared: bool
) -> Callable[..., tuple[TrainState, training.Metrics]]:
    """One compiled epoch of all members.

    Args:
      config: of any member.
      task: of any member.
      steps: of the whole run.
      mesh: of ``parallel.make_mesh``.
      shared: whether the unlabelled rows are one array for all members.

    Returns:
      ``epoch(states, data, hypers, learning_rates) -> (states, metrics)``, all but
      shared data with the members as their first axis. The states are donated.
    """
    net = build_ladder(config, task.train.unlabeled.shape[1:], len(task.class_names))
    net = loss_net(config, net)

    def member(state: TrainState, data: TrainData, hyper: Hyper, rate: jax.Array) -> Any:
        train_step = training.make_train_step(net, build_optimizer(config, steps, rate), hyper)
        return training.make_epoch(train_step, task.sizes, parallel.over_rows(mesh))(state, data)

    axes = (0, TrainData(0, 0, None if shared else 0), 0, 0)
    return jax.jit(jax.vmap(member, in_axes=axes, spmd_axis_name=parallel.MEMBER), donate_argnums=0)


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
      ConfigError: the members are not alike, a setting or the folder is wrong.
      DataError: the data are.
    """
    configs = list(members.values())
    check_alike(configs)
    tasks = prepare_all(configs, dataset)
    config, task = configs[0], tasks[0]
    build = functools.partial(
        build_ladder, input_shape=task.train.unlabeled.shape[1:], classes=len(task.class_names)
    )
    nets = [build(config) for config in configs]
    folder = make_workdir(workdir, overwrite=overwrite)
    folders = [folder / name for name in members]
    for each in zip(folders, configs, tasks, strict=True):
        start(*each)

    mesh = parallel.make_mesh(len(configs))
    steps = training.steps_per_epoch(task.train, task.sizes) * config.epochs
    optimizer = build_optimizer(config, steps)
    keys = jnp.stack([jax.random.key(c.seed) for c in configs])
    create = functools.partial(training.create_train_state, nets[0], optimizer)
    states = parallel.over_members(mesh, jax.jit(jax.vmap(create))(keys))
    shared = all(t.train.unlabeled is task.train.unlabeled for t in tasks)
    stacked = TrainData(
        *(_stack([getattr(t.train, part) for t in tasks]) for part in ("labeled", "labels")),
        task.train.unlabeled if shared else _stack([t.train.unlabeled for t in tasks]),
    )
    hypers = _stack([jax.tree.map(jnp.float32, net.hyper) for net in nets])
    rates = jnp.array([c.learning_rate for c in configs])
    epoch = make_population_epoch(config, task, steps, mesh, shared=shared)
    evaluators = [
        Evaluator(c, net, t, mesh) for c, net, t in zip(configs, nets, tasks, strict=True)
    ]

    def member_of(states: TrainState, k: int) -> TrainState:
        return jax.tree.map(operator.itemgetter(k), states)

    started = time.perf_counter()
    for number in range(1, config.epochs + 1):
        states, metrics = epoch(states, stacked, hypers, rates)
        due = number % config.eval_every == 0 or number == config.epochs
        lines = []
        for k, evaluator in enumerate(evaluators):
            line = metrics_line(number, jax.tree.map(operator.itemgetter(k), metrics))
            if due:
                line |= evaluator.watched(evaluated(config, member_of(states, k)))
            _append(folders[k] / "metrics.jsonl", line)
            lines.append(line)
        progress(_means(lines))
    seconds = time.perf_counter() - started
    return {
        name: finish(folders[k], configs[k], tasks[k], evaluators[k], member_of(states, k), seconds)
        for k, name in enumerate(members)
    }


def _append(path: pathlib.Path, line: dict[str, Any]) -> None:
    with path.open("a") as log:
        log.write(json.dumps(line) + "\n")


def _means(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of each figure over the members."""
    return {name: np.mean([line[name] for line in lines], 0).tolist() for name in lines[0]}
