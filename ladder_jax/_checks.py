"""Checks of a ladder's arguments and inputs, each with a one-line message."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from ladder_jax.types import Array, Batch, Combinator, LevelParams, Pass, Shape, Structure, Target

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def registering(registry: dict[str, Any]) -> Callable[[F], F]:
    """Returns a decorator that adds a function to a registry under its own name."""

    def registered(make: F) -> F:
        registry[make.__name__] = make
        return make

    return registered


def made(
    known: Mapping[str, Callable[..., T]], kind: str, /, *values: Any, **more: Any
) -> T | None:
    """Calls a registered constructor; None if none exists or it takes other arguments."""
    if kind not in known:
        return None
    try:
        inspect.signature(known[kind]).bind(*values, **more)
    except TypeError:
        return None
    return known[kind](*values, **more)


def from_name(argument: str, value: Any, known: Mapping[str, Callable[[], T]], kind: type[T]) -> T:
    """Looks up a name in a registry; returns a value of the wanted type unchanged."""
    if isinstance(value, kind):
        return value
    if not isinstance(value, str):
        raise TypeError(
            f"{argument} is {value!r}; give a {kind.__name__}, e.g. {next(iter(known))}(), or a "
            "name of one."
        )
    if value not in known:
        raise ValueError(f"{argument} is {value!r}; give one of {', '.join(known)}.")
    return known[value]()


def per_level(name: str, values: Any, count: int, first: int = 0) -> tuple[Any, ...]:
    """Broadcasts one value, or a sequence of one, to ``count`` levels, starting at ``first``.

    Examples:
      >>> per_level("noise_std", 0.3, 3)
      (0.3, 0.3, 0.3)
    """
    is_array = getattr(values, "ndim", 0) > 0
    if not (isinstance(values, list) or type(values) is tuple or is_array):
        return (values,) * count
    if len(values) not in (1, count):
        raise ValueError(
            f"{name} is a list of {len(values)}; give one value, or {count}: one for each level "
            f"from {first} to {first + count - 1}."
        )
    return tuple(values) * (count if len(values) == 1 else 1)


def is_whole(value: Any, least: int = 1) -> bool:
    """Returns whether a value is an integer of at least ``least``."""
    is_integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return is_integer and bool(value >= least)


def check_count(name: str, value: object, least: int = 1) -> None:
    """Raises a ``ValueError`` unless ``value`` is a whole number, ``least`` or more."""
    if not is_whole(value, least):
        raise ValueError(f"{name} is {value!r}; give a whole number, {least} or more.")


def check_values(name: str, labels: Any, fits: Callable[[Any], Any], give: str) -> None:
    """Checks the values of labels, unless traced; the error names the first wrong one."""
    if isinstance(labels, jax.core.Tracer):  # whose values are unknown
        return
    known = np.asarray(labels)
    wrong = np.argwhere(~fits(known))
    if len(wrong):
        position = tuple(wrong[0])
        index = ", ".join(map(str, position))
        raise ValueError(f"{name}[{index}] is {known[position]}; give {give}.")


def as_shape(name: str, value: Any) -> Shape:
    """Returns a shape as a tuple of positive ints; a single int is the shape of a vector.

    Examples:
      >>> as_shape("input_shape", 784)
      (784,)
    """
    sizes = tuple(value) if isinstance(value, tuple | list) else (value,)
    if not sizes or not all(map(is_whole, sizes)):
        raise ValueError(f"{name} is {value!r}; give whole numbers from 1, e.g. (784,).")
    return tuple(map(int, sizes))


def _is_nonnegative(value: Any) -> bool:
    """Returns whether a value is a finite number, 0 or more."""
    try:
        return math.isfinite(value) and float(value) >= 0
    except TypeError:  # not a number, or a traced one
        return False


def check_structure(
    combinators: Sequence[Combinator | None],
    noise_std: Sequence[float],
    denoising_cost: Sequence[float],
) -> None:
    """Checks that the noise, costs and combinators of levels 0 to L are consistent."""
    for name, values in (("noise_std", noise_std), ("denoising_cost", denoising_cost)):
        for level, value in enumerate(values):
            if not _is_nonnegative(value):
                raise ValueError(f"{name}[{level}] is {value!r}; give a finite number, 0 or more.")
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


def check_class_balance(weight: float, target: Target) -> None:
    """Checks the weight of the class-balance cost, and that the target has such a cost."""
    if not _is_nonnegative(weight):
        raise ValueError(f"class_balance is {weight!r}; give a finite number, 0 or more.")
    if weight and target.class_balance is None:
        raise ValueError(
            f"class_balance is {weight}, but target {target} is not one of classes; give 0."
        )


def as_rows(name: str, x: Any, input_shape: Shape, *, at_least: int) -> Any:
    """Returns ``x`` as an array ``[rows, *input_shape]`` of floating-point numbers."""
    x = _as_array(name, x)
    if tuple(x.shape[1:]) != tuple(input_shape):
        raise ValueError(
            f"{name} has shape {tuple(x.shape)}; wanted [rows, "
            f"{', '.join(map(str, input_shape))}], as the ladder's input_shape says."
        )
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"{name} has dtype {x.dtype}; convert it to floating point, e.g. float32.")
    if x.shape[0] < at_least:
        reason = " for batch normalisation, as one row has no variance" if at_least > 1 else ""
        raise ValueError(f"{name} has {x.shape[0]} row(s); give at least {at_least}{reason}.")
    return jnp.asarray(x)  # NumPy's float64 becomes JAX's dtype


def _as_array(name: str, value: Any) -> Any:
    """Returns an array unchanged, and lists, data frames and the like as one."""
    if isinstance(value, jax.Array | np.ndarray):
        return value
    try:
        return jnp.asarray(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"{name} is a {type(value).__name__}; give an array of numbers.") from error


def check_params(params: Any, levels: int) -> None:
    """Checks that there are parameters of each level; those of a deeper ladder might fit too."""
    wanted = f"the {levels} LevelParams that this ladder's init returned"
    if not isinstance(params, Sequence) or not all(isinstance(p, LevelParams) for p in params):
        raise TypeError(f"params is a {type(params).__name__}, not of a ladder; give {wanted}.")
    if len(params) != levels:
        raise ValueError(f"params has {len(params)} levels; give {wanted}.")


def check_statistics(level: int, given: tuple[Shape, Shape], wanted: Shape) -> None:
    """Checks the shapes of a mean and variance; JAX would broadcast those of a single unit."""
    if given != (wanted, wanted):
        raise ValueError(
            f"statistics of level {level} have the shapes {given[0]} and {given[1]}; wanted "
            f"{wanted} for both, as the statistics of this ladder."
        )


def check_same_rows(noisy: Pass, clean: Pass) -> None:
    """Checks that two passes have equally many rows; JAX would broadcast a single one."""
    rows, clean_rows = (one.z[0].shape[0] for one in (noisy, clean))
    if rows != clean_rows:
        raise ValueError(
            f"noisy has {rows} row(s), clean {clean_rows}; give passes over the same rows."
        )


def check_level_count(name: str, values: Array, count: int) -> None:
    """Checks that an array has one number per level; JAX would repeat the last one."""
    if values.shape != (count,):
        raise ValueError(
            f"{name} has shape {values.shape}; give one number for each of the {count} levels."
        )


def check_noise(name: str, noise: Any, rows: int, s: Structure) -> None:
    """Checks that noise has one array per level; JAX would broadcast that of fewer rows."""
    wanted = [(rows, *shape) for shape in s.shapes]
    given = [tuple(getattr(part, "shape", ())) for part in noise]
    if given != wanted:
        raise ValueError(
            f"{name} has the shapes {given}; wanted {wanted}, one array per level, as draw_noise "
            "returns."
        )


def check_result(what: str, result: Array, wanted: Shape) -> None:
    """Checks the shape that a function of a layer, activation or combinator returned."""
    if result.shape != wanted:
        raise ValueError(f"{what} returns shape {result.shape}; wanted {wanted}.")


def as_batch(batch: Any, s: Structure) -> Batch:
    """Returns a ``Batch`` whose shapes and types fit the ladder; values may be traced."""
    if not isinstance(batch, Batch):
        try:
            batch = Batch(**batch) if isinstance(batch, Mapping) else Batch(*batch)
        except TypeError as error:
            raise TypeError(
                f"batch is a {type(batch).__name__} that is no batch; give Batch(labeled, labels, "
                "unlabeled), or a dict or tuple of the three."
            ) from error
    # A joint normalisation has the rows of both halves.
    least = 1 if s.joint_norm and s.sees_unlabeled else 2
    labeled = as_rows("batch.labeled", batch.labeled, s.shapes[0], at_least=least)
    unlabeled = batch.unlabeled
    if unlabeled is None:
        unlabeled = jnp.zeros((0, *s.shapes[0]), labeled.dtype)
    least = 2 if s.sees_unlabeled else 0
    unlabeled = as_rows("batch.unlabeled", unlabeled, s.shapes[0], at_least=least)
    labels = _as_array("batch.labels", batch.labels)
    s.target.check_labels("batch.labels", labels, labeled.shape[0], s.shapes[-1])
    weight = batch.weight
    if weight is not None:
        weight = _as_array("batch.weight", weight)
        _check_weight(weight, labeled.shape[0])
    return Batch(labeled, labels, unlabeled, weight)


def _check_weight(weight: Any, rows: int) -> None:
    if weight.shape != (rows,):
        raise ValueError(
            f"batch.weight has shape {tuple(weight.shape)} for {rows} labelled rows; give one "
            "number per row."
        )
    kinds = jnp.floating, jnp.integer, np.bool_
    if not any(jnp.issubdtype(weight.dtype, kind) for kind in kinds):
        raise TypeError(f"batch.weight has dtype {weight.dtype}; give numbers, e.g. float32.")
    is_valid = lambda w: np.isfinite(w) & (w >= 0)
    check_values("batch.weight", weight, is_valid, "finite numbers, 0 or more")
