"""``LadderClassifier``: a class per row of features, or several labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, column_or_1d

from ladder_jax import data
from ladder_jax._checks import check_values
from ladder_jax.data.labels import as_array
from ladder_jax.estimators.base import LadderEstimator, row_weights, silent, weight_setting
from ladder_jax.estimators.columns import AUTO, FLOATS, fill, kind_of
from ladder_jax.loop import Progress

_CONSISTENCY, _FEW = 3.0, 5
"""Default consistency weight, and the labelled rows per class above which it is reduced."""
_EXACT = np.float64(2**53)
"""Bound below which float64 represents every integer exactly."""


def usual_consistency(per_class: float) -> float:
    """Returns the default consistency weight, which decreases with the number of labels.

    With few labels, gaps between rows help to locate class boundaries; with more labels, the
    labels locate them better.

    Args:
      per_class: mean number of labelled rows per class.

    Examples:
      >>> usual_consistency(2), usual_consistency(10)
      (3.0, 0.75)
    """
    return _CONSISTENCY * min(1.0, _FEW / per_class) ** 2


def has_label(y: np.ndarray) -> np.ndarray:
    """Returns a mask of the labelled rows; -1, or ``"-1"`` among strings, means no label.

    Args:
      y: ``[n]``, numbers, strings, or objects: numbers, or strings and -1.

    Returns:
      bool ``[n]``.

    Examples:
      >>> has_label(np.array([0, -1])).tolist(), has_label(np.array(["a", -1])).tolist()
      ([True, False], [True, False])
    """
    if y.dtype.kind in "biuf":
        return np.asarray(y != data.NO_LABEL)
    marks = {"numbers": data.NO_LABEL, "text": str(data.NO_LABEL)}
    kinds = map(kind_of, y)
    return np.array([k not in marks or v != marks[k] for k, v in zip(kinds, y, strict=True)], bool)


def fill_missing(y: Any) -> Any:
    """Replaces missing labels (None, NaN, pandas' NA, masked) with -1.

    Args:
      y: labels: an array, a list, or a pandas or polars column.

    Returns:
      An array, converted back to integers if the labels are floats only because some are
      missing; ``y`` itself if it is a sparse matrix, which scikit-learn refuses.

    Raises:
      DataError: the rows of a list differ in length.

    Examples:
      >>> fill_missing(["a", None]).tolist(), fill_missing([0.0, float("nan")]).tolist()
      (['a', -1], [0, -1])
    """
    labels = as_array("y", y, data.NO_LABEL)
    if not labels.ndim:  # a sparse matrix has no axes here
        return y
    filled = fill(labels, data.NO_LABEL)
    if filled is labels or filled.dtype == object:
        return filled
    is_whole = (np.abs(filled) < _EXACT).all() and (filled % 1 == 0).all()
    return filled.astype(np.int64) if is_whole else filled


def known_labels(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns a mask of the labelled rows and their labels, checked to be of one kind.

    Args:
      y: ``[n]``, as for ``has_label``.

    Returns:
      ``(labeled, known)``, bool ``[n]`` and ``[k]``.

    Raises:
      ValueError: labels are of several kinds, or of an unknown kind.

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
    elif known.dtype.kind in "mM":
        raise ValueError(
            f"Unknown label type: y has dtype {known.dtype}; give integers or strings, and -1 "
            "where there is no label."
        )
    return labeled, known


def number_classes(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the sorted classes and the class number of each row; -1 marks an unlabelled row.

    Args:
      y: ``[n]``, as for ``has_label``.

    Returns:
      ``(classes [k], numbers [n])``.

    Raises:
      ValueError: there are fewer than two classes, or labels are neither whole numbers nor
        strings.

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
        given = f"only one class, {classes[0]}," if len(classes) else "no class"
        raise ValueError(
            f"y has {given} beside -1, which means no label; give labels of at least two classes, "
            "other than -1."
        )
    return classes, numbers


def number_matrix(y: np.ndarray) -> np.ndarray:
    """Returns a matrix of several labels per row as integers.

    Args:
      y: ``[n, k]``, 1 or 0, or True or False; -1 marks an unknown label.

    Raises:
      ValueError: a label has another value.

    Examples:
      >>> number_matrix(np.array([[True, False]])).tolist()
      [[1, 0]]
    """
    is_valid = lambda labels: np.isin(labels, (0, 1, data.NO_LABEL))
    check_values("y", y, is_valid, "1 or 0 for each label of a row, or -1 where it is not known")
    return y.astype(np.int64)


def _is_matrix(y: Any) -> bool:
    """Returns whether there are several labels per row; a single column is one class per row."""
    return isinstance(y, np.ndarray) and y.ndim == 2 and y.shape[1] > 1


@dataclasses.dataclass(eq=False, repr=False)
class LadderClassifier(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    ClassifierMixin,  # type: ignore[misc]
    LadderEstimator,
):
    """Trains a ladder network on labelled and unlabelled rows of features.

    Each row has one class, or several labels that are present or absent; ``y`` is then a
    matrix ``[n, k]`` of 0 and 1.

    Parameters have the names and meanings of the settings in ``Config``; the defaults were chosen
    on small tables with two to ten labels per class. A single value of a per-level parameter
    applies to all levels. ``fit`` checks the parameters. Fits with the same settings and shapes,
    as in a search, are compiled once.

    Numbers are used unscaled, whatever their dtype: if pixels were divided by 255 for ``fit``,
    divide them for ``predict`` too. Values that are not finite after ``preprocess`` are refused.

    Args:
      units: widths of the hidden levels; the class level follows.
      activation: activation of the hidden levels.
      top_gain: whether the softmax has a gain in addition to its bias.
      combinators: combinator per level, from 0 (the input) to the classes; "none": not decoded.
      noise_std: standard deviation of the noise per level.
      denoising_cost: weight of the denoising cost per level.
      batch_labeled: labelled rows per step; all of them if there are fewer.
      batch_unlabeled: unlabelled rows per step; all of them if there are fewer.
      epochs: passes over all rows; None: 30, or as many as make at least 1000 updates.
      learning_rate: initial learning rate of Adam.
      decay_from: fraction of training after which the learning rate decays linearly to 0.
      preprocess: "auto": ``TableEncoder`` encodes the columns as numbers, to which "tabular" is
        applied; handles text and categories, missing and skewed numbers, sparse matrices. Or a
        chain of ``data.preprocessing``, such as "tabular" or "standardize", for numbers only,
        none missing. Both are fitted on the rows passed to ``fit``.
      unit_norm: whether encoder weights are projected to norm 1 after each step.
      ema_decay: decay of the exponential moving average of the parameters; 0: no averaging.
      adversarial: where noise is virtual adversarial: "none", "input" or "all".
      consistency: weight of the cross-entropy between noisy predictions and clean ones; None: 3
        for up to five labelled rows per class (on average), 3 (5 / n)^2 for n of them.
      consistency_from: initial fraction of training without the consistency cost.
      consistency_threshold: least class probability in the clean pass for a row to count.
      consistency_temperature: divisor of the clean logits in the consistency target.
      compute_dtype: dtype of the maps: "float32", "bfloat16", or "auto", the faster of the two on
        this machine.
      joint_norm: whether the noisy labelled rows of a step, which may be few, are normalised
        together with the noisy unlabelled ones.
      norm_statistics: rows whose statistics normalise predictions: "train" or "labeled".
      class_weight: weight of a row by its class: None: all 1; "balanced": inversely
        proportional to the number of labelled rows in the class; or a dict of weights by class,
        1 for omitted classes. Not available with several labels per row.
      random_state: seed of initialisation, order and noise; an int is used as ``Config.seed``.
      verbose: whether to print loss and error on labelled rows about ten times per fit.

    JAX hangs in forked processes: after a fit, start processes with
    ``multiprocessing.get_context("spawn")`` or joblib's loky (``n_jobs``), or use threads.

    Attributes:
      classes_: sorted classes ``[k]``; with several labels per row, their numbers, 0 to k - 1.
      target_: name of the learnt target, ``"classes:3"`` or ``"several:3"``.
      n_iter_: number of epochs trained.
      n_features_in_: number of features per row.
      feature_names_in_: names of the features, if ``X`` had any.
      columns_: the fitted ``TableEncoder`` if ``preprocess`` is "auto".
      predictor_: the trained ladder, which also denoises rows when called. It takes the numbers
        that ``columns_`` returns, named by its ``get_feature_names_out``; ``exporting`` saves a
        model with these inputs.
      config_: all settings of the fit.

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
          X: table ``[n, features]`` of labelled and unlabelled rows.
          y: integers, Booleans or strings ``[n]``; -1, ``"-1"`` among strings, or a missing
            value (None, NaN, NA) marks an unlabelled row. Or a matrix ``[n, k]`` of 0 and 1;
            -1 or a missing value marks an unknown label, and each of the k labels must be 0 in
            at least one row and 1 in another.
          sample_weight: weights ``[n]`` of the labelled rows, 0 or more; those of unlabelled
            rows are not used. The decoder still learns from rows of weight 0.
          progress: called after each epoch with its number and its mean loss, cross-entropy,
            denoising costs and error on labelled rows.

        Returns:
          The fitted estimator itself.

        Raises:
          ValueError: a parameter or the data are invalid.
          TypeError: ``progress`` is not callable.
          NotFiniteError: the loss is NaN or infinite.
          RuntimeError: this process was forked from one that has used JAX.
        """
        y = fill_missing(y)
        matrix = _is_matrix(y)
        checks = {"dtype": FLOATS, "multi_output": matrix, "ensure_min_samples": 2}
        X, y = self._fit_rows(X, y, **checks)  # noqa: N806
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
        weight = row_weights(sample_weight, numbers != data.NO_LABEL)
        if weight is not None and not matrix:
            weighted = numbers[(numbers != data.NO_LABEL) & (weight > 0)]
            if len(np.unique(weighted)) < 2:
                raise ValueError(
                    f"sample_weight is above 0 for only one class, {classes[weighted[0]]}; give "
                    "weight to labelled rows of at least two classes."
                )
        rows = data.from_arrays(X, numbers, name="fit", kind=kind)._replace(scale="numbers")
        known: dict[str, Any] = {"class_weight": class_weight}
        if self.consistency is None:
            labeled = int(data.has_label(numbers, kind).sum())
            known |= {"consistency": usual_consistency(labeled / len(classes))}
        return self._fit(rows, weight, progress, known, classes_=classes)

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Predicts the most probable class of each row ``[n]``, or 0 and 1 ``[n, k]``."""
        predicted = self._outputs(X, "predictions")
        if predicted.ndim == 2:
            return predicted.astype(self.classes_.dtype)
        classes: np.ndarray = self.classes_[predicted]
        return classes

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Predicts probabilities ``[n, k]``, in the order of ``classes_``.

        Class probabilities sum to 1; with several labels per row, they are the probabilities
        that each label is present.
        """
        return self._outputs(X, "probabilities")

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Computes the top-level features ``[n, units]``: activations of the last hidden level."""
        return self._outputs(X, "features")

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: N803
        """Computes the accuracy on the labelled rows.

        With several labels per row, a row counts as correct if all its known labels are.

        Args:
          X: ``[n, features]``.
          y: as for ``fit``.
          sample_weight: ``[n]``, or None.

        Raises:
          ValueError: no row has a label, a weight is invalid, or shapes do not match.
        """
        predicted, y = self.predict(X), fill_missing(y)
        check_consistent_length(predicted, y)
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
        weight = row_weights(sample_weight, labeled)
        weight = weight if weight is None else weight[labeled]
        return float(accuracy_score(true, predicted[labeled], sample_weight=weight))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # always float32
        tags.classifier_tags.multi_label = True
        tags.target_tags.multi_output = True
        return tags
