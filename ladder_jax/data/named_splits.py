"""Labelled splits by name, ``dataset.SEED@LABELS``, so that programs can be compared.

The splits of MNIST, Fashion-MNIST and CIFAR-10 are files beside this module:
``label_splits/DATASET.npz`` holds an array ``SEED@LABELS`` of row numbers within
the official training set for each, and the SHA-256 of the labels in that order.
They hold what ``choose_labeled`` gives; any other name is computed by it.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ladder_jax.data.base import DataError
from ladder_jax.data.splits import choose_labeled

FOLDER = importlib.resources.files("ladder_jax.data") / "label_splits"
"""Where the files are."""

_CHECKSUM = "labels_sha256"


class SplitName(NamedTuple):
    """A name in its parts."""

    dataset: str
    seed: int
    labels: int


def parse_split(name: str) -> SplitName:
    """The parts of a split's name.

    Args:
      name: ``dataset.SEED@LABELS``.

    Returns:
      A ``SplitName``.

    Raises:
      DataError: it is not of that form.

    Example:
      >>> parse_split("mnist.3@100")
      SplitName(dataset='mnist', seed=3, labels=100)
    """
    found = re.fullmatch(r"(.+)\.([0-9]{1,9})@([1-9][0-9]{0,8})", name)
    if found is None:
        raise DataError(f"split {name!r}; give dataset.SEED@LABELS, e.g. mnist.3@100.")
    return SplitName(found[1], int(found[2]), int(found[3]))


def labels_checksum(y: np.ndarray) -> str:
    """The SHA-256 of labels in their order, one byte each.

    Example:
      >>> import numpy as np
      >>> labels_checksum(np.array([0, 1]))[:8]
      'b413f47d'
    """
    return hashlib.sha256(np.asarray(y).astype(np.uint8).tobytes()).hexdigest()


def named_split(name: str, y: np.ndarray, classes: int) -> np.ndarray:
    """The labelled rows of a split by name.

    Args:
      name: ``dataset.SEED@LABELS``.
      y: ``[n]``, the classes of all training examples, in the official order.
      classes: how many there are.

    Returns:
      Sorted row numbers, int64 ``[LABELS]``.

    Raises:
      DataError: the name is of another form, or the labels are not those that the
        committed split was made for.

    Example:
      >>> import numpy as np
      >>> named_split("mine.0@2", np.array([0, 1, 0, 1, 0]), classes=2).tolist()
      [2, 3]
    """
    split = parse_split(name)
    file = FOLDER / f"{split.dataset}.npz"
    key = f"{split.seed}@{split.labels}"
    if file.is_file():
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
            if str(arrays[_CHECKSUM]) != labels_checksum(y):
                raise DataError(
                    f"split {name}: these {split.dataset} labels are not the official ones in the "
                    "official order (another program prepared them?); prepare them with "
                    f"python -m experiments.prepare_data --dataset={split.dataset}."
                )
            if key in arrays:
                return np.asarray(arrays[key], np.int64)
    return choose_labeled(y, split.labels, split.seed, classes)


def make_splits(
    y: np.ndarray, classes: int, labels: Sequence[int], seeds: int
) -> dict[str, np.ndarray]:
    """What the file of one data set holds.

    Args:
      y: ``[n]``, the classes of all training examples, in the official order.
      classes: how many there are.
      labels: the sizes of the splits.
      seeds: how many splits of each size.

    Returns:
      The arrays by name, uint16 where that is enough.

    Example:
      >>> import numpy as np
      >>> sorted(make_splits(np.array([0, 1, 0, 1]), 2, labels=[2], seeds=2))
      ['0@2', '1@2', 'labels_sha256']
    """
    dtype = np.uint16 if len(y) <= 2**16 else np.uint32
    arrays = {_CHECKSUM: np.array(labels_checksum(y))}
    for count in labels:
        for seed in range(seeds):
            rows = choose_labeled(y, count, seed, classes)
            arrays[f"{seed}@{count}"] = rows.astype(dtype)
    return arrays
