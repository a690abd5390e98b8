"""The data of a run: loaded, split and put where training wants them, or streamed there."""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ladder_jax import data, errors, training
from ladder_jax.config import Config
from ladder_jax.data import Examples, batches, preprocessing
from ladder_jax.data.base import chunks
from ladder_jax.run import multiprocess
from ladder_jax.run.workfolder import LABELED
from ladder_jax.training import BatchSizes, Metrics, TrainData, TrainState
from ladder_jax.types import Batch, Shape

ChosenRows = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Numbers of the rows that keep their label, are trained on, are held out."""


class Spec(NamedTuple):
    """Holds the shapes that a program is compiled for."""

    input_shape: Shape  # of an example, as the ladder takes it
    classes: int
    sizes: BatchSizes = BatchSizes()  # rows per step
    steps: int = 1  # of an epoch


class Task(NamedTuple):
    """Holds the data of one run: what is trained on and what is tested on."""

    train: Any  # ``TrainData``, on the device, or with the host if not resident
    sizes: BatchSizes  # rows per step
    test: tuple[Any, Any] | None  # ``(x, y)``, or None where there is none
    validation: tuple[Any, Any] | None  # the same
    labeled: np.ndarray  # numbers of the labelled rows within the official training set
    class_names: tuple[str, ...]
    example_shape: tuple[int, ...]  # of one row as the data have it
    preprocessing: preprocessing.Preprocessing  # what ``x`` has been through
    checksums: dict[str, int]  # of ``checksums``

    @property
    def spec(self) -> Spec:
        """Returns the shapes that its program is compiled for."""
        rows, *shape = self.train.unlabeled.shape
        return Spec(tuple(shape), len(self.class_names), self.sizes, rows // self.sizes.unlabeled)

    @property
    def record(self) -> dict[str, Any]:
        """Returns what a run is only to be resumed with, as ``workfolder.check_data`` takes it."""
        return {LABELED: self.labeled.tolist(), **self.checksums}


def choose_rows(config: Config, dataset: data.Dataset) -> ChosenRows:
    """Chooses which training examples keep their label, are trained on, are held out."""
    y, classes = dataset.y_train, len(dataset.class_names)
    named = np.zeros(0, int)
    if config.split:
        if data.parse_split(config.split).dataset != dataset.name:
            raise errors.DataError(f"split {config.split} is not one of {dataset.name}.")
        named = data.named_split(config.split, y, classes)
    held_out = np.zeros(0, int)
    if config.validation:
        free = np.setdiff1d(np.flatnonzero(y >= 0), named)
        # A split by name has its own rows, none of them free.
        classes_of = None if config.split else y[free]
        held_out = free[data.hold_out(len(free), config.validation, config.seed, classes_of)[1]]
    kept = np.setdiff1d(np.arange(len(y)), held_out)
    if config.split:
        return named, kept, held_out
    if config.labels == -1 and (y[kept] >= 0).all():
        raise errors.DataError(
            f"{dataset.name}: no example is marked as unlabelled (-1); say how many labels to "
            "keep, e.g. labels=100, or labels=0 for all."
        )
    chosen = data.choose_labeled(
        y[kept], max(config.labels, 0), config.seed, classes, config.label_choice
    )
    missing = np.setdiff1d(y[y >= 0], y[kept[chosen]])
    if missing.size:  # a uniform choice may leave one out
        raise errors.DataError(
            f"labels={config.labels}, label_choice={config.label_choice!r}, seed={config.seed}: "
            f"no label is left for class {missing[0]}; give more labels, another seed, or a "
            "balanced choice."
        )
    return kept[chosen], kept, held_out


def checksums(dataset: data.Dataset) -> dict[str, int]:
    """Returns what tells examples and labels from others, of training and of test.

    Arrays are read whole up to 256 MiB; of larger ones, and of examples that are made
    when asked for, rows at even distances are.
    """
    return {
        "training examples": _checksum(dataset.x_train, dataset.y_train),
        "test examples": _checksum(dataset.x_test, dataset.y_test),
    }


def _checksum(x: Examples, y: np.ndarray) -> int:
    most = 2**28 if isinstance(x, np.ndarray) else 2**24
    rows = min(len(x), most // (4 * math.prod(x.shape[1:])) + 1)
    chosen = np.linspace(0, max(len(x) - 1, 0), rows).astype(int)
    mark = zlib.crc32(np.ascontiguousarray(y).data, zlib.crc32(repr(x.shape).encode()))
    for part in chunks(chosen):
        mark = zlib.crc32(np.ascontiguousarray(x[part]).data, mark)
    return mark


def prepare(
    config: Config, dataset: data.Dataset | None = None, rows: ChosenRows | None = None
) -> Task:
    """Loads the data, chooses labels and holds out validation, all from the seed.

    ``rows`` are those of ``choose_rows``, where they are known.
    """
    multiprocess.check_fork()
    if dataset is None:
        dataset = data.load(config.dataset, config.data_dir, in_memory=config.resident)
    if not config.resident:
        data.import_grain()
    labeled, kept, held_out = rows or choose_rows(config, dataset)
    if len(kept) < config.batch_unlabeled:
        raise errors.DataError(
            f"batch_unlabeled={config.batch_unlabeled}, but there are {len(kept)} training "
            "examples; give fewer."
        )
    fitted = preprocessing.fit(config.preprocess, data.Rows(dataset.x_train, kept))
    fitted = fitted._replace(scale=dataset.scale)
    put: Callable[[Any], Any] = jax.device_put if config.resident else lambda array: array

    def rows_of(x: Examples, chosen: np.ndarray | None = None) -> Any:
        def transform(part: np.ndarray) -> np.ndarray:
            part = preprocessing.apply(fitted, part)
            return part if config.images else part.reshape(len(part), -1)

        rows: Any = data.Rows(x, chosen, transform)
        rows = rows[:] if config.resident else rows
        if dataset.scale != "bytes":  # those are finite whatever they go through
            part = "training" if x is dataset.x_train else "test"
            name = f"{dataset.name}, {part} examples"
            preprocessing.check_applied(name, rows, x, fitted.chain, chosen)
        return put(rows)

    unlabeled = rows_of(dataset.x_train, kept)
    everything = len(labeled) == len(kept)
    tied = everything and config.batch_labeled == config.batch_unlabeled
    x_labeled = unlabeled if everything else put(np.asarray(rows_of(dataset.x_train, labeled)))
    train = TrainData(x_labeled, put(dataset.y_train[labeled]), unlabeled)
    sizes = BatchSizes(min(config.batch_labeled, len(labeled)), config.batch_unlabeled, tied)
    validation = test = None
    if len(held_out):
        validation = rows_of(dataset.x_train, held_out), put(dataset.y_train[held_out])
    if len(dataset.y_test):
        test = rows_of(dataset.x_test), put(dataset.y_test)
    shape = tuple(dataset.x_train.shape[1:])
    return Task(
        *(train, sizes, test, validation, labeled, dataset.class_names, shape, fitted),
        checksums(dataset),
    )


def make_streamed_epoch(
    train_step: Callable[[TrainState, Batch], tuple[TrainState, Metrics]], sizes: BatchSizes
) -> Callable[[TrainState, TrainData], tuple[TrainState, Metrics]]:
    """Makes one pass over the unlabelled examples, in the order of ``training.make_epoch``."""

    def epoch(state: TrainState, data: TrainData) -> tuple[TrainState, Metrics]:
        each = []
        for batch in epoch_batches(state, data, sizes):
            state, metrics = train_step(state, batch)
            each.append(metrics)
        return state, jax.tree.map(lambda *values: jnp.stack(values).mean(0), *each)

    return epoch


_epoch_order = jax.jit(training.epoch_order, static_argnums=(2, 3, 4))


def epoch_batches(state: TrainState, data: TrainData, sizes: BatchSizes) -> Iterator[Batch]:
    """Yields the batches of the epoch that a state is in, of examples that rest with the host.

    They are gathered by threads and put on the accelerator one step ahead.
    """
    rows = len(data.labeled), len(data.unlabeled)
    order_labeled, order = map(np.asarray, _epoch_order(state.key, state.step, *rows, sizes))
    if sizes.tied:
        order_labeled = order
    labels = np.asarray(data.labels)
    gathered = batches(data.labeled, labels, data.unlabeled, order_labeled, order)
    put = (Batch(*jax.device_put(host_batch)) for host_batch in gathered)
    for batch, _ in itertools.pairwise(itertools.chain(put, [None])):
        assert batch is not None  # the last, which is ahead of nothing
        yield batch
