"""Training: state, step, epoch, evaluation; all pure, all jitted.

``place`` puts rows where what is made here computes with them, as ``parallel.shard_batch``.

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

from ladder_jax._noise import split
from ladder_jax.augmentations import Augmentation
from ladder_jax.types import Array, Batch, Hyper, Ladder, Params, Statistics, Sums
from ladder_jax.types import Metrics as Metrics


class TrainState(NamedTuple):
    """Holds all that a run carries from step to step.

    Attributes:
      step: int32 scalar, steps done.
      params: of the ladder.
      opt_state: of the optimizer.
      key: of the run; the key of a step is derived from it and ``step`` alone.
    """

    step: Array
    params: Params
    opt_state: optax.OptState
    key: Array


class TrainData(NamedTuple):
    """Holds examples in device memory.

    Attributes:
      labeled: ``[n_labeled, *input_shape]``.
      labels: ``[n_labeled]``, integers; of another target than classes, as its labels are.
      unlabeled: ``[n_unlabeled, *input_shape]``.
      weight: ``[n_labeled]``, as ``Batch.weight``; None: all alike.
    """

    labeled: Array
    labels: Array
    unlabeled: Array
    weight: Array | None = None

    def batch(self, labeled: Array, unlabeled: Array) -> Batch:
        """Gathers the rows of these numbers."""
        weight = None if self.weight is None else self.weight[labeled]
        return Batch(self.labeled[labeled], self.labels[labeled], self.unlabeled[unlabeled], weight)


class BatchSizes(NamedTuple):
    """Says how many rows a step takes.

    Attributes:
      labeled: labelled rows.
      unlabeled: unlabelled rows.
      tied: whether the labelled rows of a step are its unlabelled rows, as the
        paper has it where every example has a label.
    """

    labeled: int = 100
    unlabeled: int = 100
    tied: bool = False


def create_train_state(
    net: Ladder, optimizer: optax.GradientTransformation, key: Array
) -> TrainState:
    """Creates a fresh state; the parameters and the run's randomness both come from ``key``.

    Args:
      optimizer: any optax transformation.
      key: a typed key, ``jax.random.key(seed)``.
    """
    key_params, key_run = split(key, 2)
    params = net.init(key_params)
    # The optimizer starts with zeros and copies: one program, and no rounding.
    return TrainState(jax.device_put(np.int32(0)), params, jax.jit(optimizer.init)(params), key_run)


def augmented(augmentation: Augmentation | None, state: TrainState, batch: Batch) -> Batch:
    """Changes the rows of a batch as the step of a state does; None: leaves them as they are."""
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
    """Makes the jitted ``train_step(state, batch) -> (state, metrics)``.

    Noise comes from the state's key and step, so that a step can be replayed.

    Args:
      optimizer: that which made ``state.opt_state``.
      hyper: noise and costs, or a schedule of them, ``step -> Hyper``; None for the ladder's own.
      augmentation: changes the rows of each half first, ``(key, x [B, *input_shape]) -> x``.

    Returns:
      The step; its metrics are those of ``net.loss``.
    """

    @jax.jit
    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(state.key, state.step)
        batch = augmented(augmentation, state, batch)
        now = hyper(state.step) if callable(hyper) else hyper
        grads, metrics = jax.grad(net.loss, has_aux=True)(state.params, batch, key, now)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return TrainState(state.step + 1, params, opt_state, state.key), metrics

    return train_step


def row_order(key: Array, rows: int, steps: int, batch: int) -> Array:
    """Draws which rows each step takes: whole shuffled passes, one after another.

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
    """Draws which rows each step of an epoch takes, whoever gathers them.

    Args:
      key: of the run.
      step: the number of any step of the epoch.
      n_labeled: labelled rows there are.
      n_unlabeled: unlabelled rows there are.
      sizes: rows per step.

    Returns:
      ``(labelled, unlabelled)``, int32 ``[steps, rows per step]`` each.

    Examples:
      >>> labeled, unlabeled = epoch_order(jax.random.key(0), 0, 2, 6, BatchSizes(2, 3))
      >>> labeled.shape, sorted(unlabeled.ravel().tolist())
      ((2, 2), [0, 1, 2, 3, 4, 5])
    """
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
    """Counts the whole batches that the unlabelled examples make.

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
    """Makes one pass over the unlabelled examples as a single compiled ``lax.scan``.

    The order of both halves follows from the state's key and the epoch's number, the labelled half
    starting over as often as needed. The state given is donated: use the one returned.

    Args:
      train_step: of ``make_train_step``.
      sizes: rows per step.

    Returns:
      ``epoch(state, data) -> (state, metrics)``, metrics averaged over the steps.
    """

    def epoch(state: TrainState, data: TrainData) -> tuple[TrainState, Metrics]:
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
    """Makes several epochs as one compiled program: one of few steps takes longer to start.

    Args:
      epoch: of ``make_epoch``.
      most: epochs that there is room for.

    Returns:
      ``epochs(state, data, number) -> (state, metrics)``, the state given donated; the metrics
      have the epochs as first axis, ``most`` of them, zeros beyond ``number``.
    """

    def epochs(state: TrainState, data: TrainData, number: Array) -> tuple[TrainState, Metrics]:
        _, one = jax.eval_shape(epoch, state, data)
        room = jax.tree.map(lambda m: jnp.zeros((most, *m.shape), m.dtype), one)

        def body(i: Array, carry: tuple[TrainState, Metrics]) -> tuple[TrainState, Metrics]:
            state, metrics = epoch(carry[0], data)
            return state, jax.tree.map(lambda all, m: all.at[i].set(m), carry[1], metrics)

        done: tuple[TrainState, Metrics] = jax.lax.fori_loop(0, number, body, (state, room))
        return done

    return jax.jit(epochs, donate_argnums=0)


def make_statistics(
    net: Ladder, place: Callable[[Any], Any] = lambda tree: tree
) -> Callable[[Params, Array], Statistics]:
    """Makes the jitted ``net.statistics``."""
    return jax.jit(lambda params, x: net.statistics(params, place(x)))


def make_measures(
    net: Ladder, place: Callable[[Any], Any] = lambda tree: tree
) -> Callable[[Params, Statistics, Array, Array], Sums]:
    """Makes the jitted sums that the target's ``summary`` reads; those of chunks of rows add up.

    Returns:
      ``(params, statistics, x [B, ...], labels [B, ...]) -> Sums``. The statistics are the
      training set's, never those of the rows tested.
    """

    @jax.jit
    def measures(params: Params, statistics: Statistics, x: Array, labels: Array) -> Sums:
        outputs = net.predict(params, statistics, place(x))
        return net.structure.target.measures(outputs, labels)

    return measures


def make_error_rate(
    net: Ladder, place: Callable[[Any], Any] = lambda tree: tree
) -> Callable[[Params, Statistics, Array, Array], Array]:
    """Makes the jitted share of rows put into a wrong class; one of NaN is in none.

    Of another target it is the error as ``Target.cost`` gives it, of all rows together; where
    rows come in chunks, add up ``make_measures``.

    Returns:
      ``(params, statistics, x [B, ...], y [B]) -> `` scalar from 0 to 1. The
      statistics are the training set's, never those of the rows tested.
    """

    @jax.jit
    def error_rate(params: Params, statistics: Statistics, x: Array, y: Array) -> Array:
        outputs = net.predict(params, statistics, place(x))
        return net.structure.target.cost(outputs, y)[1]

    return error_rate
