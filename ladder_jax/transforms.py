"""Schedules, and transformations for after the optimizer: unit-norm weights, averaging.

Chain the transformations after the optimizer, with the average last::

    optax.chain(optax.adam(0.002), unit_norm_weights(), average_params(0.999))

Their ``update`` needs the parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ladder_jax.normalization import inverse_norm
from ladder_jax.types import Array, Hyper, LevelParams, Params


def _is_weight(path: tuple[object, ...], leaf: Array) -> bool:
    """Returns whether a leaf is a weight array of an encoder, wherever its ladder is in a tree."""
    names = (getattr(key, "name", getattr(key, "key", None)) for key in path)
    part = next((name for name in names if name in LevelParams._fields), None)
    return part == "up" and leaf.ndim > 1


def project_weights(params: Params) -> Params:
    """Scales every encoder weight vector to norm 1; all other parameters stay unchanged.

    The vector of a unit (or channel) consists of all weights that lead to it: each kernel is
    normalised over all its axes but the last.

    Examples:
      >>> from ladder_jax import presets
      >>> params = project_weights(presets.mlp(4, [3, 2]).init(jax.random.key(0)))
      >>> bool(jnp.allclose(jnp.linalg.norm(params[1].up["kernel"], axis=0), 1.0))
      True
    """

    def project(path: tuple[object, ...], leaf: Array) -> Array:
        if not _is_weight(path, leaf):
            return leaf
        return leaf * inverse_norm(leaf, tuple(range(leaf.ndim - 1)))

    return jax.tree_util.tree_map_with_path(project, params)


def unit_norm_weights() -> optax.GradientTransformation:
    """Projects encoder weights back to norm 1 after each update.

    Projection-based weight normalisation; with the ladder, Huang et al. (2017) report 0.91 %
    test error on MNIST at 100 labels and 1.06 % at 50. Batch normalisation makes the length of
    a weight vector irrelevant; keeping it at 1 keeps its effective step from shrinking.

    Examples:
      >>> from ladder_jax import presets
      >>> params, t = presets.mlp(4, [3, 2]).init(jax.random.key(0)), unit_norm_weights()
      >>> new = optax.apply_updates(params, t.update(params, t.init(params), params)[0])
      >>> bool(jnp.allclose(jnp.linalg.norm(new[1].up["kernel"], axis=0), 1.0))
      True
    """

    def update(updates: Params, params: Params | None = None) -> Params:
        _check_given("unit_norm_weights", params)
        projected = project_weights(optax.apply_updates(params, updates))

        def change(path: tuple[object, ...], new: Array, old: Array, update: Array) -> Array:
            return new - old if _is_weight(path, old) else update

        return jax.tree_util.tree_map_with_path(change, projected, params, updates)

    return optax.stateless(update)


def _check_given(transformation: str, params: Params | None) -> None:
    """Raises a ``ValueError`` if an update, which needs the parameters, got none."""
    if params is None:
        raise ValueError(f"{transformation}: params is None; call update(updates, state, params).")


class AverageState(NamedTuple):
    """Holds the number of averaged steps, an int32 scalar, and the averaged parameters."""

    steps: Array
    average: Params


def average_params(decay: float | Array) -> optax.GradientTransformation:
    """Keeps an exponential moving average of the parameters, for evaluation.

    Leaves the updates unchanged. The average after step t weights the parameters of step k
    in proportion to decay^(t - k), with weights that add up to 1; ``averaged`` reads it.

    Args:
      decay: decay, above 0 and below 1, e.g. 0.999; may be traced.

    Raises:
      ValueError: ``decay`` is out of range.

    Examples:
      >>> optimizer = optax.chain(optax.sgd(1.0), average_params(0.5))
      >>> params, state = jnp.array(0.0), optimizer.init(jnp.array(0.0))
      >>> for gradient in (-1.0, -2.0):
      ...     updates, state = optimizer.update(jnp.array(gradient), state, params)
      ...     params = optax.apply_updates(params, updates)
      >>> float(params), round(float(averaged(state)), 4)  # (1 + 2 * 3) / 3
      (3.0, 2.3333)
    """
    is_traced = isinstance(decay, jax.core.Tracer)
    # A float, as comparing an array would be traced in a function that is being compiled.
    if not is_traced and not 0 < float(decay) < 1:
        raise ValueError(f"average_params: decay is {decay}; give a number between 0 and 1.")
    log_decay = jnp.log(decay) if is_traced else np.log(float(decay))

    def init(params: Params) -> AverageState:
        # A copy, as a training step may be donated the buffers of its state.
        return AverageState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.copy, params))

    def update(
        updates: Params, state: AverageState, params: Params | None = None
    ) -> tuple[Params, AverageState]:
        _check_given("average_params", params)
        steps = optax.safe_increment(state.steps)
        # (1 - decay) / (1 - decay^steps), without the differences, which float32 rounds off. It is
        # 1 at first, which drops the initial parameters.
        weight = jnp.expm1(log_decay) / jnp.expm1(log_decay * steps)
        new = optax.apply_updates(params, updates)
        average = optax.incremental_update(new, state.average, weight)
        # The weight may have a wider dtype than the parameters.
        average = jax.tree.map(lambda a, old: a.astype(old.dtype), average, state.average)
        return updates, AverageState(steps, average)

    return optax.GradientTransformation(init, update)


def averaged(opt_state: optax.OptState) -> Params:
    """Returns the average that ``average_params`` keeps in an optimizer's state, or None.

    Of several averages, returns the first.

    Examples:
      >>> averaged(optax.adam(0.1).init(jnp.zeros(2))) is None
      True
    """
    is_average = lambda node: isinstance(node, AverageState)
    nodes = filter(is_average, jax.tree.leaves(opt_state, is_leaf=is_average))
    return next((state.average for state in nodes), None)


def constant_then_linear(
    rate: float | Array, steps: int, decay_from: float = 0.67
) -> optax.Schedule:
    """Creates a learning-rate schedule: constant, then linear to 0 at the last step.

    The rate is ``rate * min(1, (1 - step / steps) / (1 - decay_from))``, as in the paper.

    Args:
      rate: initial learning rate; may be traced.
      steps: number of steps of the whole run.
      decay_from: fraction of training after which the rate decays, 0 to 1.

    Raises:
      ValueError: an argument is out of range.

    Examples:
      >>> schedule = constant_then_linear(0.002, 300, decay_from=2 / 3)
      >>> [round(float(schedule(step)), 5) for step in (0, 200, 250, 300)]
      [0.002, 0.002, 0.001, 0.0]
    """
    is_traced = isinstance(rate, jax.core.Tracer)  # as in a population
    if steps < 1 or not 0 <= decay_from <= 1 or not (is_traced or float(rate) > 0):
        raise ValueError(
            f"constant_then_linear: rate={rate}, steps={steps}, decay_from={decay_from}; "
            "wanted rate > 0, steps >= 1 and decay_from from 0 to 1."
        )
    start = round(decay_from * steps)
    relative_rate = optax.schedules.linear_schedule(1.0, 0.0, steps - start, transition_begin=start)
    return lambda step: rate * relative_rate(step)


def later_consistency(hyper: Hyper, steps: int, start: float) -> Callable[[Array], Hyper]:
    """Creates a schedule that switches on the consistency cost at a step.

    Args:
      hyper: noise and costs, otherwise constant.
      steps: number of steps of the whole run.
      start: fraction of training without the consistency cost, 0 to 1.

    Returns:
      ``step -> Hyper``, for ``training.make_train_step``.

    Raises:
      ValueError: ``start`` is out of range.

    Examples:
      >>> schedule = later_consistency(Hyper(jnp.ones(2), jnp.ones(2)), 300, start=0.5)
      >>> [float(schedule(jnp.asarray(step)).consistency) for step in (0, 149, 150)]
      [0.0, 0.0, 1.0]
    """
    if not 0 <= start <= 1:
        raise ValueError(
            f"later_consistency: start is {start}; give a fraction of training, 0 to 1."
        )
    first_step = round(start * steps)
    factor = 1.0 if hyper.consistency is None else hyper.consistency
    return lambda step: hyper._replace(consistency=jnp.where(step >= first_step, factor, 0.0))
