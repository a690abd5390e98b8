"""Trains many ladders together: one compiled program with ``vmap`` over stacked states."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ladder_jax import data
from ladder_jax.checkpoints import Checkpoints
from ladder_jax.config import Config
from ladder_jax.errors import ConfigError
from ladder_jax.loop import (
    Member,
    Progress,
    Result,
    Run,
    check_processes,
    check_progress,
    load_result,
    train_members,
)
from ladder_jax.run import files, precision, workfolder
from ladder_jax.run.evaluation import Evaluator
from ladder_jax.run.inputs import Task, choose_rows, load_data, prepare, relabeled
from ladder_jax.run.program import MemberData, Members, build_ladder, compile_program
from ladder_jax.training import TrainData
from ladder_jax.types import Array, Target

_MAY_DIFFER = ("name", "seed", "split", *Config.TRACED)
"""Settings in which the members of a population may differ."""


def common_settings(config: Config) -> dict[str, Any]:
    """Returns the settings that the members of a population have in common.

    Examples:
      >>> common_settings(Config(seed=0)) == common_settings(Config(seed=1, noise_std=(0.2,)))
      True
    """
    names = [field.name for field in dataclasses.fields(Config)]
    return {name: getattr(config, name) for name in names if name not in _MAY_DIFFER}


def check_alike(configs: Sequence[Config]) -> None:
    """Checks that configs can be members of the same population.

    Examples:
      >>> check_alike([Config(seed=0), Config(seed=1, epochs=3)])
      Traceback (most recent call last):
      ...
      ladder_jax.errors.ConfigError: members differ in epochs; those of one population may differ \
only in name, seed, split, learning_rate, noise_std, denoising_cost.
    """
    if not configs:
        raise ConfigError("there is no member; give at least one.")
    common = common_settings(configs[0])
    differing = [name for name in common if len({getattr(config, name) for config in configs}) > 1]
    if differing:
        raise ConfigError(
            f"members differ in {', '.join(differing)}; those of one population may differ "
            f"only in {', '.join(_MAY_DIFFER)}."
        )
    if configs[0].spread_labels:
        raise ConfigError(
            f"spread_labels is {configs[0].spread_labels!r}; the members of a population keep the "
            "labels that they have: train them one after another."
        )
    if not configs[0].resident:
        raise ConfigError(
            "resident is False; a population trains only on resident data: leave resident out."
        )


def _check_names(names: Iterable[object]) -> None:
    """Checks that names can be those of folders in the folder of a population."""
    for name in names:
        if not isinstance(name, str) or name in ("", ".", "..") or set(name) & set("/\\"):
            raise ConfigError(
                f"members has the name {name!r}; give text that can be the name of a folder."
            )


def check_same_target(config: Config, targets: Sequence[Target]) -> None:
    """Checks that all members have one target; class weights by labelled rows may differ.

    Raises:
      ConfigError: they differ.
    """
    if len(set(targets)) > 1:
        raise ConfigError(
            f"class_weight={config.class_weight!r} gives each member of a population weights "
            "of its own, as their labelled rows differ; train them one after another, or give the "
            "weights."
        )


class Crew(NamedTuple):
    """Holds the settings and the stacked data of a population's members."""

    configs: list[Config]  # one per member, with ``compute_dtype`` resolved
    tasks: list[Task]  # one per member
    data: MemberData  # data of all members, stacked
    members: Members  # how the members share the data


