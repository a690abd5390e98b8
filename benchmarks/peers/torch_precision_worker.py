"""Times the compiled PyTorch ladder and a matrix product in one precision, on a GPU if there is."""

from __future__ import annotations

import time
from typing import Any

import torch
import torch._inductor.config

from benchmarks.peers.serve import Timer, serve
from benchmarks.peers.torch_worker import facts, matrix_timer, step_timer


def awaited(timer: Timer, precision: str, device: str) -> Timer:
    """Returns a timer in a precision; a GPU, which is asked ahead of time, is waited for.

    Args:
      timer: seconds for one of what it repeats.
      precision: "float32", "tf32" or "bfloat16".
      device: "cpu" or "cuda".
    """

    def run() -> float:
        started = time.perf_counter()
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
            seconds = timer()
        asked = time.perf_counter() - started
        if device == "cuda":
            torch.cuda.synchronize()
        return seconds * (time.perf_counter() - started) / asked

    return run


def prepare(settings: dict[str, Any]) -> tuple[dict[str, Timer], dict[str, str]]:
    torch.manual_seed(0)
    precision, device = settings["precision"], "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_default_device(device)
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    # On a CPU noise is drawn faster in eager mode than by what is compiled.
    torch._inductor.config.fallback_random = device == "cpu"
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    peak = matrix_timer(settings["matrix"], dtype)
    timers = {"peak": peak, "step": step_timer(settings, compiled=True)}
    about = {"device": torch.cuda.get_device_name()} if device == "cuda" else {}
    return {k: awaited(timer, precision, device) for k, timer in timers.items()}, facts() | about


if __name__ == "__main__":
    serve(prepare)
