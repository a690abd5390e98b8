"""Search for the step and the level where a run's numbers stopped being finite."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ladder_jax import training
from ladder_jax.config import Config
from ladder_jax.training import BatchSizes, TrainData, TrainState
from ladder_jax.types import Array, Batch, Ladder, Noise, Params

_UNSCALED = 1e6  # inputs of larger magnitude are taken to be unscaled


class Origin(NamedTuple):
    """Describes where numbers stopped being finite."""

    step: int | None  # from 0; None if it does not recur step by step
    level: int | None  # of the ladder, 0 is the input; None if at no level
    quantity: str  # first that is not finite, in the order of computation


def is_finite(tree: Any) -> bool:
    """Returns whether all numbers in a pytree are finite."""
    # On the host, so that nothing is compiled.
    leaves = map(np.asarray, jax.tree.leaves(tree))
    return all(np.isfinite(x).all() for x in leaves if jnp.issubdtype(x.dtype, jnp.inexact))


def quantities(
    net: Ladder, params: Params, batch: Batch, noise: Noise
) -> Iterator[tuple[int, str, Any]]:
    """Yields a step's quantities with level and name, in order: encoder, decoder, gradients."""
    top = len(net.shapes) - 1
    yield 0, "examples", (batch.labeled, batch.unlabeled)
    for level in range(top + 1):
        yield level, "parameters", params[level]
    decoded = net.structure.decoded
    labeled = net.encode(params, batch.labeled, noise.labeled)
    noisy = [labeled]
    if decoded:
        noisy.append(net.encode(params, batch.unlabeled, noise.unlabeled))
        clean = net.encode(params, batch.unlabeled)
    for level in range(top + 1):
        yield level, "z_noisy", [rows.z[level] for rows in noisy]
        if decoded:
            yield level, "z", clean.z[level]
            yield level, "variance", clean.statistics.var[level]
    yield top, "logits", [rows.logits for rows in noisy]
    target = net.structure.target
    name = target.cost_name.replace("_", "-")
    yield top, name, target.cost(labeled.logits, batch.labels, batch.weight)[0]
    if decoded:
        decoder = net.decode(params, noisy[1], clean)
        for level in range(top, -1, -1):
            yield level, "u", decoder.u[level]
            yield level, "z_hat", (decoder.z_hat[level], decoder.z_hat_normalized[level])
            yield level, "cost", decoder.cost[level]
    gradients = jax.grad(lambda p: net.loss_given(p, batch, noise)[0])(params)
    for level in range(top + 1):
        yield level, "gradient", gradients[level]


def _first_not_finite(
    net: Ladder, params: Params, batch: Batch, noise: Noise
) -> tuple[int, str] | None:
    """Finds the level and the name of the first quantity that is not finite."""
    names: list[tuple[int, str]] = []

    @jax.jit
    def checked(params: Params, batch: Batch, noise: Noise) -> list[Array]:
        finite = []
        for level, name, arrays in quantities(net, params, batch, noise):
            names.append((level, name))
            parts = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(arrays)]
            finite.append(jnp.array(parts).all())
        return finite

    each_finite = checked(params, batch, noise)
    return next((name for name, ok in zip(names, each_finite, strict=True) if not ok), None)


def find_origin(
    net: Ladder,
    train_step: Callable[[TrainState, Batch], tuple[TrainState, training.Metrics]],
    state: TrainState,
    data: TrainData,
    sizes: BatchSizes,
    learnt: Callable[[TrainState, Batch], Batch] = lambda _, batch: batch,
) -> Origin:
    """Repeats an epoch step by step up to the first step with numbers that are not finite.

    ``learnt`` maps a batch to the one that a step learns from, e.g. an augmented one.
    """
    rows = len(data.labeled), len(data.unlabeled)
    orders = training.epoch_order(state.key, state.step, *rows, sizes)
    for labeled, unlabeled in zip(*map(np.asarray, orders), strict=True):
        batch = data.batch(labeled, unlabeled)
        after, metrics = train_step(state, batch)
        if not is_finite((metrics["loss"], after.params)):
            key = jax.random.fold_in(state.key, state.step)
            noise = net.draw_noise(key, len(batch.labeled), len(batch.unlabeled))
            first = _first_not_finite(net, state.params, learnt(state, batch), noise)
            if first is not None:
                return Origin(int(state.step), *first)
            if is_finite(metrics["loss"]):
                return Origin(int(state.step), None, "the optimizer's update")
            return Origin(int(state.step), None, "the loss, each part of it being finite")
        state = after
    return Origin(None, None, "the epoch as a whole, not in any single step")


def largest_input(data: TrainData) -> float:
    """Returns the largest magnitude among the first training examples of a run."""
    return float(np.abs(np.asarray(data.unlabeled[:10_000])).max())


def hints(settings: Config, largest: float, level: int | None = None) -> list[str]:
    """Returns what to try against numbers that are not finite."""
    if largest > _UNSCALED:  # its squares overflow at any learning rate
        return [f'preprocess="standardize", as inputs are as large as {largest:.1e}']
    suggestions = [f"a learning_rate below {settings.learning_rate:g}"]
    costs = settings.denoising_cost
    cost = costs[(level or 0) if len(costs) > 1 else 0]
    if level is not None and cost:
        suggestions.append(f"a denoising_cost of level {level} below {cost:g}")
    elif level is None and any(costs):
        suggestions.append("a lower denoising_cost")
    if settings.compute_dtype != "float32":
        suggestions.append(f"compute_dtype=float32 instead of {settings.compute_dtype}")
    return suggestions


def message(
    origin: Origin, epoch: int, good: pathlib.Path | None, settings: Config, largest: float = 1.0
) -> str:
    """Returns the error message that ends a run."""
    where = f"epoch {epoch}"
    where += "" if origin.step is None else f", step {origin.step}"
    first = origin.quantity if origin.level is None else f"level {origin.level}, {origin.quantity}"
    suggestions = hints(settings, largest, origin.level)
    if origin.quantity == "examples":
        suggestions = ["examples that are finite"]
    note = "there is no checkpoint yet" if good is None else f"the last good checkpoint is {good}"
    return f"NaN or infinity at {where}, first in {first}; {note}. Try {', or '.join(suggestions)}."
