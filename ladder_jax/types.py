"""Types that make up a ladder.

B is the number of rows, L the top level; level 0 is the input. "Each" means one per level.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

Array = jax.Array
Metrics = dict[str, Array]
Params = Any
"""A pytree of arrays."""
Shape = tuple[int, ...]
"""Shape of one example, without the batch axis."""
Sums = dict[str, Any]
"""Sums from which a target's metrics are computed: arrays that add up over chunks of rows."""


class LayerParams(NamedTuple):
    """Holds the parameters of one layer: those of its upward and its downward map."""

    up: Params
    down: Params


class LevelParams(NamedTuple):
    """Holds the parameters of one level; None where a level has none.

    Level 0 has neither maps nor an activation. A downward map that no decoded level needs
    is dropped, so that no unused parameters are stored or updated.

    Attributes:
      up: W, parameters of the map from the level below.
      down: V, parameters of the map to the level below.
      activation: beta and gamma, parameters of the activation.
      combinator: parameters of g.
    """

    up: Params = None
    down: Params = None
    activation: Params = None
    combinator: Params = None


class Layer(NamedTuple):
    """Connects level l-1 and level l by three pure functions.

    Attributes:
      init: ``(key, in_shape) -> (LayerParams, out_shape)``.
      up: ``(params.up, h [B, *in_shape]) -> z_pre [B, *out_shape]``, no bias.
      down: ``(params.down, z_hat [B, *out_shape], in_shape) -> u [B, *in_shape]``.
      per_unit: whether the level below consists of unordered units. There, u is normalised and
        the combinator has its parameters per unit; otherwise per channel (the last axis).
      linear: whether the layer's level has no activation, as after pooling; the top level
        always has one.
      name: the layer in the notation of ``config.encoder``, e.g. ``"conv:32:5"``.
    """

    init: Callable[[Array, Shape], tuple[LayerParams, Shape]]
    up: Callable[[Params, Array], Array]
    down: Callable[[Params, Array, Shape], Array]
    per_unit: bool = False
    linear: bool = False
    name: str = "custom"

    def __repr__(self) -> str:
        return self.name


class Combinator(NamedTuple):
    """Computes z_hat = g(z_noisy, u), the denoising function of one level.

    Attributes:
      init: ``(key, shape) -> params``, arrays that broadcast against a row.
      apply: ``(params, z_noisy [B, ...], u [B, ...] or None) -> z_hat [B, ...]``.
      uses_u: whether ``apply`` reads the signal from above. If not, no map leads down to
        this level, and ``u`` is None.
      name: its key in ``COMBINATORS``.
    """

    init: Callable[[Array, Shape], Params]
    apply: Callable[[Params, Array, Array | None], Array]
    uses_u: bool = True
    name: str = "custom"

    def __repr__(self) -> str:
        return self.name


class Activation(NamedTuple):
    """Computes h = phi(gain * (z + bias)), which a level applies after adding noise.

    Attributes:
      init: ``(shape) -> params``; bias starts at 0, gain at 1.
      affine: ``(params, z) -> `` the argument of the nonlinearity.
      nonlinearity: ``(affine) -> h``.
      name: its key in ``ACTIVATIONS``.
    """

    init: Callable[[Shape], Params]
    affine: Callable[[Params, Array], Array]
    nonlinearity: Callable[[Array], Array]
    name: str = "custom"

    def __repr__(self) -> str:
        return self.name


class Batch(NamedTuple):
    """Holds the examples of one step.

    A ladder also accepts a dict or a tuple of the first three, lists instead of arrays, and
    None if there are no unlabelled examples.

    Attributes:
      labeled: labelled examples ``[N, *input_shape]``.
      labels: labels in the form that the ladder's target expects. For classes: ``[N]``, integers
        from 0 to classes - 1; -1 marks an example without a label, which counts only in the
        batch statistics of ``labeled``.
      unlabeled: unlabelled examples ``[M, *input_shape]``; M may be 0 if the loss reads none.
      weight: weights ``[N]``, 0 or more, of the labelled rows in the supervised cost, a weighted
        mean; None weights all rows equally.
    """

    labeled: Array
    labels: Array
    unlabeled: Array
    weight: Array | None = None


