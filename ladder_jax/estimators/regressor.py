"""``LadderRegressor``: one or several numbers per row of features."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import Tags, check_array
from sklearn.utils.validation import check_consistent_length

from ladder_jax import data, targets
from ladder_jax.estimators.base import LadderEstimator, row_weights, silent
from ladder_jax.estimators.columns import AUTO, FLOATS, fill
from ladder_jax.loop import Progress

_ROWS = {"dtype": FLOATS, "ensure_min_samples": 2}
_TARGETS = {"dtype": np.float64, "ensure_all_finite": False, "ensure_2d": False}


def _with_nan(y: Any) -> Any:
    """Returns targets with NaN for missing values, e.g. None or pandas' NA, objects as numbers."""
    y = fill(y, np.nan)
    dtype = np.asarray(y).dtype
    if dtype.kind in "mM":  # NumPy would convert NaT to a number
        raise ValueError(
            f"y has dtype {dtype}; give numbers, e.g. days, and NaN where there is no label."
        )
    if not isinstance(y, np.ndarray) or dtype.kind != "O":
        return y
    try:
        return y.astype(np.float64)
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"y: {error}; give numbers, and NaN where there is no label.") from error


@dataclasses.dataclass(eq=False, repr=False)
class LadderRegressor(
    RegressorMixin,  # type: ignore[misc]
    LadderEstimator,
):
    """Trains a ladder network to predict numbers, on rows with and without them.

    Targets are standardised for training; predictions are in the original units. Parameters have
    the names and meanings of the settings in ``Config``, with defaults for small tables in which
    few rows have a target. Everything else is as in ``LadderClassifier``.

    Args:
      units: widths of the hidden levels.
      activation: activation of the hidden levels.
      top_gain: must be left True; the top level has a gain and a bias.
      combinators: combinator per level, from 0 (the input) to the numbers; "none": not decoded.
      noise_std: standard deviation of the noise per level.
      denoising_cost: weight of the denoising cost per level.
      batch_labeled: labelled rows per step; all of them if there are fewer.
      batch_unlabeled: unlabelled rows per step; all of them if there are fewer.
      epochs: passes over all rows; None: 30, or as many as make at least 1000 updates.
      learning_rate: initial learning rate of Adam.
      decay_from: fraction of training after which the learning rate decays linearly to 0.
      preprocess: "auto": the columns are encoded as numbers, as in ``LadderClassifier``; or a
        chain of ``data.preprocessing``. Both are fitted on the rows passed to ``fit``.
      unit_norm: whether encoder weights are projected to norm 1 after each step.
      ema_decay: decay of the exponential moving average of the parameters; 0: no averaging.
      adversarial: where noise is virtual adversarial: "none", "input" or "all".
      consistency: weight of half the squared difference between noisy predictions and clean
        ones, or of their divergence if each has a variance.
      consistency_from: initial fraction of training without the consistency cost.
      consistency_threshold: has no effect on numbers.
      consistency_temperature: has no effect on numbers.
      compute_dtype: dtype of the maps: "float32", "bfloat16", or "auto", the faster of the two on
        this machine.
      joint_norm: whether the noisy labelled rows of a step, which may be few, are normalised
        together with the noisy unlabelled ones.
      norm_statistics: rows whose statistics normalise predictions: "train" or "labeled".
      variance: whether each prediction has a variance of its own, learnt with a Gaussian
        likelihood; ``predict`` returns its square root if ``return_std=True``.
      random_state: seed of initialisation, order and noise; an int is used as ``Config.seed``.
      verbose: whether to print loss and error on labelled rows about ten times per fit.

    Attributes:
      n_iter_: number of epochs trained.
      n_features_in_: number of features per row.
      feature_names_in_: names of the features, if ``X`` had any.
      columns_: the fitted ``TableEncoder`` if ``preprocess`` is "auto".
      target_: name of the learnt target, such as ``"numbers:1"``.
      predictor_: the trained ladder, which also returns features and denoised rows when called.
        It takes the numbers that ``columns_`` returns.
      config_: all settings of the fit.

    Examples:
      >>> x = np.linspace(-2, 2, 60)[:, None]
      >>> y = np.where(np.arange(60) % 4 == 0, 100 * x[:, 0], np.nan)  # NaN: unlabelled
      >>> ladder = LadderRegressor(units=(4,), epochs=60, learning_rate=0.02, random_state=0)
      >>> bool(abs(ladder.fit(x, y).predict([[1.0]])[0] - 100) < 30)
      True
    """

    units: int | Sequence[int] = (50,)
    _: dataclasses.KW_ONLY
    preprocess: str = AUTO
    denoising_cost: float | Sequence[float] = 0.3
    learning_rate: float = 0.005
    joint_norm: bool = True
    variance: bool = False

    KINDS: ClassVar[tuple[str, ...]] = ("numbers",)

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
          X: table ``[n, features]`` of rows with and without a target.
          y: numbers ``[n]`` or ``[n, d]``; NaN marks an unknown number.
          sample_weight: weights ``[n]`` of the labelled rows, 0 or more; those of unlabelled
            rows are not used. The decoder still learns from rows of weight 0.
          progress: called after each epoch with its number and its mean loss, supervised cost,
            denoising costs and error on labelled rows (RMSE of standardised targets).

        Returns:
          The fitted estimator itself.

        Raises:
          ValueError: a parameter or the data are invalid.
          TypeError: ``progress`` is not callable.
          NotFiniteError: the loss is NaN or infinite.
          RuntimeError: this process was forked from one that has used JAX.
        """
        X, y = self._fit_rows(X, _with_nan(y), validate_separately=(_ROWS, _TARGETS))  # noqa: N806
        check_consistent_length(X, y)
        if y.ndim > 2:
            raise ValueError(f"y has shape {y.shape}; give numbers, [n] or [n, d].")
        targets.standardize(y, "y")  # checks the numbers in their original shape
        rows = data.from_arrays(X, y, name="fit", kind="numbers")._replace(scale="numbers")
        weight = row_weights(sample_weight, ~np.isnan(rows.y_train))
        return self._fit(rows, weight, progress, _one_column=y.ndim == 1)

    def predict(self, X: Any, return_std: bool = False) -> Any:  # noqa: N803
        """Predicts the numbers of each row.

        Args:
          X: table ``[n, features]``.
          return_std: whether to return standard deviations too; requires ``variance=True``.

        Returns:
          Numbers ``[n]`` or ``[n, d]``, like ``y``; or a tuple ``(numbers, deviations)``.

        Raises:
          ValueError: ``X`` is invalid, or no variance was learnt.
        """
        if not return_std:
            return self._as_given(self._outputs(X, "predictions"))
        if self.target_.count(":") == 1:
            raise ValueError("return_std is True, but no variance was learnt; fit with variance.")
        mean, deviation = (self._outputs(X, part) for part in ("predictions", "uncertainty"))
        return self._as_given(mean), self._as_given(deviation)

    def _as_given(self, numbers: np.ndarray) -> np.ndarray:
        return numbers[:, 0] if self._one_column else numbers

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: N803
        """Computes the mean R2 over the columns, on the known targets.

        Args:
          X: table ``[n, features]``.
          y: numbers, as for ``fit``.
          sample_weight: weights ``[n]``, or None.

        Raises:
          ValueError: a column has no target, a weight is invalid, or shapes do not match.
        """
        predicted, y = self.predict(X), check_array(_with_nan(y), **_TARGETS)
        columns = [array.reshape(len(array), -1).T for array in (y, predicted)]
        if columns[0].shape != columns[1].shape:
            raise ValueError(f"y has shape {y.shape}; give numbers of shape {predicted.shape}.")
        is_known = ~np.isnan(columns[0])
        if not is_known.any(1).all():
            raise ValueError("y is NaN in all rows; give the numbers of some rows to score.")
        weight = row_weights(sample_weight, is_known.T)
        r2 = []
        for true, predicted_column, known in zip(*columns, is_known, strict=True):
            known_weight = None if weight is None else weight[known]
            r2.append(r2_score(true[known], predicted_column[known], sample_weight=known_weight))
        return float(np.mean(r2))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
