"""Times the plain PyTorch ladder, eager and compiled, and PyTorch's matrix product."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
import torch._inductor.config
from torch import Tensor

from benchmarks.peers import torch_ladder
from benchmarks.peers.serve import Timer, repeated, serve


def matrix_timer(size: int, dtype: torch.dtype = torch.float32) -> Timer:
    """Makes a timer of a matrix product."""
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    return repeated(lambda number: a @ b, 10)


def facts() -> dict[str, str]:
    return {"torch": torch.__version__, "threads": str(torch.get_num_threads())}


def random_data(settings: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Draws labelled rows, their labels, and the unlabelled rows of one epoch."""
    rows, steps = settings["rows"], settings["steps"]
    x = torch.rand(steps * rows, settings["widths"][0])
    return x[:rows], torch.arange(rows) % settings["widths"][-1], x


def step_timer(settings: dict[str, Any], compiled: bool) -> Timer:
    """Makes a timer of an epoch of training steps: rows gathered, noise drawn, gradient, Adam."""
    widths, rows, steps = settings["widths"], settings["rows"], settings["steps"]
    labeled, labels, x = random_data(settings)
    params = torch_ladder.init(widths)

    def noisy_loss(labeled: Tensor, labels: Tensor, unlabeled: Tensor) -> Tensor:
        noise = torch_ladder.draw_noise(widths, labeled), torch_ladder.draw_noise(widths, unlabeled)
        return torch_ladder.loss(
            params, labeled, labels, unlabeled, noise, 0.3, settings["denoising_cost"]
        )

    loss: Callable[..., Tensor] = torch.compile(noisy_loss) if compiled else noisy_loss
    flat = list(itertools.chain.from_iterable(level.values() for level in params))
    optimizer = torch.optim.Adam(flat, lr=0.002, fused=True)
    order = torch.randperm(steps * rows).reshape(steps, rows)

    def step(number: int) -> None:
        shuffled = torch.randperm(rows)  # a new order of labelled rows, as in ladder_jax
        optimizer.zero_grad()
        loss(labeled[shuffled], labels[shuffled], x[order[number]]).backward()
        optimizer.step()

    return repeated(step, steps)


def prepare(settings: dict[str, Any]) -> tuple[dict[str, Timer], dict[str, str]]:
    torch.manual_seed(0)
    # Noise is drawn as in eager mode, which on a CPU is faster than compiled code.
    torch._inductor.config.fallback_random = True
    timers = {
        "peak": matrix_timer(settings["matrix"]),
        "eager": step_timer(settings, compiled=False),
        "compiled": step_timer(settings, compiled=True),
    }
    return timers, facts()


if __name__ == "__main__":
    serve(prepare)