class Noise(NamedTuple):
    """Holds standard normal arrays, one per level, for each half of a batch.

    They are scaled by ``Hyper.noise_std`` when they are added.
    """

    labeled: tuple[Array, ...]
    unlabeled: tuple[Array, ...]


class Hyper(NamedTuple):
    """Holds the settings that may vary within one compiled program.

    Attributes:
      noise_std: standard deviation of the noise at each level ``[L + 1]``.
      denoising_cost: weight lambda of each level's denoising cost ``[L + 1]``.
      consistency: factor on the consistency cost, if the ladder has one; None is 1.
    """

    noise_std: Array
    denoising_cost: Array
    consistency: Array | None = None


class Statistics(NamedTuple):
    """Holds each level's mean and biased variance; None at level 0, which is not normalised."""

    mean: tuple[Array | None, ...]
    var: tuple[Array | None, ...]


class Trained(NamedTuple):
    """Holds what a trained ladder needs to process each row independently.

    Attributes:
      params: parameters of the ladder.
      statistics: statistics that normalise its levels.
      decoder_statistics: statistics that normalise u; None at levels that do not use u.
    """

    params: Params
    statistics: Statistics
    decoder_statistics: Statistics


class Pass(NamedTuple):
    """Holds the results of one encoder pass.

    Attributes:
      z: ``[B, *shape_l]`` each: normalised and, in a noisy pass, noisy.
      h: ``[B, *shape_l]`` each: activations; the last are class probabilities, or the output
        of another target's activation.
      statistics: statistics that normalised each level.
      logits: ``[B, classes]``, before the softmax of the top; in general the target's outputs.
    """

    z: tuple[Array, ...]
    h: tuple[Array, ...]
    statistics: Statistics
    logits: Array


class Reconstruction(NamedTuple):
    """Holds the results of the decoder; None where a level has no such result.

    Attributes:
      u: ``[B, *shape_l]`` each: the normalised signal from above.
      z_hat: ``[B, *shape_l]`` each: the estimate of the clean z.
      z_hat_normalized: ``[B, *shape_l]`` each: z_hat normalised with the clean statistics.
      cost: scalar each: mean squared error, not yet weighted.
      statistics: statistics that normalised ``u``.
    """

    u: tuple[Array | None, ...]
    z_hat: tuple[Array | None, ...]
    z_hat_normalized: tuple[Array | None, ...]
    cost: tuple[Array | None, ...]
    statistics: Statistics


class Consistency(NamedTuple):
    """Configures the cost that pulls noisy predictions of unlabelled rows to the clean ones.

    Attributes:
      cost: weight of the cross-entropy in the loss.
      threshold: class probability that the clean prediction of a row (position, or entry) must
        reach for the row to count.
      temperature: divisor of the clean logits; below 1, the target is sharper than the clean
        prediction.

    Examples:
      >>> Consistency(cost=2.0)
      Consistency(cost=2.0, threshold=0.95, temperature=0.5)
    """

    cost: float = 1.0
    threshold: float = 0.95
    temperature: float = 0.5

    def check(self) -> None:
        """Raises a ``ValueError`` if a setting is out of range."""
        wanted = {
            "cost": (0 <= self.cost < math.inf, "a finite number, 0 or more"),
            "threshold": (0 <= self.threshold <= 1, "0 to 1"),
            "temperature": (0 < self.temperature < math.inf, "a finite number above 0"),
        }
        for name, (fits, range_) in wanted.items():
            if not fits:
                raise ValueError(f"consistency {name} is {getattr(self, name)}; give {range_}.")


