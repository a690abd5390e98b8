"""The types that the parts of a ladder are made of.

B is the number of rows, L the top level; level 0 is the input. "Each" says one value per level.
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
"""The shape of one example, the batch axis left out."""
Sums = dict[str, Any]
"""What a target's measures are computed from: arrays that add up over chunks of rows."""


class LayerParams(NamedTuple):
    """Holds the parameters of one layer: of its map up and of its map down."""

    up: Params
    down: Params


class LevelParams(NamedTuple):
    """Holds the parameters of one level; None where a level has none.

    Level 0 has no map and no activation. A map down that no decoded level needs is
    dropped, so that nothing is stored or updated in vain.

    Attributes:
      up: W, of the map from the level below.
      down: V, of the map to the level below.
      activation: beta and gamma.
      combinator: of g.
    """

    up: Params = None
    down: Params = None
    activation: Params = None
    combinator: Params = None


class Layer(NamedTuple):
    """Connects level l-1 and level l: a triple of pure functions.

    Attributes:
      init: ``(key, in_shape) -> (LayerParams, out_shape)``.
      up: ``(params.up, h [B, *in_shape]) -> z_pre [B, *out_shape]``, no bias.
      down: ``(params.down, z_hat [B, *out_shape], in_shape) -> u [B, *in_shape]``.
      per_unit: whether the level below is unordered units: u is normalised there, and the
        combinator has its parameters, unit by unit; else channel by channel (the last axis).
      linear: whether the layer's level has no activation of its own, as after
        pooling, unless it is the top.
      name: as ``config.encoder`` has it, e.g. ``"conv:32:5"``.
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
      init: ``(key, shape) -> params``; the arrays broadcast against a row.
      apply: ``(params, z_noisy [B, ...], u [B, ...] or None) -> z_hat [B, ...]``.
      uses_u: whether ``apply`` reads the signal from above. Without it no map
        leads down to this level, and ``u`` is None.
      name: as ``COMBINATORS`` has it.
    """

    init: Callable[[Array, Shape], Params]
    apply: Callable[[Params, Array, Array | None], Array]
    uses_u: bool = True
    name: str = "custom"

    def __repr__(self) -> str:
        return self.name


class Activation(NamedTuple):
    """Computes h = phi(gain * (z + bias)), what a level does after the noise.

    Attributes:
      init: ``(shape) -> params``; bias starts at 0, gain at 1.
      affine: ``(params, z) -> `` the argument of the nonlinearity.
      nonlinearity: ``(affine) -> h``.
      name: as ``ACTIVATIONS`` has it.
    """

    init: Callable[[Shape], Params]
    affine: Callable[[Params, Array], Array]
    nonlinearity: Callable[[Array], Array]
    name: str = "custom"

    def __repr__(self) -> str:
        return self.name


class Batch(NamedTuple):
    """Holds the examples of one step.

    A ladder also takes a dict or a tuple of the three, lists in place of arrays, and
    None for no unlabelled examples.

    Attributes:
      labeled: ``[N, *input_shape]``.
      labels: as the ladder's target says: of classes ``[N]``, integers from 0 to classes - 1;
        -1: the example has no label, and counts in the batch statistics of ``labeled`` alone.
      unlabeled: ``[M, *input_shape]``; M may be 0 if no level is decoded.
      weight: ``[N]``, 0 or more: how much each labelled row counts in the cost of the labels, a
        weighted mean; None: all alike.
    """

    labeled: Array
    labels: Array
    unlabeled: Array
    weight: Array | None = None


class Noise(NamedTuple):
    """Holds standard normal arrays, one per level, for each half of a batch.

    They are scaled by ``Hyper.noise_std`` where they are added.
    """

    labeled: tuple[Array, ...]
    unlabeled: tuple[Array, ...]


class Hyper(NamedTuple):
    """Holds the settings that may vary within one compiled program.

    Attributes:
      noise_std: ``[L + 1]``, standard deviation of the noise of each level.
      denoising_cost: ``[L + 1]``, the weight lambda of each level's cost.
      consistency: a factor on the cost of consistency, where there is one; None is 1.
    """

    noise_std: Array
    denoising_cost: Array
    consistency: Array | None = None


class Statistics(NamedTuple):
    """Holds mean and biased variance by level; None at level 0, which is not normalised."""

    mean: tuple[Array | None, ...]
    var: tuple[Array | None, ...]


