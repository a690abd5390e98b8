"""Time of one training step of the paper's MNIST ladder on this machine.

  python -m benchmarks.step_time [--json] [--rounds=7] [--steps=100]

Rounds are interleaved (matrix product, supervised, ladder, again), and medians
are printed, so that a machine whose speed drifts does not favour one of them.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags

from experiments import cli
from ladder_jax import presets, training, workfolder
from ladder_jax.training import BatchSizes, TrainData
from ladder_jax.types import Ladder

_JSON = flags.DEFINE_bool("json", False, "Print one JSON object.")
_ROUNDS = flags.DEFINE_integer("rounds", 7, "How often each is timed.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 100, "Steps in one timing.", lower_bound=1)

ROWS = 100
MATRIX = 2048


def useful_operations(rows: int = ROWS) -> int:
    """Multiplications and additions that a step of the full ladder cannot do without.

    Three streams of ``rows`` go up (labelled and unlabelled noisy, unlabelled clean)
    and one comes down; each matrix product comes back as two in the gradient, but
    for that of the first layer, whose input needs none.

    Example:
      >>> round(useful_operations() / 1e9, 2)
      3.22
    """
    widths = (784, *presets.MNIST_UNITS)
    weights = sum(a * b for a, b in itertools.pairwise(widths))
    up, down = 3 * rows * weights, rows * weights
    return 2 * (3 * (up + down) - 3 * rows * widths[0] * widths[1])


def random_data(rows: int) -> TrainData:
    """Random pixels and labels in the sizes of MNIST with 100 labels."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.random((rows, 784), np.float32))
    return TrainData(x[:ROWS], jnp.asarray(np.arange(ROWS) % 10), x)


def epoch_timer(net: Ladder, data: TrainData) -> Callable[[], float]:
    """A function that runs one compiled epoch and returns seconds a step."""
    optimizer = optax.adam(0.002)
    epoch = training.make_epoch(training.make_train_step(net, optimizer), BatchSizes(ROWS, ROWS))
    state = training.create_train_state(net, optimizer, jax.random.key(0))
    steps = data.unlabeled.shape[0] // ROWS

    def run() -> float:
        nonlocal state
        started = time.perf_counter()
        state, metrics = epoch(state, data)
        metrics["loss"].block_until_ready()
        return (time.perf_counter() - started) / steps

    return run


def matrix_timer(size: int = MATRIX, repeats: int = 10) -> Callable[[], float]:
    """A function that returns the float32 matrix product's operations a second."""
    a, b = jax.random.normal(jax.random.key(0), (2, size, size))
    product = jax.jit(jnp.matmul)

    def run() -> float:
        started = time.perf_counter()
        for _ in range(repeats):
            product(a, b).block_until_ready()
        return 2 * size**3 * repeats / (time.perf_counter() - started)

    return run


def measure(rounds: int, steps: int) -> dict[str, float]:
    """Medians over interleaved rounds, after one uncounted round that compiles."""
    data = random_data(steps * ROWS)
    timers = {
        "peak": matrix_timer(),
        "supervised": epoch_timer(presets.mnist_mlp(100, "supervised"), data),
        "ladder": epoch_timer(presets.mnist_mlp(100, "full"), data),
    }
    runs: dict[str, list[float]] = {name: [] for name in timers}
    for number in range(rounds + 1):
        for name, timer in timers.items():
            value = timer()
            if number:
                runs[name].append(value)
    peak, supervised, ladder = (statistics.median(runs[name]) for name in timers)
    return {
        "step_ms": 1000 * ladder,
        "supervised_step_ms": 1000 * supervised,
        "ratio": ladder / supervised,
        "peak_gflops": peak / 1e9,
        "peak_fraction": useful_operations() / ladder / peak,
    }


def main() -> None:
    """Measures and prints."""
    load = os.getloadavg()[0]
    result = measure(_ROUNDS.value, _STEPS.value)
    if _JSON.value:
        print(json.dumps(result))
        return
    print("paper's MLP 784-1000-500-250-250-250-10, 100 labelled + 100 unlabelled rows")
    print(f"  ladder, in the epoch scan    {result['step_ms']:8.2f} ms a step")
    print(f"  supervised, in the same scan {result['supervised_step_ms']:8.2f} ms a step")
    print(f"  ladder / supervised          {result['ratio']:8.2f}")
    print(f"  float32 matrix peak (2048^3) {result['peak_gflops']:8.0f} GFLOP/s")
    print(f"  useful operations            {useful_operations() / 1e9:8.2f} GFLOP a step")
    print(f"  part of the peak             {100 * result['peak_fraction']:8.1f} %")
    print(", ".join(f"{k} {v}" for k, v in workfolder.versions().items()))
    if load > 0.5:
        print(f"the machine was not idle (load {load:.1f} at the start): the ratios may be off")


if __name__ == "__main__":
    cli.run(main)
