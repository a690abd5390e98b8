"""Measures whether and how fast this machine trains the paper's convolutional ladders.

  python -m benchmarks.conv
  python -m benchmarks.conv --preset=mnist_conv_small_gamma --data_dir=FOLDER

Each preset takes some hundred steps of Adam, in ten compiled epochs. Prints the loss of the
first and of the last epoch, the median time per step, and the share of the machine's
convolution peak that the useful operations reach. Without a folder the images are
synthetic: ten smooth templates with noise. Exit status 1: a loss was not finite or did
not fall.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import time
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments import cli
from experiments.configs import base
from ladder_jax import data, presets, targets
from ladder_jax.config import Config
from ladder_jax.run import workfolder
from ladder_jax.run.inputs import Spec
from ladder_jax.run.program import compile_program
from ladder_jax.training import BatchSizes, TrainData
from ladder_jax.types import Ladder, Shape

_JSON = flags.DEFINE_bool("json", False, "Print one JSON object per preset.")
_PRESET = flags.DEFINE_multi_enum(
    "preset",
    ["mnist_conv_small_gamma", "mnist_conv_fc", "cifar10_conv_large_gamma"],
    sorted(presets.CONV),
    "Which; may be given several times.",
)
_STEPS = flags.DEFINE_integer("steps", 200, "Steps to train each.", lower_bound=4)
_ROWS = flags.DEFINE_integer(
    "batch_rows", 100, "Labelled and unlabelled rows per step.", lower_bound=2
)


def products(name: str, below: Shape, above: Shape) -> int:
    """Counts the multiplications that map one example from a level to the next (or back).

    A full convolution's products with the zeros around the image are not counted.

    Examples:
      >>> products("conv:3:2:1:full", (4, 4, 1), (5, 5, 3)), products("dense:10", (4,), (10,))
      (192, 40)
    """
    kind, *arguments = name.split(":")
    if "pool" in kind:
        return 0
    if kind == "dense":
        return math.prod(below) * above[-1]
    kernel, full = int(arguments[1]), arguments[3:] == ["full"]
    places = below if full else above
    stride = int(arguments[2]) if full else 1
    return math.prod(places[:2]) * kernel**2 * below[-1] * above[-1] // stride**2


def useful_operations(name: str, net: Ladder, rows: int) -> int:
    """Counts the multiplications and additions of a step, gradient included.

    Three streams go up if any level is decoded, otherwise one. The gradient takes two
    more products for each of them, but one in the first layer, whose input needs none.

    Examples:
      >>> name = "mnist_conv_small_gamma"
      >>> round(useful_operations(name, presets.conv(name), 100) / 1e9, 1)
      25.1
    """
    settings = presets.CONV[name]
    streams = 3 if any(settings.decoded) else 1
    total = 0
    for level, layer in enumerate(settings.layers):
        count = products(layer.name, net.shapes[level], net.shapes[level + 1])
        total += 2 * rows * count * streams * (2 if level == 0 else 3)
        if settings.decoded[level]:
            total += 2 * rows * count * 3
    return total


PLAIN = ((3, 96, 32), (3, 256, 16), (1, 512, 32))
"""Kernel, channels and image side of the plain convolutions that define the peak."""


def convolution_peak(repeats: int = 5) -> float:
    """Returns the operations per second of the fastest of a few plain convolutions."""
    rates = []
    for kernel, channels, size in PLAIN:
        module = nn.Conv(channels, (kernel, kernel), padding="VALID", use_bias=False)
        x = jax.random.normal(jax.random.key(0), (50, size, size, channels))
        params = module.init(jax.random.key(1), x)
        convolve = jax.jit(lambda params, x, module=module: module.apply(params, x).sum())
        operations = 2 * 50 * (size - kernel + 1) ** 2 * (kernel * channels) ** 2
        for repeat in range(repeats + 1):
            started = time.perf_counter()
            convolve(params, x).block_until_ready()
            if repeat:  # the first call compiles
                rates.append(operations / (time.perf_counter() - started))
    return max(rates)


def images(shape: Shape, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns synthetic examples of ten classes: smooth templates from 0 to 1, with noise."""
    rng = np.random.default_rng(0)
    coarse = rng.random((10, 4, 4, shape[-1]))
    fine = coarse.repeat(-(-shape[0] // 4), 1).repeat(-(-shape[1] // 4), 2)
    y = np.arange(rows) % 10
    x = fine[y, : shape[0], : shape[1]] + 0.2 * rng.standard_normal((rows, *shape))
    return np.clip(x, 0, 1).astype(np.float32), y.astype(np.int32)


def examples(name: str, shape: Shape, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the data set's training examples, or synthetic ones if no folder is given."""
    if not cli.DATA_DIR.value:
        return images(shape, 20 * rows)
    dataset = data.load(name.split("_")[0], cli.DATA_DIR.value)
    return np.asarray(dataset.x_train), dataset.y_train


def measure(name: str, steps: int, rows: int) -> dict[str, Any]:
    """Trains one preset for some steps; returns its losses and times."""
    shape = presets.CONV[name].input_shape
    # The rate is constant; the number of labels has no effect here.
    config = Config.create(base.conv(name, "100", decay_from=1.0).to_dict())
    x, y = examples(name, shape, rows)
    epoch_steps = max(min(steps // 10, len(x) // rows), 1)  # steps per compiled epoch, as in runs
    spec = Spec(shape, targets.classes(10), BatchSizes(rows, rows), steps)
    program = compile_program(config, spec)
    state = program.init(jax.random.key(0))
    order = np.random.default_rng(0)
    labeled = order.choice(len(x), rows, replace=False)
    losses, times = [], []
    for _ in range(max(steps // epoch_steps, 2)):
        chosen = order.choice(len(x), epoch_steps * rows, replace=False)
        train = TrainData(*map(jnp.asarray, (x[labeled], y[labeled], x[chosen])))
        started = time.perf_counter()
        state, metrics = program.epoch(state, train)
        losses.append(float(metrics["loss"]))
        times.append((time.perf_counter() - started) / epoch_steps)
    seconds = statistics.median(times[1:])
    operations = useful_operations(name, program.net, rows)
    return {
        "preset": name,
        "steps": epoch_steps * len(times),
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "finite": bool(np.isfinite(losses).all()),
        "step_ms": 1000 * seconds,
        "useful_gflop": operations / 1e9,
        "peak_fraction": operations / seconds / convolution_peak(),
    }


def main() -> None:
    """Measures and prints the results."""
    failed = False
    for name in _PRESET.value:
        result = measure(name, _STEPS.value, _ROWS.value)
        failed |= not result["finite"] or not result["last_loss"] < result["first_loss"]
        if _JSON.value:
            print(json.dumps(result), flush=True)
            continue
        print(f"{name}, {_ROWS.value} labelled + {_ROWS.value} unlabelled rows")
        print(
            f"  loss, first and last epoch  {result['first_loss']:9.3f} {result['last_loss']:9.3f}"
        )
        print(f"  median step                 {result['step_ms']:9.1f} ms")
        print(f"  useful operations           {result['useful_gflop']:9.1f} GFLOP per step")
        print(f"  of the convolution peak     {100 * result['peak_fraction']:9.1f} %", flush=True)
    if not _JSON.value:
        print(", ".join(f"{k} {v}" for k, v in workfolder.versions().items()))
    if failed:
        sys.exit("a loss was not finite or did not fall")


if __name__ == "__main__":
    cli.run(main, shared=(cli.DATA_DIR,))