def gather(
    configs: Sequence[Config],
    dataset: data.Dataset | None = None,
    workdir: pathlib.Path | None = None,
) -> Crew:
    """Prepares the data and settings of all members.

    Args:
      configs: config of each member.
      dataset: data of all members; None: the data set that the configs name.
      workdir: folder of a member that was begun earlier, for the dtype that it has.
    """
    if dataset is None:
        dataset = load_data(configs[0])
    rows = [choose_rows(config, dataset) for config in configs]
    if len(numbers := {len(labeled) for labeled, _, _ in rows}) > 1:
        raise ConfigError(
            f"members have {' and '.join(map(str, sorted(numbers)))} labels; those of one "
            "population must have the same number: give splits of as many labels."
        )
    first, first_rows = prepare(configs[0], dataset, rows[0]), rows[0][1]
    dtype = precision.settle(configs[0], first.spec, workdir).compute_dtype
    configs = [dataclasses.replace(config, compute_dtype=dtype) for config in configs]
    tasks, train = [first], first.train
    for config, (labeled, own, held_out) in zip(configs[1:], rows[1:], strict=True):
        if not np.array_equal(own, first_rows):
            tasks.append(prepare(config, dataset, (labeled, own, held_out)))
        elif np.array_equal(labeled, first.labeled):
            tasks.append(first)
        else:
            # The training rows are the same; only the labelled subset differs.
            tasks.append(relabeled(config, dataset, (labeled, own, held_out), first))
    check_same_target(configs[0], [task.target for task in tasks])
    shape = train.unlabeled.shape[1:]
    stacked, axes = zip(*map(_stack, *(task.train for task in tasks)), strict=True)
    hypers = [build_ladder(config, shape, first.target).hyper for config in configs]
    hyper = jax.tree.map(lambda *leaves: jnp.stack(leaves).astype(jnp.float32), *hypers)
    rates = jnp.array([config.learning_rate for config in configs])
    members = Members(len(configs), TrainData(*axes))
    return Crew(configs, tasks, MemberData(TrainData(*stacked), hyper, rates), members)


def _stack(*arrays: Array) -> tuple[Array, int | None]:
    """Stacks one array per member; returns the array and its member axis, None if all share it."""
    if all(array is arrays[0] for array in arrays):
        return arrays[0], None
    return jnp.stack(arrays), 0


def train_population(
    members: Mapping[str, Config],
    workdir: str | os.PathLike[str],
    *,
    dataset: data.Dataset | None = None,
    overwrite: bool = False,
    progress: Progress = lambda metrics: None,
) -> dict[str, Result]:
    """Trains all members as one program; each member gets the files of a run of its own.

    A member's result is that of ``train_and_evaluate`` with its config, up to float32
    rounding: labels, order and noise are the same. If examples are held out, each member has
    its own ``best_epoch`` and ``best.npz``. The checkpoints in ``workdir`` are shared by all
    members; the best of them has the lowest validation error averaged over the members, and
    need not be the best of any single member.

    Args:
      members: configs by name; the name is also that of the member's folder in ``workdir``.
      workdir: folder of the population.
      dataset: data to use instead of the dataset that the configs name.
      overwrite: whether to overwrite the files of an earlier run.
      progress: function called after each epoch with the means over the members.

    Returns:
      One ``Result`` per member.

    Raises:
      ConfigError: the members are not alike, a setting or a folder is wrong.
      DataError: the data are wrong.
      Interrupted: SIGTERM or Ctrl-C; completed work is saved.
      NotFiniteError: NaN or infinity in a member's loss.
      WriteError: a file cannot be written.
    """
    check_progress(progress)
    _check_names(members)
    configs = list(members.values())
    check_alike(configs)
    check_processes(configs[0], together=True)
    folder = files.as_path(workdir)
    begun = [] if overwrite else [folder / name for name in members]
    begun = [path for path in begun if (path / workfolder.CONFIG).is_file()]
    crew = gather(configs, dataset, begun[0] if begun else None)
    configs = crew.configs
    program = compile_program(configs[0], crew.tasks[0].spec, crew.members)
    with contextlib.ExitStack() as stack:
        folders = [
            stack.enter_context(
                workfolder.open_run(folder / name, config, task.record, overwrite=overwrite)
            )
            for name, config, task in zip(members, configs, crew.tasks, strict=True)
        ]
        if all(map(workfolder.is_done, folders)):
            results = [load_result(path, program.net) for path in folders]
            return dict(zip(members, results, strict=True))
        for path in folders:  # a finished member is trained again, with new lines
            for name in ("result.json", workfolder.REPORT):
                files.remove(path / name)
        digest = zlib.crc32(" ".join(members).encode())  # members share their checkpoints
        checkpoint_folder = folder / f"{workfolder.CHECKPOINTS}-{digest:08x}"
        if overwrite:
            files.remove(checkpoint_folder)
        checkpoints = stack.enter_context(Checkpoints(checkpoint_folder, configs[0].keep))
        member_list = [
            Member(config, path, Evaluator(program.evaluate, task, config.norm_statistics))
            for config, path, task in zip(configs, folders, crew.tasks, strict=True)
        ]
        run = Run(program, member_list, crew.data, crew.tasks[0].sizes, checkpoints)
        results = train_members(run, progress)
    return dict(zip(members, results, strict=True))
