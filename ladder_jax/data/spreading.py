"""Labels spread from labelled rows to their neighbours, for more labels than there are."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from ladder_jax.data.labels import NO_LABEL

_ALPHA, _ROUNDS = 0.99, 100  # what a row takes from its neighbours in each of these rounds


def spread_labels(
    features: np.ndarray, labels: np.ndarray, share: float, neighbors: int = 10
) -> np.ndarray:
    """Labels the rows of which a graph of nearest neighbours is surest.

    Two rows are joined if one is among the nearest ``neighbors`` of the other; W is 1 for joined
    rows and 0 for others. In each of 100 rounds, a row takes over what its neighbours have::

        F <- 0.99 S F + 0.01 Y,    S = D^(-1/2) W D^(-1/2),    D = diag(sum_j W_ij)

    starting from F = Y, the given labels, with one column per class. A row belongs to the class
    with its largest part of F; the more this part exceeds the second largest, as shares of the
    row's sum, the surer it is. Of the rows of each class, the surest get its label.

    Args:
      features: features of all rows ``[n, d]``, such as a ladder's activations.
      labels: classes ``[n]``, -1 for rows without a label.
      share: share of the rows of each class that have a label afterwards, from 0 to 1. Given
        labels are kept, even if they are more.
      neighbors: number of neighbours of each row.

    Returns:
      Classes ``[n]``, -1 for rows that still have no label.

    Raises:
      ValueError: a shape, a label or a number is wrong.

    Examples:
      >>> features = np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]])
      >>> spread_labels(features, np.array([0, -1, -1, -1, 1, -1]), share=1.0, neighbors=2)
      array([0, 0, 0, 1, 1, 1])

    References:
      - Zhou, Bousquet, Lal, Weston and Schoelkopf, *Learning with Local and Global Consistency*,
        2003. https://papers.nips.cc/paper/2506-learning-with-local-and-global-consistency
    """
    features, labels = _checked(features, labels, share, neighbors)
    known = np.flatnonzero(labels != NO_LABEL)
    classes, columns = np.unique(labels[known], return_inverse=True)
    given = np.zeros((len(labels), len(classes)))
    given[known, columns] = 1
    parts = _spread(features, given, min(neighbors, len(labels) - 1))
    parts /= np.maximum(parts.sum(1, keepdims=True), np.finfo(float).tiny)  # 0 if not reached
    ordered = np.sort(parts, 1)
    margin = ordered[:, -1] - (ordered[:, -2] if parts.shape[1] > 1 else 0)
    nearest = np.where(parts.any(1), classes[parts.argmax(1)], NO_LABEL)
    out = np.full_like(labels, NO_LABEL)
    for of_class in classes:
        rows = np.flatnonzero(nearest == of_class)
        surest = rows[np.argsort(-margin[rows], kind="stable")]
        out[surest[: round(share * len(rows))]] = of_class
    out[known] = labels[known]
    return out


def _checked(
    features: np.ndarray, labels: np.ndarray, share: float, neighbors: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns features and labels as arrays, with a ValueError for any that are wrong."""
    features, labels = np.asarray(features), np.asarray(labels)
    fits = features.ndim == 2 and len(features) > 1 and features.dtype.kind in "biuf"
    if not (fits and np.isfinite(features).all()):
        raise ValueError(
            f"features has shape {features.shape} and dtype {features.dtype}; give [n, d] finite "
            "numbers of two or more rows."
        )
    if labels.shape != features.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"labels has shape {labels.shape} and dtype {labels.dtype}; give one integer class for "
            f"each of {len(features)} rows, {NO_LABEL} for none."
        )
    if labels.min() < NO_LABEL or labels.max() == NO_LABEL:
        raise ValueError(
            f"labels are from {labels.min()} to {labels.max()}; give classes, 0 or more, for some "
            f"rows and {NO_LABEL} for the others."
        )
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}; give a number from 0 to 1.")
    if neighbors < 1:
        raise ValueError(f"neighbors is {neighbors}; give 1 or more.")
    return features, labels.astype(np.int64)


def _spread(features: np.ndarray, given: np.ndarray, neighbors: int) -> np.ndarray:
    """Returns F after all rounds, starting from Y."""
    from sklearn.neighbors import kneighbors_graph  # a slow import

    nearest = kneighbors_graph(features, neighbors)
    joined = nearest.maximum(nearest.T)
    scale = sparse.diags_array(1 / np.sqrt(np.ravel(joined.sum(1))))
    taken, parts = scale @ joined @ scale, given
    for _ in range(_ROUNDS):
        parts = _ALPHA * (taken @ parts) + (1 - _ALPHA) * given
    return parts
