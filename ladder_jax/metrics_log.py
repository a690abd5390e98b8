"""The metrics file of a run: a line of JSON an epoch, gone on with after a stop."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any, Self

import numpy as np

from ladder_jax.files import writing
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
        self._path = folder / "metrics.jsonl"
        with writing(self._path):
            self._file = self._path.open("ab", buffering=0)
            kept = self._path.read_bytes().splitlines(keepends=True)[:lines]
            self._file.truncate(sum(map(len, kept)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, line: dict[str, Any]) -> None:
        """Writes a line."""
        rest = (json.dumps(line) + "\n").encode()
        with writing(self._path):
            while rest:
                rest = rest[self._file.write(rest) :]

    def sync(self) -> None:
        """Has the lines outlast the machine, as a checkpoint does that counts them."""
        with writing(self._path):
            os.fsync(self._file.fileno())


def read_lines(folder: pathlib.Path) -> list[dict[str, Any]]:
    """The lines of ``metrics.jsonl``; none if it is not there.

    Args:
      folder: of the run.
    """
    path = folder / "metrics.jsonl"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines()]


def lines_in(folder: pathlib.Path) -> int:
    """How many whole lines the metrics file has, 0 if there is none.

    Args:
      folder: of the run.
    """
    path = folder / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def metrics_line(number: int, metrics: Metrics) -> dict[str, Any]:
    """A line of ``metrics.jsonl``: the epoch's number and its means over the steps."""
    figures = {name: np.asarray(value).round(7).tolist() for name, value in metrics.items()}
    return {"epoch": number} | figures
