"""The figures that a report shows: intervals, confusions, a map of features."""

from __future__ import annotations

import math

import numpy as np

_COMPONENTS = 50
"""Principal components that t-SNE gets, as its authors advise."""


def wilson(wrong: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of an error rate, in percent.

    ::

        (p + z^2 / 2n  +-  z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)

    Args:
      wrong: how many examples are classified wrongly.
      n: of how many.

    Returns:
      Its ends; for no examples the whole range.

    Example:
      >>> [round(end, 2) for end in wilson(5, 100)]
      [2.15, 11.18]
    """
    if n == 0:
        return 0.0, 100.0
    z, p = 1.959963984540054, wrong / n
    middle = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 100 / (1 + z * z / n)
    return max(0.0, scale * (middle - half)), min(100.0, scale * (middle + half))


def confusion(y: np.ndarray, found: np.ndarray, classes: int) -> np.ndarray:
    """How many examples of each class were taken for each.

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
    counts = np.bincount(classes * np.asarray(y) + found, minlength=classes**2)
    return counts.reshape(classes, classes)


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
