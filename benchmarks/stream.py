"""Compares the speed of the streamed pipeline with that of a training step.

  python -m benchmarks.stream                              random images, MNIST's size
  python -m benchmarks.stream --dataset=mnist --data_dir=FOLDER

Prints the rows per second of the stream by itself, from memory and (for a prepared set)
from disk; of the training step by itself, on resident batches; and their ratio.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from benchmarks import timers
from experiments import cli
from ladder_jax import data
from ladder_jax.data import tfds
from ladder_jax.training import TrainData, TrainState
from ladder_jax.types import Batch

_STEPS = flags.DEFINE_integer("steps", 100, "Steps timed; the best of 3 counts.", lower_bound=1)
_BATCH = flags.DEFINE_integer("batch", 100, "Rows of each half of a batch.", lower_bound=2)
_ROWS = 60_000


def best_of_3(run: Callable[[], object]) -> float:
    """Returns the seconds of the fastest of three runs, after one to warm up."""
    run()
    times = []
    for _ in range(3):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)


def stream_rate(x: data.Examples, y: np.ndarray, steps: int, batch: int) -> float:
    """Returns unlabelled rows per second of the stream, with 100 labelled rows in memory."""
    flat = data.Rows(x, transform=lambda part: part.reshape(len(part), -1))
    labeled = flat[:100]
    rng = np.random.default_rng(0)
    order = np.stack([rng.choice(len(flat), batch, replace=False) for _ in range(steps)])
    rows = rng.integers(0, 100, (steps, batch))

    def run() -> None:
        for _ in data.batches(labeled, y[:100], flat, rows, order):
            pass

    return steps * batch / best_of_3(run)


def step_rate(steps: int, batch: int) -> float:
    """Returns unlabelled rows per second of the paper's MNIST step, many steps in one program."""
    x = jax.random.uniform(jax.random.key(1), (batch, 784))
    resident = TrainData(x, jnp.arange(batch) % timers.CLASSES, x)
    compiled = timers.program(timers.full_ladder(), resident, batch)
    state = compiled.init(jax.random.key(0))

    @jax.jit
    def run_steps(state: TrainState) -> TrainState:
        body = lambda _, state: compiled.step(state, Batch(*resident))[0]
        final_state: TrainState = jax.lax.fori_loop(0, steps, body, state)
        return final_state

    return steps * batch / best_of_3(lambda: int(run_steps(state).step))


def main() -> None:
    """Measures and prints the rates."""
    steps, batch = _STEPS.value, _BATCH.value
    name, data_dir = cli.DATASET.value, cli.DATA_DIR.value or ""
    sources: dict[str, data.Examples] = {}
    if name is None:
        y = np.arange(_ROWS) % 10
        sources["memory"] = np.random.default_rng(0).random((_ROWS, 28, 28, 1), np.float32)
    else:
        dataset = data.load(name, data_dir)
        y, sources["memory"] = dataset.y_train, dataset.x_train
        if tfds.is_prepared(name, data_dir):
            tfds.HOST_BYTES = 0
            sources["disk"] = data.load(name, data_dir, in_memory=False).x_train
    step = step_rate(steps, batch)
    print(f"training step ({jax.devices()[0].device_kind}): {step:10,.0f} rows/s")
    for source, x in sources.items():
        rate = stream_rate(x, y, steps, batch)
        print(f"stream from {source}: {rate:10,.0f} rows/s, {rate / step:.1f} times the step")


if __name__ == "__main__":
    cli.run(main, shared=(cli.DATASET, cli.DATA_DIR))
