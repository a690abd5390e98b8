"""Varies the denoising cost of one level at a time, over six decades.

  python -m experiments.costs --seeds=3
  python -m experiments.costs --base=mnist:labels=100 --data_dir=FOLDER --hold_out=10000

All costs and seeds are one population. The file has the errors on held-out training examples;
beside it is a plot.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from experiments import cli, varied
from ladder_jax import population
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
    "What a cost is multiplied by; several times.",
    lower_bound=0.0,
)

Run = dict[str, Any]


def changed(config: Config, factors: Sequence[float]) -> list[tuple[int, float, Config]]:
    """Returns level, cost and config for each cost multiplied by each factor.

    A level that costs nothing is left out.

    Example:
      >>> config = Config(units=(3,), denoising_cost=(10.0, 1.0, 0.0))
      >>> [(level, cost, c.denoising_cost) for level, cost, c in changed(config, [2.0])]
      [(0, 20.0, (20.0, 1.0, 0.0)), (1, 2.0, (10.0, 2.0, 0.0))]
    """
    costs = config.denoising_cost
    if len(costs) == 1:
        costs *= config.levels
    found = []
    for level, cost in enumerate(costs):
        for value in (cost * factor for factor in factors if cost):
            others = (*costs[:level], value, *costs[level + 1 :])
            found.append((level, value, dataclasses.replace(config, denoising_cost=others)))
    return found


def plot(runs: Sequence[Run]) -> figures.Picture:
    """Draws the errors over the cost of each level; runs of the config itself belong to all."""

    def draw(axes: Axes) -> None:
        for level in sorted({run["level"] for run in runs}):
            errors: dict[float, list[float]] = {}
            for run in runs:
                if run["level"] == level:
                    errors.setdefault(run["cost"], []).append(run["validation_error"])
            figures.dots_and_means(axes, errors, f"level {level}", f"C{level}")
        axes.set(xscale="log", xlabel="denoising cost of the level")
        axes.xaxis.set_major_formatter("{x:g}")
        varied.in_percent(axes, "held-out examples")

    return figures.plot(draw, "costs", "Error over the denoising cost, by level")


def main() -> None:
    """Trains all at once, and writes the file and the plot."""
    path = cli.output_path("runs/costs.json")
    config, dataset = varied.load()
    config = dataclasses.replace(config, validation=_HOLD_OUT.value)
    folder = files.as_path(cli.WORKDIR.value or "runs/costs")
    members, about = {}, {}
    for seed in cli.seeds():
        members[f"config-{seed}"] = dataclasses.replace(config, seed=seed)
        for level, cost, made in changed(config, _FACTORS.value):
            name = f"{level}-{cost:g}-{seed}"
            members[name] = dataclasses.replace(made, seed=seed)
            about[name] = {"level": level, "cost": cost, "seed": seed}
    results = population.train_population(members, folder, dataset=dataset)
    errors = {name: result.summary["validation_error"] for name, result in results.items()}
    runs = [of | {"validation_error": errors[name]} for name, of in about.items()]
    for level in sorted({run["level"] for run in runs}):
        own = (config.denoising_cost * config.levels)[level]
        for seed in cli.seeds():
            error = {"validation_error": errors[f"config-{seed}"]}
            runs.append({"level": level, "cost": own, "seed": seed} | error)
        found = sorted({run["cost"] for run in runs if run["level"] == level})
        for cost in found:
            each = [r["validation_error"] for r in runs if (r["level"], r["cost"]) == (level, cost)]
            print(f"level {level}  cost {cost:10g}  {over_seeds(each).mean:6.2f} %", flush=True)
    varied.write(path, config, plot(runs), hold_out=config.validation, runs=runs)


if __name__ == "__main__":
    cli.run(main, shared=varied.SHARED, about=varied.about("costs"))
