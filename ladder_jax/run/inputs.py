"""The data of a run: loaded, split and put where training wants them, or streamed there."""

from __future__ import annotations

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
from ladder_jax.run import multiprocess
from ladder_jax.run.workfolder import LABELED
from ladder_jax.training import BatchSizes, Metrics, TrainData, TrainState
from ladder_jax.types import Array, Batch, Shape

_PART = 1000


class Spec(NamedTuple):
    """The shapes that a program is compiled for.

    Attributes:
      input_shape: of an example, as the ladder takes it.
      classes: how many there are.
      sizes: rows per step.
      steps: of an epoch.
    """

    input_shape: Shape
    classes: int
    sizes: BatchSizes = BatchSizes()
    steps: int = 1


class HostData(NamedTuple):
    """Holds examples that rest with the host; the fields of ``TrainData``.

    Attributes:
      labeled: ``[n_labeled, *input_shape]``.
      labels: ``[n_labeled]``, integers.
      unlabeled: ``[n_unlabeled, *input_shape]``.
    """

    labeled: Examples
    labels: np.ndarray
    unlabeled: Examples


class Task(NamedTuple):
    """Holds the data of one run: what is trained on and what is tested on.

    Attributes:
      train: the examples, on the device (or with the host, if not resident).
      sizes: rows per step.
      test: ``(x, y)``, or None where the data have no test set.
      validation: ``(x, y)``, or None.
      labeled: numbers of the labelled rows within the official training set.
      class_names: one per class.
      example_shape: of one row as the data have it.
      preprocessing: what ``x`` has been through.
      checksums: of ``checksums``.
    """

    train: Any
    sizes: BatchSizes
    test: tuple[Any, Any] | None
    validation: tuple[Any, Any] | None
    labeled: np.ndarray
    class_names: tuple[str, ...]
    example_shape: tuple[int, ...]
    preprocessing: preprocessing.Preprocessing
    checksums: dict[str, int]

    @property
    def spec(self) -> Spec:
        """The shapes that its program is compiled for."""
        rows, *shape = self.train.unlabeled.shape
        steps = rows // self.sizes.unlabeled
        return Spec(tuple(shape), len(self.class_names), self.sizes, steps)

    @property
    def record(self) -> dict[str, Any]:
        """What a run is only to be resumed with, as ``workfolder.check_data`` takes it."""
        return {LABELED: self.labeled.tolist(), **self.checksums}


def choose_rows(config: Config, dataset: data.Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Chooses which training examples keep their label, are trained on, are held out.

    Examples:
      >>> import numpy as np
      >>> own = data.from_arrays(np.zeros((4, 2)), [0, -1, 1, -1])
      >>> [rows.tolist() for rows in choose_rows(Config(labels=-1), own)]
      [[0, 2], [0, 1, 2, 3], []]
    """
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


_DECIDING = (
    *("dataset", "data_dir", "labels", "label_choice", "split", "validation", "preprocess"),
    *("resident", "seed", "batch_labeled", "batch_unlabeled", "images"),
)


def same_inputs(config: Config, other: Config) -> bool:
    """Returns whether what is prepared for one config serves another.

    Examples:
      >>> same_inputs(Config(), Config(epochs=3)), same_inputs(Config(), Config(seed=3))
      (True, False)
    """
    return all(getattr(config, name) == getattr(other, name) for name in _DECIDING)


def checksums(dataset: data.Dataset) -> dict[str, int]:
    """Returns what tells examples and labels from others, of training and of test.

    Arrays are read whole up to 256 MiB; of larger ones, and of examples that are made
    when asked for, rows at even distances are.

    Examples:
      >>> import numpy as np
      >>> x, y = np.eye(2), [0, 1]
      >>> a, b, c = (checksums(data.from_arrays(*xy)) for xy in ((x, y), (x, y), (-x, y)))
      >>> a == b, a == c
      (True, False)
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
    for start in range(0, rows, _PART):
        mark = zlib.crc32(np.ascontiguousarray(x[chosen[start : start + _PART]]).data, mark)
    return mark


def prepare(config: Config, dataset: data.Dataset | None = None) -> Task:
    """Loads the data, chooses labels and holds out validation, all from the seed."""
    multiprocess.check_fork()
    if dataset is None:
        dataset = data.load(config.dataset, config.data_dir, in_memory=config.resident)
    if not config.resident:
        data.import_grain()
    labeled, kept, held_out = choose_rows(config, dataset)
    if len(kept) < config.batch_unlabeled:
        raise errors.DataError(
            f"batch_unlabeled={config.batch_unlabeled}, but there are {len(kept)} training "
            "examples; give fewer."
        )
    fitted = preprocessing.fit(config.preprocess, data.Rows(dataset.x_train, kept))
    fitted = fitted._replace(scale=dataset.scale)
    put: Callable[[Any], Any] = jnp.asarray if config.resident else lambda array: array

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
    holder = TrainData if config.resident else HostData
    train = holder(x_labeled, put(dataset.y_train[labeled]), unlabeled)
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
) -> Callable[[TrainState, HostData], tuple[TrainState, Metrics]]:
    """Makes one pass over the unlabelled examples, in the order of ``training.make_epoch``.

    Batches are gathered by threads and put on the accelerator one step ahead.
    """
    order_of = jax.jit(training.epoch_order, static_argnums=(2, 3, 4))

    def epoch(state: TrainState, data: HostData) -> tuple[TrainState, Metrics]:
        each = []
        for batch in epoch_batches(order_of, state, data, sizes):
            state, metrics = train_step(state, batch)
            each.append(metrics)
        return state, jax.tree.map(lambda *values: jnp.stack(values).mean(0), *each)

    return epoch


def epoch_batches(
    order_of: Callable[..., tuple[Array, Array]],
    state: TrainState,
    data: HostData,
    sizes: BatchSizes,
) -> Iterator[Batch]:
    """Yields the batches of the epoch that a state is in, put on the accelerator one ahead."""
    rows = len(data.labeled), len(data.unlabeled)
    order_labeled, order = map(np.asarray, order_of(state.key, state.step, *rows, sizes))
    if sizes.tied:
        order_labeled = order
    ahead = None
    for host_batch in batches(data.labeled, data.labels, data.unlabeled, order_labeled, order):
        batch = Batch(*jax.device_put(host_batch))
        if ahead is not None:
            yield ahead
        ahead = batch
    if ahead is not None:
        yield ahead
