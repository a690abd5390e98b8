"""Measures how fast this machine trains ladders, in one table.

  python -m benchmarks
  python -m benchmarks --only=width,depth --rounds=3 --json=table.json --markdown=table.md

Compares the paper's ladder with the supervised net, the matrix peak and peers, each peer
in its own environment (BUILD.md), and measures growth with width, depth, batch size,
members and devices. The rounds of a group are interleaved; the figures are medians.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import sys
from typing import Any

from absl import flags

from benchmarks import growth, paper, table
from benchmarks.sizes import Sizes
from benchmarks.workers import WorkerError
from experiments import cli
from ladder_jax.errors import ConfigError
from ladder_jax.run import files, workfolder

PARTS = ("paper", *growth.GROWTH)

_ROUNDS = flags.DEFINE_integer("rounds", 7, "How often each is timed.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 100, "Steps in one timing.", lower_bound=1)
_ONLY = flags.DEFINE_list("only", list(PARTS), "Which parts.")
_JSON = flags.DEFINE_string("json", None, "File to write the table to as JSON.")
_MARKDOWN = flags.DEFINE_string("markdown", None, "File to write the table to as a page.")
_PYTHONS = {
    name: flags.DEFINE_string(f"{name}_python", None, f"A Python that has {library}.")
    for name, library in (("torch", "PyTorch"), ("lamda", "LAMDA-SSL"))
}


def measure(
    sizes: Sizes, rounds: int, parts: list[str], pythons: dict[str, str | None]
) -> list[table.Group]:
    """Measures all groups of the requested parts, in the order of ``PARTS``."""
    measured = paper.paper_and_peers(sizes, rounds, pythons) if "paper" in parts else []
    return measured + [grow(sizes, rounds) for name, grow in growth.GROWTH.items() if name in parts]


def remarks(rounds: int, steps: int, growth_steps: int, load: float) -> list[str]:
    """Returns the text below the table: how and on which machine it was measured."""
    lines = [
        f"Medians of {rounds} interleaved rounds of {steps} steps (growth: {growth_steps}). Of own "
        "peak: useful operations as a share of the rate that the same library's float32 matrix "
        "product reaches. Same footing: our share of our peak over the peer's share of its own.",
        f"{table.machine()}; "
        + ", ".join(f"{name} {value}" for name, value in workfolder.versions().items()),
    ]
    if load > 0.5:
        lines.append(
            f"The machine was not idle (load {load:.1f} at the start): the ratios may be off."
        )
    return lines


def check(parts: list[str], pythons: dict[str, str | None], files: list[str | None]) -> None:
    """Checks the flags before anything is measured.

    Raises:
      ConfigError: a part is unknown, a Python is not a program, or a folder does not exist.
    """
    for part in parts:
        if part not in PARTS:
            raise ConfigError(
                f"--only={part}: there is no such part; give some of {', '.join(PARTS)}."
            )
    for name, python in pythons.items():
        if python is not None and shutil.which(python) is None:
            raise ConfigError(
                f"--{name}_python={python}: not a program; give an environment's python."
            )
    for file in filter(None, files):
        if not pathlib.Path(file).absolute().parent.is_dir():
            raise ConfigError(f"{file}: its folder does not exist; make it, or give another file.")


def main() -> None:
    """Measures, prints and writes the table."""
    load = os.getloadavg()[0]
    pythons = {name: flag.value for name, flag in _PYTHONS.items()}
    check(_ONLY.value, pythons, [_JSON.value, _MARKDOWN.value])
    sizes = Sizes(steps=_STEPS.value, growth_steps=max(_STEPS.value // 5, 1))
    try:
        measured = measure(sizes, _ROUNDS.value, _ONLY.value, pythons)
    except WorkerError as error:
        sys.exit(f"error: a worker failed: {error}")
    footer = remarks(_ROUNDS.value, sizes.steps, sizes.growth_steps, load)
    print(table.text(measured, footer))
    if _MARKDOWN.value:
        pathlib.Path(_MARKDOWN.value).write_text(table.markdown(measured, footer), encoding="utf-8")
    if _JSON.value:
        result: dict[str, Any] = {
            "groups": [group.as_json() for group in measured],
            "rounds": _ROUNDS.value,
            "sizes": sizes._asdict(),
            "load": load,
            "machine": table.machine(),
            "versions": workfolder.versions(),
        }
        files.write_json(pathlib.Path(_JSON.value), result)


if __name__ == "__main__":
    cli.run(main)
