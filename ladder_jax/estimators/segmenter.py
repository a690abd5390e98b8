"""``LadderSegmenter``: a class per pixel of images."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils import Tags, check_array

from ladder_jax import data, targets
from ladder_jax.data import labels
from ladder_jax.estimators.base import LadderEstimator, row_weights, silent, weight_setting
from ladder_jax.loop import Progress
from ladder_jax.targets.base import check_values


def _ignored(ignore: Sequence[int]) -> str:
    return " or ".join(map(str, {data.NO_LABEL: None} | dict.fromkeys(ignore)))


def number_pixels(y: np.ndarray, ignore: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the classes, sorted, and the number of each pixel's; -1 where it has no label.

    Args:
      y: masks ``[n, height, width]``, integers, with or without a last axis of 1.
      ignore: what stands for no label, beside -1.

    Returns:
      ``(classes [k], numbers [n, height, width])``.

    Raises:
      ValueError: masks are not class numbers, or there are fewer than two classes.

    Examples:
      >>> classes, numbers = number_pixels(np.array([[[0, 7], [255, 7]]]), (255,))
      >>> classes.tolist(), numbers.tolist()
      ([0, 7], [[[0, 1], [-1, 1]]])
    """
    masks = labels.as_kind("y", y, "pixels", ignore)
    wanted = f"classes from 0, or {_ignored(ignore)} where there is no label"
    check_values("y", masks, lambda mask: mask >= data.NO_LABEL, wanted)
    labeled = masks != data.NO_LABEL
    classes = np.unique(masks[labeled])
    if len(classes) < 2:
        given = f"one class alone, {classes[0]}," if len(classes) else "no class"
        raise ValueError(
            f"y has {given} beside {_ignored(ignore)}, which means no label; give pixels of at "
            "least two classes, or say what else to ignore."
        )
    numbers = np.where(labeled, np.searchsorted(classes, masks), data.NO_LABEL)
    return classes.astype(y.dtype), numbers.astype(np.int32)


