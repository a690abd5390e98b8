"""Timers of the benchmarks: each runs its work once and returns seconds per step.

Timers run in turn, round after round, and medians are taken, so that drift in the
machine's speed favours none of them.
"""

from __future__ import annotations

import dataclasses
import itertools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from ladder_jax import parallel, presets, targets, training
from ladder_jax.config import Config
from ladder_jax.run.inputs import Spec
from ladder_jax.run.program import MemberData, Members, Program, compile_program
from ladder_jax.training import BatchSizes, TrainData
from ladder_jax.types import Batch

Timer = Callable[[], float]
Name = TypeVar("Name")

ROWS = 100
MATRIX = 2048
CLASSES = 10
PAPER = (784, *presets.MNIST_UNITS)
"""Widths of levels 0 to 6 of the paper's multi-layer perceptron."""
DEPTHS = (5, 10, 20, 30)
"""Layers of the ladders that grow in depth."""


def useful_operations(rows: int = ROWS, widths: Sequence[int] = PAPER) -> int:
    """Counts the multiplications and additions that a step of a full ladder needs.

    Three streams of ``rows`` go up (labelled and unlabelled noisy, unlabelled clean)
    and one comes down. The gradient takes two more products for each matrix product,
    but one in the first layer, whose input needs no gradient.

    Examples:
      >>> round(useful_operations() / 1e9, 2)
      3.22
    """
    weights = sum(a * b for a, b in itertools.pairwise(widths))
    up, down = 3 * rows * weights, rows * weights
    return 2 * (3 * (up + down) - 3 * rows * widths[0] * widths[1])


def gflops(operations: float, seconds: float) -> float:
    """Computes operations per second, in 10^9.

    Examples:
      >>> gflops(3e9, 0.5)
      6.0
    """
    return operations / seconds / 1e9


def equal_widths(depth: int, width: int, features: int = 64) -> tuple[int, ...]:
    """Returns widths of levels 0 to ``depth``, with equal hidden levels and ten classes.

    Examples:
      >>> equal_widths(3, 20)
      (64, 20, 20, 10)
    """
    return (features, *[width] * (depth - 1), 10)


def full_ladder(widths: Sequence[int] = PAPER) -> Config:
    """Makes a dense ladder with every level decoded, and the paper's noise and costs.

    Examples:
      >>> full_ladder((4, 3, 2)).denoising_cost
      (1000.0, 10.0, 0.1)
    """
    costs = (1000.0, 10.0, *[0.1] * (len(widths) - 2))
    return Config(units=tuple(widths[1:-1]), denoising_cost=costs)


def supervised_net(widths: Sequence[int] = PAPER) -> Config:
    """Makes the supervised net: the same layers, with noise and without a decoder."""
    return full_ladder(widths).supervised()


def random_data(rows: int, features: int = PAPER[0], labeled: int = ROWS) -> TrainData:
    """Draws random pixels and labels; by default in the sizes of MNIST with 100 labels."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.random((rows, features), np.float32))
    return TrainData(x[:labeled], jnp.asarray(np.arange(labeled) % 10), x)


def in_turn(advance: Callable[[Any], tuple[Any, Any]], state: Any, steps: int) -> Timer:
    """Makes a timer of ``advance(state) -> (state, metrics)``; each run continues the last."""

    def run() -> float:
        nonlocal state
        started = time.perf_counter()
        state, metrics = advance(state)
        metrics["loss"].block_until_ready()
        return (time.perf_counter() - started) / steps

    return run


def program(
    config: Config, data: TrainData, rows: int = ROWS, members: Members | None = None
) -> Program:
    """Compiles a config as a run does, on all devices, with a constant rate.

    Args:
      config: config of the ladder.
      data: examples as from ``random_data``.
      rows: labelled rows per step, and as many unlabelled ones.
      members: members of a population.
    """
    sizes = BatchSizes(rows, rows)
    steps = training.steps_per_epoch(data, sizes)
    constant = dataclasses.replace(config, decay_from=1.0)
    spec = Spec(data.unlabeled.shape[1:], targets.classes(CLASSES), sizes, steps)
    return compile_program(constant, spec, members)


def epoch_timer(config: Config, data: TrainData, rows: int = ROWS) -> Timer:
    """Makes a timer of one compiled epoch; seconds per step.

    Args:
      config: config of the ladder.
      data: examples as from ``random_data``.
      rows: labelled rows per step, and as many unlabelled ones.
    """
    compiled = program(config, data, rows)
    data = parallel.replicate(compiled.mesh, data)
    steps = training.steps_per_epoch(data, BatchSizes(rows, rows))
    state = compiled.init(jax.random.key(0))
    return in_turn(lambda state: compiled.epoch(state, data), state, steps)


def members_timer(config: Config, data: TrainData, members: int, rows: int = ROWS) -> Timer:
    """Makes a timer of one epoch of members under ``vmap``; seconds per step of all of them."""
    no_axis: Any = (None, None, None)
    shared = Members(members, TrainData(*no_axis))
    compiled = program(config, data, rows, shared)
    hyper = jax.tree.map(lambda leaf: jnp.stack([leaf] * members), compiled.net.hyper)
    member_data = MemberData(data, hyper, jnp.full(members, config.learning_rate))
    states = compiled.init(jax.random.split(jax.random.key(0), members))
    steps = training.steps_per_epoch(data, BatchSizes(rows, rows))
    return in_turn(lambda states: compiled.epoch(states, member_data), states, steps)


def call_timer(config: Config, data: TrainData, rows: int = ROWS, steps: int = 1) -> Timer:
    """Makes a timer of steps called one by one on the same batch; seconds per step."""
    compiled = program(config, data, rows)
    batch = Batch(data.labeled[:rows], data.labels[:rows], data.unlabeled[:rows])
    batch = parallel.replicate(compiled.mesh, batch)

    def run_steps(state: training.TrainState) -> tuple[training.TrainState, training.Metrics]:
        for _ in range(steps):
            state, metrics = compiled.step(state, batch)
        return state, metrics

    return in_turn(run_steps, compiled.init(jax.random.key(0)), steps)


def matrix_timer(size: int = MATRIX, repeats: int = 10, dtype: str = "float32") -> Timer:
    """Makes a timer of a matrix product; seconds per product."""
    a, b = jax.random.normal(jax.random.key(0), (2, size, size)).astype(dtype)
    product = jax.jit(jnp.matmul)

    def run() -> float:
        started = time.perf_counter()
        for _ in range(repeats):
            product(a, b).block_until_ready()
        return (time.perf_counter() - started) / repeats

    return run


def interleaved(timers: Mapping[Name, Timer], rounds: int) -> dict[Name, float]:
    """Returns medians over rounds in which all timers run in turn.

    A first round, which compiles, does not count.

    Args:
      timers: timers by name.
      rounds: number of rounds that count.

    Returns:
      Median seconds by name.

    Examples:
      >>> seconds = iter([9.0, 1.0, 5.0, 2.0])
      >>> interleaved({"one": lambda: next(seconds)}, 3)
      {'one': 2.0}
    """
    runs: dict[Name, list[float]] = {name: [] for name in timers}
    for number in range(rounds + 1):
        for name, timer in timers.items():
            value = timer()
            if number:
                runs[name].append(value)
    return {name: statistics.median(values) for name, values in runs.items()}
