"""Puts together what a config describes: net, optimizer, step and epoch, compiled once.

The one place where they meet. A program knows no seed, no data and no folder: all runs
of the same settings and shapes share one.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax
from jax.sharding import Mesh

from ladder_jax import activations as activations_lib
from ladder_jax import adversarial, algorithm, layers, parallel, training, transforms
from ladder_jax.config import Config
from ladder_jax.errors import ConfigError
from ladder_jax.run import compilation_cache, evaluation, inputs, multiprocess
from ladder_jax.run.inputs import Spec
from ladder_jax.training import Metrics, TrainData, TrainState
from ladder_jax.types import Array, Batch, Hyper, Ladder, Params, Shape

_KEPT = 32
"""Programs that wait for the next run, as the folds of a search or seeds follow each other."""
_NOT_COMPILED = (
    *("name", "dataset", "data_dir", "labels", "label_choice", "split", "validation"),
    *("preprocess", "seed", "norm_statistics", "eval_every", "checkpoint_seconds", "keep"),
)
"""Settings that no program depends on."""


class Members(NamedTuple):
    """How the members of a population share their data.

    Attributes:
      number: how many there are.
      axes: where the members are in each array of their ``TrainData``: 0, or None for
        one that all share.
    """

    number: int
    axes: TrainData


class MemberData(NamedTuple):
    """What the members of a population are trained on and with, one program for all.

    Attributes:
      train: their examples, stacked as ``Members.axes`` says.
      hyper: noise and costs, the members as first axis.
      learning_rate: the same.
    """

    train: TrainData
    hyper: Hyper
    learning_rate: Array


class Program(NamedTuple):
    """Everything that is compiled for one configuration.

    Attributes:
      net: the ladder.
      mesh: where its arrays lie.
      members: how many are trained together; None: one, whose arrays have no axis for it.
      init: ``(key) -> state``; of a population ``(keys) -> states``.
      step: ``(state, batch) -> (state, metrics)``, of one member.
      epoch: ``(state, data) -> (state, metrics)``; the state given is donated.
      evaluate: what tests parameters, of one member.
      trained_net: the ladder whose loss is trained, adversarial noise included.
      params: ``(state) -> `` the parameters that are evaluated and kept, of one member.
    """

    net: Ladder
    mesh: Mesh
    members: int | None
    init: Callable[[Array], TrainState]
    step: Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
    epoch: Callable[[TrainState, Any], tuple[TrainState, Metrics]]
    evaluate: evaluation.Functions
    trained_net: Ladder
    params: Callable[[TrainState], Params]

    def member(self, tree: Any, k: int) -> Any:
        """Returns one member's part of a state or of metrics."""
        return tree if self.members is None else jax.tree.map(operator.itemgetter(k), tree)


