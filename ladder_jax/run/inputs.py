"""Data of a run: loaded, split, and placed on the device or streamed to it."""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ladder_jax import augmentations, data, errors, targets, training
from ladder_jax.config import Config
from ladder_jax.data import Examples, batches, preprocessing
from ladder_jax.data.base import chunks
from ladder_jax.run import multiprocess
from ladder_jax.run.workfolder import LABELED
from ladder_jax.training import BatchSizes, Metrics, TrainData, TrainState
from ladder_jax.types import Batch, Shape, Target

ChosenRows = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Indices of the rows that keep their label, that are trained on and that are held out."""


class Spec(NamedTuple):
    """Holds what a program is compiled for: shapes, and the target."""

    input_shape: Shape  # of one example at the input of the ladder
    target: Target
    sizes: BatchSizes = BatchSizes()  # rows per step
    steps: int = 1  # per epoch
    example_shape: Shape = ()  # of one example in the data; () if nothing is trained


class Scaling(NamedTuple):
    """Holds how numbers were standardised: per column, they are ``outputs * scale + mean``."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]

    def standardize(self, numbers: np.ndarray) -> np.ndarray:
        """Converts numbers in their own units to the standardised ones that a ladder learns."""
        standardized = (np.asarray(numbers, np.float64) - self.mean) / self.scale
        return standardized.astype(np.float32)


class Task(NamedTuple):
    """Holds the data of one run, for training and for testing."""

    dataset: str  # name of the data set
    train: Any  # ``TrainData``, on the device, or on the host if not resident
    sizes: BatchSizes  # rows per step
    test: tuple[Any, Any] | None  # ``(x, y)``, or None if there are no test data
    validation: tuple[Any, Any] | None  # likewise
    labeled: np.ndarray  # indices of the labelled rows in the official training set
    positions: np.ndarray  # of the labelled rows among the unlabelled ones, which include them
    class_names: tuple[str, ...]  # or the names of numbers or of several labels
    example_shape: tuple[int, ...]  # of one row in the data
    preprocessing: preprocessing.Preprocessing  # applied to ``x``
    checksums: dict[str, int]  # result of ``checksums``
    target: Target
    scaling: Scaling | None  # applied to ``y``, for numbers
    feature_names: tuple[str, ...] = ()  # columns of a table

    @property
    def spec(self) -> Spec:
        """Returns what the program of the task is compiled for."""
        rows, *shape = self.train.unlabeled.shape
        steps = rows // self.sizes.unlabeled
        return Spec(tuple(shape), self.target, self.sizes, steps, self.example_shape)

    @property
    def record(self) -> dict[str, Any]:
        """Returns the data record that a resumed run must match; see ``workfolder.check_data``."""
        return {LABELED: self.labeled.tolist(), **self.checksums}


def choose_rows(config: Config, dataset: data.Dataset) -> ChosenRows:
    """Chooses which training examples keep their label, are trained on, and are held out."""
    y, classes, kind = dataset.y_train, len(dataset.class_names), dataset.kind
    known, named = data.has_label(y, kind), np.zeros(0, int)
    if config.split:
        if data.parse_split(config.split).dataset != dataset.name:
            raise errors.DataError(f"split {config.split} is not one of {dataset.name}.")
        named = data.named_split(config.split, y, classes, kind)
    held_out = np.zeros(0, int)
    if config.validation:
        free = np.setdiff1d(np.flatnonzero(known), named)
        # A named split has its own labelled rows, which are never held out.
        classes_of = None if config.split or kind != "classes" else y[free]
        held_out = free[data.hold_out(len(free), config.validation, config.seed, classes_of)[1]]
    remaining = np.setdiff1d(np.arange(len(y)), held_out)
    if config.split:
        return named, remaining, held_out
    if config.labels == -1 and known[remaining].all():
        mark = "NaN" if kind == "numbers" else "-1"
        raise errors.DataError(
            f"{dataset.name}: no example is marked as unlabelled ({mark}); say how many labels to "
            "keep, e.g. labels=100, or labels=0 for all."
        )
    number = max(config.labels, 0)
    if kind != "classes":
        chosen = data.choose_uniform(y[remaining], number, config.seed, kind)
        return remaining[chosen], remaining, held_out
    chosen = data.choose_labeled(y[remaining], number, config.seed, classes, config.label_choice)
    missing = np.setdiff1d(y[y >= 0], y[remaining[chosen]])
    if missing.size:  # a uniform choice may miss a class
        raise errors.DataError(
            f"labels={config.labels}, label_choice={config.label_choice!r}, seed={config.seed}: "
            f"no label is left for class {missing[0]}; give more labels, another seed, or a "
            "balanced choice."
        )
    return remaining[chosen], remaining, held_out


