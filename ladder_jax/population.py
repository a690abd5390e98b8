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
from typing import Any, NamedTuple, TypeVar

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
from ladder_jax.types import Array, Hyper, Ladder
from ladder_jax.workfolder import make_workdir

Tree = TypeVar("Tree")

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


class Crew(NamedTuple):
    """What the members of a population are trained on and with, stacked.

    Attributes:
      tasks: one a member.
      nets: one a member; they differ in their ``hyper`` alone.
      data: the members as first axis, but of the unlabelled rows if they are shared.
      shared: whether they are.
      hypers: noise and costs, the members as first axis.
      rates: learning rates, the same.
    """

    tasks: list[Task]
    nets: list[Ladder]
    data: TrainData
    shared: bool
    hypers: Hyper
    rates: Array


def gather(configs: Sequence[Config], dataset: data.Dataset | None = None) -> Crew:
    """The data and ladders of all members.

    Args:
      configs: alike.
      dataset: the data, instead of those that the configs name.

    Returns:
      A ``Crew``; unlabelled rows that are the same for all are one array in it.
    """
    if dataset is None:
        dataset = data.load(configs[0].dataset, configs[0].data_dir)
    first = prepare(configs[0], dataset)
    tasks, unlabeled = [first], first.train.unlabeled
    for config in configs[1:]:
        task = prepare(config, dataset)
        own = task.train.unlabeled
        if own.shape == unlabeled.shape and bool((own == unlabeled).all()):
            task = task._replace(train=task.train._replace(unlabeled=unlabeled), test=first.test)
        tasks.append(task)
    shared = all(task.train.unlabeled is unlabeled for task in tasks)
    nets = [build_ladder(c, unlabeled.shape[1:], len(first.class_names)) for c in configs]
    stacked = TrainData(
        jnp.stack([task.train.labeled for task in tasks]),
        jnp.stack([task.train.labels for task in tasks]),
        unlabeled if shared else jnp.stack([task.train.unlabeled for task in tasks]),
    )
    hypers = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(net.hyper for net in nets))
    hypers = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), hypers)
    rates = jnp.array([config.learning_rate for config in configs])
    return Crew(tasks, nets, stacked, shared, hypers, rates)


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
      ConfigError: the members are not alike, a setting or the folder is wrong.
      DataError: the data are.
    """
    configs = list(members.values())
    check_alike(configs)
    crew = gather(configs, dataset)
    folder = make_workdir(workdir, overwrite=overwrite)
    folders = [folder / name for name in members]
    for each in zip(folders, configs, crew.tasks, strict=True):
        start(*each)

    config, mesh = configs[0], parallel.make_mesh(len(configs))
    steps = training.steps_per_epoch(crew.tasks[0].train, crew.tasks[0].sizes) * config.epochs
    create = functools.partial(
        training.create_train_state, crew.nets[0], build_optimizer(config, steps)
    )
    keys = jnp.stack([jax.random.key(c.seed) for c in configs])
    states = parallel.over_members(mesh, jax.jit(jax.vmap(create))(keys))
    epoch = make_population_epoch(config, crew, steps, mesh)
    evaluators = [
        Evaluator(c, net, task, mesh)
        for c, net, task in zip(configs, crew.nets, crew.tasks, strict=True)
    ]

    started = time.perf_counter()
    for number in range(1, config.epochs + 1):
        states, metrics = epoch(states)
        due = number % config.eval_every == 0 or number == config.epochs
        lines = []
        for k, evaluator in enumerate(evaluators):
            line = metrics_line(number, _member(metrics, k))
            if due:
                line |= evaluator.watched(evaluated(config, _member(states, k)))
            _append(folders[k] / "metrics.jsonl", line)
            lines.append(line)
        progress(_means(lines))
    seconds = time.perf_counter() - started
    return {
        name: finish(
            folders[k], configs[k], crew.tasks[k], evaluators[k], _member(states, k), seconds
        )
        for k, name in enumerate(members)
    }


def _member(tree: Tree, k: int) -> Tree:
    """One of stacked trees."""
    member: Tree = jax.tree.map(operator.itemgetter(k), tree)
    return member


def _append(path: pathlib.Path, line: dict[str, Any]) -> None:
    with path.open("a") as log:
        log.write(json.dumps(line) + "\n")


def _means(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of each figure over the members."""
    return {name: np.mean([line[name] for line in lines], 0).tolist() for name in lines[0]}
