"""Comparison of classifiers by their ranks over many sets: Friedman, Nemenyi, and the diagram.

References:
  J. Demšar, Statistical Comparisons of Classifiers over Multiple Data Sets, 2006:
  https://jmlr.org/papers/v7/demsar06a.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from ladder_jax.report import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEVEL = 0.05
"""Significance level."""
_DARK: Any = {"color": "black", "lw": 0.8}


def ranks_of(errors: np.ndarray) -> np.ndarray:
    """Returns each method's rank on each set, 1 for the least error; ties share their mean.

    Args:
      errors: ``[sets, methods]``.

    Examples:
      >>> ranks_of(np.array([[3.0, 1.0, 2.0], [5.0, 5.0, 7.0]])).tolist()
      [[3.0, 1.0, 2.0], [1.5, 1.5, 3.0]]
    """
    ranks: np.ndarray = stats.rankdata(np.round(errors, 9), axis=1)  # equal means tie
    return ranks


def friedman(errors: np.ndarray) -> float | None:
    """Returns the p-value of Friedman's test; None with too few methods or sets.

    Args:
      errors: ``[sets, methods]``.
    """
    sets, methods = errors.shape
    if sets < 2 or methods < 3:
        return None
    ranks = ranks_of(errors)
    if np.ptp(ranks, axis=1).max() == 0:
        return 1.0
    return float(stats.friedmanchisquare(*ranks.T).pvalue)


def critical_distance(methods: int, sets: int) -> float:
    """Returns the least difference of mean ranks that is significant (Nemenyi's test).

    Examples:
      >>> round(critical_distance(methods=4, sets=14), 2)
      1.25
    """
    quantile = stats.studentized_range.ppf(1 - LEVEL, methods, np.inf) / np.sqrt(2)
    return float(quantile * np.sqrt(methods * (methods + 1) / (6 * sets)))


def alike(ranks: Sequence[float], distance: float) -> list[tuple[int, int]]:
    """Returns the longest runs of methods that do not differ, as first and last place.

    Args:
      ranks: mean ranks, ascending.
      distance: critical distance.

    Examples:
      >>> alike([1.0, 1.5, 2.2, 4.0], 1.0)
      [(0, 1), (1, 2)]
    """
    runs: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = int(np.searchsorted(ranks, rank + distance, side="right")) - 1
        if last > first and (not runs or last > runs[-1][1]):
            runs.append((first, last))
    return runs


def _draw(axes: Axes, title: str, top: float, ranks: Mapping[str, float], distance: float) -> None:
    """Draws one diagram with its axis at height ``top``; better methods are on the left."""
    ordered = sorted(ranks.items(), key=lambda item: item[1])
    n = len(ordered)
    axes.plot([1, n], [top, top], **_DARK)
    for tick in range(1, n + 1):
        axes.plot([tick, tick], [top, top + 0.15], **_DARK)
        axes.text(tick, top + 0.2, str(tick), ha="center", va="bottom")
    axes.plot([1, 1 + distance], [top + 1.0] * 2, **_DARK, marker="|")
    axes.text(1, top + 1.15, f"{title}; critical distance {distance:.2f}", va="bottom")
    below = top
    for first, last in alike([rank for _, rank in ordered], distance):
        below -= 0.15
        ends = ordered[first][1] - 0.04, ordered[last][1] + 0.04
        axes.plot(ends, [below, below], color="C0", lw=3)
    for place, (name, rank) in enumerate(ordered):
        left = place < (n + 1) // 2
        height = below - 0.5 * (place + 1 if left else n - place)
        edge, label_x = (0.8, 0.7) if left else (n + 0.2, n + 0.3)
        axes.plot([rank, rank, edge], [top, height, height], **_DARK)
        side = "right" if left else "left"
        axes.text(label_x, height, f"{name} {rank:.2f}", ha=side, va="center")


def diagram(
    ranks: Mapping[str, Mapping[str, float]], distances: Mapping[str, float]
) -> figures.Picture:
    """Draws critical-difference diagrams, one below the other.

    Args:
      ranks: mean ranks by method, for each diagram's title.
      distances: critical distances by title.

    Returns:
      An SVG picture, in which a bar joins methods that do not differ significantly.
    """
    methods = max(map(len, ranks.values()))
    height = 3.2 + 0.25 * methods

    def draw(axes: Axes) -> None:
        for place, (title, of_methods) in enumerate(ranks.items()):
            _draw(axes, title, -height * place, of_methods, distances[title])
        axes.set_xlim(1 - 0.5 * methods, 1.5 * methods)
        axes.set_axis_off()

    alt = "; ".join(
        f"{title}: " + ", ".join(f"{name} {rank:.2f}" for name, rank in of_methods.items())
        for title, of_methods in ranks.items()
    )
    size = 7.0, 0.35 * height * len(ranks)
    return figures.plot(draw, "ranks", f"mean ranks; {alt}", size=size)
