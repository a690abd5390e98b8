"""Page of a run, ``report.html``, with its figures and events for TensorBoard."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ladder_jax import data
from ladder_jax._checks import per_level
from ladder_jax.config import Config
from ladder_jax.predictor import find_run
from ladder_jax.report import classes, figures, measures, numbers, pixels, several
from ladder_jax.report.figures import Picture
from ladder_jax.report.measures import Findings, NoisyPass
from ladder_jax.run.files import make_folder, replacing, writing
from ladder_jax.run.inputs import load_data
from ladder_jax.run.workfolder import EVENTS, FIGURES, REPORT, read_config

_DENOISED = 10
"""Maximum number of denoised inputs."""
_SECTIONS: dict[str, Callable[[Findings], tuple[dict[str, Any], dict[str, list[Picture]]]]] = {
    "classes": classes.sections,
    "pixels": pixels.sections,
    "numbers": numbers.sections,
    "several": several.sections,
}
"""Functions that compute the content and the plots of a template, by the kind of labels."""


def _number(value: float | None, unit: str = "") -> str:
    """Formats a number; a dash stands for None and NaN."""
    return "\N{EN DASH}" if value is None or value != value else f"{value:.2f}{unit}"


def _digits(value: float | None) -> str:
    """Formats a number of any size; a dash stands for None and NaN."""
    return "\N{EN DASH}" if value is None or value != value else f"{value:.4g}"


_FILTERS: dict[str, Callable[..., str]] = {
    "error": functools.partial(_number, unit="\N{NO-BREAK SPACE}%"),
    "interval": "{0[0]:.2f} to {0[1]:.2f}\N{NO-BREAK SPACE}%".format,
    "figure": lambda v, percent: _number(v) if percent else _digits(v),
    "number": _digits,
    "percent": _number,
    "range": lambda ends: "\N{EN DASH}" if ends is None else "{:.4g} to {:.4g}".format(*ends),
    "plain": lambda v: ", ".join(map(str, v)) if isinstance(v, list | tuple) else str(v),
    "probability": "{:.1f}\N{NO-BREAK SPACE}%".format,
    "time": lambda s: f"{s:.1f}\N{NO-BREAK SPACE}s" if s < 120 else f"{s / 60:.1f} min",
}


def experiment_name(config_name: str, dataset_name: str) -> str:
    """Returns the name of an experiment, or of its data if the config has the default name.

    Examples:
      >>> experiment_name("mnist_100", "mnist"), experiment_name("digits", "mine")
      ('mnist_100', 'mine')
    """
    return dataset_name if config_name == Config().name else config_name


def write_page(
    path: pathlib.Path, template: str, content: dict[str, Any], pictures: Iterable[Picture]
) -> pathlib.Path:
    """Renders a template, escaping all content, and writes the page atomically.

    The pictures are also written as files, in the folder ``figures`` beside the page.
    """
    import jinja2

    options: Any = {"autoescape": True, "trim_blocks": True, "lstrip_blocks": True}
    loader = jinja2.PackageLoader("ladder_jax.report")
    environment = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, **options)
    environment.filters |= _FILTERS
    folder, names = path.parent / FIGURES, []
    with writing(folder):
        make_folder(folder)
    for picture in pictures:
        names.append(f"{FIGURES}/{picture.name}.svg")
        with replacing(path.parent / names[-1]) as temporary:
            temporary.write_bytes(picture.content)
    text = environment.get_template(template).render(content, files=names)
    with replacing(path) as temporary:
        # A folder's name may be no valid text.
        temporary.write_text(text, encoding="utf-8", errors="replace")
    return path


def _write_events(folder: pathlib.Path, lines: Sequence[dict[str, Any]]) -> None:
    """Writes metrics, with costs per level, to a run's ``tensorboard``, replacing earlier ones."""
    from tensorboardX import SummaryWriter

    with replacing(folder / EVENTS) as new, SummaryWriter(str(new)) as writer:
        for line in lines:
            values = {k: v for k, v in line.items() if k not in ("epoch", "denoising")}
            for level, cost in enumerate(line.get("denoising", ())):
                values[f"denoising/level_{level}"] = cost
            for name, value in values.items():
                writer.add_scalar(name, value, line["epoch"])


class Level(NamedTuple):
    """Holds a level of the ladder, and lambda, the weight of its denoising cost."""

    name: str
    shape: str
    noise_std: float
    combinator: str
    cost: float


