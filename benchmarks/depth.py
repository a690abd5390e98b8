"""Time of one training step by depth: a ladder of equal dense levels.

python -m benchmarks.depth [--json] [--width=250] [--rounds=20]
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags

from experiments import cli
from ladder_jax import presets, training
from ladder_jax.types import Batch

_JSON = flags.DEFINE_bool("json", False, "Print one JSON object.")
_WIDTH = flags.DEFINE_integer("width", 250, "Units of every hidden level.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 20, "How often each step is timed.", lower_bound=1)

DEPTHS = (5, 10, 20, 30)
ROWS = 100


def step_timer(depth: int, width: int) -> Callable[[], float]:
    """A function that runs one step of a ladder of ``depth`` layers; seconds."""
    net = presets.mlp(64, [width] * (depth - 1) + [10], denoising_cost=0.1)
    optimizer = optax.adam(0.002)
    state = training.create_train_state(net, optimizer, jax.random.key(0))
    step = training.make_train_step(net, optimizer)
    x = jax.random.uniform(jax.random.key(1), (2 * ROWS, 64))
    batch = Batch(x[:ROWS], jnp.arange(ROWS) % 10, x[ROWS:])

    def run() -> float:
        nonlocal state
        started = time.perf_counter()
        state, metrics = step(state, batch)
        metrics["loss"].block_until_ready()
        return time.perf_counter() - started

    return run


def measure(width: int, rounds: int) -> dict[str, float]:
    """Median milliseconds a step by depth, and how well a line through them fits."""
    timers = {depth: step_timer(depth, width) for depth in DEPTHS}
    runs: dict[int, list[float]] = {depth: [] for depth in DEPTHS}
    for number in range(rounds + 1):
        for depth, timer in timers.items():
            seconds = timer()
            if number:  # the first one compiles
                runs[depth].append(seconds)
    times = [1000 * statistics.median(runs[depth]) for depth in DEPTHS]
    slope, start = np.polyfit(DEPTHS, times, 1)
    misfit = max(abs(slope * d + start - t) / t for d, t in zip(DEPTHS, times, strict=True))
    named = {f"step_ms_{depth}": t for depth, t in zip(DEPTHS, times, strict=True)}
    return named | {"ms_a_layer": float(slope), "largest_misfit": float(misfit)}


def main() -> None:
    """Measures and prints."""
    result = measure(_WIDTH.value, _ROUNDS.value)
    if _JSON.value:
        print(json.dumps(result))
        return
    print(f"{_WIDTH.value} units a level, {ROWS} labelled + {ROWS} unlabelled rows")
    for depth in DEPTHS:
        print(f"  {depth:3} layers  {result[f'step_ms_{depth}']:8.2f} ms a step")
    print(f"  a layer     {result['ms_a_layer']:8.2f} ms")
    print(f"  off a line by at most {100 * result['largest_misfit']:.0f} %")


if __name__ == "__main__":
    cli.run(main)
