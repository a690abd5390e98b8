"""Algorithm 1 of Rasmus et al. (2015), from top to bottom: encoder, decoder, loss.

Each function takes a ladder's ``Structure`` s first, which ``ladder()`` binds, and then its
parameters. Noise is standard normal, one array per level. If statistics are None, the rows
are normalised by their own.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ladder_jax import _checks, activations, targets
from ladder_jax import combinators as combinators_lib
from ladder_jax._noise import normal, split
from ladder_jax._streams import Stream, join, separate
from ladder_jax.normalization import batch_normalize, known, normalize
from ladder_jax.types import (
    Activation,
    Array,
    Batch,
    Combinator,
    Consistency,
    Hyper,
    Ladder,
    Layer,
    Level,
    LevelParams,
    Metrics,
    Noise,
    Params,
    Pass,
    Reconstruction,
    Shape,
    Statistics,
    Structure,
    Target,
    Trained,
)


def init(s: Structure, key: Array) -> tuple[LevelParams, ...]:
    """Draws the parameters of levels 0 to L, without those that nothing uses."""

    def init_level(level: int, key: Array) -> LevelParams:
        shape, layer, activation, combinator = s.levels[level]
        key_layer, key_combinator = split(key, 2)
        params = LevelParams()
        if layer is not None and activation is not None:
            below = s.levels[level - 1]
            maps, _ = layer.init(key_layer, below.shape)
            leads_down = below.combinator is not None and below.combinator.uses_u
            down = maps.down if leads_down else None
            params = LevelParams(maps.up, down, activation.init(shape))
        if combinator is not None:
            above = s.above(level)
            per_unit = not s.target.positions if above is None else above.per_unit
            g_params = combinator.init(key_combinator, shape if per_unit else shape[-1:])
            params = params._replace(combinator=g_params)
        return params

    return tuple(map(init_level, range(len(s.levels)), split(key, len(s.levels))))


def draw_noise(s: Structure, key: Array, n_labeled: int, n_unlabeled: int) -> Noise:
    """Draws standard normal noise, one array per level and half of the batch."""

    def draw(key: Array, rows: int) -> tuple[Array, ...]:
        keys = jax.random.split(key, len(s.levels))
        return tuple(
            normal(k, (rows, *level.shape)) for k, level in zip(keys, s.levels, strict=True)
        )

    key_labeled, key_unlabeled = jax.random.split(key)
    return Noise(draw(key_labeled, n_labeled), draw(key_unlabeled, n_unlabeled))


def _normalize(
    x: Array, statistics: Statistics | None, level: int, *, per_unit: bool = False
) -> tuple[Array, Array, Array]:
    """Normalises by given statistics or by the batch; also returns the mean and variance used."""
    if statistics is None:
        return batch_normalize(x, per_unit=per_unit)
    mean, var = known(statistics, level)
    wanted = x.shape[1:] if per_unit else x.shape[-1:]
    _checks.check_statistics(level, (mean.shape, var.shape), wanted)
    return normalize(x, mean, var), mean, var


def encode_streams(
    s: Structure, params: Params, streams: Sequence[Stream], noise_std: Array
) -> list[Pass]:
    """Runs Algorithm 1, lines 1 to 12, on several streams with shared weights.

    At level 0, ``z_noisy = x + noise_std[0] n_0``. Above, each stream is normalised by its
    own batch statistics::

        z_pre = up(h_{l-1})
        z     = (z_pre - mean) / sqrt(var + 1e-10) + noise_std[l] n_l
        h     = phi(gain (z + bias))

    At each level, all streams share one matrix product, which is faster than one per stream.

    Args:
      streams: the streams, each with its rows, noise and statistics.
      noise_std: standard deviation of the noise at each level ``[L + 1]``.

    Returns:
      One ``Pass`` per stream.
    """
    _checks.check_params(params, len(s.levels))
    rows = [stream.x.shape[0] for stream in streams]
    z = [stream.corrupt(stream.x, 0, noise_std) for stream in streams]
    h = affine = join(z)  # [sum of B, *input_shape]
    # One (z, h, mean, var) per level and stream.
    results: list[list[tuple[Any, ...]]] = [[(x, x, None, None) for x in z]]
    for level, (shape, layer, activation, _) in enumerate(s.levels[1:], start=1):
        assert layer is not None and activation is not None
        z_pre = layer.up(params[level].up, h)
        _checks.check_result(f"layers[{level - 1}] ({layer}): up", z_pre, (h.shape[0], *shape))
        parts = zip(streams, separate(z_pre, rows), strict=True)
        clean, mean, var = zip(
            *(_normalize(x, source.statistics, level) for source, x in parts), strict=True
        )
        z = [stream.corrupt(x, level, noise_std) for stream, x in zip(streams, clean, strict=True)]
        affine = activation.affine(params[level].activation, join(z))
        h = activation.nonlinearity(affine)
        _checks.check_result(f"activation {activation} of level {level}", h, z_pre.shape)
        results.append(list(zip(z, separate(h, rows), mean, var, strict=True)))
    passes = []
    for logits, levels in zip(separate(affine, rows), zip(*results, strict=True), strict=True):
        z_levels, h_levels, mean, var = zip(*levels, strict=True)
        statistics = Statistics(mean, var)
        passes.append(Pass(z_levels, h_levels, statistics, s.target.outputs(logits)))
    return passes


def encode(
    s: Structure,
    params: Params,
    x: Array,
    noise: tuple[Array, ...] | None = None,
    statistics: Statistics | None = None,
    noise_std: Array | None = None,
) -> Pass:
    """Runs one encoder pass: noisy if ``noise`` is given, else clean.

    Args:
      x: rows ``[B, *input_shape]``.
      noise: standard normal noise, one array per level, or None.
      statistics: statistics to normalise with; None for those of ``x``.
      noise_std: standard deviation of the noise at each level ``[L + 1]``; None for the
        ladder's own.
    """
    at_least = 2 if statistics is None else 1
    x = _checks.as_rows("x", x, s.levels[0].shape, at_least=at_least)
    std = jnp.asarray(s.hyper.noise_std if noise_std is None else noise_std)
    _checks.check_level_count("noise_std", std, len(s.levels))
    if noise is not None:
        _checks.check_noise("noise", noise, x.shape[0], s)
    return encode_streams(s, params, [Stream(x, noise, statistics)], std)[0]


class _Decoded(NamedTuple):
    """Holds the results of the decoder at one level."""

    u: Array | None = None
    z_hat: Array | None = None
    z_hat_normalized: Array | None = None
    cost: Array | None = None
    mean: Array | None = None
    var: Array | None = None


def decode(
    s: Structure, params: Params, noisy: Pass, clean: Pass, statistics: Statistics | None = None
) -> Reconstruction:
    """Runs Algorithm 1, lines 13 to 20: from the top to the lowest decoded level.

    Starts from ``z_hat_{L+1}``, the noisy pass's class probabilities (or the output of another
    top activation), with no map at the top. For each decoded level::

        u       = N_B(down(z_hat_{l+1}))
        z_hat   = g(z_noisy, u)
        cost    = mean((z - (z_hat - mean) / sqrt(var + 1e-10))^2)

    with mean and var from the clean pass; at level 0, z_hat is compared unnormalised. Gradients
    flow through all of it, including the clean targets and their statistics, as in the paper's
    own program, which stops none.

    Args:
      noisy: noisy pass of the unlabelled rows.
      clean: clean pass of the same rows.
      statistics: statistics to normalise u with; None for those of the rows.

    Returns:
      A ``Reconstruction``, its costs not yet weighted.
    """
    _checks.check_same_rows(noisy, clean)
    results = [_Decoded()] * len(s.levels)
    z_hat = noisy.h[-1]
    for level in range(len(s.levels) - 1, s.lowest - 1, -1):
        shape, _, _, g = s.levels[level]
        above, u, mean, var = s.above(level), None, None, None
        if g is None:
            continue
        wanted = (z_hat.shape[0], *shape)
        if g.uses_u:  # so the level above is decoded, and z_hat is its estimate
            u = z_hat if above is None else above.down(params[level + 1].down, z_hat, shape)
            _checks.check_result(f"layers[{level}] ({above}): down", u, wanted)
            per_unit = above is not None and above.per_unit
            u, mean, var = _normalize(u, statistics, level, per_unit=per_unit)
        z_hat = estimate = g.apply(params[level].combinator, noisy.z[level], u)
        _checks.check_result(f"combinators[{level}] ({g}): apply", z_hat, wanted)
        if s.normalize_estimate and level > 0:
            estimate = normalize(z_hat, *known(clean.statistics, level))
        cost = jnp.mean(jnp.square(estimate - clean.z[level]))
        results[level] = _Decoded(u, z_hat, estimate, cost, mean, var)
    u_levels, z_hats, normalized, costs, means, variances = zip(*results, strict=True)
    return Reconstruction(u_levels, z_hats, normalized, costs, Statistics(means, variances))


def loss_given(
    s: Structure, params: Params, batch: Batch, noise: Noise, hyper: Hyper | None = None
) -> tuple[Array, Metrics]:
    """Computes the loss of a batch with given noise (equation 6)::

        C = -mean log p_noisy(y | x) + sum_l denoising_cost[l] C_l

    The first term is the cost of the ladder's target.

    Args:
      batch: the batch; rows with a label enter the first term, unlabelled rows the second.
      noise: noise from ``draw_noise``.
      hyper: noise and costs; None for the ladder's own.

    Returns:
      ``(loss, metrics)``. The metrics are the loss, its cross-entropy (for another target, named
      by its ``cost_name``), the denoising cost of each level ``[L + 1]``, not yet weighted, and
      the error of the noisy labelled rows: a fraction if the target's error is a percentage;
      for numbers, the RMSE in units of the batch's labels.
    """
    batch = _checks.as_batch(batch, s)
    _checks.check_noise("noise.labeled", noise.labeled, batch.labeled.shape[0], s)
    if s.sees_unlabeled:
        _checks.check_noise("noise.unlabeled", noise.unlabeled, batch.unlabeled.shape[0], s)
    return _loss(s, params, batch, noise, hyper)


def loss(
    s: Structure, params: Params, batch: Batch, key: Array, hyper: Hyper | None = None
) -> tuple[Array, Metrics]:
    """Computes ``loss_given`` with noise drawn from a key."""
    batch = _checks.as_batch(batch, s)
    noise = draw_noise(s, key, batch.labeled.shape[0], batch.unlabeled.shape[0])
    return _loss(s, params, batch, noise, hyper)


def _separate(joint: Pass, rows: Sequence[int]) -> list[Pass]:
    """Separates a pass over joined rows into one pass per array that was joined."""
    levels = joint.z, joint.h
    z, h = (zip(*(separate(array, rows) for array in arrays), strict=True) for arrays in levels)
    parts = zip(z, h, separate(joint.logits, rows), strict=True)
    return [Pass(z, h, joint.statistics, logits) for z, h, logits in parts]


def _encode_batch(
    s: Structure, params: Params, batch: Batch, noise: Noise, noise_std: Array
) -> list[Pass]:
    """Encodes the labelled rows and, if the loss reads them, the unlabelled ones.

    Returns:
      The noisy pass of the labelled rows; then, if they are read, the noisy and the clean pass
      of the unlabelled rows.
    """
    labeled, unlabeled = Stream(batch.labeled, noise.labeled), Stream(batch.unlabeled)
    if not s.sees_unlabeled:
        return encode_streams(s, params, [labeled], noise_std)
    noisy = unlabeled._replace(noise=noise.unlabeled)
    if not s.joint_norm:
        return encode_streams(s, params, [labeled, noisy, unlabeled], noise_std)
    joined = jax.tree.map(lambda *parts: join(parts), labeled, noisy)
    joint, clean = encode_streams(s, params, [joined, unlabeled], noise_std)
    rows = batch.labeled.shape[0], batch.unlabeled.shape[0]
    return [*_separate(joint, rows), clean]


def _loss(
    s: Structure, params: Params, batch: Batch, noise: Noise, hyper: Hyper | None
) -> tuple[Array, Metrics]:
    """Computes the loss of a checked batch."""
    active = s.hyper if hyper is None else hyper
    noise_std, denoising_cost = map(jnp.asarray, active[:2])
    _checks.check_level_count("hyper.noise_std", noise_std, len(s.levels))
    _checks.check_level_count("hyper.denoising_cost", denoising_cost, len(s.levels))
    labeled, *unlabeled = _encode_batch(s, params, batch, noise, noise_std)
    supervised, error = s.target.cost(labeled.logits, batch.labels, batch.weight)
    zero = jnp.zeros_like(supervised)
    none = [None] * len(s.levels)
    costs = decode(s, params, unlabeled[0], unlabeled[1]).cost if s.decoded else none
    denoising = jnp.stack([zero if c is None else c for c in costs])  # [L + 1]
    total = supervised + denoising_cost.astype(zero.dtype) @ denoising
    metrics = {s.target.cost_name: supervised, "denoising": denoising, "error": error}
    if s.consistency is not None:
        noisy, clean = unlabeled
        weight = s.consistency.cost * (1.0 if active.consistency is None else active.consistency)
        metrics["consistency"] = s.target.consistency(s.consistency, clean.logits, noisy.logits)
        total = total + weight * metrics["consistency"]
    if s.class_balance:
        assert s.target.class_balance is not None
        metrics["class_balance"] = s.target.class_balance(unlabeled[0].logits)
        total = total + s.class_balance * metrics["class_balance"]
    return total, metrics | {"loss": total}


def statistics(s: Structure, params: Params, x: Array) -> Statistics:
    """Computes the mean and variance of each level in the clean pass over ``x``."""
    return encode(s, params, x).statistics


def predict(s: Structure, params: Params, statistics: Statistics, x: Array) -> Array:
    """Computes the logits ``[B, classes]``, or the target's outputs, of the clean pass."""
    return encode(s, params, x, statistics=statistics).logits


