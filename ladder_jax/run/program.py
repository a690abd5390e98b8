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
from ladder_jax.config import AUTO, Config
from ladder_jax.errors import ConfigError
from ladder_jax.run import compilation_cache, evaluation, inputs, multiprocess
from ladder_jax.run.inputs import Spec
from ladder_jax.training import Metrics, TrainData, TrainState
from ladder_jax.types import Array, Batch, Hyper, Ladder, Params, Shape

_KEPT = 32  # programs that wait for the next run, as folds of a search or seeds follow each other
# Settings that no program depends on.
_NOT_COMPILED = (
    *("name", "dataset", "data_dir", "labels", "label_choice", "split", "validation"),
    *("preprocess", "seed", "norm_statistics", "eval_every", "checkpoint_seconds", "keep"),
)


class Members(NamedTuple):
    """Says how the members of a population share their data."""

    number: int
    axes: TrainData  # of the members in each array: 0, or None for one that all share


class MemberData(NamedTuple):
    """Holds what the members of a population are trained on and with, one program for all."""

    train: TrainData  # their examples, stacked as ``Members.axes`` says
    hyper: Hyper  # noise and costs, the members as first axis
    learning_rate: Array  # the same


class Program(NamedTuple):
    """Holds everything that is compiled for one configuration."""

    net: Ladder
    mesh: Mesh  # where its arrays lie
    members: int | None  # trained together; None: one, whose arrays have no axis for it
    init: Callable[[Array], TrainState]  # of a key, or of the members' keys
    step: Callable[[TrainState, Batch], tuple[TrainState, Metrics]]  # of one member
    epoch: Callable[[TrainState, Any], tuple[TrainState, Metrics]]  # donates the state given
    evaluate: evaluation.Functions  # of one member
    trained_net: Ladder  # the ladder whose loss is trained, adversarial noise included
    params: Callable[[TrainState], Params]  # that are evaluated and kept, of one member

    def member(self, tree: Any, k: int) -> Any:
        """Returns one member's part of a state or of metrics."""
        return tree if self.members is None else jax.tree.map(operator.itemgetter(k), tree)


def build_ladder(config: Config, input_shape: Shape, classes: int) -> Ladder:
    """Builds the ladder that a config describes."""
    encoder = config.encoder or "-".join(map(str, (*config.units, classes)))
    maps = layers.from_names(encoder)
    if config.compute_dtype not in ("float32", AUTO):  # not settled, it has these shapes too
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


def _make_training(
    config: Config,
    net: Ladder,
    spec: Spec,
    mesh: Mesh,
    hyper: Hyper | None = None,
    learning_rate: Array | None = None,
) -> tuple[optax.GradientTransformation, Callable[..., Any], Callable[..., Any]]:
    """Makes the optimizer, the step and the epoch; noise, costs and rate may be traced."""
    steps = spec.steps * config.epochs
    start = config.learning_rate if learning_rate is None else learning_rate
    parts = [optax.adam(transforms.constant_then_linear(start, steps, config.decay_from))]
    if config.unit_norm:
        parts.append(transforms.unit_norm_weights())
    if config.ema_decay:
        parts.append(transforms.average_params(config.ema_decay))
    optimizer = optax.chain(*parts)
    given: Hyper | Callable[[Array], Hyper] | None = hyper
    if config.consistency and config.consistency_from:
        constant = net.hyper if hyper is None else hyper
        given = transforms.later_consistency(constant, steps, config.consistency_from)
    step = training.make_train_step(net, optimizer, given)
    if not config.resident:
        return optimizer, step, inputs.make_streamed_epoch(step, spec.sizes)
    return optimizer, step, training.make_epoch(step, spec.sizes, parallel.shard_batch(mesh))


@functools.lru_cache(_KEPT)
def _compile(config: Config, spec: Spec, members: Members | None) -> Program:
    compilation_cache.enable()
    net = build_ladder(config, spec.input_shape, spec.classes)
    trained_net = net
    if config.adversarial != "none":
        levels: Any = config.adversarial
        trained_net = adversarial.virtual_adversarial(net, levels=levels)
    mesh = parallel.make_mesh(members.number if members else 1)
    optimizer, step, single = _make_training(config, trained_net, spec, mesh)
    create = functools.partial(training.create_train_state, net, optimizer)
    # Not compiled, which would round otherwise: a seed's start has always been this one.
    init: Callable[[Array], TrainState] = create
    epoch, place = single, parallel.replicate
    if members is not None:
        init, place = jax.jit(jax.vmap(create)), parallel.shard_members
        epoch = _vmapped(config, trained_net, spec, mesh, members)
    elif multiprocess.is_multiprocess():  # so that each process can read what comes of it
        epoch = lambda state, data: parallel.replicate(mesh, single(state, data))
    averaged = lambda state: transforms.averaged(state.opt_state)
    params = averaged if config.ema_decay else operator.attrgetter("params")
    return Program(
        net,
        mesh,
        None if members is None else members.number,
        lambda key: place(mesh, init(key)),
        step,
        epoch,
        evaluation.make_functions(config, net, mesh),
        trained_net,
        params,
    )


def _vmapped(
    config: Config, net: Ladder, spec: Spec, mesh: Mesh, members: Members
) -> Callable[[TrainState, MemberData], tuple[TrainState, Metrics]]:
    """Makes one epoch of all members, as one program."""

    def member(state: TrainState, data: TrainData, hyper: Hyper, rate: Array) -> Any:
        _, _, epoch = _make_training(config, net, spec, mesh, hyper, rate)
        return epoch(state, data)

    axes: Any = (0, members.axes, 0, 0)
    together = jax.jit(
        jax.vmap(member, in_axes=axes, spmd_axis_name=parallel.MEMBER), donate_argnums=0
    )
    return lambda states, data: together(states, *data)


def compile_program(config: Config, spec: Spec, members: Members | None = None) -> Program:
    """Puts together what a config describes; the same for the same settings and shapes.

    Nothing is compiled before it is called. Seed, data and folder are not a part of it,
    nor are, of a population, the settings in ``Config.TRACED``.
    """
    free = _NOT_COMPILED + (Config.TRACED if members else ())
    shared: dict[str, Any] = {name: getattr(Config, name) for name in free}
    return _compile(dataclasses.replace(config, **shared), spec, members)
