"""Trains the members of a command and the baselines they are compared with."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.members import seeded
from experiments.progress import shown
from ladder_jax import data, loop, population, predictor
from ladder_jax.config import Config
from ladder_jax.errors import DataError
from ladder_jax.report.measures import over_seeds
from ladder_jax.run import files, inputs, multiprocess, workfolder
from ladder_jax.run.evaluation import error_text

Finished = Callable[[pathlib.Path], None]
"""Callback that takes the folder of each finished run."""
Known = tuple[Config, inputs.Task]
"""A config and the data prepared for it."""
ENSEMBLE = "ensemble"
"""Name of the mean of the ladders of all seeds, among the names of the baselines."""
SUMMARY = "summary.json"
"""Name of the file that a command writes last."""


class Trained(NamedTuple):
    """Holds the errors of a ladder or of a baseline, and where its runs are.

    Attributes:
      errors: errors by seed, in percent or in the units of the labels, see ``in_percent``.
      runs: names of the folders of its runs; none for a baseline of scikit-learn.
    """

    errors: list[float]
    runs: list[str]


def in_percent(dataset: data.Dataset) -> bool:
    """Returns whether errors are percentages; errors of numbers have the numbers' units."""
    return dataset.kind != "numbers"


def is_population(members: Mapping[str, Config], together: str) -> bool:
    """Returns whether ``train_all`` trains the members as one program; they fail together."""
    first = next(iter(members.values()))
    is_possible = len(members) > 1 and first.resident and not first.spread_labels
    # Balanced weights may differ between members.
    by_default = jax.default_backend() != "cpu" and first.class_weight != "balanced"
    by_default = by_default and not multiprocess.is_multiprocess()
    return is_possible and (together == "on" or (together == "auto" and by_default))


def _remove(folder: pathlib.Path, pattern: str) -> None:
    """Removes what a folder holds under names that match a pattern."""
    for path in files.listed(folder):
        if re.fullmatch(pattern, path.name):
            files.remove(path)


def remove_checkpoints(folder: pathlib.Path) -> None:
    """Removes the checkpoints of populations, which their members share.

    Args:
      folder: folder of the command.
    """
    _remove(folder, rf"{workfolder.CHECKPOINTS}-[0-9a-f]{{8}}")


def remove_runs(folder: pathlib.Path, *models: str) -> None:
    """Removes the runs of an earlier command, whose members may have been others.

    Args:
      folder: folder of the command.
      *models: what the names of the runs begin with, before their numbers.
    """
    _remove(folder, rf"({'|'.join(models)})(-\d+)+")
    remove_checkpoints(folder)


def error_of(name: str, result: loop.Result, measured: str) -> float:
    """Returns the error of a finished member.

    Raises:
      DataError: the error is NaN or infinite.
    """
    error = result.summary[f"{measured}_error"]
    if error is None:
        raise DataError(
            f"{name}: the {measured} error is not a finite number, as a {measured} example is too "
            "far from those of training; remove or scale it."
        )
    return float(error)


def train_all(
    members: Mapping[str, Config],
    folder: pathlib.Path,
    measured: str,
    dataset: data.Dataset,
    *,
    together: str,
    overwrite: bool,
    known: Known | None = None,
    finished: Finished = lambda folder: None,
) -> list[float]:
    """Trains all members, as one program or one after another, and returns their errors.

    Args:
      members: configs by the name of their folders.
      folder: parent of these folders.
      measured: examples that the errors are of, "test" or "validation".
      dataset: data of all members.
      together: "on", "off" or "auto": on except on a CPU, where one member fills all
        cores and a population takes longer (``python -m benchmarks``), with balanced
        class weights, and with several processes, which cannot train a population. Members with
        ``spread_labels`` or streamed examples are always trained one after another.
      overwrite: whether to discard earlier runs and start again.
      known: the config of one seed and the data already prepared for it and its variations.
      finished: called with the folder of each finished member.
    """
    percent = in_percent(dataset)
    if is_population(members, together):
        epochs = next(iter(members.values())).epochs
        is_done = not overwrite and all(workfolder.is_done(folder / name) for name in members)
        with shown(f"{len(members)} members", epochs, done=is_done, percent=percent) as progress:
            results = population.train_population(
                members, folder, dataset=dataset, overwrite=overwrite, progress=progress
            )
        for name in members:
            finished(folder / name)
        return [error_of(name, results[name], measured) for name in members]
    errors = []
    for name, config in members.items():
        is_done = not overwrite and workfolder.is_done(folder / name)
        with shown(name, config.epochs, done=is_done, percent=percent) as progress:
            task = known[1] if known and known[0].seed == config.seed else None
            result = loop.train_task(
                *(config, folder / name, task or inputs.prepare(config, dataset)),
                overwrite=overwrite,
                progress=progress,
            )
        errors.append(error_of(name, result, measured))
        finished(folder / name)
    return errors


