"""Report sections for one class per example."""

from __future__ import annotations

from typing import Any

import numpy as np

from ladder_jax.report import figures, measures
from ladder_jax.report.figures import Picture
from ladder_jax.report.measures import Findings

_MISTAKES, _ON_MAP, _STARS = 24, 600, 200
"""Maximum numbers of mistakes, and of examples and labelled ones on the map."""


def sections(findings: Findings) -> tuple[dict[str, Any], dict[str, list[Picture]]]:
    """Computes the content and the plots of ``classes.html``."""
    y, ladder = findings.y, findings.predictor
    probabilities = measures.gathered(ladder, findings.x)
    predicted, names = probabilities.argmax(1), ladder.class_names
    counts = measures.confusion(y, predicted, len(names))
    right = measures.calibration(predicted == y, probabilities.max(1))
    content = {
        "scores": measures.scores(y, predicted, names, f"all {findings.name} examples"),
        "figures": ladder.target.summary(measures.sums_of(counts)),
        "mistakes": _mistakes(findings, probabilities),
    }
    plots = {
        "confusion": [figures.confusion(counts, names), figures.calibration(right)],
        "map": _feature_map(findings),
    }
    return content, plots


def _mistakes(findings: Findings, probabilities: np.ndarray) -> list[tuple[Any, ...]]:
    """Lists index, class, predicted class, its probability and picture, most confident first."""
    predicted, names = probabilities.argmax(1), np.array(findings.predictor.class_names)
    percent = 100 * probabilities.max(1)
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


def _feature_map(findings: Findings) -> list[Picture]:
    """Draws the top features of some examples and some labelled ones, in two dimensions."""
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