def decoder_statistics(
    s: Structure, params: Params, statistics: Statistics, x: Array
) -> Statistics:
    """Computes statistics of u, which let the decoder process each row independently.

    They are None at levels that do not use u.

    Args:
      statistics: statistics of the clean pass over the training examples.
      x: training examples ``[B, *input_shape]``.
    """
    clean = encode(s, params, x, statistics=statistics)
    return decode(s, params, clean, clean).statistics


def denoise(s: Structure, trained: Trained, x: Array) -> Array | None:
    """Computes the decoder's estimate of the input, z_hat_0, for each row independently.

    Adds no noise: the rows may already be noisy. Returns None if level 0 is not decoded.
    """
    noisy = encode(s, trained.params, x, statistics=trained.statistics)
    return decode(s, trained.params, noisy, noisy, trained.decoder_statistics).z_hat[0]


def out_shape(in_shape: Shape, layer: Layer) -> Shape:
    """Returns the shape of a layer's level without computing anything."""
    out: list[Shape] = []
    key = jax.eval_shape(jax.random.key, 0)
    jax.eval_shape(lambda key: out.append(layer.init(key, in_shape)[1]), key)
    return tuple(out[0])


def _as_layers(layers: Any) -> list[Layer]:
    """Returns one layer, or any iterable of layers, as a list."""
    is_single = isinstance(layers, Layer) or not isinstance(layers, Iterable)
    listed: list[Layer] = [layers] if is_single else list(layers)
    if not listed:
        raise ValueError("layers is empty; give at least one layer, the classes.")
    for i, layer in enumerate(listed):
        if not isinstance(layer, Layer):
            raise TypeError(f"layers[{i}] is {layer!r}; give a Layer, e.g. dense(10).")
    return listed


