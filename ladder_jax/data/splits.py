"""Which examples keep their label, and which are held out for validation."""

from __future__ import annotations

import numpy as np

from ladder_jax.data.base import DataError

CHOICES = ("balanced", "stratified", "uniform")
"""How labelled examples may be chosen."""


def choose_labeled(
    y: np.ndarray, labels: int, seed: int, classes: int, choice: str = "balanced"
) -> np.ndarray:
    """The rows that keep their label, of those that have one.

    As in the paper's program the rows are shuffled with the seed, and the first
    of each class are taken: ``labels / classes`` of each ("balanced"), or as many
    as its share of the examples ("stratified"). "uniform" takes the first of all,
    whatever their class.

    Args:
      y: ``[n]``, the classes of all training examples; -1 where there is none.
      labels: how many labelled examples to choose; 0 for all that have a label.
      seed: of the shuffle.
      classes: how many there are.
      choice: one of ``CHOICES``.

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
        return np.flatnonzero(y >= 0)
    order = np.random.default_rng(seed).permutation(len(y))
    order = order[y[order] >= 0]
    if labels > len(order):
        raise DataError(f"labels={labels}, but {len(order)} examples have one; give fewer.")
    if choice == "uniform":
        return np.sort(order[:labels])
    share = _balanced if choice == "balanced" else _stratified
    counts = np.bincount(y[order], minlength=classes)
    if not counts.all():
        raise DataError(
            f"labels={labels}: no example of class {counts.argmin()} has a label; label some, or "
            "give label_choice='uniform'."
        )
    chosen = []
    for label, wanted in enumerate(share(counts, labels)):
        rows = order[y[order] == label][:wanted]
        if len(rows) < wanted:
            raise DataError(
                f"labels={labels} wants {wanted} examples of class {label}, "
                f"but there are {len(rows)}; give fewer labels."
            )
        chosen.append(rows)
    return np.sort(np.concatenate(chosen))


def _balanced(counts: np.ndarray, labels: int) -> list[int]:
    """The same number of labels for each class."""
    classes = len(counts)
    if labels < classes:
        raise DataError(f"labels={labels}: give at least one for each of the {classes} classes.")
    if labels % classes:
        raise DataError(
            f"labels={labels} cannot be shared equally by {classes} classes; "
            f"give {labels - labels % classes} or {labels - labels % classes + classes}."
        )
    return [labels // classes] * classes


def _stratified(counts: np.ndarray, labels: int) -> list[int]:
    """Each class its share of the labels, what rounding leaves to the largest remainders."""
    exact = labels * counts / counts.sum()
    shares = np.floor(exact).astype(int)
    largest_first = np.argsort(shares - exact, kind="stable")
    shares[largest_first[: labels - shares.sum()]] += 1
    if not shares.all():
        raise DataError(
            f"labels={labels}: class {shares.argmin()} would get none, so rare is it; give more, "
            "or a balanced choice."
        )
    return [int(share) for share in shares]


def hold_out(
    n: int, size: int, seed: int, y: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Takes a validation split out of the training set.

    Args:
      n: training examples.
      size: of the validation split; 0 for none.
      seed: of the shuffle.
      y: ``[n]``, their classes, each of which keeps an example for training; None:
        they do not matter.

    Returns:
      ``(rows kept for training, rows held out)``, sorted, int64.

    Raises:
      DataError: too little would be left to train on.

    Example:
      >>> kept, held_out = hold_out(5, 2, seed=0)
      >>> kept.tolist(), held_out.tolist()
      ([1, 2, 4], [0, 3])
      >>> hold_out(5, 2, seed=0, y=np.array([0, 0, 0, 1, 0]))[1].tolist()
      [0, 1]
    """
    least = 1 if y is None else len(np.unique(y))
    if not 0 <= size <= n - least:
        why = f" of {least} classes, each of which keeps one for training" if least > 1 else ""
        raise DataError(
            f"validation={size} of {n} labelled examples{why}; give 0 to {max(n - least, 0)}."
        )
    order = np.random.default_rng([seed, n]).permutation(n)
    if y is not None:
        order = _keep_each_class(order, y, size)
    return np.sort(order[size:]), np.sort(order[:size])


def _keep_each_class(order: np.ndarray, y: np.ndarray, size: int) -> np.ndarray:
    """The order, rows past ``size`` exchanged so that each class has one there."""
    order = order.copy()
    classes, first = np.unique(y[order[size:]], return_index=True)
    spare = np.setdiff1d(np.arange(len(order) - size), first) + size
    lost = np.setdiff1d(y[order[:size]], classes)
    for place, label in zip(spare, lost, strict=False):  # enough are spare
        own = np.flatnonzero(y[order[:size]] == label)[-1]
        order[[own, place]] = order[[place, own]]
    return order