def _levels(findings: Findings) -> list[Level]:
    """Lists all levels, from the input up."""
    net = findings.predictor.net
    shapes = [" x ".join(map(str, shape)) for shape in net.shapes]
    names = ["input", *[""] * (len(shapes) - 2), findings.predictor.target.kind]
    combinators = per_level("combinators", findings.config.combinators, len(shapes))
    std, cost = (np.asarray(a).tolist() for a in (net.hyper.noise_std, net.hyper.denoising_cost))
    return [Level(*row) for row in zip(names, shapes, std, combinators, cost, strict=True)]


def _denoised(findings: Findings, noisy: NoisyPass | None) -> list[tuple[Any, ...]]:
    """Draws inputs clean, noisy and denoised: a title and three pictures each.

    They are the first inputs; if the labels are classes, the first of each class in turn.
    """
    ladder, shape = findings.predictor, figures.picture_shape(findings.predictor.example_shape)
    if noisy is None or noisy.estimate is None or shape is None:
        return []
    chosen = np.arange(min(_DENOISED, len(noisy.clean)))
    titles = [f"#{row}" for row in findings.rows[chosen]]
    if ladder.target.kind == "classes":
        y = findings.y[: len(noisy.clean)]
        rank = [np.sum(y[:i] == label) for i, label in enumerate(y)]
        chosen = np.lexsort((y, rank))[:_DENOISED]
        titles = [ladder.class_names[label] for label in y[chosen]]
    inputs = {"clean": noisy.clean, "noisy": noisy.noisy, "denoised": noisy.estimate}
    pictures = [
        figures.images(x[chosen], shape, [f"{title}, {kind}" for title in titles], noisy.clean)
        for kind, x in inputs.items()
    ]
    return list(zip(titles, zip(*pictures, strict=True), strict=True))


def _combinations(findings: Findings, noisy: NoisyPass, levels: list[Level]) -> list[Picture]:
    """Draws the combination function of each decoded level."""
    pictures, params = [], findings.predictor.trained.params
    for k, (shape, level) in enumerate(zip(findings.predictor.net.shapes, levels, strict=True)):
        if level.combinator != "none":
            title = f"level {k}" + (f" ({level.name})" if level.name else "")
            learned = level.combinator, params[k].combinator, shape
            pictures.append(figures.combination(*learned, noisy.ranges[k], k, title))
    return pictures


def _error_scale(findings: Findings) -> float | None:
    """Returns the factor from a step's error to the units of a run's error; None if none fits."""
    scaling = findings.predictor.scaling
    if scaling is None:
        return 100
    return scaling.scale[0] if len(scaling.scale) == 1 else None


def write(
    workdir: str | os.PathLike[str],
    dataset: data.Dataset | None = None,
    *,
    compared: bool | None = None,
) -> pathlib.Path:
    """Writes ``report.html``, its figures and TensorBoard's events into a finished run's folder.

    The page is self-contained; its plots are also files in ``figures``. It is made from the
    folder's files and the data, so it can be made again at any time.

    Args:
      workdir: as for ``predictor.find_run``.
      dataset: data that the run was trained on, instead of the data set that its config names.
      compared: whether to link to a page of ``write_comparison`` in the parent folder;
        None: if there is one now.

    Returns:
      The path of the page.

    Raises:
      ConfigError: the folder holds no finished run, or one on other data.
      DataError: the data are missing or wrong.
      WriteError: a file cannot be written.
    """
    folder = find_run(workdir)
    config = read_config(folder)
    if dataset is None:
        dataset = load_data(config)
    findings = measures.find(folder, dataset)
    target, levels = findings.predictor.target, _levels(findings)
    noisy = measures.noisy_pass(findings)
    decoded = [number for number, level in enumerate(levels) if level.combinator != "none"]
    section, plots = _SECTIONS[target.kind](findings)
    curves = figures.learning_curves(findings.lines, decoded, target, _error_scale(findings))
    combinations = _combinations(findings, noisy, levels) if noisy else []
    pictures = {"curves": curves, **plots, "combinations": combinations}
    pictures["map"] = pictures.pop("map", [])  # shown last
    if compared is None:
        compared = (folder.parent / REPORT).exists()
    content: dict[str, Any] = {
        "settings": dataclasses.asdict(config),
        "defaults": dataclasses.asdict(Config()),
        "experiment": experiment_name(config.name, dataset.name),
        "dataset": dataset.name,
        "comparison": f"../{REPORT}" if compared else None,
        "noisy": noisy,
        "denoised": _denoised(findings, noisy),
        "signals": figures.SIGNALS,
        "levels": levels,
    }
    _write_events(folder, findings.lines)
    content |= findings._asdict() | section | pictures
    all_pictures = itertools.chain(*pictures.values())
    return write_page(folder / REPORT, f"{target.kind}.html", content, all_pictures)