def _as_combinator(level: int, value: Any) -> Combinator | None:
    if value is None or (isinstance(value, str) and value == "none"):
        return None
    known = combinators_lib.COMBINATORS
    return _checks.from_name(f"combinators[{level}]", value, known, Combinator)


def _as_target(target: Any, shape: Shape) -> Target:
    """Returns the target for a top level of this shape."""
    if isinstance(target, str):
        target = targets.from_name(target)
    if target is None:
        if math.prod(shape) != shape[-1] or shape[-1] < 2:
            raise ValueError(
                f"the last layer gives shape {shape}; wanted (classes,) with at least 2 classes, "
                "e.g. end with dense(10), or with conv(10, 1) and global_mean_pool()."
            )
        return targets.classes(shape[-1])
    if not isinstance(target, Target):
        raise TypeError(f"target is {target!r}; give a Target, e.g. targets.pixels(11).")
    target.check(shape)
    return target


def ladder(
    input_shape: Shape | int,
    layers: Layer | Sequence[Layer],
    *,
    combinators: Combinator | str | Sequence[Combinator | str | None] | None = "gaussian",
    denoising_cost: float | Sequence[float] = 1.0,
    noise_std: float | Sequence[float] = 0.3,
    activation: Activation | str | Sequence[Activation | str] = "relu",
    top: Activation | None = None,
    normalize_estimate: bool = True,
    consistency: Consistency | None = None,
    target: Target | str | None = None,
    joint_norm: bool = False,
    class_balance: float = 0.0,
) -> Ladder:
    """Builds a ladder network (Rasmus et al. 2015, Algorithm 1) as pure functions.

    The loss is the cross-entropy of the noisy labelled rows plus the weighted
    denoising costs of the unlabelled ones (their equation 6)::

        C = -mean log p_noisy(y | x) + sum_l denoising_cost[l] C_l

    A level whose combinator is None is not decoded and has no cost. With None at every
    level, the ladder is the supervised net; with a combinator only at the top, the Gamma-model;
    with combinators everywhere and every cost but the lowest 0, the bottom-only model.

    Args:
      input_shape: shape of one example, e.g. ``(784,)``.
      layers: layers of levels 1 to L; the last has one unit per class, or the shape that the
        target requires.
      combinators: one combinator for all levels 0 to L, or one (or None) per level; each may
        be a name in ``COMBINATORS``.
      denoising_cost: lambda_l, one value for all decoded levels or one per level.
      noise_std: standard deviation of the noise, one value for all levels 0 to L or one per
        level.
      activation: one activation for all levels 1 to L - 1, or one per level; each may be a
        name in ``ACTIVATIONS``. A level after pooling stays linear (``Layer.linear``).
      top: activation of level L; None for the target's, ``activations.softmax()`` for classes.
      normalize_estimate: whether estimates are normalised with the clean
        statistics before the comparison, as in the paper.
      consistency: settings of a cost, added to the loss and the metrics, of noisy predictions
        of unlabelled rows that differ from the clean ones; None for no such cost.
      target: target that the top learns, or its name, e.g. ``"pixels:11"``; None for
        ``targets.classes`` with one class per unit of the last layer.
      joint_norm: whether the noisy labelled rows of a batch are normalised together with the
        noisy unlabelled ones; the paper normalises them separately. Meant for batches with too
        few labelled rows for a mean and variance of their own; has no effect if the loss
        reads no unlabelled rows.
      class_balance: weight of a cost, added to the loss and the metrics, of noisy predictions
        of a batch's unlabelled rows whose mean differs from equal frequencies of the classes;
        0 for no such cost. Meant for few labels of classes that are about equally frequent.

    Raises:
      ValueError: there is no layer, the top is not a vector of at least two
        classes or does not fit the target, a list has the wrong length, or
        settings contradict each other.
      TypeError: an argument has the wrong type.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from ladder_jax import dense, ladder
      >>> net = ladder((4,), [dense(5), dense(3)], denoising_cost=[10.0, 1.0, 0.1])
      >>> params, x = net.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (6, 4))
      >>> loss, metrics = net.loss(params, (x[:3], jnp.arange(3), x), jax.random.key(2))
      >>> sorted(metrics)
      ['cross_entropy', 'denoising', 'error', 'loss']
      >>> net
      Ladder
      level  shape  layer    activation  combinator  noise_std  cost
      0      (4,)   input                gaussian    0.3        10
      1      (5,)   dense:5  relu        gaussian    0.3        1
      2      (3,)   dense:3  softmax     gaussian    0.3        0.1
    """
    layers = _as_layers(layers)
    lowest = _checks.as_shape("input_shape", input_shape)
    shapes = list(itertools.accumulate(layers, out_shape, initial=lowest))
    count = len(shapes)
    target = _as_target(target, shapes[-1])
    gs = _checks.per_level("combinators", combinators, count)
    gs = tuple(map(_as_combinator, range(count), gs))
    costs = _checks.per_level("denoising_cost", denoising_cost, count)
    if np.size(denoising_cost) == 1:
        costs = tuple(0.0 if g is None else cost for g, cost in zip(gs, costs, strict=True))
    stds = _checks.per_level("noise_std", noise_std, count)
    _checks.check_structure(gs, stds, costs)
    if consistency is not None:
        if not isinstance(consistency, Consistency):
            raise TypeError(f"consistency is {consistency!r}; give Consistency(cost=1.0) or None.")
        consistency.check()
    if not isinstance(top, Activation | None):
        raise TypeError(f"top is {top!r}; give an Activation, e.g. activations.softmax(), or None.")
    _checks.check_class_balance(class_balance, target)
    hidden = [
        _checks.from_name("activation", a, activations.ACTIVATIONS, Activation)
        for a in _checks.per_level("activation", activation, count - 2, 1)
    ]
    linear = activations.linear()
    acts = [linear if layer.linear else a for layer, a in zip(layers, hidden, strict=False)]
    acts.append(target.top if top is None else top)
    # NumPy float64: exact if JAX uses float64, and no device is touched before use.
    hyper = Hyper(np.array(stds), np.array(costs))  # type: ignore[arg-type]
    levels = tuple(map(Level, shapes, (None, *layers), (None, *acts), gs))
    structure = Structure(
        levels, hyper, target, normalize_estimate, consistency, joint_norm, class_balance
    )
    functions: list[Callable[..., Any]] = [init, draw_noise, encode, decode, loss, loss_given]
    functions += [statistics, predict, decoder_statistics, denoise]
    return Ladder(structure, *(functools.partial(f, structure) for f in functions))
