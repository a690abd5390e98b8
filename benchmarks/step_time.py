"""Times one training step of the paper's MNIST ladder on this machine.

  python -m benchmarks.step_time

Rounds are interleaved (matrix product, supervised, ladder, again), and medians
are printed, so that drift in the machine's speed favours none of them.
``python -m benchmarks`` includes the same measurement.
"""

from __future__ import annotations

import json
import os

from absl import flags

from benchmarks import timers
from experiments import cli
from ladder_jax.run import workfolder

_JSON = flags.DEFINE_bool("json", False, "Print one JSON object.")
_ROUNDS = flags.DEFINE_integer("rounds", 7, "How often each is timed.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 100, "Steps in one timing.", lower_bound=1)


def measure(rounds: int, steps: int) -> dict[str, float]:
    """Returns medians over interleaved rounds, and figures derived from them."""
    data = timers.random_data(steps * timers.ROWS)
    medians = timers.interleaved(
        {
            "peak": timers.matrix_timer(),
            "supervised": timers.epoch_timer(timers.supervised_net(), data),
            "ladder": timers.epoch_timer(timers.full_ladder(), data),
        },
        rounds,
    )
    peak = 2 * timers.MATRIX**3 / medians["peak"]
    return {
        "step_ms": 1000 * medians["ladder"],
        "supervised_step_ms": 1000 * medians["supervised"],
        "ratio": medians["ladder"] / medians["supervised"],
        "peak_gflops": peak / 1e9,
        "peak_fraction": timers.useful_operations() / medians["ladder"] / peak,
    }


def main() -> None:
    """Measures and prints the results."""
    load = os.getloadavg()[0]
    result = measure(_ROUNDS.value, _STEPS.value)
    if _JSON.value:
        print(json.dumps(result))
        return
    print("paper's MLP 784-1000-500-250-250-250-10, 100 labelled + 100 unlabelled rows")
    print(f"  ladder, in the epoch scan    {result['step_ms']:8.2f} ms per step")
    print(f"  supervised, in the same scan {result['supervised_step_ms']:8.2f} ms per step")
    print(f"  ladder / supervised          {result['ratio']:8.2f}")
    print(f"  float32 matrix peak (2048^3) {result['peak_gflops']:8.0f} GFLOP/s")
    print(f"  useful operations            {timers.useful_operations() / 1e9:8.2f} GFLOP per step")
    print(f"  part of the peak             {100 * result['peak_fraction']:8.1f} %")
    print(", ".join(f"{k} {v}" for k, v in workfolder.versions().items()))
    if load > 0.5:
        print(f"the machine was not idle (load {load:.1f} at the start): the ratios may be off")


if __name__ == "__main__":
    cli.run(main)
