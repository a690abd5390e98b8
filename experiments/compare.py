"""Trains every member of a command and what they are compared with."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from experiments.members import seeded
from experiments.progress import shown
from ladder_jax import data, loop, population
from ladder_jax.config import Config
from ladder_jax.report.measures import over_seeds
from ladder_jax.run import inputs, multiprocess, workfolder
from ladder_jax.run.evaluation import error_text

Errors = dict[str, list[float]]
Finished = Callable[[pathlib.Path], None]
"""Called with the folder of each run when it is done."""
Known = tuple[Config, inputs.Task]
"""A config and the data that are prepared for it."""
SUMMARY = "summary.json"
"""What a command writes last."""
_DECIDING = (
    *("dataset", "data_dir", "labels", "label_choice", "split", "validation", "preprocess"),
    *("resident", "seed", "batch_labeled", "batch_unlabeled", "images"),
)
"""What prepared data depend on."""


def same_inputs(config: Config, other: Config) -> bool:
    """Returns whether what is prepared for one config serves another.

    Examples:
      >>> same_inputs(Config(), Config(epochs=3)), same_inputs(Config(), Config(seed=3))
      (True, False)
    """
    return all(getattr(config, name) == getattr(other, name) for name in _DECIDING)


def in_percent(dataset: data.Dataset) -> bool:
    """Returns whether errors are percentages; of numbers they are in the units of these."""
    return dataset.kind != "numbers"


def is_population(members: Mapping[str, Config], together: str) -> bool:
    """Returns whether ``train_all`` makes one program of the members, which fail together."""
    first = next(iter(members.values()))
    several = len(members) > 1 and first.resident
    # Balanced weights may be others for each member.
    fits = jax.default_backend() != "cpu" and first.class_weight != "balanced"
    fits = fits and not multiprocess.is_multiprocess()
    return several and (together == "on" or (together == "auto" and fits))


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
      members: by the name of their folders.
      folder: that holds theirs.
      measured: on "test" or "validation" examples.
      dataset: the data of all.
      together: "on", "off" or "auto": on, but for a CPU, where one member fills all
        cores and a population takes longer (``python -m benchmarks``), and for several
        processes, which train no population.
      overwrite: whether to start again.
      known: a config whose data are prepared already, and they.
      finished: called with the folder of each that is done.
    """
    percent = in_percent(dataset)
    if is_population(members, together):
        epochs = next(iter(members.values())).epochs
        done = not overwrite and all(workfolder.is_done(folder / name) for name in members)
        with shown(f"{len(members)} members", epochs, done=done, percent=percent) as progress:
            results = population.train_population(
                members, folder, dataset=dataset, overwrite=overwrite, progress=progress
            )
        for name in members:
            finished(folder / name)
        return [float(r.summary[f"{measured}_error"]) for r in results.values()]
    errors = []
    for name, config in members.items():
        done = not overwrite and workfolder.is_done(folder / name)
        with shown(name, config.epochs, done=done, percent=percent) as progress:
            task = known[1] if known and same_inputs(config, known[0]) else None
            result = loop.train_task(
                *(config, folder / name, task or inputs.prepare(config, dataset)),
                overwrite=overwrite,
                progress=progress,
            )
        errors.append(float(result.summary[f"{measured}_error"]))
        finished(folder / name)
    return errors


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
) -> Errors:
    """Returns the error of each variation of the ladder and of each baseline, by seed.

    Args:
      varied: configs of ladders by what is varied in them.
      names: of what they are compared with, on the splits of the first.
      seeds: how many.
      folder: to write into.
      measured: as for ``train_all``.
      dataset: as for ``train_all``.
      together: as for ``train_all``.
      overwrite: as for ``train_all``.
      known: as for ``train_all``.
      finished: called with the folder of each ladder that is done.

    Returns:
      One list of seeds each, ``in_percent`` or not.
    """
    first = next(iter(varied.values()))
    rows = {f"ladder {title}".strip(): seeded(config, seeds) for title, config in varied.items()}
    members = {
        f"ladder-{i}-{config.seed}" if len(rows) > 1 else f"ladder-{config.seed}": config
        for i, configs in enumerate(rows.values())
        for config in configs
    }
    how: Any = {"together": together, "overwrite": overwrite, "known": known}
    results = iter(train_all(members, folder, measured, dataset, **how, finished=finished))
    errors = {title: [next(results) for _ in configs] for title, configs in rows.items()}
    for name in names:
        others = seeded(first, seeds)
        if name == "supervised":
            nets = {f"supervised-{c.seed}": c.supervised() for c in others}
            errors[name] = train_all(nets, folder, measured, dataset, **how)
        else:
            from experiments import baselines  # scikit-learn only where asked for

            errors[name] = [
                baselines.baseline_error(name, inputs.prepare(c, dataset), measured) for c in others
            ]
    return errors


def summarize(errors: Errors) -> dict[str, dict[str, Any]]:
    """Computes mean, standard deviation, median and range over the seeds.

    Examples:
      >>> summarize({"ladder": [1.0, 3.0, 2.0]})["ladder"]["median"]
      2.0
    """
    return {
        name: over_seeds(values)._asdict() | {"errors": values} for name, values in errors.items()
    }


def lines(summary: Mapping[str, Mapping[str, Any]], percent: bool = True) -> list[str]:
    """Returns the summary as lines of text below a heading.

    Args:
      summary: of ``summarize``.
      percent: whether errors are percentages.

    Examples:
      >>> print("\\n".join(lines(summarize({"ladder": [1.0, 3.0]}))))
                  mean    sd  median    min    max   each seed
        ladder    2.00  1.41    2.00   1.00   3.00   1.00 3.00
    """
    width, wide = max(map(len, summary)), 0 if percent else 4  # what numbers need beside
    sizes = {"mean": 6, "sd": 6, "median": 8, "min": 7, "max": 7}
    columns = {name: size + wide for name, size in sizes.items()}

    def text(error: float) -> str:
        return error_text(error, percent).removesuffix(" %")

    if all(row["sd"] is None for row in summary.values()):
        size = columns["mean"]
        return [f"  {name:<{width}}  {text(row['mean']):>{size}}" for name, row in summary.items()]
    heads = "".join(f"{name:>{size}}" for name, size in columns.items())
    table = [f"  {'':<{width}}  {heads}   each seed"]
    for name, row in summary.items():
        figures = "".join(f"{text(row[column]):>{size}}" for column, size in columns.items())
        each = " ".join(map(text, row["errors"]))
        table.append(f"  {name:<{width}}  {figures}   {each}")
    return table
