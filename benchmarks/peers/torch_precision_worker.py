"""Times the compiled PyTorch ladder and matrix product in one precision, on a GPU if available."""

from __future__ import annotations

import time
from typing import Any

import torch
import torch._inductor.config

from benchmarks.peers.serve import Timer, serve
from benchmarks.peers.torch_worker import facts, matrix_timer, step_timer


def awaited(timer: Timer, precision: str, device: str) -> Timer:
    """Wraps a timer: sets the precision, and waits for a GPU, which runs asynchronously.

    Args:
      timer: timer that returns the seconds per repetition.
      precision: "float32", "tf32" or "bfloat16".
      device: "cpu" or "cuda".
    """

    def run() -> float:
        started = time.perf_counter()
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
            seconds = timer()
        dispatched = time.perf_counter() - started
        if device == "cuda":
            torch.cuda.synchronize()
        return seconds * (time.perf_counter() - started) / dispatched

    return run


def prepare(settings: dict[str, Any]) -> tuple[dict[str, Timer], dict[str, str]]:
    torch.manual_seed(0)
    precision, device = settings["precision"], "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_default_device(device)
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    # On a CPU, eager mode draws noise faster than compiled code.
    torch._inductor.config.fallback_random = device == "cpu"
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    peak = matrix_timer(settings["matrix"], dtype)
    timers = {"peak": peak, "step": step_timer(settings, compiled=True)}
    card = {"device": torch.cuda.get_device_name()} if device == "cuda" else {}
    return {k: awaited(timer, precision, device) for k, timer in timers.items()}, facts() | card


if __name__ == "__main__":
    serve(prepare)
