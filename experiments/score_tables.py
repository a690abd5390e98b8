"""Scores of masks, numbers and several labels as text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ladder_jax import data
from ladder_jax.predictor import Predictor
from ladder_jax.report import measures, numbers, pixels, several


def table(ladder: Predictor, x: data.Examples, y: np.ndarray, name: str) -> str:
    """Evaluates a ladder whose labels are not classes, and returns its scores as text.

    Args:
      ladder: the ladder to evaluate.
      x: examples ``[n, *example_shape]``.
      y: labels ``[n, ...]``.
      name: name of the examples, for messages.

    Raises:
      DataError: the examples have another shape or scale than in training, or are not finite.
    """
    if ladder.target.kind == "pixels":
        return _pixel_scores(ladder, pixels.judge(ladder, x, y, name).counts)
    if ladder.target.kind == "numbers":
        return _number_scores(y, numbers.judge(ladder, x, name), ladder.class_names)
    return _label_scores(ladder, y, measures.gathered(ladder, x, name=name) > 0.5)


def _aligned(
    names: Sequence[str], rows: Sequence[Sequence[str]], heads: Sequence[str]
) -> list[str]:
    """Lays out rows of cells below their headings, with the first column left-aligned."""
    name_width = max(len(heads[0]), *map(len, names))
    widths = [max(map(len, column)) for column in zip(heads[1:], *rows, strict=True)]
    lines = zip((heads[0], *names), (heads[1:], *rows), strict=True)
    return [
        f"{name:<{name_width}}"
        + "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        for name, cells in lines
    ]


def _cell(value: float, form: str = ".2f") -> str:
    return "-" if np.isnan(value) else f"{value:{form}}"


def _pixel_scores(ladder: Predictor, counts: np.ndarray) -> str:
    figures, names = ladder.target.summary(measures.sums_of(counts)), ladder.class_names
    heads = ("class", "pixels", "IoU %", "precision %", "recall %", "F1 %")
    rows = [[str(n), *map(_cell, percent)] for _, n, *percent in pixels.scores(counts, names)]
    lines = [
        f"mean IoU        {figures['mean_iou']:.2f} %",
        f"pixel accuracy  {figures['pixel_accuracy']:.2f} %, {counts.trace()} of {counts.sum()} "
        "labelled pixels",
    ]
    return "\n".join([*lines, "", *_aligned(names, rows, heads)])


def _interval_text(interval: numbers.Interval) -> str:
    return "-" if interval is None else f"{interval[0]:.4g} to {interval[1]:.4g}"


def _number_scores(y: np.ndarray, judged: numbers.Judged, names: Sequence[str]) -> str:
    scores = numbers.scores(y, judged.predicted, names)
    heads = ("number", "examples", "RMSE", "95 %", "MAE", "R2", "95 %")
    rows = [
        [
            *(str(s.n), _cell(s.rmse, ".4g"), _interval_text(s.rmse_interval), _cell(s.mae, ".4g")),
            *(_cell(s.r2, ".4g"), _interval_text(s.r2_interval)),
        ]
        for s in scores
    ]
    lines = _aligned([s.name for s in scores], rows, heads)
    lines += ["", f"95 %: intervals of the bootstrap, {numbers.RESAMPLES} draws of the examples"]
    if (coverage := numbers.within(y, judged)) is not None:
        lines.append(f"{coverage:.2f} % within 1.96 standard deviations of the predicted number")
    return "\n".join(lines)


def _label_scores(ladder: Predictor, y: np.ndarray, predicted: np.ndarray) -> str:
    figures = ladder.target.summary(several.sums_of(y, predicted))
    exact, *labels = several.scores(y, predicted, ladder.class_names)
    heads = ("label", "examples", "positive", "error %", "95 %", "precision %", "recall %", "F1 %")
    rows = [
        [
            *(str(s.n), str(positives), _cell(s.error), "{:.1f} to {:.1f}".format(*s.interval)),
            *map(_cell, (s.precision, s.recall, s.f1)),
        ]
        for s, positives in zip(labels, (y == 1).sum(0), strict=True)
    ]
    low, high = exact.interval
    lines = [
        f"error        {figures['error']:.2f} % of all labels",
        f"exact match  {figures['exact_match']:.2f} %  (95 % interval {100 - high:.2f} to "
        f"{100 - low:.2f}, Wilson), all labels right in {exact.n - exact.wrong} of {exact.n} "
        "examples",
        f"macro F1     {figures['macro_f1']:.2f} %",
    ]
    return "\n".join([*lines, "", *_aligned(ladder.class_names, rows, heads)])
