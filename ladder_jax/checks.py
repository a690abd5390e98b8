"""Checks of what a ladder is built from and given: one clear line, before anything runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ladder_jax.types import Batch, Combinator, Shape


def per_level(name: str, values: Any, count: int, first: int) -> tuple[Any, ...]:
    """``values`` as a tuple of one value a level; a single value serves all.

    Args:
      name: of the argument, for the message.
      values: one value, or a sequence of ``count``.
      count: how many levels there are to serve.
      first: the first of those levels, for the message.

    Raises:
      ValueError: the sequence has another length.

    Example:
      >>> per_level("noise_std", 0.3, 3, 0)
      (0.3, 0.3, 0.3)
    """
    is_sequence = isinstance(values, (list, np.ndarray)) or type(values) is tuple
    if not is_sequence:
        return (values,) * count
    if len(values) != count:
        raise ValueError(
            f"{name}: {len(values)} values given, {count} wanted, "
            f"one for each level from {first} to {first + count - 1}."
        )
    return tuple(values)


def check_structure(
    combinators: Sequence[Combinator | None],
    noise_std: Sequence[float],
    denoising_cost: Sequence[float],
) -> None:
    """That noise, costs and combinators of levels 0 to L fit each other.

    Raises:
      ValueError: a noise or cost is negative or not finite, a level that is not
        decoded has a cost, or a level waits for a signal that nothing sends.
    """
    for name, values in (("noise_std", noise_std), ("denoising_cost", denoising_cost)):
        for level, value in enumerate(values):
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name}[{level}] is {value}; give a finite number, 0 or more.")
    for level, combinator in enumerate(combinators):
        if combinator is None and denoising_cost[level] > 0:
            raise ValueError(
                f"denoising_cost[{level}] is {denoising_cost[level]}, but level {level} is not "
                f"decoded: give combinators[{level}], or make the cost 0."
            )
        if level + 1 == len(combinators) or combinator is None or not combinator.uses_u:
            continue
        if combinators[level + 1] is None:
            raise ValueError(
                f"combinators[{level}] needs the signal from level {level + 1}, which is not "
                f"decoded: give combinators[{level + 1}], or make combinators[{level}] None."
            )


def check_rows(name: str, x: Any, input_shape: Shape, *, at_least: int) -> None:
    """That ``x`` is ``[rows, *input_shape]``, floating point, with enough rows.

    Raises:
      ValueError: the shape differs or there are fewer than ``at_least`` rows.
      TypeError: the elements are not floating-point numbers.
    """
    if tuple(x.shape[1:]) != tuple(input_shape) or x.ndim == 0:
        raise ValueError(
            f"{name} has shape {tuple(x.shape)}; wanted [rows, "
            f"{', '.join(map(str, input_shape))}], as the ladder's input_shape says."
        )
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"{name} has dtype {x.dtype}; convert it to floating point, e.g. float32.")
    if x.shape[0] < at_least:
        raise ValueError(
            f"{name} has {x.shape[0]} row(s); batch normalisation needs at least {at_least} "
            "(one row has no variance)."
        )


def check_batch(batch: Batch, input_shape: Shape, *, sees_unlabeled: bool) -> None:
    """That shapes and dtypes of a batch fit the ladder (values may be traced).

    Raises:
      ValueError: a shape is wrong or a half has too few rows.
      TypeError: a dtype is wrong.
    """
    check_rows("batch.labeled", batch.labeled, input_shape, at_least=2)
    check_rows("batch.unlabeled", batch.unlabeled, input_shape, at_least=2 if sees_unlabeled else 0)
    if not jnp.issubdtype(batch.labels.dtype, jnp.integer):
        raise TypeError(
            f"batch.labels has dtype {batch.labels.dtype}; give class numbers as integers."
        )
    if batch.labels.shape != batch.labeled.shape[:1]:
        raise ValueError(
            f"batch.labels has shape {tuple(batch.labels.shape)} for "
            f"{batch.labeled.shape[0]} labelled rows; give one label a row."
        )
