"""The parts of a run's report; one that does not apply is None or empty."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from ladder_jax.config import Config
from ladder_jax.report import drawing, figures
from ladder_jax.report.drawing import Picture
from ladder_jax.report.findings import Findings, NoisyPass
from ladder_jax.report.measures import calibration, confusion, flat_map, worst

MISTAKES, DENOISED, ON_MAP, STARS = 24, 10, 600, 200


class Mistake(NamedTuple):
    """An example that was taken for a wrong class.

    Attributes:
      row: its number in its part of the data.
      true: its class.
      found: the class it was taken for.
      probability: of that class, in percent.
      picture: None where the data are no pictures.
    """

    row: int
    true: str
    found: str
    probability: float
    picture: Picture | None


class Level(NamedTuple):
    """A level of the ladder.

    Attributes:
      number: from 0.
      name: "input", "classes" or nothing.
      shape: of one row.
      noise_std: of its noise.
      combinator: name of its combination function, or "none".
      cost: lambda, the weight of its denoising cost.
    """

    number: int
    name: str
    shape: str
    noise_std: float
    combinator: str
    cost: float

    @property
    def title(self) -> str:
        """In words, e.g. ``level 0 (input)``."""
        return f"level {self.number}" + (f" ({self.name})" if self.name else "")


def levels(findings: Findings) -> list[Level]:
    """All levels, from the input up."""
    net, config = findings.predictor.net, findings.config
    top = len(net.shapes) - 1
    names = config.combinators * (config.levels if len(config.combinators) == 1 else 1)
    ends = {0: "input", top: "classes"}
    return [
        Level(
            number,
            ends.get(number, ""),
            " x ".join(map(str, shape)),
            float(net.hyper.noise_std[number]),
            names[number],
            float(net.hyper.denoising_cost[number]),
        )
        for number, shape in enumerate(net.shapes)
    ]


def curves(findings: Findings) -> list[Picture]:
    """What ``metrics.jsonl`` says, by epoch."""
    lines = findings.lines
    if not lines:
        return []
    found = [figures.errors(lines), figures.cross_entropy(lines)]
    return found + ([figures.denoising(lines, findings.decoded)] if findings.decoded else [])


def confusion_matrix(findings: Findings) -> Picture:
    """Of the examples that the run is judged by."""
    names = findings.predictor.class_names
    return figures.confusion(confusion(findings.y, findings.taken_for, len(names)), names)


def reliability(findings: Findings) -> Picture:
    """How far the probabilities of the classes taken for can be believed."""
    right = findings.taken_for == findings.y
    return figures.calibration(calibration(right, findings.probabilities.max(1)))


def mistakes(findings: Findings) -> list[Mistake]:
    """The worst: wrong, and the surest of it."""
    names = findings.predictor.class_names
    chosen = worst(findings.y, findings.probabilities, MISTAKES)
    if not len(chosen):
        return []
    shape = drawing.picture_shape(findings.predictor.example_shape)
    x = findings.x[chosen]
    black_white, found = drawing.limits(x), []
    for row, example in zip(chosen, x, strict=True):
        true, wrong = names[findings.y[row]], names[findings.taken_for[row]]
        alt = f"{findings.name} example {findings.rows[row]}: {true}, taken for {wrong}"
        picture = None if shape is None else drawing.image(example, shape, black_white, alt)
        sure = 100 * float(findings.probabilities[row].max())
        found.append(Mistake(int(findings.rows[row]), true, wrong, sure, picture))
    return found


def denoised(findings: Findings, noisy: NoisyPass | None) -> list[tuple[str, list[Picture]]]:
    """Inputs clean, noisy and denoised, the classes in turn: a title and three pictures each."""
    shape = drawing.picture_shape(findings.predictor.example_shape)
    if noisy is None or noisy.estimate is None or shape is None:
        return []
    y = findings.y[: len(noisy.clean)]
    rank = np.array([np.sum(y[:i] == label) for i, label in enumerate(y)])
    chosen = np.lexsort((y, rank))[:DENOISED]
    black_white = drawing.limits(noisy.clean)
    found = []
    for row in chosen:
        name = findings.predictor.class_names[y[row]]
        kinds = (("clean", noisy.clean), ("noisy", noisy.noisy), ("denoised", noisy.estimate))
        pictures = [
            drawing.image(x[row], shape, black_white, f"{name}, {kind}") for kind, x in kinds
        ]
        found.append((name, pictures))
    return found


def combinations(findings: Findings, noisy: NoisyPass | None) -> list[Picture]:
    """The combination function of each decoded level."""
    if noisy is None:
        return []
    params, shapes = findings.predictor.trained.params, findings.predictor.net.shapes
    found = []
    for level in levels(findings):
        if level.combinator != "none":
            k = level.number
            learned = level.combinator, params[k].combinator, shapes[k]
            found.append(figures.combination(*learned, noisy.ranges[k], k, level.title))
    return found


def feature_map(findings: Findings) -> Picture | None:
    """Top features of some examples and of labelled ones, in two dimensions."""
    rng = np.random.default_rng(findings.config.seed)

    def some(n: int, most: int) -> np.ndarray:
        return np.sort(rng.permutation(n)[:most])

    stars = some(len(findings.y_labeled), STARS)
    dots = some(len(findings.y), ON_MAP) if findings.name != "training" else np.zeros(0, int)
    if len(stars) + len(dots) < 3:
        return None
    x = np.concatenate([findings.x[dots], findings.labeled[stars]])
    y = np.concatenate([findings.y[dots], findings.y_labeled[stars]])
    features = findings.predictor(x).features
    places, method = flat_map(features)
    names, level = findings.predictor.class_names, len(findings.predictor.net.shapes) - 2
    caption = f"{method} of the {np.prod(features.shape[1:])} features of level {level}. "
    if len(dots):
        caption += f"Dots: {len(dots)} {findings.name} examples; "
    caption += f"stars: {len(stars)} of the {len(findings.y_labeled)} labelled ones; "
    caption += "colours: their true classes."
    is_star = np.arange(len(y)) >= len(dots)
    alt = f"map of the top features: {method}"
    return figures.feature_map(places, y, is_star, names, alt)._replace(caption=caption)


def settings(config: Config) -> list[tuple[str, Any, bool]]:
    """Name, value and whether it is another than the default, of each setting."""
    default = dataclasses.asdict(Config())
    return [
        (name, value, value != default[name]) for name, value in dataclasses.asdict(config).items()
    ]
