"""Writes the page of a run, ``report.html``, its figures and events for TensorBoard."""

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
from ladder_jax.report import figures, measures
from ladder_jax.report.figures import Picture
from ladder_jax.report.measures import Findings, NoisyPass
from ladder_jax.run.files import make_folder, replacing, writing
from ladder_jax.run.workfolder import EVENTS, FIGURES, REPORT, read_config

_MISTAKES, _DENOISED, _ON_MAP, _STARS = 24, 10, 600, 200
"""Greatest numbers of mistakes, denoised inputs, and examples and labelled ones on the map."""


def _number(value: float | None, unit: str = "") -> str:
    """Formats a number; a dash stands for None and NaN."""
    return "\N{EN DASH}" if value is None or value != value else f"{value:.2f}{unit}"


_FILTERS: dict[str, Callable[..., str]] = {
    "error": functools.partial(_number, unit="\N{NO-BREAK SPACE}%"),
    "interval": "{0[0]:.2f} to {0[1]:.2f}\N{NO-BREAK SPACE}%".format,
    "number": "{:.4g}".format,
    "percent": _number,
    "plain": lambda v: ", ".join(map(str, v)) if isinstance(v, list | tuple) else str(v),
    "probability": "{:.1f}\N{NO-BREAK SPACE}%".format,
    "time": lambda s: f"{s:.1f}\N{NO-BREAK SPACE}s" if s < 120 else f"{s / 60:.1f} min",
}


def write_page(
    path: pathlib.Path, template: str, content: dict[str, Any], pictures: Iterable[Picture]
) -> pathlib.Path:
    """Fills in a template and writes the page as a whole, everything filled in being escaped.

    The pictures become files too, in the folder ``figures`` beside the page.
    """
    import jinja2

    how: Any = {"autoescape": True, "trim_blocks": True, "lstrip_blocks": True}
    loader = jinja2.PackageLoader("ladder_jax.report")
    environment = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, **how)
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
        temporary.write_text(text, encoding="utf-8")
    return path


def _write_events(folder: pathlib.Path, lines: Sequence[dict[str, Any]]) -> None:
    """Writes metrics into a run's ``tensorboard``, costs per level, in place of earlier ones."""
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
    names = ["input", *[""] * (len(shapes) - 2), "classes"]
    combinators = per_level("combinators", findings.config.combinators, len(shapes))
    std, cost = (np.asarray(a).tolist() for a in (net.hyper.noise_std, net.hyper.denoising_cost))
    return [Level(*row) for row in zip(names, shapes, std, combinators, cost, strict=True)]


def _mistakes(findings: Findings, predicted: np.ndarray) -> list[tuple[Any, ...]]:
    """Lists number, class, predicted class, its probability and picture, most confident first."""
    names, percent = np.array(findings.predictor.class_names), 100 * findings.probabilities.max(1)
    wrong = np.flatnonzero(predicted != findings.y)
    wrong = wrong[np.argsort(-percent[wrong], kind="stable")][:_MISTAKES]
    columns = findings.rows[wrong], names[findings.y[wrong]], names[predicted[wrong]]
    alts = [
        f"{findings.name} example {row}: {y}, predicted {other}"
        for row, y, other in zip(*columns, strict=True)
    ]
    x, shape = findings.x[wrong], figures.picture_shape(findings.predictor.example_shape)
    pictures = figures.images(x, shape, alts, x) if shape and alts else [None] * len(alts)
    return list(zip(*columns, percent[wrong], pictures, strict=True))


def _denoised(findings: Findings, noisy: NoisyPass | None) -> list[tuple[Any, ...]]:
    """Draws inputs clean, noisy and denoised, the classes in turn: a title and three pictures."""
    shape = figures.picture_shape(findings.predictor.example_shape)
    if noisy is None or noisy.estimate is None or shape is None:
        return []
    y = findings.y[: len(noisy.clean)]
    rank = [np.sum(y[:i] == label) for i, label in enumerate(y)]
    chosen = np.lexsort((y, rank))[:_DENOISED]
    titles = [findings.predictor.class_names[label] for label in y[chosen]]
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


def _feature_map(findings: Findings) -> list[Picture]:
    """Draws the top features of some examples and of labelled ones, in two dimensions."""
    rng, labeled = np.random.default_rng(findings.config.seed), len(findings.y_labeled)
    stars = np.sort(rng.permutation(labeled)[:_STARS])
    others = len(findings.y) if findings.name != "training" else 0
    dots = np.sort(rng.permutation(others)[:_ON_MAP])
    if len(stars) + len(dots) < 3:
        return []
    x = np.concatenate([findings.x[dots], findings.labeled[stars]])
    y = np.concatenate([findings.y[dots], findings.y_labeled[stars]])
    features = findings.predictor(x).features
    places, method = measures.flat_map(features)
    names, level = findings.predictor.class_names, len(findings.predictor.net.shapes) - 2
    caption = f"{method} of the {np.prod(features.shape[1:])} features of level {level}. "
    caption += f"Dots: {len(dots)} {findings.name} examples; " if others else ""
    caption += f"stars: {len(stars)} of the {labeled} labelled ones; colours: their true classes."
    alt = f"map of the top features: {method}"
    return [figures.feature_map(places, y, np.arange(len(y)) >= len(dots), names, alt, caption)]


def write(
    workdir: str | os.PathLike[str],
    dataset: data.Dataset | None = None,
    *,
    compared: bool | None = None,
) -> pathlib.Path:
    """Writes ``report.html``, its figures and TensorBoard's events into a finished run's folder.

    The page is complete in itself; its plots are files in ``figures`` as well. It is made from
    the folder's files and the data, so that it can be made again at any time.

    Args:
      workdir: as for ``predictor.find_run``.
      dataset: what the run was trained on, instead of what its config names.
      compared: whether to link to a page of ``write_comparison`` in the folder above;
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
        dataset = data.load(config.dataset, config.data_dir, in_memory=config.resident)
    findings = measures.find(folder, dataset)
    y, predicted = findings.y, findings.probabilities.argmax(1)
    names, levels = findings.predictor.class_names, _levels(findings)
    noisy = measures.noisy_pass(findings)
    decoded = [number for number, level in enumerate(levels) if level.combinator != "none"]
    right = measures.calibration(predicted == y, findings.probabilities.max(1))
    pictures = {
        "curves": figures.learning_curves(findings.lines, decoded),
        "confusion": [figures.confusion(y, predicted, names), figures.calibration(right)],
        "combinations": _combinations(findings, noisy, levels) if noisy else [],
        "map": _feature_map(findings),
    }
    if compared is None:
        compared = (folder.parent / REPORT).exists()
    content: dict[str, Any] = {
        "settings": dataclasses.asdict(config),
        "defaults": dataclasses.asdict(Config()),
        "dataset": dataset.name,
        "comparison": f"../{REPORT}" if compared else None,
        "scores": measures.scores(y, predicted, names, f"all {findings.name} examples"),
        "mistakes": _mistakes(findings, predicted),
        "noisy": noisy,
        "denoised": _denoised(findings, noisy),
        "signals": figures.SIGNALS,
        "levels": levels,
    }
    _write_events(folder, findings.lines)
    content |= findings._asdict() | pictures
    return write_page(folder / REPORT, "run.html", content, itertools.chain(*pictures.values()))
