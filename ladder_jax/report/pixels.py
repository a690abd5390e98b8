"""Report sections for one class per pixel: scores per class, and pictures of masks."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ladder_jax import data, targets
from ladder_jax.data import masks
from ladder_jax.predictor import Predictor
from ladder_jax.report import figures, measures
from ladder_jax.report.figures import Picture
from ladder_jax.report.measures import Findings
from ladder_jax.types import Shape

_SHOWN, _MOST_PIXELS = 6, 256
"""Number of images in each selection, and maximum number of pixels per side."""


class Judged(NamedTuple):
    """Holds how well the masks of some images are predicted.

    Attributes:
      counts: labelled pixels by true and predicted class, ``[classes, classes]``.
      accuracy: fraction of each image's labelled pixels that are right, ``[n]``.
    """

    counts: np.ndarray
    accuracy: np.ndarray


class Score(NamedTuple):
    """Holds how well a class is recognised, in percent; NaN where undefined."""

    name: str
    n: int  # pixels of the class
    iou: float
    precision: float
    recall: float
    f1: float


def judge(ladder: Predictor, x: data.Examples, y: np.ndarray, name: str = "x") -> Judged:
    """Compares predicted masks with true ones, part by part.

    Args:
      ladder: predictor of the masks.
      x: images ``[n, *example_shape]``.
      y: true masks ``[n, height, width]``; -1 marks an unlabelled pixel.
      name: name of the images in messages.
    """
    classes, start, accuracy = len(ladder.class_names), 0, []
    counts = np.zeros((classes, classes), np.int64)
    for outputs in ladder.parts(x, name):
        predicted = outputs.predictions
        true = y[start : start + len(predicted)]
        start, known = start + len(predicted), true >= 0
        counts += measures.confusion(true[known], predicted[known], classes)
        right = (known & (predicted == true)).sum((1, 2))
        accuracy.append(right / known.sum((1, 2)))
    return Judged(counts, np.concatenate(accuracy))


def scores(counts: np.ndarray, names: Sequence[str]) -> list[Score]:
    """Computes the score of each class from a confusion matrix."""
    by_class = targets.by_class(measures.sums_of(counts))
    each = zip(*(100 * by_class[name] for name in Score._fields[2:]), strict=True)
    rows = zip(names, counts.sum(1).tolist(), each, strict=True)
    return [Score(name, n, *map(float, values)) for name, n, values in rows]


def sections(findings: Findings) -> tuple[dict[str, Any], dict[str, list[Picture]]]:
    """Computes the content and the plots of ``pixels.html``."""
    ladder = findings.predictor
    judged = judge(ladder, findings.x, findings.y)
    names = ladder.class_names
    evenly = np.unique(np.linspace(0, len(findings.y) - 1, _SHOWN).astype(int))
    by_accuracy = np.argsort(judged.accuracy, kind="stable")
    worst = by_accuracy[~np.isin(by_accuracy, evenly)][:_SHOWN]
    shown = np.concatenate([evenly, worst])
    drawn = _draw(findings, shown, judged)
    seen = np.unique(findings.y[shown])
    content = {
        "scores": scores(judged.counts, names),
        "figures": ladder.target.summary(measures.sums_of(judged.counts)),
        "pixels": int(judged.counts.sum()),
        "legend": _legend(names, seen),
        "examples": drawn[: len(evenly)],
        "worst": drawn[len(evenly) :],
    }
    return content, {"confusion": [figures.confusion(judged.counts, names, "pixels")]}


def _legend(names: Sequence[str], seen: np.ndarray) -> list[tuple[str, str]]:
    """Lists colours and names of all classes or, if many, of those seen, and of "no label"."""
    chosen = range(len(names)) if len(names) <= 2 * _SHOWN else seen[seen >= 0].tolist()
    classes = [(masks.hex_color(number), names[number]) for number in chosen]
    return [*classes, *[(masks.hex_color(masks.NO_CLASS), "no label")] * bool((seen < 0).any())]


def _draw(findings: Findings, rows: np.ndarray, judged: Judged) -> list[tuple[Any, ...]]:
    """Draws some images: index, percentage of right pixels, and up to four pictures each.

    These are the image, if it can be drawn, the true mask, the predicted mask and its
    uncertainty per pixel: white where all classes are equally likely.
    """
    ladder, numbers = findings.predictor, findings.rows[rows]
    titles = [f"{findings.name} example {number}" for number in numbers]
    subsample = (slice(None), *[slice(None, None, _step(findings.y.shape[1:]))] * 2)
    outputs, seen = list(ladder.parts(findings.x[rows])), findings.x[rows][subsample]
    predicted = np.concatenate([part.predictions for part in outputs])[subsample]
    doubt = np.concatenate([np.asarray(part.uncertainty) for part in outputs])[subsample]
    shades = np.round(255 * np.minimum(doubt / (1 - 1 / len(ladder.class_names)), 1))
    columns = [
        _pngs(masks.colored(findings.y[rows][subsample]), titles, "true mask"),
        _pngs(masks.colored(predicted), titles, "predicted mask"),
        _pngs(np.repeat(shades.astype(np.uint8)[..., None], 3, -1), titles, "uncertainty"),
    ]
    if shape := figures.picture_shape(seen.shape[1:]):
        columns.insert(0, figures.images(seen, shape, [f"{t}: image" for t in titles], seen))
    pictures = zip(*columns, strict=True)
    return list(zip(numbers, 100 * judged.accuracy[rows], pictures, strict=True))


def _step(shape: Shape) -> int:
    """Returns the stride at which to show the pixels of a large picture."""
    return -(-max(shape) // _MOST_PIXELS)


def _pngs(pixels: np.ndarray, titles: Sequence[str], what: str) -> list[Picture]:
    """Converts bytes ``[n, height, width, 3]`` to PNG pictures."""
    from matplotlib.image import imsave

    pictures = []
    for image, title in zip(pixels, titles, strict=True):
        stream = io.BytesIO()
        imsave(stream, image, format="png")
        pictures.append(Picture("png", stream.getvalue(), f"{title}: {what}"))
    return pictures
