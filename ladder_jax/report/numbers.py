"""Report sections for numbers: errors with intervals, and predicted over true numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ladder_jax import data
from ladder_jax.predictor import Predictor
from ladder_jax.report import figures
from ladder_jax.report.figures import Picture
from ladder_jax.report.measures import Findings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RESAMPLES = 1000
"""Number of bootstrap samples of rows, drawn with replacement."""
_COLUMNS, _DOTS = 6, 2000
"""Maximum number of columns to draw, and of dots per column."""

Interval = tuple[float, float] | None


class Score(NamedTuple):
    """Holds how well numbers are predicted, in their own units; NaN where undefined.

    The 95 % intervals are percentiles of a bootstrap over rows; None for a single row.
    """

    name: str
    n: int
    rmse: float
    rmse_interval: Interval
    mae: float
    r2: float
    r2_interval: Interval


class Judged(NamedTuple):
    """Holds predictions: numbers ``[n, d]`` and, with variance, their standard deviations."""

    predicted: np.ndarray
    std: np.ndarray | None


def judge(ladder: Predictor, x: data.Examples, name: str = "x") -> Judged:
    """Predicts numbers, part by part; messages call the examples ``name``."""
    parts = [(part.predictions, part.uncertainty) for part in ladder.parts(x, name)]
    std = [part for _, part in parts if part is not None]
    predicted = np.concatenate([part for part, _ in parts])
    return Judged(predicted, np.concatenate(std) if std else None)


def scores(y: np.ndarray, predicted: np.ndarray, names: Sequence[str]) -> list[Score]:
    """Computes the scores of all numbers, if a row has several, and of each column.

    R2 of several columns is their mean.

    Args:
      y: true numbers ``[n, d]``, NaN where unknown.
      predicted: predicted numbers ``[n, d]``.
      names: names of the columns.
    """
    known = ~np.isnan(y)
    centred = np.where(known, y - np.nanmean(np.where(known.any(0), y, 0), 0), 0)
    residual = np.where(known, y - predicted, 0)
    parts = np.stack([known, residual**2, abs(residual), centred, centred**2])  # [5, n, d]
    n, rng = len(y), np.random.default_rng(0)
    drawn = [
        np.tensordot(np.bincount(rng.integers(n, size=n), minlength=n), parts, (0, 1))
        for _ in range(RESAMPLES if n > 1 else 0)
    ]
    chosen = [("all", list(range(len(names))))] * (len(names) > 1)
    each = []
    for name, columns in [*chosen, *((name, [i]) for i, name in enumerate(names))]:
        rmse, mae, r2 = _figures(parts.sum(1)[:, columns])
        resampled = np.array([_figures(sums[:, columns]) for sums in drawn])
        ends = [_ends(resampled[:, i]) if len(resampled) else None for i in (0, 2)]
        count = int(known[:, columns].sum())
        each.append(Score(name, count, rmse, ends[0], mae, r2, ends[1]))
    return each


def _figures(sums: np.ndarray) -> tuple[float, float, float]:
    """Computes RMSE, MAE and R2 from sums ``[5, columns]``."""
    n, squared, absolute, total, squares = sums
    spread = squares - total**2 / np.maximum(n, 1)
    varies = spread > 1e-12 * squares
    r2 = float((1 - squared[varies] / spread[varies]).mean()) if varies.any() else math.nan
    count = n.sum()
    if not count:
        return math.nan, math.nan, r2
    return math.sqrt(squared.sum() / count), float(absolute.sum() / count), r2


def _ends(values: np.ndarray) -> Interval:
    """Returns the 2.5th and 97.5th percentiles of the values that are not NaN."""
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def within(y: np.ndarray, judged: Judged) -> float | None:
    """Computes the percentage of numbers within 1.96 standard deviations of the prediction."""
    if judged.std is None:
        return None
    known = ~np.isnan(y)
    near = abs(y - judged.predicted) <= 1.96 * judged.std
    return 100 * float(near[known].mean())


def sections(findings: Findings) -> tuple[dict[str, Any], dict[str, list[Picture]]]:
    """Computes the content and the plots of ``numbers.html``."""
    names = findings.predictor.class_names
    judged = judge(findings.predictor, findings.x)
    content = {
        "scores": scores(findings.y, judged.predicted, names),
        "within": within(findings.y, judged),
        "resamples": RESAMPLES,
    }
    pictures = []
    for i in np.flatnonzero((~np.isnan(findings.y)).any(0))[:_COLUMNS].tolist():
        name, known = names[i], np.flatnonzero(~np.isnan(findings.y[:, i]))
        rows = known[np.unique(np.linspace(0, len(known) - 1, _DOTS).astype(int))]
        std = None if judged.std is None else judged.std[rows, i]
        suffix = f"_{i}" if len(names) > 1 else ""
        columns = findings.y[rows, i], judged.predicted[rows, i], std
        pictures += [_over_true(*columns, name, suffix), _residuals(*columns[:2], name, suffix)]
    return content, {"scatter": pictures}


def _over_true(
    y: np.ndarray, predicted: np.ndarray, std: np.ndarray | None, name: str, suffix: str
) -> Picture:
    """Draws predicted over true numbers, with standard deviations if there are any."""

    def draw(axes: Axes) -> None:
        ends = min(y.min(), predicted.min()), max(y.max(), predicted.max())
        axes.plot(ends, ends, ":", color="#999999")
        if std is not None:
            axes.errorbar(y, predicted, std, fmt="none", ecolor="C0", alpha=0.3, lw=0.8)
        axes.plot(y, predicted, "o", color="C0", ms=3, alpha=0.5, mew=0)
        shown = figures.label(name)
        axes.set(xlabel=f"true {shown}", ylabel=f"predicted {shown}")

    caption = f"{name}: predicted over true; dotted: equal"
    caption += "; bars: a standard deviation to each side" if std is not None else ""
    alt = f"{name}: predicted over true numbers of {len(y)} examples"
    return figures.plot(draw, f"predicted{suffix}", alt, caption, size=(4.4, 4.2))


def _residuals(y: np.ndarray, predicted: np.ndarray, name: str, suffix: str) -> Picture:
    """Draws residuals, true minus predicted, over the predicted numbers."""

    def draw(axes: Axes) -> None:
        axes.axhline(0, ls=":", color="#999999")
        axes.plot(predicted, y - predicted, "o", color="C0", ms=3, alpha=0.5, mew=0)
        axes.set(xlabel=f"predicted {figures.label(name)}", ylabel="true minus predicted")

    caption = f"{name}: residuals, true minus predicted"
    alt = f"{name}: residuals of {len(y)} examples over the predicted numbers"
    return figures.plot(draw, f"residuals{suffix}", alt, caption, size=(4.4, 4.2))
