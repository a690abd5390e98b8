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

from ladder_jax import augmentations, data, errors, targets, training
from ladder_jax.config import Config
from ladder_jax.data import Examples, batches, preprocessing
from ladder_jax.data.base import chunks
from ladder_jax.run import multiprocess
from ladder_jax.run.workfolder import LABELED
from ladder_jax.training import BatchSizes, Metrics, TrainData, TrainState
from ladder_jax.types import Batch, Shape, Target

ChosenRows = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Numbers of the rows that keep their label, are trained on, are held out."""


class Spec(NamedTuple):
    """Holds what a program is compiled for: shapes, and what the labels are."""

    input_shape: Shape  # of an example, as the ladder takes it
    target: Target
    sizes: BatchSizes = BatchSizes()  # rows per step
    steps: int = 1  # of an epoch
    example_shape: Shape = ()  # as the data have it; () where nothing is trained


class Scaling(NamedTuple):
    """Says how numbers were standardised: by column they are ``outputs * scale + mean``."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]

    def standardize(self, numbers: np.ndarray) -> np.ndarray:
        """Returns numbers in their own units as a ladder learns them."""
        standardized = (np.asarray(numbers, np.float64) - self.mean) / self.scale
        return standardized.astype(np.float32)


class Task(NamedTuple):
    """Holds the data of one run: what is trained on and what is tested on."""

    train: Any  # ``TrainData``, on the device, or with the host if not resident
    sizes: BatchSizes  # rows per step
    test: tuple[Any, Any] | None  # ``(x, y)``, or None where there is none
    validation: tuple[Any, Any] | None  # the same
    labeled: np.ndarray  # numbers of the labelled rows within the official training set
    class_names: tuple[str, ...]  # or names of the numbers, or of several labels
    example_shape: tuple[int, ...]  # of one row as the data have it
    preprocessing: preprocessing.Preprocessing  # what ``x`` has been through
    checksums: dict[str, int]  # of ``checksums``
    target: Target
    scaling: Scaling | None  # of numbers: what ``y`` has been through
    feature_names: tuple[str, ...] = ()  # of the columns of a table

    @property
    def spec(self) -> Spec:
        """Returns what its program is compiled for."""
        rows, *shape = self.train.unlabeled.shape
        steps = rows // self.sizes.unlabeled
        return Spec(tuple(shape), self.target, self.sizes, steps, self.example_shape)

    @property
    def record(self) -> dict[str, Any]:
        """Returns what a run is only to be resumed with, as ``workfolder.check_data`` takes it."""
        return {LABELED: self.labeled.tolist(), **self.checksums}


def choose_rows(config: Config, dataset: data.Dataset) -> ChosenRows:
    """Chooses which training examples keep their label, are trained on, are held out."""
    y, classes, kind = dataset.y_train, len(dataset.class_names), dataset.kind
    known, named = data.has_label(y, kind), np.zeros(0, int)
    if config.split:
        if data.parse_split(config.split).dataset != dataset.name:
            raise errors.DataError(f"split {config.split} is not one of {dataset.name}.")
        named = data.named_split(config.split, y, classes, kind)
    held_out = np.zeros(0, int)
    if config.validation:
        free = np.setdiff1d(np.flatnonzero(known), named)
        # A split by name has its own rows, none of them free.
        classes_of = None if config.split or kind != "classes" else y[free]
        held_out = free[data.hold_out(len(free), config.validation, config.seed, classes_of)[1]]
    kept = np.setdiff1d(np.arange(len(y)), held_out)
    if config.split:
        return named, kept, held_out
    if config.labels == -1 and known[kept].all():
        mark = "NaN" if kind == "numbers" else "-1"
        raise errors.DataError(
            f"{dataset.name}: no example is marked as unlabelled ({mark}); say how many labels to "
            "keep, e.g. labels=100, or labels=0 for all."
        )
    number = max(config.labels, 0)
    if kind != "classes":
        chosen = data.choose_uniform(y[kept], number, config.seed, kind)
        return kept[chosen], kept, held_out
    chosen = data.choose_labeled(y[kept], number, config.seed, classes, config.label_choice)
    missing = np.setdiff1d(y[y >= 0], y[kept[chosen]])
    if missing.size:  # a uniform choice may leave one out
        raise errors.DataError(
            f"labels={config.labels}, label_choice={config.label_choice!r}, seed={config.seed}: "
            f"no label is left for class {missing[0]}; give more labels, another seed, or a "
            "balanced choice."
        )
    return kept[chosen], kept, held_out


def named_target(name: str, **settings: Any) -> Target:
    """Returns the target of a name; a mask of a data set marks no label by -1 alone."""
    ignore = {"ignore": (data.NO_LABEL,)} if name.startswith("pixels") else {}
    return targets.from_name(name, **ignore, **settings)


def as_images(config: Config, target: Target) -> bool:
    """Returns whether a ladder takes images as they are, not as rows of features."""
    return config.images or target.positions


class Labels(NamedTuple):
    """Holds the labels of a run as its ladder learns them, and what they are."""

    target: Target
    scaling: Scaling | None  # of numbers
    train: Any  # of the labelled rows
    test: Any
    validation: Any
    weight: np.ndarray | None  # of the labelled rows, by their class