def named_target(name: str, **settings: Any) -> Target:
    """Returns the target of a name; in masks of a data set, only -1 marks a missing label."""
    ignore = {"ignore": (data.NO_LABEL,)} if name.startswith("pixels") else {}
    return targets.from_name(name, **ignore, **settings)


def as_images(config: Config, target: Target) -> bool:
    """Returns whether a ladder takes images as they are, not flattened to rows of features."""
    return config.images or target.positions


class Labels(NamedTuple):
    """Holds the labels of a run as its ladder learns them, with their target."""

    target: Target
    scaling: Scaling | None  # for numbers
    train: Any  # of the labelled rows
    test: Any
    validation: Any
    weight: np.ndarray | None  # of the labelled rows, from their class


def read_labels(config: Config, dataset: data.Dataset, rows: ChosenRows) -> Labels:
    """Converts the labels of a data set to the form that a ladder learns.

    Raises:
      ConfigError: a setting does not fit the labels.
      DataError: the labels are invalid for their kind.
    """
    labeled, _, held_out = rows
    y, names, kind = dataset.y_train[labeled], dataset.class_names, dataset.kind
    settings: dict[str, Any] = {}
    in_classes = kind in ("classes", "pixels")
    if config.class_weight and not in_classes:
        raise errors.ConfigError(
            f"class_weight is {config.class_weight!r}, but the labels of {dataset.name} are "
            f"{kind}, not classes; leave it out."
        )
    if config.variance and kind != "numbers":
        raise errors.ConfigError(
            f"variance is True, but the labels of {dataset.name} are {kind}, not numbers; leave it "
            "out."
        )
    weight = None
    if in_classes:
        try:
            by_class = targets.class_weights(config.class_weights, y, names)
        except ValueError as error:
            raise errors.ConfigError(str(error)) from error
        if kind == "pixels":
            settings["class_weight"] = by_class
        elif by_class is not None:  # weights of rows are data: one program serves all
            weight = np.asarray(by_class)[y]
    name, scaling = f"{kind}:{len(names)}" + ":variance" * config.variance, None
    shape = (*dataset.x_train.shape[1:3], len(names)) if kind == "pixels" else (len(names),)
    try:
        target = named_target(name, **settings)
        for part, part_y in (("training", dataset.y_train), ("test", dataset.y_test)):
            target.check_labels(f"{dataset.name}, {part} labels", part_y, len(part_y), shape)
        if kind == "numbers":
            _, mean, scale = targets.standardize(y, f"{dataset.name}, labels kept for training")
            scaling = Scaling(tuple(mean.tolist()), tuple(scale.tolist()))
    except (TypeError, ValueError) as error:
        raise errors.DataError(str(error)) from error
    parts = y, dataset.y_test, dataset.y_train[held_out]
    train, test, validation = map(scaling.standardize if scaling else np.asarray, parts)
    return Labels(target, scaling, train, test, validation, weight)


def check_augment(config: Config, dataset: data.Dataset) -> None:
    """Checks that the examples of a data set can be augmented.

    Raises:
      ConfigError: the examples are not images or are too small, or every pixel has a label.
    """
    if config.augment == "none":
        return
    cause, shape = f"augment is {config.augment!r}, but", dataset.x_train.shape[1:]
    if dataset.kind == "pixels":
        raise errors.ConfigError(
            f"{cause} the labels of {dataset.name} are masks, which would have to move with their "
            "images; leave it out."
        )
    if len(shape) not in (2, 3):
        raise errors.ConfigError(
            f"{cause} an example of {dataset.name} has shape {shape}, which is no image; leave it "
            "out."
        )
    change = augmentations.of_rows(augmentations.from_names(config.augment), shape)
    try:
        jax.eval_shape(change, jax.eval_shape(jax.random.key, 0), jnp.zeros((1, *shape)))
    except ValueError as error:
        raise errors.ConfigError(f"augment: {error}") from error


def load_data(config: Config) -> data.Dataset:
    """Loads the data set that a config names.

    Raises:
      DataError: as ``data.load``.
    """
    source = config.dataset, config.data_dir
    return data.load(*source, in_memory=config.resident, image_size=config.image_size)


