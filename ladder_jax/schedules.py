"""What changes over the steps of a run: the learning rate, the cost of consistency."""

from __future__ import annotations

from collections.abc import Callable

import optax

from ladder_jax.types import Array, Hyper


def constant_then_linear(
    rate: float | Array, steps: int, decay_from: float = 0.67
) -> optax.Schedule:
    """A learning rate that is constant, then falls linearly to 0 at the last step.

    ``rate * min(1, (1 - step / steps) / (1 - decay_from))``, the paper's schedule.

    Args:
      rate: at the start; may be traced.
      steps: of the whole run.
      decay_from: the part of the run after which the rate falls, 0 to 1.

    Returns:
      ``step -> learning rate``.

    Raises:
      ValueError: an argument is out of range.

    Example:
      >>> schedule = constant_then_linear(0.002, 300, decay_from=2 / 3)
      >>> [round(float(schedule(step)), 5) for step in (0, 200, 250, 300)]
      [0.002, 0.002, 0.001, 0.0]
    """
    known = isinstance(rate, int | float)  # else traced, as in a population
    if steps < 1 or not 0 <= decay_from <= 1 or (known and not rate > 0):
        raise ValueError(
            f"constant_then_linear: rate={rate}, steps={steps}, decay_from={decay_from}; "
            "wanted rate > 0, steps >= 1 and decay_from from 0 to 1."
        )
    start = round(decay_from * steps)
    part = optax.schedules.linear_schedule(1.0, 0.0, steps - start, transition_begin=start)
    return lambda step: rate * part(step)


def later_consistency(hyper: Hyper, steps: int, start: float) -> Callable[[Array], Hyper]:
    """Costs without consistency up to a step, with it from there on.

    Args:
      hyper: noise and costs, else constant.
      steps: of the whole run.
      start: the part of the run without, 0 to 1.

    Returns:
      ``step -> Hyper``, for ``training.make_train_step``.

    Example:
      >>> import jax.numpy as jnp
      >>> schedule = later_consistency(Hyper(jnp.ones(2), jnp.ones(2)), 300, start=0.5)
      >>> [float(schedule(jnp.asarray(step)).consistency) for step in (0, 149, 150)]
      [0.0, 0.0, 1.0]
    """
    first = round(start * steps)
    factor = 1.0 if hyper.consistency is None else hyper.consistency
    return lambda step: hyper._replace(consistency=factor * (step >= first))
