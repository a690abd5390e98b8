"""Time of a run relative to the supervised net's, from step times measured in turns."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

from experiments import baselines, cli, configs
from experiments.tables import Row
from ladder_jax.config import Config

FILE = "step_times.json"
"""File of ``python -m benchmarks.rows``: milliseconds per step by config."""
_IMAGES = 60_000  # training images of MNIST and of Fashion-MNIST, whose nets are timed


def read(results: pathlib.Path) -> dict[str, float]:
    """Reads the milliseconds per step by config; empty if nothing was measured."""
    path = results / FILE
    step_ms = cli.read_json(path, ["step_ms"])["step_ms"] if path.exists() else {}
    return {configs.current(name): ms for name, ms in step_ms.items()}


def steps(config: Config) -> int:
    """Counts the steps of a complete run on 60,000 images.

    Examples:
      >>> steps(Config(epochs=2, batch_unlabeled=100))
      1200
    """
    return config.epochs * (_IMAGES // config.batch_unlabeled)


def time_ratio(row: Row, table: Sequence[Row], step_ms: Mapping[str, float]) -> float | None:
    """Computes a run's time relative to the table's supervised net with as many labels.

    Args:
      row: row of the run.
      table: all rows of the table.
      step_ms: result of ``read``.

    Returns:
      Ratio of step time times number of steps; None if the table has no such supervised
      net, if either net was not timed, or if the row is not a net.

    Examples:
      >>> from experiments.tables import TABLES
      >>> full, *_, supervised = TABLES["mnist"][4:8]
      >>> time_ratio(full, TABLES["mnist"], {full.config: 9.0, supervised.config: 3.0})
      3.0
    """
    supervised = [r for r in table if (r.row, r.labels) == ("baseline", row.labels)]
    if row.row in baselines.BASELINES or not supervised:
        return None
    pair = (row, supervised[0])
    if not all(r.config in step_ms for r in pair):
        return None
    time, supervised_time = (step_ms[r.config] * steps(r.settings(0)) for r in pair)
    return time / supervised_time
