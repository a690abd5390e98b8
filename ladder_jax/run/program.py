"""Program of a config: its net, optimizer, step and epoch, compiled once.

This is the only module that combines them. A program holds no seed, data or folder: all runs
with the same settings and shapes share one.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax
from jax.sharding import Mesh

from ladder_jax import activations as activations_lib
from ladder_jax import (
    adversarial,
    algorithm,
    augmentations,
    layers,
    parallel,
    presets,
    training,
    transforms,
)
from ladder_jax.config import AUTO, Config
from ladder_jax.errors import ConfigError
from ladder_jax.run import compilation_cache, evaluation, inputs, multiprocess
from ladder_jax.run.inputs import Spec
from ladder_jax.training import Metrics, TrainData, TrainState
from ladder_jax.types import Array, Batch, Hyper, Ladder, Layer, Params, Shape, Target

_CACHED = 32  # programs that are cached, for the next fold of a search or the next seed
# Settings that no program depends on.
_NOT_COMPILED = (
    *("name", "dataset", "data_dir", "image_size", "labels", "label_choice", "split", "validation"),
    *("preprocess", "seed", "norm_statistics", "eval_every", "checkpoint_seconds", "keep"),
    "spread_labels",  # changes the data
    *("class_weight", "variance"),  # part of the target, or weights of rows
)
_STEPS = 20  # number of steps that take longer to compute than to launch
_WIDEST = 8  # largest dilation of the convolutions that ``units`` describes


class Members(NamedTuple):
    """Describes how the members of a population share their data."""

    number: int
    axes: TrainData  # member axis of each array: 0, or None if all members share it


class MemberData(NamedTuple):
    """Holds the data and traced settings of a population that one program trains."""

    train: TrainData  # examples, stacked as ``Members.axes`` describes
    hyper: Hyper  # noise and costs, with the members as first axis
    learning_rate: Array  # likewise


class Program(NamedTuple):
    """Holds everything that is compiled for one config."""

    net: Ladder
    mesh: Mesh  # of its arrays
    members: int | None  # number trained together; None: one, whose arrays have no member axis
    init: Callable[[Array], TrainState]  # from a key, or from the members' keys
    step: Callable[[TrainState, Batch], tuple[TrainState, Metrics]]  # of one member
    epoch: Callable[[TrainState, Any], tuple[TrainState, Metrics]]  # donates its state
    together: int  # epochs to run as one program, more than 1 if they have few steps
    epochs: Callable[[TrainState, Any, int], tuple[TrainState, Metrics]]  # up to ``together``
    evaluate: evaluation.Functions  # of one member
    trained_net: Ladder  # the ladder whose loss is minimised, adversarial noise included
    params: Callable[[TrainState], Params]  # to evaluate and save, of one member
    batch: Callable[[TrainState, Batch], Batch]  # as augmented by the step

    def member(self, tree: Any, k: int) -> Any:
        """Returns one member's part of a state or of metrics."""
        return tree if self.members is None else jax.tree.map(operator.itemgetter(k), tree)


def _layers(config: Config, target: Target) -> list[Layer]:
    """Makes the layers of a config, from ``encoder`` or from ``units`` and the target."""
    if config.encoder:
        maps = layers.from_names(config.encoder)
    elif not target.positions:
        maps = [layers.dense(n) for n in (*config.units, target.size)]
    elif config.units:
        dilations = [min(2**i, _WIDEST) for i in range(len(config.units))]
        maps = presets.fully_convolutional_layers(target.size, config.units, dilations)
    else:
        maps = [layers.conv(target.size, 1)]
    if config.compute_dtype not in ("float32", AUTO):  # AUTO changes no shapes
        maps = [layers.compute_in(layers.DTYPES[config.compute_dtype], layer) for layer in maps]
    return list(maps)


def _check_top(shape: Shape, input_shape: Shape, target: Target) -> None:
    """Checks that the shape at the end of an encoder matches the labels."""
    size = target.size
    if not target.positions:
        if math.prod(shape) == size and shape[-1] == size:
            return
        labels = {"numbers": "numbers per row", "several": "labels per row"}.get(
            target.kind, "classes"
        )
        count = target.name.split(":")[1]
        note = ", each with its variance" if target.name.endswith("variance") else ""
        ends = f"{shape[0]} units" if len(shape) == 1 else f"a level of shape {shape}"
        raise ConfigError(
            f"encoder ends with {ends}, but the data have {count} {labels}{note}; end with {size} "
            f"units, e.g. dense:{size} or conv:{size}:1-global_mean_pool."
        )
    height, width = input_shape[:2]
    if shape == (height, width, size):
        return
    fix = f"end with conv:{size}:1"
    if shape[:-1] != (height, width):
        fix = f"keep the size by padding (conv:32:3:1:same) or bring it back by upsample:2:{height}"
        fix += f":{width}, and end with conv:{size}:1"
    raise ConfigError(
        f"encoder ends with a level of shape {shape}, but the masks are {height} x {width} with "
        f"{size} classes; {fix}."
    )


