"""Times the epoch scan on the number of virtual CPU devices set in XLA_FLAGS."""

from __future__ import annotations

from typing import Any

import jax

from benchmarks import timers
from benchmarks.peers.serve import serve


def prepare(settings: dict[str, Any]) -> tuple[dict[str, timers.Timer], dict[str, str]]:
    widths, rows, steps = settings["widths"], settings["rows"], settings["steps"]
    data = timers.random_data(steps * rows, widths[0], rows)
    timer = timers.epoch_timer(timers.full_ladder(widths), data, rows)
    return {"step": timer}, {"devices": str(jax.device_count())}


if __name__ == "__main__":
    serve(prepare)
