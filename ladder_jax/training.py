"""Training: state, step, epoch and evaluation as pure, jitted functions.

``place`` places rows on the devices that compute with them, as ``parallel.shard_batch`` does.

Examples:
  >>> from ladder_jax import presets
  >>> net, optimizer = presets.mlp(4, [3, 2]), optax.adam(0.002)
  >>> state = create_train_state(net, optimizer, jax.random.key(0))
  >>> x, labels = jax.random.normal(jax.random.key(1), (6, 4)), jnp.arange(2)
  >>> train_step = make_train_step(net, optimizer)
  >>> state, metrics = train_step(state, Batch(x[:2], labels, x))
  >>> epoch = make_epoch(train_step, BatchSizes(labeled=2, unlabeled=3))
  >>> state, metrics = epoch(state, TrainData(x[:2], labels, x))
  >>> statistics = make_statistics(net)(state.params, x)
  >>> y = net.predict(state.params, statistics, x).argmax(-1)
  >>> int(state.step), float(make_error_rate(net)(state.params, statistics, x, y))
  (3, 0.0)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ladder_jax._checks import as_batch, check_count
from ladder_jax._noise import split
from ladder_jax.augmentations import Augmentation
from ladder_jax.types import Array, Batch, Hyper, Ladder, Params, Statistics, Sums
from ladder_jax.types import Metrics as Metrics


class TrainState(NamedTuple):
    """Holds everything that a run carries from step to step.

    Attributes:
      step: number of completed steps, int32 scalar.
      params: parameters of the ladder.
      opt_state: state of the optimizer.
      key: key of the run; the key of a step is derived only from it and ``step``.
    """

    step: Array
    params: Params
    opt_state: optax.OptState
    key: Array


class TrainData(NamedTuple):
    """Holds examples in device memory.

    Attributes:
      labeled: labelled examples ``[n_labeled, *input_shape]``.
      labels: integer classes ``[n_labeled]``, or the labels of another target.
      unlabeled: unlabelled examples ``[n_unlabeled, *input_shape]``.
      weight: weights ``[n_labeled]`` as in ``Batch.weight``; None weights all rows equally.
    """

    labeled: Array
    labels: Array
    unlabeled: Array
    weight: Array | None = None

    def check(self) -> None:
        """Raises a ``ValueError`` unless each labelled example has its label and weight."""
        rows = self.labeled.shape[0]
        for name, values in (("labels", self.labels), ("weight", self.weight)):
            if values is not None and values.shape[0] != rows:  # a gather would clamp its indices
                raise ValueError(
                    f"{name} has {values.shape[0]} row(s), labeled {rows}; give one per example."
                )

    def batch(self, labeled: Array, unlabeled: Array) -> Batch:
        """Gathers the rows with these indices."""
        weight = None if self.weight is None else self.weight[labeled]
        return Batch(self.labeled[labeled], self.labels[labeled], self.unlabeled[unlabeled], weight)


class BatchSizes(NamedTuple):
    """Holds the number of rows per step.

    Attributes:
      labeled: number of labelled rows.
      unlabeled: number of unlabelled rows.
      tied: whether a step uses the same rows as labelled and as unlabelled ones, as in the
        paper if every example has a label.
    """

    labeled: int = 100
    unlabeled: int = 100
    tied: bool = False


def create_train_state(
    net: Ladder, optimizer: optax.GradientTransformation, key: Array
) -> TrainState:
    """Creates a fresh state; ``key`` seeds both the parameters and the run's randomness.

    Args:
      optimizer: any optax transformation, also one that takes the loss (``optax.lbfgs``).
      key: a typed key, ``jax.random.key(seed)``.
    """
    key_params, key_run = split(key, 2)
    params = net.init(key_params)
    # The initial state is zeros and copies, so compiling it as one program rounds nothing.
    return TrainState(jax.device_put(np.int32(0)), params, jax.jit(optimizer.init)(params), key_run)


def augmented(augmentation: Augmentation | None, state: TrainState, batch: Batch) -> Batch:
    """Augments a batch as the step of a state does; without augmentation, returns it unchanged."""
    if augmentation is None:
        return batch
    # Noise folds 0, 1, 2, ... into the key of a step.
    key = jax.random.fold_in(jax.random.fold_in(state.key, state.step), jnp.uint32(2**32 - 1))
    key_labeled, key_unlabeled = jax.random.split(key)
    return batch._replace(
        labeled=augmentation(key_labeled, batch.labeled),
        unlabeled=augmentation(key_unlabeled, batch.unlabeled),
    )


def make_train_step(
    net: Ladder,
    optimizer: optax.GradientTransformation,
    hyper: Hyper | Callable[[Array], Hyper] | None = None,
    augmentation: Augmentation | None = None,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """Creates the jitted ``train_step(state, batch) -> (state, metrics)``.

    Noise is derived from the state's key and step, so that a step can be replayed.

    Args:
      optimizer: optimizer that created ``state.opt_state``.
      hyper: noise and costs, or a schedule of them, ``step -> Hyper``; None for the ladder's own.
      augmentation: function ``(key, x [B, *input_shape]) -> x``, applied first to the rows of
        each half. It leaves labels as they are: for masks, it must not move pixels.

    Returns:
      The step function; its metrics are those of ``net.loss``.
    """

    update = optax.with_extra_args_support(optimizer).update

    @jax.jit
    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(state.key, state.step)
        if augmentation is not None:
            batch = augmented(augmentation, state, as_batch(batch, net.structure))
        step_hyper = hyper(state.step) if callable(hyper) else hyper

        def loss(params: Params) -> tuple[Array, Metrics]:
            return net.loss(params, batch, key, step_hyper)

        grads, metrics = jax.grad(loss, has_aux=True)(state.params)
        # For optimizers with a line search or a schedule by the loss; others ignore it.
        extra = {"value": metrics["loss"], "grad": grads, "value_fn": lambda p: loss(p)[0]}
        updates, opt_state = update(grads, state.opt_state, state.params, **extra)
        params = optax.apply_updates(state.params, updates)
        return TrainState(state.step + 1, params, opt_state, state.key), metrics

    return train_step


def row_order(key: Array, rows: int, steps: int, batch: int) -> Array:
    """Draws the row indices of each step from consecutive shuffled passes over all rows.

    Returns:
      int32 ``[steps, batch]``, each below ``rows``.

    Examples:
      >>> sorted(row_order(jax.random.key(0), 6, steps=2, batch=3).ravel().tolist())
      [0, 1, 2, 3, 4, 5]
    """
    keys = jax.random.split(key, math.ceil(steps * batch / rows))
    passes = jax.vmap(lambda k: jax.random.permutation(k, rows))(keys)
    return passes.reshape(-1)[: steps * batch].reshape(steps, batch)


def epoch_order(
    key: Array, step: Array | int, n_labeled: int, n_unlabeled: int, sizes: BatchSizes
) -> tuple[Array, Array]:
    """Draws the row indices of each step of an epoch, however the rows are gathered.

    Args:
      key: key of the run.
      step: number of any step of the epoch.
      n_labeled: number of labelled rows.
      n_unlabeled: number of unlabelled rows.
      sizes: rows per step.

    Returns:
      ``(labelled, unlabelled)``, int32 ``[steps, rows per step]`` each.

    Raises:
      ValueError: there are fewer unlabelled rows than a step takes, there are no labelled
        ones, or the halves of tied sizes differ.

    Examples:
      >>> labeled, unlabeled = epoch_order(jax.random.key(0), 0, 2, 6, BatchSizes(2, 3))
      >>> labeled.shape, sorted(unlabeled.ravel().tolist())
      ((2, 2), [0, 1, 2, 3, 4, 5])
    """
    check_count("BatchSizes: unlabeled", sizes.unlabeled)
    if n_labeled < 1:
        raise ValueError("labeled has no rows; give labelled examples, 1 or more.")
    if sizes.tied and n_labeled != n_unlabeled:
        raise ValueError(
            f"BatchSizes: tied is True, but labeled has {n_labeled} row(s) and unlabeled "
            f"{n_unlabeled}; give the same examples as both, or tied=False."
        )
    if n_unlabeled < sizes.unlabeled:
        raise ValueError(
            f"unlabeled has {n_unlabeled} row(s), fewer than the {sizes.unlabeled} of a step; give "
            "more, or BatchSizes with fewer."
        )
    steps = n_unlabeled // sizes.unlabeled
    # Steps fold 0, 1, 2, ... into the key; orders fold from the other end.
    epoch = jnp.asarray(step // steps).astype("uint32")
    key = jax.random.fold_in(key, jnp.uint32(2**32 - 1) - epoch)
    key_unlabeled, key_labeled = jax.random.split(key)
    order = row_order(key_unlabeled, n_unlabeled, steps, sizes.unlabeled)
    if sizes.tied:
        return order, order
    return row_order(key_labeled, n_labeled, steps, sizes.labeled), order


def steps_per_epoch(data: TrainData, sizes: BatchSizes) -> int:
    """Returns the number of full batches of unlabelled examples.

    Examples:
      >>> x = jnp.zeros((250, 4))
      >>> steps_per_epoch(TrainData(x, jnp.zeros(250, int), x), BatchSizes())
      2
    """
    return data.unlabeled.shape[0] // sizes.unlabeled


def make_epoch(
    train_step: Callable[[TrainState, Batch], tuple[TrainState, Metrics]],
    sizes: BatchSizes,
    place: Callable[[Any], Any] = lambda tree: tree,
) -> Callable[[TrainState, TrainData], tuple[TrainState, Metrics]]:
    """Creates one pass over the unlabelled examples as a single compiled ``lax.scan``.

    The order of both halves is derived from the state's key and the epoch's number; the labelled
    half starts over as often as needed. The input state is donated: use the returned one.

    Args:
      train_step: step from ``make_train_step``.
      sizes: rows per step.

    Returns:
      ``epoch(state, data) -> (state, metrics)``, metrics averaged over the steps.
    """

    def epoch(state: TrainState, data: TrainData) -> tuple[TrainState, Metrics]:
        data.check()
        rows = data.labeled.shape[0], data.unlabeled.shape[0]
        order_labeled, order = epoch_order(state.key, state.step, *rows, sizes)

        def body(state: TrainState, rows: tuple[Array, Array]) -> tuple[TrainState, Metrics]:
            return train_step(state, place(data.batch(*rows)))

        state, metrics = jax.lax.scan(body, state, (order_labeled, order))
        return state, jax.tree.map(lambda m: m.mean(0), metrics)

    return jax.jit(epoch, donate_argnums=0)


def make_epochs(
    epoch: Callable[[TrainState, TrainData], tuple[TrainState, Metrics]], most: int
) -> Callable[[TrainState, TrainData, int], tuple[TrainState, Metrics]]:
    """Creates several epochs as one compiled program.

    An epoch of few steps takes longer to start than to compute.

    Args:
      epoch: epoch from ``make_epoch``.
      most: maximum number of epochs per call.

    Returns:
      ``epochs(state, data, number) -> (state, metrics)``; the input state is donated. The
      metrics' first axis is the epoch, of length ``most``, with zeros from index ``number`` on.
    """

    def epochs(state: TrainState, data: TrainData, number: Array) -> tuple[TrainState, Metrics]:
        _, shapes = jax.eval_shape(epoch, state, data)
        buffers = jax.tree.map(lambda m: jnp.zeros((most, *m.shape), m.dtype), shapes)

        def body(i: Array, carry: tuple[TrainState, Metrics]) -> tuple[TrainState, Metrics]:
            state, metrics = epoch(carry[0], data)
            return state, jax.tree.map(lambda buffer, m: buffer.at[i].set(m), carry[1], metrics)

        result: tuple[TrainState, Metrics] = jax.lax.fori_loop(0, number, body, (state, buffers))
        return result

    return jax.jit(epochs, donate_argnums=0)


def make_statistics(
    net: Ladder, place: Callable[[Any], Any] = lambda tree: tree
) -> Callable[[Params, Array], Statistics]:
    """Creates the jitted ``net.statistics``."""
    return jax.jit(lambda params, x: net.statistics(params, place(x)))


def make_measures(
    net: Ladder, place: Callable[[Any], Any] = lambda tree: tree
) -> Callable[[Params, Statistics, Array, Array], Sums]:
    """Creates the jitted sums for the target's ``summary``; sums of chunks of rows add up.

    Returns:
      ``(params, statistics, x [B, ...], labels [B, ...]) -> Sums``. The statistics are those of
      the training set, never of the rows under test.
    """

    @jax.jit
    def measures(params: Params, statistics: Statistics, x: Array, labels: Array) -> Sums:
        outputs = net.predict(params, statistics, place(x))
        return net.structure.target.measures(outputs, labels)

    return measures


def make_error_rate(
    net: Ladder, place: Callable[[Any], Any] = lambda tree: tree
) -> Callable[[Params, Statistics, Array, Array], Array]:
    """Creates the jitted fraction of misclassified rows; a row with NaN outputs counts as wrong.

    For another target, it is the error of ``Target.cost`` over all rows together. For rows in
    chunks, add up the sums of ``make_measures`` instead.

    Returns:
      ``(params, statistics, x [B, ...], y [B]) -> `` scalar from 0 to 1. The statistics are
      those of the training set, never of the rows under test.
    """

    @jax.jit
    def error_rate(params: Params, statistics: Statistics, x: Array, y: Array) -> Array:
        outputs = net.predict(params, statistics, place(x))
        return net.structure.target.cost(outputs, y)[1]

    return error_rate
