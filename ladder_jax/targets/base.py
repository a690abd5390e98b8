"""Shared parts of the targets: registry, checks of labels, means over labelled entries, counts."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

import jax.numpy as jnp
import numpy as np

from ladder_jax import _checks
from ladder_jax.types import Array, Shape, Sums, Target

F = TypeVar("F", bound=Callable[..., Target])

TARGETS: dict[str, Callable[..., Target]] = {}
"""Constructors by the first word of a target's name."""


def _cached(make: F) -> F:
    """Caches a constructor, so that targets of equal arguments are equal and can be cache keys."""
    signature, cached = inspect.signature(make), functools.lru_cache(None, typed=True)(make)

    @functools.wraps(make)
    def wrapper(*args: Any, **settings: Any) -> Target:
        bound = signature.bind(*args, **settings)
        bound.apply_defaults()
        for name, value in bound.arguments.items():
            if isinstance(value, list | np.ndarray):
                bound.arguments[name] = value = tuple(np.asarray(value).ravel().tolist())
            if not isinstance(value, Hashable):
                raise TypeError(f"{make.__name__}: {name} is {value!r}; give a tuple of numbers.")
        return cached(*bound.args, **bound.kwargs)

    return cast(F, wrapper)


def registered(make: F) -> F:
    """Adds a target to ``TARGETS`` under the name of its constructor."""
    return _checks.registering(TARGETS)(_cached(make))


def from_name(name: str, **settings: Any) -> Target:
    """Makes a target from its name.

    Args:
      name: a key of ``TARGETS``, its numbers and the names of arguments that are True, joined
        by colons.
      **settings: further arguments, e.g. ``class_weight``.

    Raises:
      ValueError: the name is unknown, or its arguments are wrong.

    Examples:
      >>> from ladder_jax import targets
      >>> from_name("pixels:11"), from_name("numbers:2:variance")
      (pixels:11, numbers:2:variance)
      >>> from_name("classes:3") is targets.classes(3)
      True
    """
    kind, *words = name.split(":")
    numbers = [int(word) for word in words if word.isdigit()]
    flags = {word: True for word in words if not word.isdigit()}
    if (target := _checks.made(TARGETS, kind, *numbers, **flags, **settings)) is not None:
        return target
    raise ValueError(
        f"target {name!r} is not known; give one of {', '.join(TARGETS)} with its number, e.g. "
        "classes:10, pixels:11 or numbers:1:variance."
    )


def check_labels(
    name: str, labels: Any, shape: Shape, fits: Callable[[Any], Any], give: str, value: str
) -> None:
    """Checks integer labels: their dtype, shape and, if known, values."""
    if not (jnp.issubdtype(labels.dtype, jnp.integer) or labels.dtype == bool):
        raise TypeError(f"{name} has dtype {labels.dtype}; give class numbers as integers.")
    check_shape(name, labels, shape, give)
    _checks.check_values(name, labels, fits, value)


def check_shape(name: str, labels: Any, shape: Shape, give: str) -> None:
    """Checks that labels have the wanted shape, whose first size is the number of rows."""
    if tuple(labels.shape) != shape:
        raise ValueError(
            f"{name} has shape {tuple(labels.shape)} for {shape[0]} labelled rows; give {give}."
        )


def whole(labels: Any) -> Any:
    """Widens narrow integers to int32, so that any number of classes can be compared with them."""
    return labels.astype("int32") if labels.dtype.itemsize < 4 else labels


def is_class(labels: Any, k: int) -> Any:
    """Returns which labels are a class from 0 to k - 1, bool."""
    labels = whole(labels)
    return (labels >= 0) & (labels < k)


def mean(losses: Array, labeled: Array, weight: Array | None = None) -> Array:
    """Computes the (weighted) mean over the labelled entries; 0 if there are none."""
    losses = jnp.where(labeled, losses, 0.0)
    if weight is None:
        # The mean over all entries times a ratio that is exactly 1 if all have a label.
        ratio = (labeled.size / jnp.maximum(labeled.sum(), 1)).astype(losses.dtype)
        return losses.mean() * ratio
    weight = jnp.where(labeled, weight, 0.0).astype(losses.dtype)
    total = weight.sum()
    return (weight * losses).sum() / jnp.where(total > 0, total, 1.0)


def by_row(weight: Array | None, ndim: int) -> Array | None:
    """Reshapes weights of rows ``[N]`` to broadcast against entries with ``ndim`` axes."""
    return None if weight is None else weight.reshape(-1, *(1,) * (ndim - 1))


def by_class(sums: Sums) -> dict[str, np.ndarray]:
    """Computes the scores of each class for ``classes``, ``pixels`` and ``several``.

    Args:
      sums: the target's ``measures``, added over all rows.

    Returns:
      ``iou``, ``precision``, ``recall`` and ``f1``, ``[k]`` each, from 0 to 1; NaN where the
      divisor is 0, e.g. for a class in neither labels nor predictions.

    Examples:
      >>> target = from_name("classes:2")
      >>> sums = target.measures(jnp.eye(2)[jnp.array([0, 1, 1])], jnp.array([0, 1, 0]))
      >>> by_class(sums)["iou"].tolist()
      [0.5, 0.5]
    """
    correct, predicted, true = (
        np.asarray(sums[name], np.float64) for name in ("correct", "predicted", "true")
    )
    parts = {
        "iou": (correct, predicted + true - correct),
        "precision": (correct, predicted),
        "recall": (correct, true),
        "f1": (2 * correct, predicted + true),
    }
    with np.errstate(invalid="ignore"):
        return {name: np.divide(*part) for name, part in parts.items()}


def on_host(sums: Sums) -> dict[str, np.ndarray]:
    """Returns sums as float64 NumPy arrays."""
    return {name: np.asarray(value, np.float64) for name, value in sums.items()}


def nanmean(values: np.ndarray) -> float:
    """Computes the mean of the values that are not NaN; NaN if there are none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def share(part: Any, whole: Any) -> float:
    """Computes ``part / whole``; NaN if ``whole`` is 0."""
    return float(part / whole) if whole else math.nan
