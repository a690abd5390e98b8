"""The settings of one training run: one dataclass, checked before anything runs."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from ladder_jax import _checks, activations, augmentations, combinators, data, layers
from ladder_jax.data import preprocessing
from ladder_jax.errors import ConfigError
from ladder_jax.types import Consistency

AUTO = "auto"
"""Value of ``compute_dtype`` that selects the faster dtype on the machine."""
COMPUTE_DTYPES = (*layers.DTYPES, AUTO)
"""Values of ``compute_dtype``."""
OLD_NAMES = {"average": "ema_decay", "statistics": "norm_statistics"}
"""Former names of settings and their current ones; former names are read, but never written."""

ADDED: dict[str, Any] = {
    "class_weight": "",
    "variance": False,
    "joint_norm": False,
    "augment": "none",
    "image_size": 0,
    "class_balance": 0.0,
    "spread_labels": "",
}
"""Settings missing from runs of earlier versions, with the values that reproduce these runs."""


def current_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns settings by their current names.

    Raises:
      ConfigError: a setting is given by both its old and its new name.

    Examples:
      >>> current_names({"average": 0.9, "epochs": 3})
      {'ema_decay': 0.9, 'epochs': 3}
    """
    for old in OLD_NAMES.keys() & values.keys():
        both = OLD_NAMES[old] in values
        _require(not both, OLD_NAMES[old], f"given as {old} too", "it once")
    return {OLD_NAMES.get(name, name): value for name, value in values.items()}


def _accepts_old_names(cls: Any) -> Any:
    """Makes a class also accept settings by their old names, which config files may contain."""
    init = cls.__init__

    @functools.wraps(init)
    def init_by_any_name(self: Any, *values: Any, **settings: Any) -> None:
        init(self, *values, **current_names(settings))

    cls.__init__ = init_by_any_name
    return cls


