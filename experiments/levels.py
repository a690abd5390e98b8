"""Trains ladders of several depths, with and without a denoising cost at each level.

  python -m experiments.levels --epochs=100 --seeds=3
  python -m experiments.levels --base=mnist:labels=100 --data_dir=FOLDER --level_units=250

Each depth is trained as a full ladder, as a Gamma-model (a decoder at the top only) and as a
supervised net, with the config's settings and the same number of updates, once with the noise of
--noise and once with that of presets.noise_by_depth. With --residual, the levels above the first
are layers.residual. The file has the test errors and, for the first seed, the norm of the loss's
gradient by level, before and after training; a plot is written beside it.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from absl import flags

from experiments import cli, compare, members, varied
from ladder_jax import data, layers, predictor, presets
from ladder_jax.config import Config
from ladder_jax.report import figures
from ladder_jax.report.measures import over_seeds
from ladder_jax.run import files, inputs
from ladder_jax.run.program import build_ladder
from ladder_jax.types import Array, Hyper, Params

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MODELS = ("full", "gamma", "supervised")
BY_DEPTH = "by depth"

_LEVELS = flags.DEFINE_multi_integer(
    "levels",
    [4, 8, 12, 20, 32],
    "Number of hidden levels; may be given several times.",
    lower_bound=1,
)
_MODELS = flags.DEFINE_multi_enum(
    "kind", list(MODELS), MODELS, "Which models; may be given several times."
)
_WIDTH = flags.DEFINE_integer("level_units", 100, "Units of each hidden level.", lower_bound=1)
_NOISE = flags.DEFINE_float("noise", 0.3, "The noise that does not depend on the depth.")
_INPUT_NOISE = flags.DEFINE_float(
    "input_noise", None, "Noise of the input. Default: that above it."
)
_RESIDUAL = flags.DEFINE_bool("residual", False, "Whether levels above the first are residual.")


def residual_encoder(levels: int, width: int, classes: int) -> dict[str, Any]:
    """Returns the settings of hidden levels that are residual from the second on.

    Examples:
      >>> residual_encoder(3, 5, 2)["encoder"]
      'dense:5-residual-residual-dense:2'
    """
    chain = [layers.dense(width), *[layers.residual()] * (levels - 1), layers.dense(classes)]
    return {"units": (), "encoder": layers.to_names(chain)}


def settings(
    config: Config, hidden: dict[str, Any], model: str, noise_std: tuple[float, ...]
) -> Config:
    """Returns a config with other hidden levels, and with the decoder and costs of a model.

    Examples:
      >>> config = Config(units=(5, 4), denoising_cost=(1000.0, 10.0, 0.1, 0.1))
      >>> settings(config, {"units": (3, 3)}, "gamma", (0.1,)).denoising_cost
      (0.0, 0.0, 0.0, 1.0)
    """
    if model == "supervised":
        config = config.supervised()
    values = vars(config) | hidden
    values |= members.followed(values, {"units"}) | {"noise_std": noise_std}
    if model == "full":
        values["combinators"] = ("gaussian",)
    elif model == "gamma":
        below = Config.create(values).levels - 1
        values["combinators"] = ("none",) * below + ("gaussian",)
        values["denoising_cost"] = (0.0,) * below + (1.0,)
    return Config.create(values)


def gradient_norms(
    configs: Sequence[Config], trained: Sequence[Params], task: inputs.Task
) -> list[tuple[list[float], list[float]]]:
    """Computes the gradient norm of each level's kernel, for one batch and the seed's key.

    Args:
      configs: configs that differ only in noise, so that they share one compiled gradient.
      trained: trained parameters of each.
      task: data of the ladders.

    Returns:
      For each config, the norms of levels 1 to L with the seed's initial parameters, and those
      with the trained ones.
    """
    nets = [build_ladder(config, task.spec.input_shape, task.spec.target) for config in configs]
    key, sizes = jax.random.key(configs[0].seed), task.spec.sizes
    batch = task.train.batch(jnp.arange(sizes.labeled), jnp.arange(sizes.unlabeled))

    @jax.jit
    def by_level(params: Params, hyper: Hyper) -> list[Array]:
        gradient, _ = jax.grad(nets[0].loss, has_aux=True)(params, batch, key, hyper)
        return [jnp.linalg.norm(level.up["kernel"]) for level in gradient[1:]]

    def norms(params: Params, hyper: Hyper) -> list[float]:
        return [float(norm) for norm in by_level(params, hyper)]

    initial = nets[0].init(key)
    return [
        (norms(initial, net.hyper), norms(params, net.hyper))
        for net, params in zip(nets, trained, strict=True)
    ]


def train(
    config: Config, levels: int, model: str, dataset: data.Dataset, folder: pathlib.Path
) -> tuple[list[varied.Run], list[varied.Run]]:
    """Trains all seeds with both noises; returns the runs, and gradient norms of the first seed."""
    noises = {str(_NOISE.value): _NOISE.value, BY_DEPTH: presets.noise_by_depth(levels + 2)}
    hidden: dict[str, Any] = {"units": (_WIDTH.value,) * levels}
    if _RESIDUAL.value:
        hidden = residual_encoder(levels, _WIDTH.value, len(dataset.class_names))
    configs, entries = {}, {}
    for noise, std in noises.items():
        above = (std,) * (levels + 1)
        bottom = std if _INPUT_NOISE.value is None else _INPUT_NOISE.value
        changed_config = settings(config, hidden, model, (bottom, *above))
        for seeded in members.seeded(
            dataclasses.replace(changed_config, seed=cli.FIRST_SEED.value), cli.SEEDS.value
        ):
            name = f"{noise.replace(' ', '_')}-{seeded.seed}"
            configs[name] = seeded
            entries[name] = {"levels": levels, "model": model, "noise": noise, "seed": seeded.seed}
    together = cli.POPULATION.value
    compare.train_all(configs, folder, "test", dataset, together=together, overwrite=False)
    runs = [
        entry
        | {"noise_std": round(configs[name].noise_std[-1], 4)}
        | varied.summary(folder / name, "test_error", "seconds", "steps")
        for name, entry in entries.items()
    ]
    first = [name for name, entry in entries.items() if entry["seed"] == cli.FIRST_SEED.value]
    task = inputs.prepare(configs[first[0]], dataset)
    params = [predictor.load(folder / name).trained.params for name in first]
    norms = gradient_norms([configs[name] for name in first], params, task)
    gradients = [
        entries[name] | {"start": start, "end": end}
        for name, (start, end) in zip(first, norms, strict=True)
    ]
    return runs, gradients


def by_levels(runs: Sequence[varied.Run]) -> varied.Errors:
    """Groups the errors by model and noise, then by number of levels."""
    return varied.by(runs, ["model", "noise"], "levels", "test_error")


def plot(runs: Sequence[varied.Run]) -> figures.Picture:
    """Plots the errors and their means over the number of levels, by model and noise."""

    def draw(axes: Axes) -> None:
        for (model, noise), errors in by_levels(runs).items():
            style = ".-" if noise == BY_DEPTH else ".--"
            color = f"C{MODELS.index(model)}"
            figures.dots_and_means(axes, errors, f"{model}, noise {noise}", color, style)
        ticks = sorted({run["levels"] for run in runs})
        axes.set(xlabel="hidden levels")
        axes.set_xticks(ticks, list(map(str, ticks)))
        axes.set(ylabel="error on test examples in %")
        figures.logarithmic(axes)

    return figures.plot(draw, "levels", "Test error over the number of levels, by model and noise")


def main() -> None:
    """Trains the runs missing in their folder, and writes the file after each model."""
    path = varied.output_path("levels")
    config, dataset = varied.load()
    folder = files.as_path(cli.WORKDIR.value or "runs/levels")
    runs: list[varied.Run] = []
    gradients: list[varied.Run] = []
    for levels in dict.fromkeys(_LEVELS.value):
        for model in dict.fromkeys(_MODELS.value):
            trained, norms = train(config, levels, model, dataset, folder / f"{model}-{levels}")
            runs += trained
            gradients += norms
            flags_given = {"residual": _RESIDUAL.value, "input_noise": _INPUT_NOISE.value}
            measured = {"width": _WIDTH.value, "runs": runs, "gradients": gradients}
            varied.write(path, config, plot(runs), **flags_given, **measured)
            for (_, noise), errors in by_levels(trained).items():
                mean = over_seeds(errors[levels]).mean
                print(f"{levels:3} levels  {model:10}  noise {noise:8}  {mean:6.2f} %", flush=True)


if __name__ == "__main__":
    cli.run(main, shared=(*varied.SHARED, cli.POPULATION), about=varied.about("levels"))