def read_labels(config: Config, dataset: data.Dataset, rows: ChosenRows) -> Labels:
    """Makes of the labels of a data set what a ladder learns.

    Raises:
      ConfigError: a setting does not fit the labels.
      DataError: the labels are not of their kind.
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
        elif by_class is not None:  # one program for all, which weights of rows are no part of
            weight = np.asarray(by_class)[y]
    name, scaling = f"{kind}:{len(names)}" + ":variance" * config.variance, None
    shape = (*dataset.x_train.shape[1:3], len(names)) if kind == "pixels" else (len(names),)
    try:
        target = named_target(name, **settings)
        for part, of_part in (("training", dataset.y_train), ("test", dataset.y_test)):
            target.check_labels(f"{dataset.name}, {part} labels", of_part, len(of_part), shape)
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
      ConfigError: they are no images, or too small, or each pixel has a label.
    """
    if config.augment == "none":
        return
    given, shape = f"augment is {config.augment!r}, but", dataset.x_train.shape[1:]
    if dataset.kind == "pixels":
        raise errors.ConfigError(
            f"{given} the labels of {dataset.name} are masks, which would have to move with their "
            "images; leave it out."
        )
    if len(shape) not in (2, 3):
        raise errors.ConfigError(
            f"{given} an example of {dataset.name} has shape {shape}, which is no image; leave it "
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
    where = config.dataset, config.data_dir
    return data.load(*where, in_memory=config.resident, image_size=config.image_size)


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
    config: Config,
    dataset: data.Dataset | None = None,
    rows: ChosenRows | None = None,
    weight: np.ndarray | None = None,
) -> Task:
    """Loads the data, chooses labels and holds out validation, all from the seed.

    Args:
      config: the settings.
      dataset: the data; None: those that the config names.
      rows: of ``choose_rows``, where they are known.
      weight: of each training example in the cost of the labels; None: all alike.
    """
    multiprocess.check_fork()
    if dataset is None:
        dataset = load_data(config)
    if not config.resident:
        data.import_grain()
    check_augment(config, dataset)
    labeled, kept, held_out = rows = rows or choose_rows(config, dataset)
    if len(kept) < config.batch_unlabeled:
        raise errors.DataError(
            f"batch_unlabeled={config.batch_unlabeled}, but there are {len(kept)} training "
            "examples; give fewer."
        )
    if len(labeled) < 2 and dataset.kind != "pixels":
        raise errors.DataError(f"{dataset.name}: one labelled example alone; give at least two.")
    labels = read_labels(config, dataset, rows)
    fitted = preprocessing.fit(config.preprocess, data.Rows(dataset.x_train, kept))
    fitted = fitted._replace(scale=dataset.scale)
    put: Callable[[Any], Any] = jax.device_put if config.resident else lambda array: array

    def rows_of(x: Examples, chosen: np.ndarray | None = None) -> Any:
        def transform(part: np.ndarray) -> np.ndarray:
            part = preprocessing.apply(fitted, part)
            return part if as_images(config, labels.target) else part.reshape(len(part), -1)

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
    weights = labels.weight
    if weight is not None:
        weights = weight[labeled] * (1.0 if weights is None else weights)
    of_rows = None if weights is None else put(weights.astype(np.float32))
    train = TrainData(x_labeled, put(labels.train), unlabeled, of_rows)
    sizes = BatchSizes(min(config.batch_labeled, len(labeled)), config.batch_unlabeled, tied)
    validation = test = None
    if len(held_out):
        validation = rows_of(dataset.x_train, held_out), put(labels.validation)
    if len(dataset.y_test):
        test = rows_of(dataset.x_test), put(labels.test)
    shape = tuple(dataset.x_train.shape[1:])
    return Task(
        *(train, sizes, test, validation, labeled, dataset.class_names, shape, fitted),
        *(checksums(dataset), labels.target, labels.scaling, dataset.feature_names),
    )


def relabeled(config: Config, dataset: data.Dataset, rows: ChosenRows, task: Task) -> Task:
    """Returns a resident task on the same examples, of which others keep their label."""
    labeled, kept, _ = rows
    labels, train = read_labels(config, dataset, rows), task.train
    x = train.unlabeled[np.searchsorted(kept, labeled)]
    weight = None if labels.weight is None else jnp.asarray(labels.weight, jnp.float32)

    def again(known: tuple[Any, Any] | None, y: Any) -> tuple[Any, Any] | None:
        # Only numbers depend on which rows have a label.
        return known if known is None or labels.scaling is None else (known[0], jnp.asarray(y))

    return task._replace(
        train=train._replace(labeled=x, labels=jnp.asarray(labels.train), weight=weight),
        test=again(task.test, labels.test),
        validation=again(task.validation, labels.validation),
        labeled=labeled,
        target=labels.target,
        scaling=labels.scaling,
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
    weights: Any = itertools.repeat(None)
    if data.weight is not None:
        weights = np.asarray(data.weight)[order_labeled]
    host = zip(gathered, weights, strict=False)
    put = (Batch(*jax.device_put((*rows, weight))) for rows, weight in host)
    for batch, _ in itertools.pairwise(itertools.chain(put, [None])):
        assert batch is not None  # the last, which is ahead of nothing
        yield batch
