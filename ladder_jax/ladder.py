"""The ladder network: levels to pure functions."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ladder_jax import activations as activations_lib
from ladder_jax import combinators as combinators_lib
from ladder_jax import decoder, encoder
from ladder_jax.checks import check_batch, check_rows, check_structure, per_level
from ladder_jax.consistency import Consistency, consistency_cost
from ladder_jax.encoder import Stream
from ladder_jax.types import (
    Activation,
    Array,
    Batch,
    Combinator,
    Hyper,
    Ladder,
    Layer,
    Noise,
    Params,
    Pass,
    Reconstruction,
    Shape,
    Statistics,
)


def _level_shapes(input_shape: Shape, layers: Sequence[Layer]) -> tuple[Shape, ...]:
    """The shape of each level, without computing anything."""
    shapes = [tuple(input_shape)]
    key = jax.eval_shape(jax.random.key, 0)
    for layer in layers:
        out: list[Shape] = []

        def init(key: Array, layer: Layer = layer, out: list[Shape] = out) -> Params:
            params, out_shape = layer.init(key, shapes[-1])
            out.append(out_shape)
            return params

        jax.eval_shape(init, key)
        shapes.append(tuple(out[0]))
    return tuple(shapes)


def _activation(layer: Layer, activation: Activation) -> Activation:
    return activations_lib.linear() if layer.linear else activation


def _make_init(
    layers: Sequence[Layer],
    combinators: Sequence[Combinator | None],
    activations: Sequence[Activation],
    shapes: Sequence[Shape],
) -> Callable[[Array], Params]:
    """``init`` of a ladder: parameters of levels 0 to L, none that nothing uses."""
    levels, lowest = len(shapes), decoder.lowest_decoded(combinators)

    def init(key: Array) -> Params:
        params = []
        for level, level_key in enumerate(jax.random.split(key, levels)):
            level_params = {}
            key_layer, key_combinator = jax.random.split(level_key)
            combinator = combinators[level]
            if level > 0:
                maps, _ = layers[level - 1].init(key_layer, shapes[level - 1])
                below = combinators[level - 1]
                leads_down = level > lowest and below is not None and below.uses_u
                level_params["up"] = maps.up
                level_params["activation"] = activations[level - 1].init(shapes[level])
                level_params["down"] = maps.down if leads_down else None
            if combinator is not None:
                per_unit = level == levels - 1 or layers[level].per_unit
                shape = shapes[level] if per_unit else shapes[level][-1:]
                level_params["combinator"] = combinator.init(key_combinator, shape)
            params.append(level_params)
        return tuple(params)

    return init


def _make_draw_noise(shapes: Sequence[Shape]) -> Callable[[Array, int, int], Noise]:
    """``draw_noise`` of a ladder: standard normal, one array a level and half."""

    def draw(key: Array, rows: int) -> tuple[Array, ...]:
        keys = jax.random.split(key, len(shapes))
        return tuple(
            jax.random.normal(k, (rows, *shape)) for k, shape in zip(keys, shapes, strict=True)
        )

    def draw_noise(key: Array, n_labeled: int, n_unlabeled: int) -> Noise:
        key_labeled, key_unlabeled = jax.random.split(key)
        return Noise(draw(key_labeled, n_labeled), draw(key_unlabeled, n_unlabeled))

    return draw_noise


def ladder(
    input_shape: Shape,
    layers: Sequence[Layer],
    *,
    combinators: Combinator | Sequence[Combinator | None] | None = combinators_lib.gaussian(),
    denoising_cost: float | Sequence[float] = 1.0,
    noise_std: float | Sequence[float] = 0.3,
    activation: Activation | Sequence[Activation] = activations_lib.relu(),
    top: Activation = activations_lib.softmax(),
    normalize_estimate: bool = True,
    consistency: Consistency | None = None,
) -> Ladder:
    """A ladder network (Rasmus et al. 2015, Algorithm 1) as pure functions.

    The loss is the cross-entropy of the noisy labelled rows plus the weighted
    denoising costs of the unlabelled ones (equation 6 there)::

        C = -mean log p_noisy(y | x) + sum_l denoising_cost[l] C_l

    A level whose combinator is None is not decoded and costs nothing: all None
    is the supervised net, one at the top alone the Gamma-model, all given with
    every cost but the lowest 0 the bottom-only model.

    Args:
      input_shape: of one row, e.g. ``(784,)``.
      layers: of levels 1 to L; the last has as many units as there are classes.
      combinators: one for all levels 0 to L, or one (or None) for each.
      denoising_cost: lambda_l, one for all decoded levels or one for each level.
      noise_std: of the noise of each level 0 to L, or one for all.
      activation: of levels 1 to L - 1, or one for all of them; a level after
        pooling stays linear (``Layer.linear``).
      top: the activation of level L, a softmax.
      normalize_estimate: whether estimates are normalised with the clean
        statistics before the comparison, as in the paper.
      consistency: if given, a cost of the noisy predictions of unlabelled rows that
        differ from the clean ones is added, and is among the metrics.

    Returns:
      A ``Ladder``.

    Raises:
      ValueError: there is no layer, the top is not a vector of at least two
        classes, a list has the wrong length, or settings contradict each other.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from ladder_jax import Batch, dense, ladder
      >>> net = ladder((4,), [dense(5), dense(3)], denoising_cost=[10.0, 1.0, 0.1])
      >>> params = net.init(jax.random.key(0))
      >>> x = jax.random.normal(jax.random.key(1), (6, 4))
      >>> batch = Batch(x[:3], jnp.array([0, 1, 2]), x)
      >>> loss, metrics = net.loss(params, batch, jax.random.key(2))
      >>> sorted(metrics)
      ['cross_entropy', 'denoising', 'error', 'loss']
    """
    if not layers:
        raise ValueError("layers is empty; give at least one layer, the classes.")
    shapes = _level_shapes(input_shape, layers)
    levels = len(shapes)
    if math.prod(shapes[-1]) != shapes[-1][-1] or shapes[-1][-1] < 2:
        raise ValueError(
            f"the last layer gives shape {shapes[-1]}; wanted (classes,) with at least 2 classes, "
            "e.g. end with dense(10), or with conv(10, 1) and global_mean_pool()."
        )
    gs = per_level("combinators", combinators, levels, 0)
    if not isinstance(denoising_cost, Sequence | np.ndarray):
        denoising_cost = [0.0 if g is None else denoising_cost for g in gs]
    costs = per_level("denoising_cost", denoising_cost, levels, 0)
    stds = per_level("noise_std", noise_std, levels, 0)
    acts = (*per_level("activation", activation, levels - 2, 1), top)
    acts = (*map(_activation, layers[:-1], acts), top)
    check_structure(gs, stds, costs)
    if consistency is not None:
        consistency.check()
    # NumPy, float64: exact under float64, and no device is touched before use.
    defaults = Hyper(np.array(stds), np.array(costs))  # type: ignore[arg-type]
    decoded = any(g is not None for g in gs)
    sees_unlabeled = decoded or consistency is not None
    run_encoder = functools.partial(encoder.encode, layers, acts)

    init = _make_init(layers, gs, acts, shapes)
    draw_noise = _make_draw_noise(shapes)

    def encode(
        params: Params,
        x: Array,
        noise: tuple[Array, ...] | None = None,
        statistics: Statistics | None = None,
        noise_std: Array | None = None,
    ) -> Pass:
        check_rows("x", x, shapes[0], at_least=2 if statistics is None else 1)
        std = jnp.asarray(defaults.noise_std if noise_std is None else noise_std)
        return run_encoder(params, [Stream(x, noise, statistics)], std)[0]

    def decode(
        params: Params, noisy: Pass, clean: Pass, statistics: Statistics | None = None
    ) -> Reconstruction:
        return decoder.decode(
            *(layers, gs, shapes, params, noisy, clean),
            normalize_estimate=normalize_estimate,
            statistics=statistics,
        )

    def loss_given(
        params: Params, batch: Batch, noise: Noise, hyper: Hyper | None = None
    ) -> tuple[Array, dict[str, Array]]:
        check_batch(batch, shapes[0], sees_unlabeled=sees_unlabeled)
        given = defaults if hyper is None else hyper
        noise_std, denoising_cost = map(jnp.asarray, given[:2])
        streams = [Stream(batch.labeled, noise.labeled)]
        if sees_unlabeled:
            streams += [Stream(batch.unlabeled, noise.unlabeled), Stream(batch.unlabeled)]
        labeled, *unlabeled = run_encoder(params, streams, noise_std)
        cross_entropy = optax.softmax_cross_entropy_with_integer_labels(
            labeled.logits, batch.labels
        ).mean()
        zero = jnp.zeros_like(cross_entropy)
        costs = [None] * levels if not decoded else decode(params, unlabeled[0], unlabeled[1]).cost
        denoising = jnp.stack([zero if c is None else c for c in costs])  # [L + 1]
        total = cross_entropy + denoising_cost.astype(zero.dtype) @ denoising
        metrics = {
            "loss": total,
            "cross_entropy": cross_entropy,
            "denoising": denoising,
            "error": jnp.mean(labeled.logits.argmax(-1) != batch.labels),
        }
        if consistency is not None:
            noisy, clean = unlabeled
            factor = 1.0 if given.consistency is None else given.consistency
            weight = consistency.cost * factor
            metrics["consistency"] = consistency_cost(consistency, clean.logits, noisy.logits)
            metrics["loss"] = total = total + weight * metrics["consistency"]
        return total, metrics

    def loss(
        params: Params, batch: Batch, key: Array, hyper: Hyper | None = None
    ) -> tuple[Array, dict[str, Array]]:
        noise = draw_noise(key, batch.labeled.shape[0], batch.unlabeled.shape[0])
        return loss_given(params, batch, noise, hyper)

    def statistics(params: Params, x: Array) -> Statistics:
        return encode(params, x).statistics

    def predict(params: Params, statistics: Statistics, x: Array) -> Array:
        return encode(params, x, statistics=statistics).logits

    return Ladder(
        init, draw_noise, encode, decode, loss, loss_given, statistics, predict, shapes, defaults
    )
