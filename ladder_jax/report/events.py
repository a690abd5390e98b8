"""What ``metrics.jsonl`` says, for TensorBoard."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from ladder_jax.files import replacing
from ladder_jax.workfolder import EVENTS


def scalars(line: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """The figures of a line by the name that TensorBoard shows; costs level by level.

    Example:
      >>> list(scalars({"epoch": 1, "loss": 2.0, "denoising": [0.5, 0.1]}))
      [('loss', 2.0), ('denoising/level_0', 0.5), ('denoising/level_1', 0.1)]
    """
    for name, value in line.items():
        if name == "denoising":
            for level, cost in enumerate(value):
                yield f"denoising/level_{level}", cost
        elif name != "epoch":
            yield name, value


def write_events(folder: pathlib.Path, lines: Sequence[dict[str, Any]]) -> pathlib.Path:
    """Writes events of every epoch into the folder's ``tensorboard``, in place of earlier ones.

    Args:
      folder: of the run.
      lines: of its metrics.

    Returns:
      The folder of the events.

    Raises:
      WriteError: they cannot be written.
    """
    from tensorboardX import SummaryWriter

    events = folder / EVENTS
    with replacing(events) as new, SummaryWriter(str(new)) as writer:
        for line in lines:
            for name, value in scalars(line):
                writer.add_scalar(name, value, line["epoch"])
    return events