def build_ladder(config: Config, input_shape: Shape, target: Target) -> Ladder:
    """Builds the ladder that a config describes."""
    softmax = target.top.name == "softmax"
    if not (softmax or config.top_gain):
        raise ConfigError(
            f"top_gain is False, but target {target} has no softmax, and only a softmax may "
            "lack a gain; leave it out."
        )
    try:
        maps = _layers(config, target)
        _check_top(functools.reduce(algorithm.out_shape, maps, input_shape), input_shape, target)
        net = algorithm.ladder(
            input_shape,
            maps,
            combinators=config.combinators,
            noise_std=config.noise_std,
            denoising_cost=config.denoising_cost,
            activation=config.activation,
            top=activations_lib.softmax(gain=config.top_gain) if softmax else None,
            consistency=config.consistency_settings if config.consistency else None,
            target=target,
            joint_norm=config.joint_norm,
            class_balance=config.class_balance,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return net


def _augmentation(config: Config, spec: Spec) -> augmentations.Augmentation | None:
    """Returns the augmentation of a batch's rows; None if there is none."""
    if config.augment == "none" or not spec.example_shape:
        return None
    return augmentations.of_rows(augmentations.from_names(config.augment), spec.example_shape)


def _make_training(
    config: Config,
    net: Ladder,
    spec: Spec,
    mesh: Mesh,
    hyper: Hyper | None = None,
    learning_rate: Array | None = None,
) -> tuple[optax.GradientTransformation, Callable[..., Any], Callable[..., Any]]:
    """Makes the optimizer, the step and the epoch; noise, costs and learning rate may be traced."""
    steps = spec.steps * config.epochs
    start = config.learning_rate if learning_rate is None else learning_rate
    parts = [optax.adam(transforms.constant_then_linear(start, steps, config.decay_from))]
    if config.unit_norm:
        parts.append(transforms.unit_norm_weights())
    if config.ema_decay:
        parts.append(transforms.average_params(config.ema_decay))
    optimizer = optax.chain(*parts)
    scheduled: Hyper | Callable[[Array], Hyper] | None = hyper
    if config.consistency and config.consistency_from:
        constant = net.hyper if hyper is None else hyper
        scheduled = transforms.later_consistency(constant, steps, config.consistency_from)
    step = training.make_train_step(net, optimizer, scheduled, _augmentation(config, spec))
    if not config.resident:
        return optimizer, step, inputs.make_streamed_epoch(step, spec.sizes)
    return optimizer, step, training.make_epoch(step, spec.sizes, parallel.shard_batch(mesh))


@functools.lru_cache(_CACHED)
def _compile(config: Config, spec: Spec, members: Members | None) -> Program:
    compilation_cache.enable()
    net = build_ladder(config, spec.input_shape, spec.target)
    trained_net = net
    if config.adversarial != "none":
        levels: Any = config.adversarial
        trained_net = adversarial.virtual_adversarial(net, levels=levels)
    mesh = parallel.make_mesh(members.number if members else 1)
    optimizer, step, single = _make_training(config, trained_net, spec, mesh)
    create = functools.partial(training.create_train_state, net, optimizer)
    # Not jitted, which would round differently and so change the initial state of a seed.
    init: Callable[[Array], TrainState] = create
    epoch, place = single, parallel.replicate
    if members is not None:
        init, place = jax.jit(jax.vmap(create)), parallel.shard_members
        epoch = _vmapped(config, trained_net, spec, mesh, members)
    elif multiprocess.is_multiprocess():  # so that each process can read the result
        epoch = lambda state, data: parallel.replicate(mesh, single(state, data))
    together = max(1, _STEPS // spec.steps)
    averaged = lambda state: transforms.averaged(state.opt_state)
    params = averaged if config.ema_decay else operator.attrgetter("params")
    return Program(
        net,
        mesh,
        None if members is None else members.number,
        lambda key: place(mesh, init(key)),
        step,
        epoch,
        together,
        training.make_epochs(epoch, together),
        evaluation.make_functions(config, net, mesh),
        trained_net,
        params,
        functools.partial(training.augmented, _augmentation(config, spec)),
    )


def _vmapped(
    config: Config, net: Ladder, spec: Spec, mesh: Mesh, members: Members
) -> Callable[[TrainState, MemberData], tuple[TrainState, Metrics]]:
    """Makes one epoch of all members, as a single program."""

    def member(state: TrainState, data: TrainData, hyper: Hyper, rate: Array) -> Any:
        _, _, epoch = _make_training(config, net, spec, mesh, hyper, rate)
        return epoch(state, data)

    axes: Any = (0, members.axes, 0, 0)
    together = jax.jit(
        jax.vmap(member, in_axes=axes, spmd_axis_name=parallel.MEMBER), donate_argnums=0
    )
    return lambda states, data: together(states, *data)


def compile_program(config: Config, spec: Spec, members: Members | None = None) -> Program:
    """Builds the program of a config; the same program for the same settings and shapes.

    Its functions are compiled when first called. It does not depend on seed, data or folder
    nor, for a population, on the settings in ``Config.TRACED``.
    """
    ignored = _NOT_COMPILED + (Config.TRACED if members else ())
    defaults: dict[str, Any] = {name: getattr(Config, name) for name in ignored}
    return _compile(dataclasses.replace(config, **defaults), spec, members)