def build_ladder(config: Config, input_shape: Shape, classes: int) -> Ladder:
    """Builds the ladder that a config describes.

    Examples:
      >>> build_ladder(Config(units=(5,)), (64,), 10).shapes
      ((64,), (5,), (10,))
    """
    encoder = config.encoder or "-".join(map(str, (*config.units, classes)))
    maps = layers.from_names(encoder)
    if config.compute_dtype != "float32":
        maps = [layers.compute_in(layers.DTYPES[config.compute_dtype], layer) for layer in maps]
    try:
        net = algorithm.ladder(
            input_shape,
            maps,
            combinators=config.combinators,
            noise_std=config.noise_std,
            denoising_cost=config.denoising_cost,
            activation=config.activation,
            top=activations_lib.softmax(gain=config.top_gain),
            consistency=config.consistency_settings if config.consistency else None,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if net.shapes[-1][-1] != classes:
        raise ConfigError(
            f"encoder ends with {net.shapes[-1][-1]} units, but the data have {classes} classes; "
            "end with as many."
        )
    return net


def build_optimizer(
    config: Config, steps: int, learning_rate: float | Array | None = None
) -> optax.GradientTransformation:
    """Builds Adam with the config's schedule, and what follows it.

    Examples:
      >>> import jax.numpy as jnp
      >>> state = build_optimizer(Config(ema_decay=0.9), steps=3).init(jnp.zeros(2))
      >>> transforms.averaged(state).tolist()
      [0.0, 0.0]
    """
    start = config.learning_rate if learning_rate is None else learning_rate
    rate = transforms.constant_then_linear(start, steps, config.decay_from)
    parts = [optax.adam(rate)]
    if config.unit_norm:
        parts.append(transforms.unit_norm_weights())
    if config.ema_decay:
        parts.append(transforms.average_params(config.ema_decay))
    return optax.chain(*parts)


class _Training(NamedTuple):
    optimizer: optax.GradientTransformation
    step: Callable[..., Any]
    epoch: Callable[..., Any]


def _make_training(
    config: Config,
    net: Ladder,
    spec: Spec,
    mesh: Mesh,
    hyper: Hyper | None = None,
    learning_rate: Array | None = None,
) -> _Training:
    """The optimizer, the step and the epoch; noise, costs and rate may be traced."""
    steps = spec.steps * config.epochs
    optimizer = build_optimizer(config, steps, learning_rate)
    given: Hyper | Callable[[Array], Hyper] | None = hyper
    if config.consistency and config.consistency_from:
        constant = net.hyper if hyper is None else hyper
        given = transforms.later_consistency(constant, steps, config.consistency_from)
    step = training.make_train_step(net, optimizer, given)
    if not config.resident:
        return _Training(optimizer, step, inputs.make_streamed_epoch(step, spec.sizes))
    epoch = training.make_epoch(step, spec.sizes, parallel.shard_batch(mesh))
    return _Training(optimizer, step, epoch)


@functools.lru_cache(_KEPT)
def _compile(config: Config, spec: Spec, members: Members | None) -> Program:
    compilation_cache.enable()
    net = build_ladder(config, spec.input_shape, spec.classes)
    trained_net = net
    if config.adversarial != "none":
        levels: Any = config.adversarial
        trained_net = adversarial.virtual_adversarial(net, levels=levels)
    mesh = parallel.make_mesh(members.number if members else 1)
    single = _make_training(config, trained_net, spec, mesh)
    create = functools.partial(training.create_train_state, net, single.optimizer)
    # Not compiled, which would round otherwise: a seed's start has always been this one.
    init: Callable[[Array], TrainState] = create
    epoch, place = single.epoch, parallel.replicate
    if members is not None:
        init, place = jax.jit(jax.vmap(create)), parallel.shard_members
        epoch = _vmapped(config, trained_net, spec, mesh, members)
    elif multiprocess.is_multiprocess():  # so that each process can read what comes of it
        epoch = lambda state, data: parallel.replicate(mesh, single.epoch(state, data))
    averaged = lambda state: transforms.averaged(state.opt_state)
    params = averaged if config.ema_decay else operator.attrgetter("params")
    return Program(
        net,
        mesh,
        None if members is None else members.number,
        lambda key: place(mesh, init(key)),
        single.step,
        epoch,
        evaluation.make_functions(config, net, mesh),
        trained_net,
        params,
    )


def _vmapped(
    config: Config, net: Ladder, spec: Spec, mesh: Mesh, members: Members
) -> Callable[[TrainState, MemberData], tuple[TrainState, Metrics]]:
    """One epoch of all members as one program."""

    def member(state: TrainState, data: TrainData, hyper: Hyper, rate: Array) -> Any:
        return _make_training(config, net, spec, mesh, hyper, rate).epoch(state, data)

    axes: Any = (0, members.axes, 0, 0)
    together = jax.jit(
        jax.vmap(member, in_axes=axes, spmd_axis_name=parallel.MEMBER), donate_argnums=0
    )
    return lambda states, data: together(states, *data)


def compile_program(config: Config, spec: Spec, members: Members | None = None) -> Program:
    """Puts together what a config describes; the same for the same settings and shapes.

    Nothing is compiled before it is called. Seed, data and folder are not a part of it,
    nor are, of a population, the settings in ``Config.TRACED``.

    Examples:
      >>> program = compile_program(Config(units=(5,)), Spec((4,), 2))
      >>> program.net.shapes, compile_program(Config(units=(5,), seed=1), Spec((4,), 2)) is program
      (((4,), (5,), (2,)), True)
    """
    free = _NOT_COMPILED + (Config.TRACED if members else ())
    defaults = {field.name: field.default for field in dataclasses.fields(Config)}
    shared: dict[str, Any] = {name: defaults[name] for name in free}
    return _compile(dataclasses.replace(config, **shared), spec, members)
