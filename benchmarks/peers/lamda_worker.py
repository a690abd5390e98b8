"""Times the training step of LAMDA-SSL's ladder and the matrix product of its PyTorch."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import torch
from LAMDA_SSL.Algorithm.Classification.LadderNetwork import LadderNetwork

from benchmarks.peers.serve import Timer, repeated, serve
from benchmarks.peers.torch_worker import facts, matrix_timer, random_data


def step_timer(settings: dict[str, Any]) -> Timer:
    """Makes a timer of the body of its training loop, on rows that are already tensors."""
    widths, rows, steps = settings["widths"], settings["rows"], settings["steps"]
    model = LadderNetwork(
        dim_in=widths[0],
        num_classes=widths[-1],
        dim_encoder=list(widths[1:-1]),
        encoder_activations=[torch.nn.ReLU()] * (len(widths) - 2),
        noise_std=0.3,
        lambda_u=settings["denoising_cost"][::-1],
    )
    model.start_fit()
    labeled, labels, x = random_data(settings)
    order = torch.randperm(steps * rows).reshape(steps, rows)

    def step(number: int) -> None:
        shuffled = torch.randperm(rows)
        outcome = model.train(labeled[shuffled], labels[shuffled], x[order[number]])
        model.end_fit_batch(outcome)

    return repeated(step, steps)


def prepare(settings: dict[str, Any]) -> tuple[dict[str, Timer], dict[str, str]]:
    torch.manual_seed(0)
    timers = {"peak": matrix_timer(settings["matrix"]), "step": step_timer(settings)}
    return timers, {"LAMDA-SSL": importlib.metadata.version("LAMDA-SSL")} | facts()


if __name__ == "__main__":
    serve(prepare)