def ensemble_error(runs: Sequence[pathlib.Path], dataset: data.Dataset) -> float:
    """Returns the test error, in percent, of the mean of the probabilities of several ladders.

    Args:
      runs: folders of the finished runs.
      dataset: data of all of them.
    """
    parts = (predictor.load(run).parts(dataset.x_test, dataset.name) for run in runs)
    means = [
        np.mean([outputs.probabilities for outputs in together], 0)
        for together in zip(*parts, strict=True)
    ]
    return 100 * float(np.mean(np.concatenate(means).argmax(1) != dataset.y_test))


def compare(
    varied: Mapping[str, Config],
    names: Sequence[str],
    seeds: int,
    folder: pathlib.Path,
    measured: str,
    dataset: data.Dataset,
    *,
    together: str = "auto",
    overwrite: bool = False,
    known: Known | None = None,
    finished: Finished = lambda folder: None,
) -> dict[str, Trained]:
    """Trains each variation of the ladder and each baseline, with several seeds.

    Args:
      varied: configs of ladders by the settings that are varied in them.
      names: names of the baselines, which have the splits of the first ladder; ``ENSEMBLE`` is
        the mean of the ladders of all seeds, which share their labels.
      seeds: number of seeds.
      folder: folder to write to.
      measured: as for ``train_all``.
      dataset: as for ``train_all``.
      together: as for ``train_all``.
      overwrite: as for ``train_all``.
      known: as for ``train_all``.
      finished: called with the folder of each finished ladder.

    Returns:
      The errors and runs of each, by name.
    """
    first = next(iter(varied.values()))
    ladders = {f"ladder {title}".strip(): seeded(config, seeds) for title, config in varied.items()}
    members = {
        f"ladder-{i}-{config.seed}" if len(ladders) > 1 else f"ladder-{config.seed}": config
        for i, configs in enumerate(ladders.values())
        for config in configs
    }
    options: Any = {"together": together, "overwrite": overwrite, "known": known}
    results = iter(train_all(members, folder, measured, dataset, **options, finished=finished))
    runs = iter(members)
    trained = {
        title: Trained([next(results) for _ in configs], [next(runs) for _ in configs])
        for title, configs in ladders.items()
    }
    for name in names:
        baseline_configs = seeded(first, seeds)
        if name == ENSEMBLE:
            error = ensemble_error([folder / run for run in members], dataset)
            trained[name] = Trained([error], [])
        elif name == "supervised":
            nets = {f"supervised-{c.seed}": c.supervised() for c in baseline_configs}
            errors = train_all(nets, folder, measured, dataset, **options)
            trained[name] = Trained(errors, list(nets))
        else:
            from experiments import baselines  # needs scikit-learn, only if requested

            errors = [
                baselines.baseline_error(name, inputs.prepare(c, dataset), measured)
                for c in baseline_configs
            ]
            trained[name] = Trained(errors, [])
    return trained


def summarize(trained: Mapping[str, Trained], measured: str) -> dict[str, dict[str, Any]]:
    """Computes mean, standard deviation, median and range over the seeds.

    Args:
      trained: result of ``compare``.
      measured: examples that the errors are of, "test" or "validation".

    Examples:
      >>> summarize({"ladder": Trained([1.0, 3.0, 2.0], [])}, "test")["ladder"]["median"]
      2.0
    """
    return {
        name: over_seeds(one.errors)._asdict() | one._asdict() | {"measured": measured}
        for name, one in trained.items()
    }


def lines(summary: Mapping[str, Mapping[str, Any]], percent: bool = True) -> list[str]:
    """Formats a summary as lines of text, to go below a heading.

    Args:
      summary: result of ``summarize``.
      percent: whether errors are percentages.

    Examples:
      >>> print("\\n".join(lines(summarize({"ladder": Trained([1.0, 3.0], [])}, "test"))))
                  mean    sd  median    min    max   each seed
        ladder    2.00  1.41    2.00   1.00   3.00   1.00 3.00
    """
    name_width, extra = max(map(len, summary)), 0 if percent else 4  # for longer numbers
    sizes = {"mean": 6, "sd": 6, "median": 8, "min": 7, "max": 7}
    columns = {name: size + extra for name, size in sizes.items()}

    def text(error: float) -> str:
        return error_text(error, percent).removesuffix(" %")

    table = []
    if any(row["sd"] is not None for row in summary.values()):
        headings = "".join(f"{name:>{size}}" for name, size in columns.items())
        table.append(f"  {'':<{name_width}}  {headings}   each seed")
    for name, row in summary.items():
        # A single error, of one seed or an ensemble, is its own mean.
        shown_columns = ["mean"] if row["sd"] is None else columns
        figures = "".join(f"{text(row[column]):>{columns[column]}}" for column in shown_columns)
        by_seed = "" if row["sd"] is None else "   " + " ".join(map(text, row["errors"]))
        table.append(f"  {name:<{name_width}}  {figures}{by_seed}")
    return table
