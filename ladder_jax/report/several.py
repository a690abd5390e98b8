"""Report sections for several labels per example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ladder_jax import targets
from ladder_jax.report import figures, measures
from ladder_jax.report.figures import Picture
from ladder_jax.report.measures import Findings, Score


def sums_of(y: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the counts that ``Target.summary`` takes.

    Args:
      y: true labels ``[n, k]``, 0 or 1; -1 marks a missing label.
      predicted: predicted labels ``[n, k]``, 0 or 1.
    """
    known, true, claimed = y >= 0, y == 1, predicted == 1
    right = known & (true == claimed)
    parts = {"correct": right & true, "predicted": known & claimed, "true": true, "entries": known}
    parts |= {"rows": known.any(1), "rows_right": known.any(1) & (right == known).all(1)}
    return {name: part.sum(0) for name, part in parts.items()}


def scores(y: np.ndarray, predicted: np.ndarray, names: Sequence[str]) -> list[Score]:
    """Computes the score of exact matches of rows, and then that of each label."""
    sums = sums_of(y, predicted)
    by_label = targets.by_class(sums)
    wrong = sums["predicted"] + sums["true"] - 2 * sums["correct"]
    each = zip(*(100 * by_label[name] for name in Score._fields[3:]), strict=True)
    rows = zip(names, wrong.tolist(), sums["entries"].tolist(), each, strict=True)
    exact = Score("all labels of a row", int(sums["rows"] - sums["rows_right"]), int(sums["rows"]))
    return [exact, *(Score(name, w, n, *map(float, shares)) for name, w, n, shares in rows)]


def sections(findings: Findings) -> tuple[dict[str, Any], dict[str, list[Picture]]]:
    """Computes the content and the plots of ``several.html``."""
    y, ladder = findings.y, findings.predictor
    p = measures.gathered(ladder, findings.x)
    predicted, known = p > 0.5, y >= 0
    sure = np.maximum(p, 1 - p)[known]
    right = measures.calibration((predicted == y)[known], sure)
    content = {
        "scores": scores(y, predicted, ladder.class_names),
        "positive": (y == 1).sum(0).tolist(),
        "figures": ladder.target.summary(sums_of(y, predicted)),
    }
    return content, {"calibration": [figures.calibration(right)]}
