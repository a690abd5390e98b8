"""What a config describes: the ladder and the optimizer that trains it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import optax

from ladder_jax import activations, adversarial, layers, schedules, training, transforms
from ladder_jax.algorithm import ladder
from ladder_jax.config import Config, ConfigError
from ladder_jax.training import Metrics, TrainState
from ladder_jax.types import Array, Batch, Hyper, Ladder, Shape


def build_ladder(config: Config, input_shape: Shape, classes: int) -> Ladder:
    """The ladder that a config describes.

    Args:
      config: the settings.
      input_shape: of one example.
      classes: how many there are.

    Returns:
      A ``Ladder``.

    Raises:
      ConfigError: settings contradict each other.

    Example:
      >>> build_ladder(Config(units=(5,)), (64,), 10).shapes
      ((64,), (5,), (10,))
    """
    encoder = config.encoder or "-".join(map(str, (*config.units, classes)))
    maps = layers.from_names(encoder)
    if config.compute_dtype != "float32":
        maps = [layers.compute_in(layers.DTYPES[config.compute_dtype], layer) for layer in maps]
    try:
        net = ladder(
            input_shape,
            maps,
            combinators=config.combinators,
            noise_std=config.noise_std,
            denoising_cost=config.denoising_cost,
            activation=config.activation,
            top=activations.softmax(gain=config.top_gain),
            consistency=config.consistency_settings if config.consistency else None,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if net.shapes[-1][-1] != classes:
        raise ConfigError(
            f"encoder ends with {net.shapes[-1][-1]} units, but {config.dataset} has {classes} "
            "classes; end with as many."
        )
    return net


def build_optimizer(
    config: Config, steps: int, learning_rate: float | Array | None = None
) -> optax.GradientTransformation:
    """Adam with the config's schedule, and what follows it.

    Args:
      config: the settings.
      steps: of the whole run.
      learning_rate: instead of the config's; may be traced.

    Returns:
      An optax transformation.

    Example:
      >>> import jax.numpy as jnp
      >>> state = build_optimizer(Config(average=0.9), steps=3).init(jnp.zeros(2))
      >>> transforms.averaged(state).tolist()
      [0.0, 0.0]
    """
    start = config.learning_rate if learning_rate is None else learning_rate
    rate = schedules.constant_then_linear(start, steps, config.decay_from)
    parts = [optax.adam(rate)]
    if config.unit_norm:
        parts.append(transforms.unit_norm_weights())
    if config.average:
        parts.append(transforms.average_params(config.average))
    return optax.chain(*parts)


def supervised(config: Config) -> Config:
    """The supervised net of the same size: labels alone, the paper's baseline noise.

    Example:
      >>> supervised(Config(units=(5,))).noise_std
      (0.3, 0.5, 0.5)
    """
    return dataclasses.replace(
        config,
        combinators=("none",),
        denoising_cost=(0.0,),
        consistency=0.0,
        noise_std=(0.3,) + (0.5,) * (config.levels - 1),
    )


def train_step(
    config: Config,
    net: Ladder,
    optimizer: optax.GradientTransformation,
    steps: int,
    hyper: Hyper | None = None,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """The step that the config describes.

    Args:
      config: the settings.
      net: of ``build_ladder``.
      optimizer: of ``build_optimizer``.
      steps: of the whole run.
      hyper: noise and costs instead of the ladder's own; may be traced.

    Returns:
      What ``training.make_train_step`` makes.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from ladder_jax import Batch, presets, training
      >>> config, net = Config(consistency=1.0, consistency_from=0.5), presets.mlp(4, [3, 2])
      >>> optimizer = build_optimizer(config, steps=10)
      >>> state = training.create_train_state(net, optimizer, jax.random.key(0))
      >>> x = jax.random.normal(jax.random.key(1), (6, 4))
      >>> step = train_step(config, net, optimizer, steps=10)
      >>> int(step(state, Batch(x[:2], jnp.arange(2), x))[0].step)
      1
    """
    given: Hyper | Callable[[Array], Hyper] | None = hyper
    if config.consistency and config.consistency_from:
        constant = net.hyper if hyper is None else hyper
        given = schedules.later_consistency(constant, steps, config.consistency_from)
    return training.make_train_step(loss_net(config, net), optimizer, given)


def loss_net(config: Config, net: Ladder) -> Ladder:
    """The ladder whose loss is trained: that given, or one with adversarial noise.

    Example:
      >>> from ladder_jax import presets
      >>> net = presets.mlp(4, [3, 2])
      >>> loss_net(Config(), net) is net
      True
    """
    if config.adversarial == "none":
        return net
    return adversarial.virtual_adversarial(net, levels=config.adversarial)  # type: ignore[arg-type]
