"""Choice of the examples that keep their label, and of those held out for validation.

Labelled splits have names, ``dataset.SEED@LABELS``, so that programs can be compared.
Those of MNIST, Fashion-MNIST and CIFAR-10 are files beside this module:
``label_splits/DATASET.npz`` holds, for each split, an array ``SEED@LABELS`` of row numbers
within the official training set, and the SHA-256 of the labels in official order.
The arrays are what ``choose_labeled`` returns; any other split is computed by it or, if the
labels are not classes, by ``choose_uniform``.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import re
from typing import NamedTuple

import numpy as np

from ladder_jax.data import labels as kinds
from ladder_jax.errors import DataError

CHOICES = ("balanced", "stratified", "uniform")
"""Ways to choose the labelled examples."""

FOLDER = importlib.resources.files("ladder_jax.data") / "label_splits"
"""Folder of the split files."""

CHECKSUM = "labels_sha256"
"""Name of the labels' checksum in a split file."""


def choose_labeled(
    y: np.ndarray, labels: int, seed: int, classes: int, choice: str = "balanced"
) -> np.ndarray:
    """Chooses the rows that keep their label, among those that have one.

    As in the paper's program, the rows are shuffled with the seed and the first ones
    of each class are taken: ``labels / classes`` per class ("balanced"), or in
    proportion to its share of the examples ("stratified"). "uniform" takes the first
    rows regardless of class.

    Args:
      y: classes of all training examples ``[n]``; -1 marks an unlabelled row.
      labels: number of rows to choose; 0 for all that have a label.
      seed: seed of the shuffle.
      classes: number of classes.
      choice: how to choose, one of ``CHOICES``.

    Returns:
      Sorted row numbers, int64 ``[labels]``.

    Raises:
      DataError: there are too few labelled rows, overall or of a class, or ``labels``
        cannot be shared among the classes.

    Examples:
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
    counts = np.bincount(y[order], minlength=classes)
    if not counts.all():
        raise DataError(
            f"labels={labels}: no example of class {counts.argmin()} has a label; label some, or "
            "give label_choice='uniform'."
        )
    chosen = []
    for label, wanted in enumerate(_shares(counts, labels, choice)):
        rows = order[y[order] == label][:wanted]
        if len(rows) < wanted:
            raise DataError(
                f"labels={labels} wants {wanted} examples of class {label}, "
                f"but there are {len(rows)}; give fewer labels."
            )
        chosen.append(rows)
    return np.sort(np.concatenate(chosen))


def choose_uniform(y: np.ndarray, labels: int, seed: int, kind: str) -> np.ndarray:
    """Chooses the rows that keep their labels, among those that have any, of whatever kind.

    The rows are shuffled with the seed as in ``choose_labeled``, and the first ones are taken.
    If these have no pixel of some class, or one of several labels is never 1 in them, a row
    that has it replaces one that is not needed, if such rows exist.

    Args:
      y: labels of all training examples, as in ``Dataset``.
      labels: number of rows to choose; 0 for all that have a label.
      seed: seed of the shuffle.
      kind: kind of the labels, one of ``data.KINDS``.

    Returns:
      Sorted row numbers, int64 ``[labels]``.

    Raises:
      DataError: there are too few labelled rows, or nothing can be learned from those chosen.

    Examples:
      >>> several = np.array([[0, 1], [0, 1], [1, 0], [0, 1], [-1, -1]])
      >>> [choose_uniform(several, 2, seed, "several").tolist() for seed in (0, 1, 2)]
      [[2, 3], [0, 2], [2, 3]]
    """
    order = np.random.default_rng(seed).permutation(len(y))
    order = order[kinds.has_label(y[order], kind)]
    if labels > len(order):
        raise DataError(f"labels={labels}, but {len(order)} examples have one; give fewer.")
    if labels:
        order = order[_covering(_present(y[order], kind), labels)[:labels]]
    if kind == "numbers":
        kinds.check_varies(f"labels={labels}, seed={seed}", y[order])
    return np.sort(order)


def _present(y: np.ndarray, kind: str) -> np.ndarray:
    """Returns which classes, or which labels equal to 1, each row has, bool ``[n, classes]``."""
    if kind == "several":
        return np.asarray(y == 1)
    classes = np.unique(y[y >= 0]).tolist() if kind != "numbers" else []
    columns = [(y == label).reshape(len(y), -1).any(1) for label in classes]
    return np.stack([np.zeros(len(y), bool), *columns], 1)  # at least one column


def _covering(present: np.ndarray, size: int) -> np.ndarray:
    """Orders rows so that the first ``size`` have each class, if swapping single rows allows it."""
    order = np.arange(len(present))
    for label in np.flatnonzero(present.any(0)):
        counts = present[order[:size]].sum(0)
        spare = np.flatnonzero((counts - present[order[:size]] >= np.minimum(counts, 1)).all(1))
        if not counts[label] and spare.size:
            other = size + np.flatnonzero(present[order[size:], label])[0]
            order[[spare[-1], other]] = order[[other, spare[-1]]]
    return order


def _shares(counts: np.ndarray, labels: int, choice: str) -> np.ndarray:
    """Returns the number of labels per class: equal, or its share of the examples.

    Labels left over by rounding down go to the largest remainders.
    """
    classes, remainder = len(counts), labels % len(counts)
    if choice == "balanced" and labels < classes:
        raise DataError(f"labels={labels}: give at least one for each of the {classes} classes.")
    if choice == "balanced" and remainder:
        raise DataError(
            f"labels={labels} cannot be shared equally by {classes} classes; "
            f"give {labels - remainder} or {labels - remainder + classes}."
        )
    if choice == "balanced":
        return np.full(classes, labels // classes)
    exact = labels * counts / counts.sum()
    shares: np.ndarray = np.floor(exact).astype(int)
    largest_first = np.argsort(shares - exact, kind="stable")
    shares[largest_first[: labels - shares.sum()]] += 1
    if not shares.all():
        raise DataError(
            f"labels={labels}: class {shares.argmin()} would get none, as it is rare; give more, "
            "or a balanced choice."
        )
    return shares


def hold_out(
    n: int, size: int, seed: int, y: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Splits a validation set off the training set.

    With y, the classes of all n examples, each class keeps at least one example for training.
    Labels of other kinds give a row no class, and are held out without y.

    Returns:
      ``(rows kept for training, rows held out)``, sorted, int64.

    Raises:
      DataError: too few examples would be left to train on.

    Examples:
      >>> kept, held_out = hold_out(5, 2, seed=0)
      >>> kept.tolist(), held_out.tolist()
      ([1, 2, 4], [0, 3])
      >>> hold_out(5, 2, seed=0, y=np.array([0, 0, 0, 1, 0]))[1].tolist()
      [0, 1]
    """
    minimum = 1 if y is None else len(np.unique(y))
    if not 0 <= size <= n - minimum:
        why = f" of {minimum} classes, each of which keeps one for training" if minimum > 1 else ""
        raise DataError(
            f"validation={size} of {n} labelled examples{why}; give 0 to {max(n - minimum, 0)}."
        )
    order = np.random.default_rng([seed, n]).permutation(n)
    if y is not None:  # swap rows so that each class has one past size
        classes, first = np.unique(y[order[size:]], return_index=True)
        spare = np.setdiff1d(np.arange(n - size), first) + size
        lost = np.setdiff1d(y[order[:size]], classes)
        for place, label in zip(spare, lost, strict=False):  # there are enough spare rows
            last = np.flatnonzero(y[order[:size]] == label)[-1]
            order[[last, place]] = order[[place, last]]
    return np.sort(order[size:]), np.sort(order[:size])