@_accepts_old_names
@dataclasses.dataclass(frozen=True)
class Config:
    """Holds the settings of one training run.

    Attributes:
      name: name of the experiment, used for the work folder.
      dataset: a name that ``ladder_jax.data.load`` knows, or the path of an ``.npz`` file, a
        ``.csv`` file or a folder of images.
      data_dir: folder of the data set's files, if it is not built in.
      labels: number of labelled examples; 0: all that have a label; -1: those marked in the
        data, where all others have the label -1 (NaN for numbers).
      label_choice: how labelled examples are chosen: "balanced" (the same number of each
        class), "stratified" or "uniform"; rows without a class are chosen uniformly.
      split: ``dataset.SEED@LABELS``, a named choice of labelled rows that does not depend on
        ``seed`` and ``labels``; "" for none.
      validation: number of labelled training examples held out; if there are any, the errors
        reported during training are theirs.
      image_size: height and width to which the images of a folder are scaled and cropped, in
        training and in later predictions; 0: images have one size and keep it.
      preprocess: a chain of ``ladder_jax.data.preprocessing``, e.g. "standardize" or
        "contrast+zca", fitted on the training examples; "none" for none.
      augment: a chain of ``ladder_jax.augmentations`` that changes images at each step, e.g.
        "flip+shift:2"; "none" for none.
      resident: whether the examples are kept on the accelerator; otherwise they stay on the
        host and are streamed to it, step by step.
      units: widths of the hidden levels 1 to L - 1; the classes, or whatever else the target
        needs, follow. For data with one class per pixel, channels of 3 x 3 convolutions with
        dilations 1, 2, 4, 8, 8, ..., which keep the size of the images.
      encoder: if given, the layers of levels 1 to L instead of ``units``, by the names
        that ``layers.from_name`` knows, e.g. "conv:32:5-max_pool:2-10".
      activation: activation of the hidden levels.
      top_gain: whether the softmax has a gain beside its bias.
      class_weight: weight of a label by its class: "" for equal weights; "balanced" for weights
        inversely proportional to a class's number of training labels; or weights by name, e.g.
        "cat:2,dog:0.5", and 1 for all others. Only for classes, per row or per pixel.
      variance: whether numbers are learnt as a Gaussian with its own variance per row; only for
        numbers.
      combinators: per level 0 to L, or one for all; "none": not decoded.
      noise_std: standard deviation of the noise, per level 0 to L, or one for all.
      denoising_cost: weight of the denoising cost, per level 0 to L, or one for all decoded.
      batch_labeled: labelled rows per step (fewer if there are not as many).
      batch_unlabeled: unlabelled rows per step.
      epochs: passes over the training examples.
      learning_rate: initial learning rate of Adam.
      decay_from: fraction of the run after which the learning rate decays linearly to 0.
      unit_norm: whether encoder weights are projected to norm 1 after each step.
      ema_decay: decay of the exponential moving average of the parameters, which is evaluated
        and kept; 0: the last parameters are used instead.
      adversarial: where noise is virtual adversarial: "none", "input" or "all".
      consistency: weight of the cross-entropy of the noisy predictions of unlabelled
        rows with the clean ones as targets; 0: none.
      consistency_from: fraction of the run, from its start, without consistency.
      consistency_threshold: a row counts if its clean pass gives a class this probability.
      consistency_temperature: divisor of the clean logits for the target.
      compute_dtype: precision of the maps: "float32", "bfloat16", or "auto" for whichever is
        faster on the machine where the run begins; parameters and statistics stay in float32.
      joint_norm: whether a step normalises its noisy labelled rows together with the noisy
        unlabelled ones, for few labels; otherwise separately.
      norm_statistics: examples whose clean pass gives the batch statistics that normalise
        predictions: all training examples ("train") or the labelled ones ("labeled").
      class_balance: weight of the divergence of the mean noisy prediction of unlabelled rows
        from equal frequencies of the classes; 0: no such cost.
      spread_labels: stages of the run in which more rows have a label, as ``data.spread_labels``
        gives them: "0.2:0.1,0.5:0.6" for a tenth of the rows after a fifth of the run, and
        60 % after half of it; "" for none. Only for classes, one per row.
      seed: determines labels, initial parameters, order and noise.
      eval_every: epochs between evaluations; the last epoch is always evaluated.
      checkpoint_seconds: minimum seconds between checkpoints; 0: one per epoch. The best
        parameters on ``validation`` and a run that is stopped are saved in addition.
      keep: number of most recent checkpoints that are kept.
    """

    TRACED: ClassVar[tuple[str, ...]] = ("learning_rate", "noise_std", "denoising_cost")
    """Settings that may be traced, so that one compiled program serves all their values."""

    name: str = "digits"
    dataset: str = "digits"
    data_dir: str = ""
    labels: int = 100
    label_choice: str = "balanced"
    split: str = ""
    validation: int = 0
    image_size: int = 0
    preprocess: str = "none"
    augment: str = "none"
    resident: bool = True
    units: tuple[int, ...] = (250, 100)
    encoder: str = ""
    activation: str = "relu"
    top_gain: bool = True
    class_weight: str = ""
    variance: bool = False
    combinators: tuple[str, ...] = ("gaussian",)
    noise_std: tuple[float, ...] = (0.3,)
    denoising_cost: tuple[float, ...] = (1.0,)
    batch_labeled: int = 100
    batch_unlabeled: int = 100
    epochs: int = 150
    learning_rate: float = 0.002
    decay_from: float = 0.67
    unit_norm: bool = False
    ema_decay: float = 0.0
    adversarial: str = "none"
    consistency: float = 0.0
    consistency_from: float = 0.0
    consistency_threshold: float = 0.95
    consistency_temperature: float = 0.5
    compute_dtype: str = "float32"
    joint_norm: bool = False
    norm_statistics: str = "train"
    class_balance: float = 0.0
    spread_labels: str = ""
    seed: int = 0
    eval_every: int = 10
    checkpoint_seconds: float = 60.0
    keep: int = 2

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check_type(field.name, getattr(self, field.name), getattr(Config, field.name))
        for name in ("batch_labeled", "batch_unlabeled"):
            _require(getattr(self, name) >= 2, name, getattr(self, name), "2 or more rows")
        for name in ("epochs", "eval_every", "keep"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "1 or more")
        for name in ("validation", "image_size", "seed", "checkpoint_seconds", "class_balance"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        _require(self.labels >= -1, "labels", self.labels, "-1 or more")
        _choice("label_choice", self.label_choice, data.CHOICES)
        _checked(preprocessing.check_chain, self.preprocess)
        if self.augment != "none":
            _checked(augmentations.from_names, self.augment)
        if self.split:
            _checked(data.parse_split, self.split)
        _require(self.seed < 2**32, "seed", self.seed, "a number below 2^32")
        _require(self.learning_rate > 0, "learning_rate", self.learning_rate, "more than 0")
        _require(0 <= self.decay_from <= 1, "decay_from", self.decay_from, "0 to 1")
        _require(all(n >= 1 for n in self.units), "units", self.units, "1 or more each")
        _choice("activation", self.activation, activations.ACTIVATIONS)
        _require(0 <= self.ema_decay < 1, "ema_decay", self.ema_decay, "0 (none) or more, below 1")
        _choice("adversarial", self.adversarial, ("none", "input", "all"))
        _checked(self.consistency_settings.check)
        _ = self.class_weights
        if self.spread_stages:
            _require(self.resident, "resident", False, "True, or leave spread_labels out")
        fraction = self.consistency_from
        _require(0 <= fraction < 1, "consistency_from", fraction, "0 or more, below 1")
        _choice("compute_dtype", self.compute_dtype, COMPUTE_DTYPES)
        _choice("norm_statistics", self.norm_statistics, ("train", "labeled"))
        if self.encoder:
            try:
                layers.from_names(self.encoder)
            except ValueError as error:
                raise ConfigError(f"encoder: {error}") from error
        for word in self.combinators:
            _choice("combinators", word, (*combinators.COMBINATORS, "none"))
        for name in ("combinators", "noise_std", "denoising_cost"):
            _checked(_checks.per_level, name, getattr(self, name), self.levels)

    @property
    def levels(self) -> int:
        """Counts the levels, including the input."""
        return self.encoder.count("-") + 2 if self.encoder else len(self.units) + 2

    @property
    def consistency_settings(self) -> Consistency:
        """Returns the three settings of consistency as the ladder takes them."""
        return Consistency(
            self.consistency, self.consistency_threshold, self.consistency_temperature
        )

    @property
    def class_weights(self) -> str | dict[str, float] | None:
        """Returns ``class_weight`` as ``targets.class_weights`` takes it.

        Examples:
          >>> Config(class_weight="cat:2,dog:0.5").class_weights
          {'cat': 2.0, 'dog': 0.5}
        """
        if self.class_weight in ("", "balanced"):
            return self.class_weight or None
        pairs = [part.rpartition(":") for part in self.class_weight.split(",")]
        try:
            weights = {name.strip(): float(weight) for name, _, weight in pairs}
        except ValueError:
            weights = {}
        fits = len(weights) == len(pairs) and all(0 <= w < math.inf for w in weights.values())
        wanted = "'balanced', or a number, 0 or more, for each of some classes: 'cat:2,dog:0.5'"
        _require(fits, "class_weight", repr(self.class_weight), wanted)
        return weights

    @property
    def spread_stages(self) -> tuple[tuple[int, float], ...]:
        """Returns the stages of ``spread_labels``: epochs done before each, and shares of rows.

        Examples:
          >>> Config(epochs=50, spread_labels="0.2:0.1,0.5:0.6").spread_stages
          ((10, 0.1), (25, 0.6))
        """
        parts = self.spread_labels.split(",") if self.spread_labels else []
        try:
            pairs = [(float(start), float(share)) for start, share in (p.split(":") for p in parts)]
        except ValueError:
            pairs = []
        fits = len(pairs) == len(parts) and all(0 <= a < 1 and 0 < b <= 1 for a, b in pairs)
        stages = tuple((round(start * self.epochs), share) for start, share in pairs if fits)
        begins = [0, *(epoch for epoch, _ in stages), self.epochs]
        fits = fits and all(a < b for a, b in itertools.pairwise(begins))
        wanted = (
            f"parts of the run's {self.epochs} epochs, one or more of them apart and after the "
            "first, with shares of the rows: '0.2:0.1,0.5:0.6'"
        )
        _require(fits, "spread_labels", repr(self.spread_labels), wanted)
        return stages

    @property
    def images(self) -> bool:
        """Returns whether the layers take images rather than rows of features.

        For data with one class per pixel, a ladder takes images whatever its layers.
        """
        first = self.encoder.split("-")[0].removeprefix("fc:").removeprefix("dense:")
        return bool(first) and not first.isdigit()

    def supervised(self) -> Config:
        """Returns the supervised net of the same size: labels only, the paper's baseline noise.

        Examples:
          >>> Config(units=(5,)).supervised().noise_std
          (0.3, 0.5, 0.5)
        """
        return dataclasses.replace(
            self,
            combinators=("none",),
            denoising_cost=(0.0,),
            consistency=0.0,
            class_balance=0.0,
            spread_labels="",
            noise_std=(0.3,) + (0.5,) * (self.levels - 1),
        )

    @classmethod
    def create(cls, values: Mapping[str, Any]) -> Config:
        """Creates a ``Config`` from any mapping, e.g. an ``ml_collections.ConfigDict``.

        Args:
          values: values by the name of a setting, current or old; missing settings have their
            defaults.

        Returns:
          A ``Config``.

        Raises:
          ConfigError: a name is unknown or a value is wrong.

        Examples:
          >>> Config.create({"epochs": 3}).epochs
          3
        """
        known = {field.name for field in dataclasses.fields(cls)}
        current: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in current_names(values).items()
        }
        for name in current:
            _choice("setting", name, known)
        return cls(**current)


def _require(condition: bool, name: str, value: object, wanted: str) -> None:
    if not condition:
        raise ConfigError(f"{name} is {value}; give {wanted}.")


def _choice(name: str, value: str, choices: Any) -> None:
    _require(value in choices, name, repr(value), "one of " + ", ".join(sorted(choices)))


def _checked(check: Callable[..., object], *values: Any) -> None:
    """Calls a check of the library and turns its ``ValueError`` into a ``ConfigError``."""
    try:
        check(*values)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _check_type(name: str, value: object, default: object) -> None:
    """Checks that a value has its default's type; an int is accepted as a float."""
    if isinstance(default, tuple):
        _require(isinstance(value, tuple), name, repr(value), f"a tuple, e.g. {default}")
        assert isinstance(value, tuple)
        for item in value:
            _check_type(name, item, default[0])
        return
    wanted = (int, float) if isinstance(default, float) else type(default)
    fits = isinstance(value, wanted) and isinstance(value, bool) == isinstance(default, bool)
    _require(fits, name, repr(value), f"a value of type {type(default).__name__}")
    if isinstance(value, float):
        _require(math.isfinite(value), name, value, "a finite number")