def checksums(dataset: data.Dataset) -> dict[str, int]:
    """Computes checksums that identify the examples and labels, of training and of test.

    Arrays of up to 256 MiB are read completely; of larger ones, and of examples that are
    computed on access, evenly spaced rows are read.
    """
    return {
        "training examples": _checksum(dataset.x_train, dataset.y_train),
        "test examples": _checksum(dataset.x_test, dataset.y_test),
    }


def _checksum(x: Examples, y: np.ndarray) -> int:
    limit = 2**28 if isinstance(x, np.ndarray) else 2**24
    rows = min(len(x), limit // (4 * math.prod(x.shape[1:])) + 1)
    chosen = np.linspace(0, max(len(x) - 1, 0), rows).astype(int)
    mark = zlib.crc32(np.ascontiguousarray(y).data, zlib.crc32(repr(x.shape).encode()))
    for part in chunks(chosen):
        mark = zlib.crc32(np.ascontiguousarray(x[part]).data, mark)
    return mark


def prepare(
    config: Config,
    dataset: data.Dataset | None = None,
    rows: ChosenRows | None = None,
    weight: np.ndarray | None = None,
) -> Task:
    """Loads the data, chooses labels and holds out validation examples, all from the seed.

    Args:
      config: settings of the run.
      dataset: data set; None: the one that the config names.
      rows: result of ``choose_rows``, if known.
      weight: weight of each training example in the cost of the labels; None: all equal.
    """
    multiprocess.check_fork()
    if dataset is None:
        dataset = load_data(config)
    if not config.resident:
        data.import_grain()
    check_augment(config, dataset)
    labeled, remaining, held_out = rows = rows or choose_rows(config, dataset)
    if len(remaining) < config.batch_unlabeled:
        raise errors.DataError(
            f"batch_unlabeled={config.batch_unlabeled}, but there are {len(remaining)} training "
            "examples; give fewer."
        )
    if len(labeled) < 2:
        raise errors.DataError(
            f"{dataset.name}: fewer than two labelled examples; give at least two."
        )
    labels = read_labels(config, dataset, rows)
    fitted = preprocessing.fit(config.preprocess, data.Rows(dataset.x_train, remaining))
    fitted = fitted._replace(scale=dataset.scale)
    put: Callable[[Any], Any] = jax.device_put if config.resident else lambda array: array

    def rows_of(x: Examples, chosen: np.ndarray | None = None) -> Any:
        def transform(part: np.ndarray) -> np.ndarray:
            part = preprocessing.apply(fitted, part)
            return part if as_images(config, labels.target) else part.reshape(len(part), -1)

        rows: Any = data.Rows(x, chosen, transform)
        rows = rows[:] if config.resident else rows
        if dataset.scale != "bytes":  # preprocessed bytes are always finite
            part = "training" if x is dataset.x_train else "test"
            name = f"{dataset.name}, {part} examples"
            preprocessing.check_applied(name, rows, x, fitted.chain, chosen)
        return put(rows)

    unlabeled = rows_of(dataset.x_train, remaining)
    all_labeled = len(labeled) == len(remaining)
    tied = all_labeled and config.batch_labeled == config.batch_unlabeled
    x_labeled = unlabeled if all_labeled else put(np.asarray(rows_of(dataset.x_train, labeled)))
    weights = labels.weight
    if weight is not None:
        weights = weight[labeled] * (1.0 if weights is None else weights)
    row_weights = None if weights is None else put(weights.astype(np.float32))
    train = TrainData(x_labeled, put(labels.train), unlabeled, row_weights)
    sizes = BatchSizes(min(config.batch_labeled, len(labeled)), config.batch_unlabeled, tied)
    validation = test = None
    if len(held_out):
        validation = rows_of(dataset.x_train, held_out), put(labels.validation)
    if len(dataset.y_test):
        test = rows_of(dataset.x_test), put(labels.test)
    shape = tuple(dataset.x_train.shape[1:])
    return Task(
        *(dataset.name, train, sizes, test, validation, labeled),
        np.searchsorted(remaining, labeled),
        *(dataset.class_names, shape, fitted, checksums(dataset)),
        *(labels.target, labels.scaling, dataset.feature_names),
    )


def relabeled(config: Config, dataset: data.Dataset, rows: ChosenRows, task: Task) -> Task:
    """Returns a resident task on the same examples, with other rows that keep their label."""
    labeled, remaining, _ = rows
    labels, train = read_labels(config, dataset, rows), task.train
    positions = np.searchsorted(remaining, labeled)
    x = train.unlabeled[positions]
    weight = None if labels.weight is None else jnp.asarray(labels.weight, jnp.float32)

    def rescaled(known: tuple[Any, Any] | None, y: Any) -> tuple[Any, Any] | None:
        # Only numbers are scaled by the rows that have a label.
        return known if known is None or labels.scaling is None else (known[0], jnp.asarray(y))

    return task._replace(
        train=train._replace(labeled=x, labels=jnp.asarray(labels.train), weight=weight),
        test=rescaled(task.test, labels.test),
        validation=rescaled(task.validation, labels.validation),
        labeled=labeled,
        positions=positions,
        target=labels.target,
        scaling=labels.scaling,
    )


def check_spread(config: Config, task: Task) -> None:
    """Checks that labels can be spread, if they are to be: one class per row, some unknown."""
    if not config.spread_labels:
        return
    target = task.target
    if target.kind != "classes" or target.positions:
        raise errors.ConfigError(
            f"spread_labels is {config.spread_labels!r}, but the target is {target}; leave it out, "
            "as it is for classes, one per row."
        )
    if len(task.labeled) == len(task.train.unlabeled):
        raise errors.DataError(
            f"{task.dataset}: all training rows have a label; leave spread_labels out."
        )


def known_labels(task: Task) -> np.ndarray:
    """Returns the class of each unlabelled row that is among the labelled ones; -1 for others."""
    labels = np.full(len(task.train.unlabeled), data.NO_LABEL)
    labels[task.positions] = np.asarray(task.train.labels)
    return labels


def with_labels(config: Config, task: Task, labels: np.ndarray) -> Task:
    """Returns a resident task on the same examples, which trains with more labels.

    Args:
      config: settings of the run.
      task: task of the run.
      labels: class of each unlabelled row, -1 for none. A row is weighted as the labelled rows of
        its class are.
    """
    train, rows = task.train, np.flatnonzero(labels != data.NO_LABEL)
    known, weight = np.asarray(train.labels), train.weight
    if weight is not None:
        by_class = np.zeros(known.max() + 1, np.float32)
        by_class[known] = np.asarray(weight)
        weight = jnp.asarray(by_class[labels[rows]])
    train = TrainData(
        train.unlabeled[rows], jnp.asarray(labels[rows], known.dtype), train.unlabeled, weight
    )
    sizes = BatchSizes(min(config.batch_labeled, len(rows)), config.batch_unlabeled)
    return task._replace(train=train, sizes=sizes)


def make_streamed_epoch(
    train_step: Callable[[TrainState, Batch], tuple[TrainState, Metrics]], sizes: BatchSizes
) -> Callable[[TrainState, TrainData], tuple[TrainState, Metrics]]:
    """Makes a pass over the unlabelled examples, in the order of ``training.make_epoch``."""

    def epoch(state: TrainState, data: TrainData) -> tuple[TrainState, Metrics]:
        metrics_per_step = []
        for batch in epoch_batches(state, data, sizes):
            state, metrics = train_step(state, batch)
            metrics_per_step.append(metrics)
        return state, jax.tree.map(lambda *values: jnp.stack(values).mean(0), *metrics_per_step)

    return epoch


_epoch_order = jax.jit(training.epoch_order, static_argnums=(2, 3, 4))


def epoch_batches(state: TrainState, data: TrainData, sizes: BatchSizes) -> Iterator[Batch]:
    """Yields the batches of a state's current epoch, from examples that stay on the host.

    Threads gather the batches, which are put on the accelerator one step ahead.
    """
    rows = len(data.labeled), len(data.unlabeled)
    order_labeled, order = map(np.asarray, _epoch_order(state.key, state.step, *rows, sizes))
    if sizes.tied:
        order_labeled = order
    labels = np.asarray(data.labels)
    gathered = batches(data.labeled, labels, data.unlabeled, order_labeled, order)
    weights: Any = itertools.repeat(None)
    if data.weight is not None:
        weights = np.asarray(data.weight)[order_labeled]
    host = zip(gathered, weights, strict=False)
    put = (Batch(*jax.device_put((*rows, weight))) for rows, weight in host)
    for batch, _ in itertools.pairwise(itertools.chain(put, [None])):
        assert batch is not None  # None only follows the last batch
        yield batch
