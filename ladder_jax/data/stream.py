"""Batches gathered on the host ahead of the step that takes them.

For sets larger than the accelerator's memory. The order is given, so the batches
are those of resident data.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import numpy as np

from ladder_jax.data.base import DataError, Examples

THREADS = 2
AHEAD = 8
"""Batches that are gathered in advance."""

HostBatch = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Labelled rows, their labels, unlabelled rows."""


class _Steps:
    """The batches of an epoch as a grain source: one a step, by its number."""

    def __init__(
        self,
        labeled: Examples,
        labels: np.ndarray,
        unlabeled: Examples,
        order_labeled: np.ndarray,
        order: np.ndarray,
    ) -> None:
        self._labeled, self._labels, self._unlabeled = labeled, labels, unlabeled
        self._order_labeled, self._order = order_labeled, order
        self._tied = labeled is unlabeled and order_labeled is order

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, step: int) -> HostBatch:
        rows, unlabeled = self._order_labeled[step], self._unlabeled[self._order[step]]
        labeled = unlabeled if self._tied else self._labeled[rows]
        return labeled, self._labels[rows], unlabeled


def batches(
    labeled: Examples,
    labels: np.ndarray,
    unlabeled: Examples,
    order_labeled: np.ndarray,
    order: np.ndarray,
) -> Iterator[HostBatch]:
    """The batches of one epoch in their order.

    Args:
      labeled: ``[n_labeled, ...]``.
      labels: ``[n_labeled]``.
      unlabeled: ``[n_unlabeled, ...]``; the same object as ``labeled`` where every
        example has a label.
      order_labeled: ``[steps, rows a step]``, of ``training.epoch_order``.
      order: the same of the unlabelled rows; the same object where the labelled rows
        of a step are its unlabelled ones.

    Returns:
      An iterator over ``(labeled, labels, unlabeled)``, a step each.

    Raises:
      DataError: grain is not installed.
    """
    dataset = _grain().MapDataset.source(_Steps(labeled, labels, unlabeled, order_labeled, order))
    options = _grain().ReadOptions(num_threads=THREADS, prefetch_buffer_size=AHEAD)
    return iter(dataset.to_iter_dataset(options))


def check_installed() -> None:
    """That grain is there, said before training starts.

    Raises:
      DataError: it is not.
    """
    _grain()


def _grain() -> Any:
    if importlib.util.find_spec("grain") is None:
        raise DataError(
            "grain is not installed, and resident=False needs it: pip install 'ladder_jax[stream]'."
        )
    import grain

    return grain