class Target(NamedTuple):
    """Defines what the top level predicts, as a bundle of pure functions.

    The outputs are the argument of the top's nonlinearity: ``[N, size]``, or
    ``[N, ..., size]`` with one output per position. ``predict``, ``probabilities`` and
    ``uncertainty`` also take NumPy arrays, for which they compile nothing.

    Attributes:
      name: the target in the notation of ``targets.from_name``, e.g. ``"pixels:11"``.
      size: size of the top level's last axis.
      top: default activation of level L; the decoder starts from its output.
      check_labels: ``(name, labels, rows, top_shape)``, raises a ``ValueError`` or ``TypeError``
        if the labels do not fit; checks their values too, unless they are traced.
      cost: ``(outputs, labels, weight=None) -> (cost, error)``, scalars: the mean cost of the
        labelled entries, with rows weighted by ``weight [N]``, and their error as in
        ``summary``, but a fraction where that is a percentage; 0 if nothing is labelled.
      measures: ``(outputs, labels) -> Sums`` over the labelled entries; the sums of chunks of
        rows add up, leaf by leaf.
      summary: ``(sums, scale=1.0) -> `` dict of numbers: ``"error"``, where lower is better, and
        further metrics. ``scale`` converts outputs to the labels' own units, if any.
      predict: ``(outputs) -> `` predictions: a class, a mask, numbers, or zeros and ones.
      probabilities: ``(outputs) -> `` probabilities of the outputs' shape, or None.
      uncertainty: ``(outputs) -> `` one value per prediction: the probability that it is
        wrong, or the standard deviation of a number; None if it is unknown.
      divergence: ``(clean, noisy) -> `` scalar, KL(p_clean || p_noisy) of two outputs.
      consistency: ``(Consistency, clean, noisy) -> `` scalar, the cost of noisy outputs that
        differ from the clean ones, with no gradient to the clean ones.
      class_balance: ``(noisy) -> `` scalar, how far the mean prediction of all rows is from
        classes of equal frequency; None if the target has no classes.
      positions: whether there is one output per position, with labels
        ``[N, *top_shape[:-1]]``.
      cost_name: name of the cost among the metrics of a step.
      percent: whether the summary's error is a percentage.
    """

    name: str
    size: int
    top: Activation
    check_labels: Callable[[str, Any, int, Shape], None]
    cost: Callable[..., tuple[Array, Array]]
    measures: Callable[[Array, Array], Sums]
    summary: Callable[..., dict[str, float]]
    predict: Callable[[Any], Any]
    probabilities: Callable[[Any], Any]
    uncertainty: Callable[[Any], Any]
    divergence: Callable[[Array, Array], Array]
    consistency: Callable[[Consistency, Array, Array], Array]
    class_balance: Callable[[Array], Array] | None = None
    positions: bool = False
    cost_name: str = "cross_entropy"
    percent: bool = True

    def __repr__(self) -> str:
        return self.name

    @property
    def kind(self) -> str:
        """Returns the kind of labels, one of ``data.KINDS``: the first word of the name."""
        return self.name.partition(":")[0]

    def check(self, shape: Shape) -> None:
        """Raises a ``ValueError`` if a top level of this shape does not fit the target."""
        size, vector = shape[-1], math.prod(shape) == shape[-1]
        if size == self.size and (len(shape) > 1 if self.positions else vector):
            return
        wanted, layer = f"({self.size},)", f"dense({self.size})"
        if self.positions:
            wanted, layer = f"(height, width, {self.size})", f"conv({self.size}, 1)"
        raise ValueError(
            f"the last layer gives shape {shape}; target {self.name} wants {wanted}, e.g. end "
            f"with {layer}."
        )

    def outputs(self, affine: Array) -> Array:
        """Reshapes the top's ``[B, *shape]`` to outputs, ``[B, size]`` unless it has positions."""
        return affine if self.positions else affine.reshape(affine.shape[0], -1)


class Level(NamedTuple):
    """Describes one level of a ladder; level 0 has neither layer nor activation.

    Attributes:
      shape: shape of one example at this level.
      layer: layer from the level below.
      activation: activation, applied after the noise.
      combinator: combinator; None if the level is not decoded.
    """

    shape: Shape
    layer: Layer | None
    activation: Activation | None
    combinator: Combinator | None