class Trained(NamedTuple):
    """Holds what a trained ladder needs for rows that come one by one.

    Attributes:
      params: of the ladder.
      statistics: what its levels are normalised with.
      decoder_statistics: what u is normalised with, where it is used.
    """

    params: Params
    statistics: Statistics
    decoder_statistics: Statistics


class Pass(NamedTuple):
    """Holds what one encoder pass computes.

    Attributes:
      z: ``[B, *shape_l]`` each: normalised and, in a noisy pass, noisy.
      h: ``[B, *shape_l]`` each: activations; the last are class probabilities, or what else the
        target's activation gives.
      statistics: what each level was normalised with.
      logits: ``[B, classes]``, before the softmax of the top: the outputs of the target.
    """

    z: tuple[Array, ...]
    h: tuple[Array, ...]
    statistics: Statistics
    logits: Array

    def part(self, rows: slice) -> Pass:
        """Returns the pass of some of its rows."""
        z, h, logits = jax.tree.map(lambda array: array[rows], (self.z, self.h, self.logits))
        return Pass(z, h, self.statistics, logits)


class Reconstruction(NamedTuple):
    """Holds what the decoder computes; None where it does nothing.

    Attributes:
      u: ``[B, *shape_l]`` each: the normalised signal from above.
      z_hat: ``[B, *shape_l]`` each: the estimate of the clean z.
      z_hat_normalized: the estimate in units of the clean statistics.
      cost: scalar each: mean squared error, not yet weighted.
      statistics: what ``u`` was normalised with.
    """

    u: tuple[Array | None, ...]
    z_hat: tuple[Array | None, ...]
    z_hat_normalized: tuple[Array | None, ...]
    cost: tuple[Array | None, ...]
    statistics: Statistics


class Consistency(NamedTuple):
    """Says how the noisy predictions of unlabelled rows follow the clean ones.

    Attributes:
      cost: the weight of the cross-entropy in the loss.
      threshold: a row (position, or entry) counts if its clean pass gives a class this probability.
      temperature: the clean logits are divided by it: below 1 the target is sharper
        than the clean prediction.

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
    """Says what the labels of the top level are: a value of pure functions.

    Outputs are what the top's nonlinearity is applied to: ``[N, size]``, or ``[N, ..., size]``,
    one per position. ``predict``, ``probabilities`` and ``uncertainty`` take arrays of NumPy
    too, and compile nothing for them.

    Attributes:
      name: as ``targets.from_name`` reads it, e.g. ``"pixels:11"``.
      size: of the top level's last axis.
      top: the activation of level L by default; the decoder starts from what it gives.
      check_labels: ``(name, labels, rows, top_shape)``, raises a ``ValueError`` or ``TypeError``
        where labels do not fit; their values, unless they are traced, included.
      entries: ``(labels) -> `` bool, of the shape of the labels: which entries have one.
      cost: ``(outputs, labels, weight=None) -> (cost, error)``, scalars: the mean cost over the
        labelled entries, rows weighted by ``weight [N]``, and their error as ``summary`` has it,
        a share where that is a percentage; 0 where nothing is labelled.
      measures: ``(outputs, labels) -> Sums``, of labelled entries; those of chunks of rows
        add up, leaf by leaf.
      summary: ``(sums, scale=1.0) -> `` dict of numbers: ``"error"`` is what is minimised, the
        rest is beside it. ``scale``: of outputs in the labels' own units, where these have any.
      predict: ``(outputs) -> `` predictions: a class, a mask, numbers, or zeros and ones.
      probabilities: ``(outputs) -> `` probabilities of the shape of the outputs, or None.
      uncertainty: ``(outputs) -> `` one value per prediction: the probability that it is
        wrong, or the standard deviation of a number; None where nothing is known of it.
      divergence: ``(clean, noisy) -> `` scalar, KL(p_clean || p_noisy) of two outputs.
      consistency: ``(Consistency, clean, noisy) -> `` scalar, the cost of noisy outputs that
        differ from the clean ones, with no gradient to these.
      positions: whether outputs are one per position, labels ``[N, *top_shape[:-1]]``.
      cost_name: of the cost among a step's metrics.
      percent: whether the summary's error is a percentage.
    """

    name: str
    size: int
    top: Activation
    check_labels: Callable[[str, Any, int, Shape], None]
    entries: Callable[[Any], Any]
    cost: Callable[..., tuple[Array, Array]]
    measures: Callable[[Array, Array], Sums]
    summary: Callable[..., dict[str, float]]
    predict: Callable[[Any], Any]
    probabilities: Callable[[Any], Any]
    uncertainty: Callable[[Any], Any]
    divergence: Callable[[Array, Array], Array]
    consistency: Callable[[Consistency, Array, Array], Array]
    positions: bool = False
    cost_name: str = "cross_entropy"
    percent: bool = True

    def __repr__(self) -> str:
        return self.name

    @property
    def kind(self) -> str:
        """Returns what the labels are, one of ``data.KINDS``: the first word of the name."""
        return self.name.partition(":")[0]

    def check(self, shape: Shape) -> None:
        """Raises a ``ValueError`` if a top level of this shape does not fit."""
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
        """Returns the top's ``[B, *shape]`` as outputs: ``[B, size]`` where rows have one each."""
        return affine if self.positions else affine.reshape(affine.shape[0], -1)

    def labeled(self, labels: Any) -> Any:
        """Returns which rows have any label, bool ``[N]``."""
        entries = self.entries(labels)
        return entries.any(tuple(range(1, entries.ndim)))


