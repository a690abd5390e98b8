"""``LadderClassifier``: a class per row of features, or several labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from scipy import sparse
from sklearn.base import ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from ladder_jax import data
from ladder_jax.estimators.base import LadderEstimator, row_weights, silent, weight_setting
from ladder_jax.estimators.columns import AUTO, FLOATS, kind_of, missing
from ladder_jax.loop import Progress
from ladder_jax.targets.base import check_values

_CONSISTENCY, _FEW = 3.0, 5
"""The weight of consistency where none is given, and up to how many labelled rows per class."""
_EXACT = 2**53
"""Below it a float64 holds every integer."""


def usual_consistency(per_class: float) -> float:
    """Returns the weight of consistency where none is given: the more labels, the less.

    Few labels leave open where a class ends; more of them say it better than gaps between rows.

    Args:
      per_class: labelled rows per class, on average.

    Examples:
      >>> usual_consistency(2), usual_consistency(10)
      (3.0, 0.75)
    """
    return _CONSISTENCY * min(1.0, _FEW / per_class) ** 2


def has_label(y: np.ndarray) -> np.ndarray:
    """Returns which rows have a label: those whose is not -1, nor, among strings, ``"-1"``.

    Args:
      y: ``[n]``, numbers, strings, or strings and -1 (of dtype object).

    Returns:
      bool ``[n]``.

    Examples:
      >>> has_label(np.array([0, -1])).tolist(), has_label(np.array(["a", -1])).tolist()
      ([True, False], [True, False])
    """
    if y.dtype.kind in "biuf":
        return np.asarray(y != data.NO_LABEL)
    return np.array([str(label) != str(data.NO_LABEL) for label in y], bool)


def fill_missing(y: Any) -> Any:
    """Returns labels in which what is missing is -1: None, NaN, or NA of pandas.

    Args:
      y: labels as they are given: an array, a list, or a column of pandas or polars.

    Returns:
      An array; integers again, if these are floats only because some are missing. Where none
      is, ``y`` as it is.

    Examples:
      >>> fill_missing(["a", None]).tolist(), fill_missing([0.0, float("nan")]).tolist()
      (['a', -1], [0, -1])
    """
    labels = np.asarray(y)
    if sparse.issparse(y) or labels.dtype.kind not in "fO":
        return y
    none = missing(labels)
    if not none.any():
        return y
    filled = np.where(none, data.NO_LABEL, labels)
    if filled.dtype != object and (np.abs(filled) < _EXACT).all() and (filled % 1 == 0).all():
        filled = filled.astype(np.int64)
    return filled


def known_labels(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns which rows have a label, and these labels, of one kind.

    Args:
      y: ``[n]``, as for ``has_label``.

    Returns:
      ``(labeled, known)``, bool ``[n]`` and ``[k]``.

    Raises:
      ValueError: they are of several kinds, or of none.

    Examples:
      >>> labeled, known = known_labels(np.array([True, -1, False], object))
      >>> labeled.tolist(), known.tolist(), known.dtype.name
      ([True, False, True], [True, False], 'bool')
    """
    labeled = has_label(y)
    known = y[labeled]
    if known.dtype == object:
        kinds = set(map(kind_of, known))
        if len(kinds) > 1 or "" in kinds:
            raise ValueError(
                "Unknown label type: y has dtype object and labels that are not of one kind; give "
                "integers or strings, and -1 where there is no label."
            )
        known = known if kinds == {"text"} else np.array(known.tolist())
    return labeled, known


