"""``LadderSegmenter``: a class per pixel of images."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from scipy import sparse
from sklearn.utils import Tags, check_array

from ladder_jax import data, targets
from ladder_jax._checks import check_values
from ladder_jax.data import labels
from ladder_jax.data.base import as_array
from ladder_jax.estimators.base import LadderEstimator, row_weights, silent, weight_setting
from ladder_jax.loop import Progress


def _ignored(ignore: Sequence[int]) -> str:
    return " or ".join(map(str, {data.NO_LABEL: None} | dict.fromkeys(ignore)))


def number_pixels(y: np.ndarray, ignore: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the sorted classes and the class number of each pixel; -1 marks no label.

    Args:
      y: integer masks ``[n, height, width]``, with or without a last axis of 1.
      ignore: values that mark unlabelled pixels, in addition to -1.

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
        given = f"only one class, {classes[0]}," if len(classes) else "no class"
        raise ValueError(
            f"y has {given} beside {_ignored(ignore)}, which means no label; give pixels of at "
            "least two classes, or say what else to ignore."
        )
    numbers = np.where(labeled, np.searchsorted(classes, masks), data.NO_LABEL)
    return classes.astype(y.dtype), numbers.astype(np.int32)


@dataclasses.dataclass(eq=False, repr=False)
class LadderSegmenter(LadderEstimator):
    """Trains a ladder network to classify each pixel, on images with and without masks.

    All images have the same size. Bytes (uint8) are divided by 255. Images passed later are
    converted to the scale of those in ``fit``, or refused, as ``data.SCALES`` describes. Other
    numbers should be roughly 0 to 1, or standardised. Parameters have the names and meanings of
    the settings in ``Config``; everything else is as in ``LadderClassifier``.

    Args:
      units: channels of the 3 x 3 convolutions, with dilations 1, 2, 4, 8, 8, ..., whose levels
        have the size of the images; the class level follows.
      encoder: layers of all levels instead of ``units``, if given, by the names that
        ``layers.from_name`` knows; must end with the classes at the images' size.
      activation: activation of the hidden levels.
      top_gain: whether the softmax has a gain in addition to its bias.
      combinators: combinator per level, from 0 (the input) to the classes; "none": not decoded.
      noise_std: standard deviation of the noise per level.
      denoising_cost: weight of the denoising cost per level.
      batch_labeled: images with a mask per step; all of them if there are fewer.
      batch_unlabeled: images per step, with or without a mask; all of them if there are fewer.
      epochs: passes over all images; None: 30, or as many as make at least 1000 updates.
      learning_rate: initial learning rate of Adam.
      decay_from: fraction of training after which the learning rate decays linearly to 0.
      preprocess: a chain of ``data.preprocessing``, fitted on the images passed to ``fit``.
      unit_norm: whether encoder weights are projected to norm 1 after each step.
      ema_decay: decay of the exponential moving average of the parameters; 0: no averaging.
      adversarial: where noise is virtual adversarial: "none", "input" or "all".
      consistency: weight of the cross-entropy between noisy predictions and clean ones.
      consistency_from: initial fraction of training without the consistency cost.
      consistency_threshold: least class probability in the clean pass for a pixel to count.
      consistency_temperature: divisor of the clean logits in the consistency target.
      compute_dtype: dtype of the maps: "float32", "bfloat16", or "auto", the faster of the two on
        this machine.
      joint_norm: whether the noisy labelled images of a step, which may be few, are normalised
        together with the noisy unlabelled ones.
      norm_statistics: images whose statistics normalise predictions: "train" or "labeled".
      ignore: values that mark unlabelled pixels in masks; -1 always does.
      class_weight: weight of a pixel by its class: None: all 1; "balanced": inversely
        proportional to the number of labelled pixels in the class; or a dict of weights by
        class, 1 for omitted classes.
      random_state: seed of initialisation, order and noise; an int is used as ``Config.seed``.
      verbose: whether to print loss and error on labelled pixels about ten times per fit.

    Attributes:
      classes_: sorted classes ``[k]`` in the masks passed to ``fit``.
      n_iter_: number of epochs trained.
      image_shape_: ``(height, width, channels)``.
      target_: name of the learnt target, such as ``"pixels:3"``.
      predictor_: the trained ladder, which also returns features and denoised images when called.
      config_: all settings of the fit.

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
          X: images ``[n, height, width]`` or ``[n, height, width, channels]``, numbers.
          y: integer masks ``[n, height, width]``: the class of each pixel, or a value in
            ``ignore``. An image whose pixels are all ignored counts as having no mask.
          sample_weight: weights ``[n]`` of the pixels of each image with a mask, 0 or more.
          progress: called after each epoch with its number and its mean loss, cross-entropy,
            denoising costs and error on labelled pixels (1 minus the mean IoU of a step).

        Returns:
          The fitted estimator itself.

        Raises:
          ValueError: a parameter or the data are invalid.
          TypeError: ``progress`` is not callable.
          NotFiniteError: the loss is NaN or infinite.
          RuntimeError: this process was forked from one that has used JAX.
        """
        self._forget()
        X = self._checked(X, ensure_min_samples=2)  # noqa: N806
        y = labels.as_array("y", y, data.NO_LABEL)
        classes, numbers = number_pixels(y, self._void())
        class_weight = weight_setting(self.class_weight, numbers, classes)
        void = (data.NO_LABEL,)  # ``numbers`` has no other, and 255 may be a class
        images = data.from_arrays(X, numbers, name="fit", kind="pixels", ignore=void)
        weight = row_weights(sample_weight, data.has_label(numbers, "pixels"))
        shape = tuple(images.x_train.shape[1:])
        fitted = {"classes_": classes, "image_shape_": shape}
        return self._fit(images, weight, progress, {"class_weight": class_weight}, **fitted)

    def _void(self) -> tuple[int, ...]:
        """Checks ``ignore`` and returns its values as a tuple."""
        given = np.asarray(self.ignore)
        if given.ndim > 1 or (given.size and given.dtype.kind not in "iu"):
            raise ValueError(f"ignore is {self.ignore!r}; give whole numbers, e.g. (-1, 255).")
        return tuple(given.ravel().tolist())

    def _checked(self, X: Any, **checks: Any) -> np.ndarray:  # noqa: N803
        X = X if sparse.issparse(X) else as_array("X", X)  # noqa: N806
        images: np.ndarray = check_array(X, allow_nd=True, input_name="X", **checks)
        if images.ndim not in (3, 4):
            raise ValueError(
                f"X has shape {images.shape}; give images, [n, height, width] or [n, height, "
                "width, channels]."
            )
        return images

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Predicts the most probable class of each pixel ``[n, height, width]``."""
        numbers = self._outputs(X, "predictions")
        masks: np.ndarray = self.classes_[numbers]
        return masks

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Predicts the probability of each class at each pixel ``[n, height, width, k]``."""
        return self._outputs(X, "probabilities")

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: N803
        """Computes the mean IoU, from 0 to 1, over all labelled pixels together.

        The mean is over the classes that occur among labels or predictions; a class that did not
        occur in ``fit`` has an IoU of 0.

        Args:
          X: images, as for ``fit``.
          y: masks, as for ``fit``.
          sample_weight: weights ``[n]`` of the pixels of each image, or None.

        Raises:
          ValueError: no pixel has a label, or shapes do not match.
        """
        predicted = self.predict(X)
        y = labels.as_array("y", y, data.NO_LABEL)
        y = labels.as_kind("y", y, "pixels", self._void())
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
        is_correct = true == predicted
        sums = {
            name: np.bincount(np.searchsorted(classes, values), pixel_weights, len(classes))
            for name, values, pixel_weights in (
                ("true", true, weights),
                ("predicted", predicted, weights),
                ("correct", true, weights * is_correct),
            )
        }
        return float(np.nanmean(targets.by_class(sums)["iou"]))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True
        tags.target_tags.required = True
        return tags
