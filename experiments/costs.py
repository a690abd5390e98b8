"""Varies the denoising cost of one level at a time, over six decades.

  python -m experiments.costs --seeds=3
  python -m experiments.costs --base=mnist:labels=100 --data_dir=FOLDER --hold_out=10000

All costs of a seed are trained as one population, or, with --population=off, one after another.
The file has the errors on held-out training examples; a plot is written beside it.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from experiments import cli, compare, varied
from ladder_jax import data
from ladder_jax._checks import per_level
from ladder_jax.config import Config
from ladder_jax.report import figures
from ladder_jax.report.measures import over_seeds
from ladder_jax.run import files

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HOLD_OUT = flags.DEFINE_integer("hold_out", 400, "Training examples held out.", lower_bound=1)
_FACTORS = flags.DEFINE_multi_float(
    "factor",
    [0.001, 0.01, 0.1, 10.0, 100.0, 1000.0],
    "Factor of a cost; may be given several times.",
    lower_bound=0.0,
)


def changed(config: Config, factors: Sequence[float]) -> list[tuple[int, float, Config]]:
    """Returns level, cost and config for each cost multiplied by each factor.

    Levels without a cost are left out.

    Examples:
      >>> config = Config(units=(3,), denoising_cost=(10.0, 1.0, 0.0))
      >>> [(level, cost, c.denoising_cost) for level, cost, c in changed(config, [2.0])]
      [(0, 20.0, (20.0, 1.0, 0.0)), (1, 2.0, (10.0, 2.0, 0.0))]
    """
    costs = per_level("denoising_cost", config.denoising_cost, config.levels)
    changes = []
    for level, cost in enumerate(costs):
        for value in (cost * factor for factor in factors if cost):
            new_costs = (*costs[:level], value, *costs[level + 1 :])
            changes.append((level, value, dataclasses.replace(config, denoising_cost=new_costs)))
    return changes


def by_cost(runs: Sequence[varied.Run]) -> varied.Errors:
    """Groups the errors by level, then by cost."""
    return varied.by(runs, ["level"], "cost", "validation_error")


def plot(runs: Sequence[varied.Run]) -> figures.Picture:
    """Plots the errors over the cost of each level; unchanged configs count for all levels."""

    def draw(axes: Axes) -> None:
        for (level,), errors in by_cost(runs).items():
            figures.dots_and_means(axes, errors, f"level {level}", f"C{level}")
        axes.set(xscale="log", xlabel="denoising cost of the level")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set(ylabel="error on held-out examples in %")
        figures.logarithmic(axes)

    return figures.plot(draw, "costs", "Error over the denoising cost, by level")


def train(
    config: Config, factors: Sequence[float], dataset: data.Dataset, folder: pathlib.Path
) -> list[varied.Run]:
    """Trains the changed configs of one seed; the unchanged one, common to all levels, once."""
    changes = changed(config, factors)
    names = {member: f"{level}-{cost:g}-{config.seed}" for level, cost, member in reversed(changes)}
    together = "off" if cli.POPULATION.value == "off" else "on"
    options: Any = {"together": together, "overwrite": False}
    members = {name: member for member, name in names.items()}
    compare.train_all(members, folder, "validation", dataset, **options)
    return [
        {"level": level, "cost": cost, "seed": config.seed}
        | varied.summary(folder / names[member], "validation_error")
        for level, cost, member in changes
    ]


def main() -> None:
    """Trains all configs of each seed together, and writes the file and the plot."""
    path = varied.output_path("costs")
    config, dataset = varied.load()
    config = dataclasses.replace(config, validation=_HOLD_OUT.value)
    folder = files.as_path(cli.WORKDIR.value or "runs/costs")
    factors = list(dict.fromkeys([1.0, *_FACTORS.value]))
    runs = []
    for seed in cli.seeds():
        runs += train(dataclasses.replace(config, seed=seed), factors, dataset, folder)
    varied.write(path, config, plot(runs), hold_out=config.validation, runs=runs)
    for (level,), errors in by_cost(runs).items():
        for cost, values in sorted(errors.items()):
            print(f"level {level}  cost {cost:10g}  {over_seeds(values).mean:6.2f} %", flush=True)


if __name__ == "__main__":
    population = (
        "Whether to train the costs of a seed as one compiled program (auto: on); off: one after "
        "another, which takes less memory, and on a CPU less time for a large net."
    )
    shared = (*varied.SHARED, cli.POPULATION)
    cli.run(main, shared=shared, about=varied.about("costs") | {"population": population})
