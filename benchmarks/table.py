"""The benchmarks' table as text, Markdown and JSON."""

from __future__ import annotations

import platform
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Row(NamedTuple):
    """Holds one line; values that do not apply or were not measured are None.

    Attributes:
      name: name of the timed step or product.
      ms: median milliseconds per step.
      ratio: time relative to the group's reference.
      gflops: useful operations per second, in 10^9.
      peak: these as a fraction of the matrix peak that the row's own library reaches.
      footing: our ``peak`` over that of this row: the ratio without the effect of the
        libraries' matrix products.
      note: remark for the reader.
    """

    name: str
    ms: float | None = None
    ratio: float | None = None
    gflops: float | None = None
    peak: float | None = None
    footing: float | None = None
    note: str = ""


class Group(NamedTuple):
    """Holds rows that were measured in the same rounds.

    Attributes:
      title: heading of the rows.
      ratio_to: reference of their ratios.
      rows: lines of the group.
    """

    title: str
    ratio_to: str
    rows: list[Row]

    def as_json(self) -> dict[str, Any]:
        return self._asdict() | {"rows": [row._asdict() for row in self.rows]}


HEADINGS = ("ms per step", "ratio", "GFLOP/s", "of own peak", "same footing")
_WIDTH = 46


def machine() -> str:
    """Returns the processor's name.

    Examples:
      >>> bool(machine())
      True
    """
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def cells(row: Row) -> list[str]:
    """Returns the numbers of a row as text; a missing number is empty.

    Examples:
      >>> cells(Row("step", ms=15.31, ratio=3.6, peak=0.464))
      ['15.31', '3.60', '', '46 %', '']
    """
    formats = (
        (row.ms, "{:.2f}"),
        (row.ratio, "{:.2f}"),
        (row.gflops, "{:.1f}"),
        (None if row.peak is None else 100 * row.peak, "{:.0f} %"),
        (row.footing, "{:.2f}"),
    )
    return ["" if value is None else form.format(value) for value, form in formats]


def text(groups: Sequence[Group], remarks: Sequence[str]) -> str:
    """Returns the table for a terminal.

    Examples:
      >>> print(text([Group("g", "first", [Row("step", 1.0, 1.0, note="why")])], ["end"]))
                                          ms per step      ratio    GFLOP/s of own peak same footing
      g; ratio: to first
        step                                            1.00       1.00
            why
      end
    """
    sizes = [max(len(heading), 10) for heading in HEADINGS]

    def line(name: str, values: Sequence[str]) -> str:
        right = " ".join(value.rjust(size) for value, size in zip(values, sizes, strict=True))
        return f"{name:{_WIDTH}} {right}".rstrip()

    lines = [line("", HEADINGS)]
    for group in groups:
        lines.append(f"{group.title}; ratio: to {group.ratio_to}")
        for row in group.rows:
            lines.append(line(f"  {row.name}", cells(row)))
            lines += textwrap.wrap(row.note, 92, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join([*lines, *remarks])


def _escaped(note: str) -> str:
    return note.replace("|", "\\|")


def markdown(groups: Sequence[Group], remarks: Sequence[str]) -> str:
    """Returns the table as Markdown.

    Examples:
      >>> print(markdown([Group("g", "first", [Row("step", 1.0, 1.0)])], ["end"]))
      # Benchmarks
      <BLANKLINE>
      | | ms per step | ratio | GFLOP/s | of own peak | same footing | note |
      |---|--:|--:|--:|--:|--:|---|
      | **g** | | to first | | | | |
      | step | 1.00 | 1.00 |  |  |  |  |
      <BLANKLINE>
      end
      <BLANKLINE>
    """
    lines = ["# Benchmarks", "", f"| | {' | '.join(HEADINGS)} | note |"]
    lines.append("|---|" + "--:|" * len(HEADINGS) + "---|")
    for group in groups:
        lines.append(f"| **{group.title}** | | to {group.ratio_to} | | | | |")
        for row in group.rows:
            lines.append(f"| {' | '.join([row.name, *cells(row), _escaped(row.note)])} |")
    for remark in remarks:
        lines += ["", remark]
    return "\n".join(lines) + "\n"