class Level(NamedTuple):
    """Describes one level of a ladder; level 0 has neither layer nor activation.

    Attributes:
      shape: of one example at this level.
      layer: from the level below.
      activation: after the noise.
      combinator: None where the level is not decoded.
    """

    shape: Shape
    layer: Layer | None
    activation: Activation | None
    combinator: Combinator | None


@dataclasses.dataclass(frozen=True, eq=False)
class Structure:
    """Holds what is static in a ladder: what its pure functions are functions of.

    Attributes:
      levels: 0 to L.
      hyper: the noise and costs used where no others are given.
      target: what the top level learns.
      normalize_estimate: whether z_hat is normalised before it is compared.
      consistency: of noisy with clean predictions, or None.
      joint_norm: whether labelled rows are normalised together with the unlabelled ones.
    """

    levels: tuple[Level, ...]
    hyper: Hyper
    target: Target
    normalize_estimate: bool = True
    consistency: Consistency | None = None
    joint_norm: bool = False

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Lists the shape of each level."""
        return tuple(level.shape for level in self.levels)

    @property
    def lowest(self) -> int:
        """Finds the lowest decoded level; the number of levels if none is decoded."""
        decoded = (i for i, level in enumerate(self.levels) if level.combinator is not None)
        return next(decoded, len(self.levels))

    @property
    def decoded(self) -> bool:
        """Says whether any level is decoded."""
        return self.lowest < len(self.levels)

    @property
    def sees_unlabeled(self) -> bool:
        """Says whether the loss reads the unlabelled half of a batch."""
        return self.decoded or self.consistency is not None

    def above(self, level: int) -> Layer | None:
        """Returns the layer that leads up from a level; None at the top."""
        return self.levels[level + 1].layer if level + 1 < len(self.levels) else None


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Ladder:
    """Bundles the pure functions of a ladder network; ``ladder()`` makes one.

    It is compared and hashed by identity, so that it may be a static argument of ``jax.jit``;
    ``dataclasses.replace`` exchanges a function. Its repr is a table of its levels.

    Attributes:
      structure: its levels, and the noise and costs by default.
      init: ``(key) -> params``, a tuple of one ``LevelParams`` per level.
      draw_noise: ``(key, n_labeled, n_unlabeled) -> Noise``.
      encode: ``(params, x, noise=None, statistics=None, noise_std=None) -> Pass``.
      decode: ``(params, noisy, clean, statistics=None) -> Reconstruction``.
      loss: ``(params, batch, key, hyper=None) -> (scalar, metrics)``.
      loss_given: ``(params, batch, noise, hyper=None) -> (scalar, metrics)``.
      statistics: ``(params, x) -> Statistics`` of the clean pass over ``x``.
      predict: ``(params, statistics, x) -> logits``, or what else the target's outputs are.
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
        """Lists the shape of each level, 0 (the input) to L (the classes)."""
        return self.structure.shapes

    @property
    def hyper(self) -> Hyper:
        """Returns the noise and costs used where no others are given."""
        return self.structure.hyper

    def __repr__(self) -> str:
        head = ("level", "shape", "layer", "activation", "combinator", "noise_std", "cost")
        rows: list[tuple[str, ...]] = [head]
        by_level = zip(self.structure.levels, *self.hyper[:2], strict=True)
        for i, (level, std, cost) in enumerate(by_level):
            parts = (level.layer or "input", level.activation or "", level.combinator or "")
            rows.append((f"{i}", f"{level.shape}", *map(str, parts), f"{std:g}", f"{cost:g}"))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
        return "\n".join(("Ladder", *lines))