@dataclasses.dataclass(eq=False, repr=False)
class LadderSegmenter(LadderEstimator):
    """Trains a ladder network to find the class of each pixel, on images with and without masks.

    Images are of one size. Bytes (uint8) are divided by 255, and later images are put on the
    scale of those of ``fit``, or refused, as ``data.SCALES`` says; other numbers should be
    about 0 to 1, or be standardised. Parameters are the settings of ``Config`` by the
    same names; all else is as ``LadderClassifier`` has it.

    Args:
      units: channels of the convolutions by 3 x 3 with dilations 1, 2, 4, 8, 8, ..., whose
        levels have the size of the images; the classes follow.
      encoder: if given, the layers of all levels instead, by the names that
        ``layers.from_name`` knows; it must end with the classes at the images' size.
      activation: of the hidden levels.
      top_gain: whether the softmax has a gain beside its bias.
      combinators: by level from 0, the input, to the classes; "none": not decoded.
      noise_std: by level.
      denoising_cost: by level.
      batch_labeled: images with a mask per step; all of them if there are fewer.
      batch_unlabeled: images per step, with a mask or without; all of them if there are fewer.
      epochs: passes over all images; None: 30, or as many as come to 1000 updates.
      learning_rate: of Adam, at the start.
      decay_from: the part of the run after which the rate falls linearly to 0.
      preprocess: a chain of ``data.preprocessing``, fitted on the images of ``fit``.
      unit_norm: whether encoder weights are projected to norm 1 after each step.
      ema_decay: of the exponential moving average of the parameters; 0: none.
      adversarial: where noise is virtual adversarial: "none", "input" or "all".
      consistency: weight of the cross-entropy of noisy predictions with the clean ones.
      consistency_from: the part of the run without it, at the start.
      consistency_threshold: a pixel counts if its clean pass gives a class this probability.
      consistency_temperature: that the clean logits are divided by for the target.
      compute_dtype: of the maps, "float32", "bfloat16" or "auto", the faster one here.
      joint_norm: whether a step normalises its noisy labelled images, which may be few, together
        with the noisy unlabelled ones.
      norm_statistics: what prediction is normalised with: "train" or "labeled" images.
      ignore: what stands for no label in masks; -1 always does.
      class_weight: how much a pixel counts, by its class: None, all alike; "balanced",
        inversely to how many labelled pixels have it; or a dict of weights by class, 1 for those
        that it leaves out.
      random_state: decides start, order and noise; an int is ``Config.seed``.
      verbose: whether to print loss and error on labelled rows about ten times per fit.

    Attributes:
      classes_: ``[k]``, sorted: those of the masks of ``fit``.
      n_iter_: epochs done.
      image_shape_: ``(height, width, channels)``.
      target_: name of what is learnt, as ``"pixels:3"``.
      predictor_: the trained ladder; called, it also gives features and denoised images.
      config_: all settings of the run.

    Examples:
      >>> x = np.random.default_rng(0).normal(0.2, 0.1, (12, 6, 6))
      >>> x[:, :3] += 0.6  # the upper half is bright
      >>> y = np.where(np.arange(6)[:, None] < 3, 1, 0) * np.ones((12, 1, 6), int)
      >>> y[2:] = -1  # ten images have no mask
      >>> ladder = LadderSegmenter(units=(4,), epochs=60, learning_rate=0.02, random_state=0)
      >>> ladder.fit(x, y).predict(x[:1])[0, :, 0].tolist()
      [1, 1, 1, 0, 0, 0]
    """

    units: int | Sequence[int] = (8, 8, 8)
    _: dataclasses.KW_ONLY
    encoder: str = ""
    batch_labeled: int = 20
    batch_unlabeled: int = 20
    epochs: int | None = 20
    learning_rate: float = 0.01
    preprocess: str = "none"
    ignore: Sequence[int] = labels.VOID
    class_weight: str | Mapping[int, float] | None = None

    KINDS: ClassVar[tuple[str, ...]] = ("pixels",)

    def fit(
        self,
        X: Any,  # noqa: N803
        y: Any,
        *,
        sample_weight: Any = None,
        progress: Progress = silent,
    ) -> Self:
        """Trains a ladder.

        Args:
          X: ``[n, height, width]`` or ``[n, height, width, channels]``, numbers.
          y: masks ``[n, height, width]``, integers: the class of each pixel, or a value of
            ``ignore``. An image whose pixels are all ignored has no mask.
          sample_weight: ``[n]``, how much the pixels of each image with a mask count, 0 or more.
          progress: called after each epoch with its number and its means of the loss,
            the cross-entropy, the denoising costs and the error on labelled pixels (1 less the
            mean IoU of a step).

        Returns:
          Itself.

        Raises:
          ValueError: a parameter or the data are wrong.
          TypeError: ``progress`` cannot be called.
          NotFiniteError: NaN or infinity in the loss.
          RuntimeError: this process was forked from one that has used JAX.
        """
        X, y = self._checked(X, ensure_min_samples=2), np.asarray(y)  # noqa: N806
        classes, numbers = number_pixels(y, self._void())
        class_weight = weight_setting(self.class_weight, numbers, classes)
        images = data.from_arrays(X, numbers, name="fit", kind="pixels")
        weight = row_weights(sample_weight, data.has_label(numbers, "pixels"))
        shape = tuple(images.x_train.shape[1:])
        fitted = {"classes_": classes, "image_shape_": shape}
        return self._fit(images, weight, progress, {"class_weight": class_weight}, **fitted)

    def _void(self) -> tuple[int, ...]:
        """Returns what stands for no label, checked."""
        given = np.asarray(self.ignore)
        if given.ndim > 1 or (given.size and given.dtype.kind not in "iu"):
            raise ValueError(f"ignore is {self.ignore!r}; give whole numbers, e.g. (-1, 255).")
        return tuple(given.ravel().tolist())

    def _checked(self, X: Any, **how: Any) -> np.ndarray:  # noqa: N803
        images: np.ndarray = check_array(X, allow_nd=True, input_name="X", **how)
        if images.ndim not in (3, 4):
            raise ValueError(
                f"X has shape {images.shape}; give images, [n, height, width] or [n, height, "
                "width, channels]."
            )
        return images

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Predicts the most probable class of each pixel, ``[n, height, width]``."""
        numbers = self._outputs(X, "predictions")
        masks: np.ndarray = self.classes_[numbers]
        return masks

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Predicts the probability of each class at each pixel, ``[n, height, width, k]``."""
        return self._outputs(X, "probabilities")

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: N803
        """Computes the mean IoU, from 0 to 1, of all labelled pixels together.

        The mean is over the classes that are labels or predictions; that of a class which
        ``fit`` had none of is 0.

        Args:
          X: as for ``fit``.
          y: as for ``fit``.
          sample_weight: ``[n]``, how much the pixels of each image count, or None.

        Raises:
          ValueError: no pixel has a label, or shapes are wrong.
        """
        predicted = self.predict(X)
        y = labels.as_kind("y", np.asarray(y), "pixels", self._void())
        if y.shape != predicted.shape:
            raise ValueError(f"y has shape {y.shape}; give masks of shape {predicted.shape}.")
        labeled = y != data.NO_LABEL
        if not labeled.any():
            raise ValueError("y has no labelled pixel; give the masks of some images to score.")
        weight = row_weights(sample_weight, labeled.any((1, 2)))
        weights = np.ones(len(y)) if weight is None else weight
        weights = np.broadcast_to(weights[:, None, None], y.shape)[labeled]
        true, predicted = y[labeled], predicted[labeled]
        classes = np.union1d(true, predicted)
        right = true == predicted
        sums = {
            name: np.bincount(np.searchsorted(classes, values), by, len(classes))
            for name, values, by in (
                ("true", true, weights),
                ("predicted", predicted, weights),
                ("correct", true, weights * right),
            )
        }
        return float(np.nanmean(targets.by_class(sums)["iou"]))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True
        tags.target_tags.required = True
        return tags