class SplitName(NamedTuple):
    """Holds the parts of a split's name."""

    dataset: str
    seed: int
    labels: int


def parse_split(name: str) -> SplitName:
    """Returns the parts of a split's name; a ``DataError`` says what form it must have.

    Examples:
      >>> parse_split("mnist.3@100")
      SplitName(dataset='mnist', seed=3, labels=100)
    """
    match = re.fullmatch(r"(.+)\.([0-9]{1,9})@([1-9][0-9]{0,8})", name)
    if match is None:
        raise DataError(f"split {name!r}; give dataset.SEED@LABELS, e.g. mnist.3@100.")
    return SplitName(match[1], int(match[2]), int(match[3]))


def labels_checksum(y: np.ndarray) -> str:
    """Returns the SHA-256 of labels in order, one byte each."""
    return hashlib.sha256(np.asarray(y).astype(np.uint8).tobytes()).hexdigest()


def named_split(name: str, y: np.ndarray, classes: int, kind: str = "classes") -> np.ndarray:
    """Returns the labelled rows of a named split.

    y holds the classes of all training examples, in the official order, or labels of
    another kind.

    Raises:
      DataError: the name is malformed, or the labels are not those that the stored
        split was made for.

    Examples:
      >>> named_split("mine.0@2", np.array([0, 1, 0, 1, 0]), classes=2).tolist()
      [2, 3]
    """
    split = parse_split(name)
    if kind != "classes":
        return choose_uniform(y, split.labels, split.seed, kind)
    file, key = FOLDER / f"{split.dataset}.npz", f"{split.seed}@{split.labels}"
    if file.is_file():
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
            if str(arrays[CHECKSUM]) != labels_checksum(y):
                raise DataError(
                    f"split {name}: these {split.dataset} labels are not the official ones in the "
                    "official order (another program prepared them?); prepare them by "
                    f"ladder_jax.data.prepare({split.dataset!r})."
                )
            if key in arrays:
                return np.asarray(arrays[key], np.int64)
    return choose_labeled(y, split.labels, split.seed, classes)
