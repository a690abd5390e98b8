"""Which examples keep their label, and which are held out for validation."""

from __future__ import annotations

import numpy as np

from ladder_jax.data.base import DataError


def choose_labeled(y: np.ndarray, labels: int, seed: int, classes: int) -> np.ndarray:
    """The rows that keep their label: the same number of each class.

    As in the paper's program: the rows are shuffled with the seed, and the first
    ``labels / classes`` of each class are taken.

    Args:
      y: ``[n]``, the classes of all training examples.
      labels: how many labelled examples to choose; 0 for all.
      seed: of the shuffle.
      classes: how many there are.

    Returns:
      Sorted row numbers, int64 ``[labels]``.

    Raises:
      DataError: there cannot be that many, or not the same number of each class.

    Example:
      >>> import numpy as np
      >>> choose_labeled(np.array([0, 1, 0, 1, 0]), 2, seed=0, classes=2).tolist()
      [2, 3]
    """
    if labels == 0:
        return np.arange(len(y))
    if labels < classes:
        raise DataError(f"labels={labels}: give at least one for each of the {classes} classes.")
    if labels % classes:
        raise DataError(
            f"labels={labels} cannot be shared equally by {classes} classes; "
            f"give {labels - labels % classes} or {labels - labels % classes + classes}."
        )
    order = np.random.default_rng(seed).permutation(len(y))
    chosen = []
    for label in range(classes):
        rows = order[y[order] == label][: labels // classes]
        if len(rows) < labels // classes:
            raise DataError(
                f"labels={labels} wants {labels // classes} examples of class {label}, "
                f"but there are {len(rows)}; give fewer labels."
            )
        chosen.append(rows)
    return np.sort(np.concatenate(chosen))


def hold_out(n: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A validation split taken out of the training set.

    Args:
      n: training examples.
      size: of the validation split; 0 for none.
      seed: of the shuffle.

    Returns:
      ``(rows kept for training, rows held out)``, sorted, int64.

    Raises:
      DataError: nothing would be left to train on.

    Example:
      >>> kept, held_out = hold_out(5, 2, seed=0)
      >>> kept.tolist(), held_out.tolist()
      ([1, 2, 4], [0, 3])
    """
    if not 0 <= size < n:
        raise DataError(f"validation={size} of {n} training examples; give 0 to {n - 1}.")
    order = np.random.default_rng([seed, n]).permutation(n)
    return np.sort(order[size:]), np.sort(order[:size])