@dataclasses.dataclass(frozen=True, eq=False)
class Structure:
    """Holds the static part of a ladder, to which its pure functions are bound.

    Attributes:
      levels: levels 0 to L.
      hyper: default noise and costs.
      target: target that the top level learns.
      normalize_estimate: whether z_hat is normalised before the comparison with z.
      consistency: settings of the consistency cost, or None.
      joint_norm: whether labelled rows are normalised together with the unlabelled ones.
      class_balance: weight of the class-balance cost.
    """

    levels: tuple[Level, ...]
    hyper: Hyper
    target: Target
    normalize_estimate: bool = True
    consistency: Consistency | None = None
    joint_norm: bool = False
    class_balance: float = 0.0

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Returns the shape of each level."""
        return tuple(level.shape for level in self.levels)

    @property
    def lowest(self) -> int:
        """Returns the lowest decoded level; the number of levels if none is decoded."""
        decoded = (i for i, level in enumerate(self.levels) if level.combinator is not None)
        return next(decoded, len(self.levels))

    @property
    def decoded(self) -> bool:
        """Returns whether any level is decoded."""
        return self.lowest < len(self.levels)

    @property
    def sees_unlabeled(self) -> bool:
        """Returns whether the loss reads the unlabelled half of a batch."""
        return self.decoded or self.consistency is not None or self.class_balance > 0

    def above(self, level: int) -> Layer | None:
        """Returns the layer that leads up from a level; None at the top."""
        return self.levels[level + 1].layer if level + 1 < len(self.levels) else None


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Ladder:
    """Bundles the pure functions of a ladder network; ``ladder()`` builds one.

    Ladders are compared and hashed by identity, so that one may be a static argument of
    ``jax.jit``; ``dataclasses.replace`` replaces a function. The repr is a table of the levels.

    Attributes:
      structure: levels, target, and default noise and costs.
      init: ``(key) -> params``, a tuple of one ``LevelParams`` per level.
      draw_noise: ``(key, n_labeled, n_unlabeled) -> Noise``.
      encode: ``(params, x, noise=None, statistics=None, noise_std=None) -> Pass``.
      decode: ``(params, noisy, clean, statistics=None) -> Reconstruction``.
      loss: ``(params, batch, key, hyper=None) -> (scalar, metrics)``.
      loss_given: ``(params, batch, noise, hyper=None) -> (scalar, metrics)``.
      statistics: ``(params, x) -> Statistics`` of the clean pass over ``x``.
      predict: ``(params, statistics, x) -> logits``, or the outputs of another target.
      decoder_statistics: ``(params, statistics, x) -> Statistics`` of u.
      denoise: ``(trained, x) -> z_hat_0``, or None if level 0 is not decoded.
    """

    structure: Structure
    init: Callable[[Array], Params]
    draw_noise: Callable[[Array, int, int], Noise]
    encode: Callable[..., Pass]
    decode: Callable[..., Reconstruction]
    loss: Callable[..., tuple[Array, Metrics]]
    loss_given: Callable[..., tuple[Array, Metrics]]
    statistics: Callable[[Params, Array], Statistics]
    predict: Callable[[Params, Statistics, Array], Array]
    decoder_statistics: Callable[[Params, Statistics, Array], Statistics]
    denoise: Callable[[Trained, Array], Array | None]

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Returns the shape of each level, 0 (the input) to L (the classes)."""
        return self.structure.shapes

    @property
    def hyper(self) -> Hyper:
        """Returns the default noise and costs."""
        return self.structure.hyper

    def __repr__(self) -> str:
        header = ("level", "shape", "layer", "activation", "combinator", "noise_std", "cost")
        rows: list[tuple[str, ...]] = [header]
        by_level = zip(self.structure.levels, *self.hyper[:2], strict=True)
        for i, (level, std, cost) in enumerate(by_level):
            parts = (level.layer or "input", level.activation or "", level.combinator or "")
            rows.append((f"{i}", f"{level.shape}", *map(str, parts), f"{std:g}", f"{cost:g}"))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
        return "\n".join(("Ladder", *lines))
