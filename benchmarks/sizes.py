"""Sizes that the benchmarks time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from benchmarks import timers


class Sizes(NamedTuple):
    """Holds the sizes that are timed.

    Attributes:
      widths: widths of the ladder's levels 0 to L.
      rows: labelled rows per step, and as many unlabelled ones.
      steps: steps in one timing of that ladder.
      growth_steps: steps in one timing of the others.
      matrix: side of the square matrices whose product gives the peak.
      hidden: units of the four hidden levels of the ladders that grow in width.
      depths: layers of the ladders that grow in depth.
      depth_width: units of their hidden levels.
      batches: rows per step, counted as ``rows``.
      members: numbers of members of the populations.
      devices: numbers of virtual devices.
    """

    widths: Sequence[int] = timers.PAPER
    rows: int = timers.ROWS
    steps: int = 100
    growth_steps: int = 20
    matrix: int = timers.MATRIX
    hidden: Sequence[int] = (250, 500, 1000, 2000)
    depths: Sequence[int] = timers.DEPTHS
    depth_width: int = 250
    batches: Sequence[int] = (50, 100, 200, 400)
    members: Sequence[int] = (1, 2, 4, 8)
    devices: Sequence[int] = (1, 2, 4, 8)