def number_classes(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the classes, sorted, and the number of each row's; -1 where it has no label.

    Args:
      y: ``[n]``, as for ``has_label``.

    Returns:
      ``(classes [k], numbers [n])``.

    Raises:
      ValueError: there are fewer than two classes, or labels are neither whole
        numbers nor strings.

    Examples:
      >>> classes, numbers = number_classes(np.array(["yes", "no", "-1"]))
      >>> classes.tolist(), numbers.tolist()
      (['no', 'yes'], [1, 0, -1])
    """
    (labeled, known), numbers = known_labels(y), np.full(len(y), data.NO_LABEL)
    if len(known):
        check_classification_targets(known)
    classes, numbers[labeled] = np.unique(known, return_inverse=True)
    if len(classes) < 2:
        given = f"one class alone, {classes[0]}," if len(classes) else "no class"
        raise ValueError(
            f"y has {given} beside -1, which means no label; give labels of at least two classes, "
            "other than -1."
        )
    return classes, numbers


def number_matrix(y: np.ndarray) -> np.ndarray:
    """Returns several labels per row as integers.

    Args:
      y: ``[n, k]``, 1 or 0, or True or False; -1: that label is not known.

    Raises:
      ValueError: a label is none of them.

    Examples:
      >>> number_matrix(np.array([[True, False]])).tolist()
      [[1, 0]]
    """
    fits = lambda labels: np.isin(labels, (0, 1, data.NO_LABEL))
    check_values("y", y, fits, "1 or 0 for each label of a row, or -1 where it is not known")
    return y.astype(np.int64)


def _is_matrix(y: Any) -> bool:
    """Returns whether labels are several per row; one column is a class per row."""
    shape = () if sparse.issparse(y) else np.asarray(y).shape
    return len(shape) == 2 and shape[1] > 1


@dataclasses.dataclass(eq=False, repr=False)
class LadderClassifier(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    ClassifierMixin,  # type: ignore[misc]
    LadderEstimator,
):
    """Trains a ladder network on labelled and unlabelled rows of features.

    A row has one class, or several labels, each of which is there or not: ``y`` is then a
    matrix ``[n, k]`` of 0 and 1.

    Parameters are the settings of ``Config`` by the same names; the defaults were chosen on small
    tables with two to ten labels per class. Where one is of each level, a single value serves
    all. ``fit`` checks them. Fits of the same settings and shapes, as in a search, are compiled
    once.

    Numbers are taken as they are, whatever their dtype: pixels that were divided by 255
    for ``fit`` are divided for ``predict`` too. A value that is not finite after
    ``preprocess`` is refused.

    Args:
      units: widths of the hidden levels; the classes follow.
      activation: of the hidden levels.
      top_gain: whether the softmax has a gain beside its bias.
      combinators: by level from 0, the input, to the classes; "none": not decoded.
      noise_std: by level.
      denoising_cost: by level.
      batch_labeled: labelled rows per step; all of them if there are fewer.
      batch_unlabeled: unlabelled rows per step; all of them if there are fewer.
      epochs: passes over all rows; None: 30, or as many as come to 1000 updates.
      learning_rate: of Adam, at the start.
      decay_from: the part of the run after which the rate falls linearly to 0.
      preprocess: "auto", by which ``TableEncoder`` makes numbers of the columns, which then go
        through "tabular": text and categories, missing and skewed numbers, sparse matrices;
        or a chain of ``data.preprocessing``, as "tabular" or "standardize", of numbers alone,
        none missing. Either is fitted on the rows of ``fit``.
      unit_norm: whether encoder weights are projected to norm 1 after each step.
      ema_decay: of the exponential moving average of the parameters; 0: none.
      adversarial: where noise is virtual adversarial: "none", "input" or "all".
      consistency: weight of the cross-entropy of noisy predictions with the clean ones; None: 3
        with up to five labelled rows per class (on average), 3 (5 / n)^2 with n of them.
      consistency_from: the part of the run without it, at the start.
      consistency_threshold: a row counts if its clean pass gives a class this probability.
      consistency_temperature: that the clean logits are divided by for the target.
      compute_dtype: of the maps, "float32", "bfloat16" or "auto", the faster one here.
      joint_norm: whether a step normalises its noisy labelled rows, which may be few, together
        with the noisy unlabelled ones.
      norm_statistics: what prediction is normalised with: "train" or "labeled" rows.
      class_weight: how much a row counts, by its class: None, all alike; "balanced",
        inversely to how many labelled rows have it; or a dict of weights by class, 1 for those
        that it leaves out. Not with several labels per row.
      random_state: decides start, order and noise; an int is ``Config.seed``.
      verbose: whether to print loss and error on labelled rows about ten times per fit.

    After a fit, processes of its own must not be forked ones, in which JAX hangs: use
    ``multiprocessing.get_context("spawn")``, joblib's loky (``n_jobs``), or threads.

    Attributes:
      classes_: ``[k]``, sorted; with several labels per row their numbers, 0 to k - 1.
      target_: name of what is learnt, ``"classes:3"`` or ``"several:3"``.
      n_iter_: epochs done.
      n_features_in_: features of a row.
      feature_names_in_: their names, where ``X`` had any.
      columns_: the fitted ``TableEncoder`` if ``preprocess`` is "auto".
      predictor_: the trained ladder; called, it also gives denoised rows. It takes, and
        ``exporting`` writes down, what ``columns_`` makes of rows, by the names of its
        ``get_feature_names_out``.
      config_: all settings of the run.

    Examples:
      >>> x = np.random.default_rng(0).normal(size=(40, 2)) + np.arange(40)[:, None] % 2 * 9
      >>> y = np.where(np.arange(40) < 6, np.arange(40) % 2, -1)
      >>> ladder = LadderClassifier(units=(20,), epochs=60, random_state=0)
      >>> ladder.fit(x, y).predict([[0.0, 0.0], [9.0, 9.0]]).tolist()
      [0, 1]
    """

    units: int | Sequence[int] = (100, 100)
    _: dataclasses.KW_ONLY
    denoising_cost: float | Sequence[float] = 0.3
    epochs: int | None = None
    learning_rate: float = 0.01
    preprocess: str = AUTO
    consistency: float | None = None
    consistency_from: float = 0.3
    consistency_threshold: float = 0.0
    joint_norm: bool = True
    class_weight: str | Mapping[Any, float] | None = None

    KINDS: ClassVar[tuple[str, ...]] = ("classes", "several")

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
          X: ``[n, features]``, a table, labelled and unlabelled rows.
          y: ``[n]``, integers, truth values or strings; no label is -1, among strings also
            ``"-1"``, or what is missing (None, NaN, NA). Or ``[n, k]`` of 0 and 1; -1, or
            missing: that label is not known. Each of the k must be 0 in one row and 1 in
            another.
          sample_weight: ``[n]``, how much each labelled row counts, 0 or more; those of unlabelled
            rows are not used. A row of weight 0 is still one that the decoder learns from.
          progress: called after each epoch with its number and its means of the loss,
            the cross-entropy, the denoising costs and the error on labelled rows.

        Returns:
          Itself.

        Raises:
          ValueError: a parameter or the data are wrong.
          TypeError: ``progress`` cannot be called.
          NotFiniteError: NaN or infinity in the loss.
          RuntimeError: this process was forked from one that has used JAX.
        """
        matrix = _is_matrix(y)
        how = {"dtype": FLOATS, "multi_output": matrix, "ensure_min_samples": 2}
        X, y = self._fit_rows(X, fill_missing(y), **how)  # noqa: N806
        if not matrix:
            classes, numbers = number_classes(y)
            class_weight = weight_setting(self.class_weight, numbers, classes)
        elif self.class_weight is None:
            classes, numbers, class_weight = np.arange(y.shape[1]), number_matrix(y), ""
        else:
            raise ValueError(
                f"class_weight is {self.class_weight!r}, but y has several labels per row; leave "
                "it out."
            )
        kind = "several" if matrix else "classes"
        weight = row_weights(sample_weight, data.has_label(numbers, kind))
        if weight is not None and not matrix:
            counted = numbers[(numbers != data.NO_LABEL) & (weight > 0)]
            if len(np.unique(counted)) < 2:
                raise ValueError(
                    f"sample_weight is above 0 for one class alone, {classes[counted[0]]}; give "
                    "weight to labelled rows of at least two classes."
                )
        rows = data.from_arrays(X, numbers, name="fit", kind=kind)._replace(scale="numbers")
        known: dict[str, Any] = {"class_weight": class_weight}
        if self.consistency is None:
            labeled = int(data.has_label(numbers, kind).sum())
            known |= {"consistency": usual_consistency(labeled / len(classes))}
        return self._fit(rows, weight, progress, known, classes_=classes)

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Predicts the most probable class of each row, ``[n]``, or 0 and 1, ``[n, k]``."""
        predicted = self._outputs(X, "predictions")
        if predicted.ndim == 2:
            return predicted.astype(self.classes_.dtype)
        classes: np.ndarray = self.classes_[predicted]
        return classes

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Predicts probabilities, ``[n, k]``, in the order of ``classes_``.

        Those of the classes, which sum to 1, or those that each of several labels is there.
        """
        return self._outputs(X, "probabilities")

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Computes the top-level features, ``[n, units]``: activations of the last hidden level."""
        return self._outputs(X, "features")

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: N803
        """Computes the accuracy on the rows that have a label.

        Of several labels per row, all that are known must be right.

        Args:
          X: ``[n, features]``.
          y: as for ``fit``.
          sample_weight: ``[n]``, or None.

        Raises:
          ValueError: no row has a label.
        """
        predicted, y = self.predict(X), fill_missing(y)
        if predicted.ndim == 1:
            labeled, true = known_labels(column_or_1d(y))
        else:
            y = number_matrix(np.asarray(y))
            if y.shape != predicted.shape:
                raise ValueError(f"y has shape {y.shape}; give labels of shape {predicted.shape}.")
            labeled = data.has_label(y, "several")
            true = np.where(y == data.NO_LABEL, predicted, y)[labeled]
        if not labeled.any():
            raise ValueError("y has no label but -1; give the classes of some rows to score.")
        weight = None if sample_weight is None else np.asarray(sample_weight)[labeled]
        return float(accuracy_score(true, predicted[labeled], sample_weight=weight))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # float32, whatever is given
        tags.classifier_tags.multi_label = True
        tags.target_tags.multi_output = True
        return tags
