"""The figures that a report shows: errors by class, calibration, intervals, a map of features."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

BINS = 15
"""Of equal width, that calibration is measured in."""
_COMPONENTS = 50
"""Principal components that t-SNE gets, as its authors advise."""


def wilson(wrong: int, n: int) -> tuple[float, float]:
    """Computes Wilson's 95 % interval of an error rate, in percent.

    Args:
      wrong: how many examples are classified wrongly.
      n: of how many.

    Returns:
      Its ends; for no examples the whole range.

    Example:
      >>> [round(end, 2) for end in wilson(5, 100)]
      [2.15, 11.18]
    """
    from scipy.stats import binomtest

    if n == 0:
        return 0.0, 100.0
    ends = binomtest(wrong, n).proportion_ci(method="wilson")
    return 100 * float(ends.low), 100 * float(ends.high)


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Computes Student's 95 % interval of a mean; None of fewer than two values.

    Example:
      >>> [round(end, 2) for end in mean_interval([1.0, 2.0, 3.0])]
      [-0.48, 4.48]
    """
    from scipy import stats

    if len(values) < 2:
        return None
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return float(np.mean(values)) - half, float(np.mean(values)) + half


def over_seeds(values: Sequence[float]) -> dict[str, float | None]:
    """Computes mean, standard deviation (None of a single value), median, min and max.

    Example:
      >>> over_seeds([1.0, 3.0, 2.0])["median"]
      2.0
    """
    return {
        "mean": statistics.fmean(values),
        "sd": statistics.stdev(values) if len(values) > 1 else None,
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
    }


class Score(NamedTuple):
    """How well a class, or all of them, are recognised.

    Attributes:
      name: of the class, or of all examples.
      wrong: how many examples.
      n: of how many.
      precision: in percent; of all examples, like the next two, the mean over the classes
        that occur. NaN where it is not defined, e.g. of a class that nothing is taken for.
      recall: in percent.
      f1: in percent.
    """

    name: str
    wrong: int
    n: int
    precision: float = math.nan
    recall: float = math.nan
    f1: float = math.nan

    @property
    def error(self) -> float:
        """In percent; NaN of no examples."""
        return 100 * self.wrong / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's, of 95 %, in percent."""
        return wilson(self.wrong, self.n)


def scores(
    y: np.ndarray, found: np.ndarray, names: Sequence[str], every: str = "all"
) -> list[Score]:
    """Scores all examples, and then those of each class.

    Args:
      y: ``[n]``, the true classes.
      found: ``[n]``, what they were taken for.
      names: of the classes.
      every: name of all examples.

    Example:
      >>> [(s.wrong, s.n, s.precision) for s in scores(np.array([0, 0, 1]), np.ones(3, int), "ab")]
      [(2, 3, 16.666666666666664), (2, 2, nan), (0, 1, 33.33333333333333)]
    """
    from sklearn.metrics import precision_recall_fscore_support

    counts = confusion(y, found, len(names))
    # As scikit-learn has it, a class that nothing is taken for counts as 0 in the mean.
    macro = precision_recall_fscore_support(y, found, average="macro", zero_division=0)[:3]
    each = precision_recall_fscore_support(
        y, found, labels=range(len(names)), zero_division=np.nan
    )[:3]
    classes = zip(names, counts.sum(1) - counts.diagonal(), counts.sum(1), *each, strict=True)
    return [
        Score(every, int((found != y).sum()), len(y), *(100 * float(value) for value in macro)),
        *(
            Score(name, int(wrong), int(n), *(100 * float(value) for value in values))
            for name, wrong, n, *values in classes
        ),
    ]


class Calibration(NamedTuple):
    """How often predictions of about the same probability are right, bin by bin.

    Attributes:
      confidence: ``[bins that occur]``, the mean probability of the class taken for.
      accuracy: the part that is right.
      n: how many examples.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    n: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error (ECE), in percent."""
        gaps = np.abs(self.accuracy - self.confidence)
        return 100 * float(np.average(gaps, weights=self.n))


def calibration(right: np.ndarray, confidence: np.ndarray) -> Calibration:
    """Compares probabilities with how often they are right, in ``BINS`` bins from 0 to 1.

    Args:
      right: ``[n]``, whether the most probable class is the true one.
      confidence: ``[n]``, its probability.

    Example:
      >>> calibration(np.array([True, True, False, True]), np.full(4, 0.5)).error
      25.0
    """
    from sklearn.calibration import calibration_curve

    accuracy, mean = calibration_curve(right.astype(int), confidence, n_bins=BINS)
    bins = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], confidence)
    n = np.bincount(bins)
    return Calibration(mean, accuracy, n[n > 0])


def confusion(y: np.ndarray, found: np.ndarray, classes: int) -> np.ndarray:
    """Counts how many examples of each class were taken for each.

    Args:
      y: ``[n]``, the true classes.
      found: ``[n]``, what they were taken for.
      classes: how many there are.

    Returns:
      ``[classes, classes]``, a row for each true class.

    Example:
      >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
      [[1, 1], [0, 1]]
    """
    from sklearn.metrics import confusion_matrix

    counts: np.ndarray = confusion_matrix(y, found, labels=range(classes))
    return counts


def worst(y: np.ndarray, probabilities: np.ndarray, most: int) -> np.ndarray:
    """The rows that were taken for a wrong class, the surest first.

    Args:
      y: ``[n]``, the true classes.
      probabilities: ``[n, classes]``.
      most: how many to give.

    Example:
      >>> worst(np.array([0, 1, 1]), np.array([[0.4, 0.6], [0.9, 0.1], [0, 1]]), 5).tolist()
      [1, 0]
    """
    wrong = np.flatnonzero(probabilities.argmax(1) != y)
    order = np.argsort(-probabilities[wrong].max(1), kind="stable")
    return wrong[order][:most]


def flat_map(features: np.ndarray) -> tuple[np.ndarray, str]:
    """Features in two dimensions, near what is near, and by which method.

    Args:
      features: ``[n, ...]``.

    Returns:
      ``[n, 2]``, and the method in words: t-SNE, or principal components where it
      has too little to go by.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    rows = features.reshape(len(features), -1).astype(float)
    left, scale, _ = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    components = (left * scale)[:, :_COMPONENTS]
    if len(rows) < 50 or (scale > 1e-6 * scale[0]).sum() < 3:
        padded = np.pad(components, ((0, 0), (0, 1)))  # of a single feature, a line
        return padded[:, :2], "their two principal components"
    perplexity = min(30, len(rows) // 4)
    # So few rows gain nothing from threads, which wait for each other where cores are busy.
    with threadpool_limits(1):
        found: np.ndarray = TSNE(perplexity=perplexity, random_state=0).fit_transform(components)
    return found, f"t-SNE of perplexity {perplexity}"
