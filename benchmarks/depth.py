"""Times one training step by depth: a ladder of equal dense levels.

python -m benchmarks.depth
"""

from __future__ import annotations

import json

import numpy as np
from absl import flags

from benchmarks import timers
from experiments import cli

_JSON = flags.DEFINE_bool("json", False, "Print one JSON object.")
_WIDTH = flags.DEFINE_integer("width", 250, "Units of every hidden level.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 20, "How often each step is timed.", lower_bound=1)


def measure(width: int, rounds: int) -> dict[str, float]:
    """Returns median milliseconds per step by depth, and the fit of a straight line."""
    data = timers.random_data(timers.ROWS, 64)
    ladders = {
        depth: timers.full_ladder(timers.equal_widths(depth, width)) for depth in timers.DEPTHS
    }
    medians = timers.interleaved(
        {depth: timers.call_timer(ladder, data) for depth, ladder in ladders.items()}, rounds
    )
    times = [1000 * medians[depth] for depth in timers.DEPTHS]
    slope, intercept = np.polyfit(timers.DEPTHS, times, 1)
    misfit = max(
        abs(slope * d + intercept - t) / t for d, t in zip(timers.DEPTHS, times, strict=True)
    )
    by_depth = {f"step_ms_{depth}": t for depth, t in zip(timers.DEPTHS, times, strict=True)}
    return by_depth | {"ms_a_layer": float(slope), "largest_misfit": float(misfit)}


def main() -> None:
    """Measures and prints the results."""
    result = measure(_WIDTH.value, _ROUNDS.value)
    if _JSON.value:
        print(json.dumps(result))
        return
    rows = timers.ROWS
    print(f"{_WIDTH.value} units a level, {rows} labelled + {rows} unlabelled rows")
    for depth in timers.DEPTHS:
        print(f"  {depth:3} layers  {result[f'step_ms_{depth}']:8.2f} ms per step")
    print(f"  a layer     {result['ms_a_layer']:8.2f} ms")
    print(f"  off a line by at most {100 * result['largest_misfit']:.0f} %")


if __name__ == "__main__":
    cli.run(main)
