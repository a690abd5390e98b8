"""The metrics file of a run: a line of JSON an epoch, gone on with after a stop."""

from __future__ import annotations

import json
import pathlib
from typing import Any, Self

import numpy as np

from ladder_jax.files import Log, WriteError, read_bytes
from ladder_jax.training import Metrics


class MetricsLog:
    """``metrics.jsonl``, cut to the lines that it had at a checkpoint.

    What follows in it will be written again, the same.

    Args:
      folder: of the run.
      lines: how many to keep; 0 to begin.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as name:
      ...     with MetricsLog(pathlib.Path(name), 0) as log:
      ...         log.append({"epoch": 1})
      ...         log.append({"epoch": 2})
      ...     with MetricsLog(pathlib.Path(name), 1) as log:
      ...         log.append({"epoch": "two"})
      ...     (pathlib.Path(name) / "metrics.jsonl").read_text().splitlines()
      ['{"epoch": 1}', '{"epoch": "two"}']
    """

    def __init__(self, folder: pathlib.Path, lines: int) -> None:
        self._log = Log(folder / "metrics.jsonl", lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            self._log.close()
        except WriteError:
            if kind is None:
                raise

    def append(self, line: dict[str, Any]) -> None:
        """Writes a line."""
        self._log.append((json.dumps(line) + "\n").encode())

    def sync(self) -> None:
        """Has the lines outlast the machine, as a checkpoint does that counts them."""
        self._log.sync()


def read_lines(folder: pathlib.Path) -> list[dict[str, Any]]:
    """The lines of ``metrics.jsonl``; none if it is not there.

    Args:
      folder: of the run.
    """
    content = read_bytes(folder / "metrics.jsonl") or b""
    return [json.loads(line) for line in content.splitlines()]


def lines_in(folder: pathlib.Path) -> int:
    """How many whole lines the metrics file has, 0 if there is none.

    Args:
      folder: of the run.
    """
    return (read_bytes(folder / "metrics.jsonl") or b"").count(b"\n")


def metrics_line(number: int, metrics: Metrics) -> dict[str, Any]:
    """A line of ``metrics.jsonl``: the epoch's number and its means over the steps."""
    figures = {name: np.asarray(value).round(7).tolist() for name, value in metrics.items()}
    return {"epoch": number} | figures
