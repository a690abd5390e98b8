"""``LadderRegressor``: one or several numbers per row of features."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import Tags
from sklearn.utils.validation import check_consistent_length

from ladder_jax import data, targets
from ladder_jax.estimators.base import LadderEstimator, row_weights, silent
from ladder_jax.estimators.columns import AUTO, FLOATS
from ladder_jax.loop import Progress

_ROWS = {"dtype": FLOATS, "ensure_min_samples": 2}
_TARGETS = {"dtype": np.float64, "ensure_all_finite": False, "ensure_2d": False}


@dataclasses.dataclass(eq=False, repr=False)
class LadderRegressor(
    RegressorMixin,  # type: ignore[misc]
    LadderEstimator,
):
    """Trains a ladder network to predict numbers, on rows with and without them.

    Targets are standardised for training, and predictions given back in their units.
    Parameters are the settings of ``Config`` by the same names, their defaults for small
    tables of which few rows have a target. All else is as ``LadderClassifier`` has it.

    Args:
      units: widths of the hidden levels.
      activation: of the hidden levels.
      top_gain: must be left True; the top has a gain and a bias.
      combinators: by level from 0, the input, to the numbers; "none": not decoded.
      noise_std: by level.
      denoising_cost: by level.
      batch_labeled: labelled rows per step; all of them if there are fewer.
      batch_unlabeled: unlabelled rows per step; all of them if there are fewer.
      epochs: passes over all rows; None: 30, or as many as come to 1000 updates.
      learning_rate: of Adam, at the start.
      decay_from: the part of the run after which the rate falls linearly to 0.
      preprocess: "auto", which makes numbers of columns as ``LadderClassifier`` says, or a chain
        of ``data.preprocessing``, fitted on the rows of ``fit``.
      unit_norm: whether encoder weights are projected to norm 1 after each step.
      ema_decay: of the exponential moving average of the parameters; 0: none.
      adversarial: where noise is virtual adversarial: "none", "input" or "all".
      consistency: weight of half the squared difference of noisy predictions from the clean
        ones, or of their divergence if each has a variance.
      consistency_from: the part of the run without it, at the start.
      consistency_threshold: says nothing of numbers.
      consistency_temperature: says nothing of numbers.
      compute_dtype: of the maps, "float32", "bfloat16" or "auto", the faster one here.
      joint_norm: whether a step normalises its noisy labelled rows, which may be few, together
        with the noisy unlabelled ones.
      norm_statistics: what prediction is normalised with: "train" or "labeled" rows.
      variance: whether each prediction has a variance of its own, learnt by the likelihood of
        a Gaussian; ``predict`` then gives its root with ``return_std=True``.
      random_state: decides start, order and noise; an int is ``Config.seed``.
      verbose: whether to print loss and error on labelled rows about ten times per fit.

    Attributes:
      n_iter_: epochs done.
      n_features_in_: features of a row.
      feature_names_in_: their names, where ``X`` had any.
      columns_: the fitted ``TableEncoder`` if ``preprocess`` is "auto".
      target_: name of what is learnt, as ``"numbers:1"``.
      predictor_: the trained ladder; called, it also gives features and denoised rows. It
        takes what ``columns_`` makes of rows.
      config_: all settings of the run.

    Examples:
      >>> x = np.linspace(-2, 2, 60)[:, None]
      >>> y = np.where(np.arange(60) % 4 == 0, 100 * x[:, 0], np.nan)  # NaN: not known
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
          X: ``[n, features]``, a table, rows with and without a target.
          y: ``[n]`` or ``[n, d]``, numbers; NaN: not known.
          sample_weight: ``[n]``, how much each labelled row counts, 0 or more; those of unlabelled
            rows are not used. A row of weight 0 is still one that the decoder learns from.
          progress: called after each epoch with its number and its means of the loss, the
            supervised cost, the denoising costs and the error on labelled rows (RMSE of
            standardised targets).

        Returns:
          Itself.

        Raises:
          ValueError: a parameter or the data are wrong.
          TypeError: ``progress`` cannot be called.
          NotFiniteError: NaN or infinity in the loss.
          RuntimeError: this process was forked from one that has used JAX.
        """
        X, y = self._fit_rows(X, y, validate_separately=(_ROWS, _TARGETS))  # noqa: N806
        check_consistent_length(X, y)
        if y.ndim > 2:
            raise ValueError(f"y has shape {y.shape}; give numbers, [n] or [n, d].")
        targets.standardize(y, "y")  # checks them, before they are put into columns
        rows = data.from_arrays(X, y, name="fit", kind="numbers")._replace(scale="numbers")
        weight = row_weights(sample_weight, data.has_label(rows.y_train, "numbers"))
        return self._fit(rows, weight, progress, _one_column=y.ndim == 1)

    def predict(self, X: Any, return_std: bool = False) -> Any:  # noqa: N803
        """Predicts the numbers of each row.

        Args:
          X: ``[n, features]``.
          return_std: whether to return standard deviations too, of an estimator with
            ``variance=True``.

        Returns:
          ``[n]`` or ``[n, d]``, as ``y`` was; or two of them, ``(numbers, deviations)``.

        Raises:
          ValueError: ``X`` is wrong, or there are no variances.
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
        """Computes R2, its mean over the columns, on the targets that are known.

        Args:
          X: ``[n, features]``.
          y: as for ``fit``.
          sample_weight: ``[n]``, or None.

        Raises:
          ValueError: a column has no target, or shapes are wrong.
        """
        predicted, y = self.predict(X), np.asarray(y, np.float64)
        columns = [array.reshape(len(array), -1).T for array in (y, predicted)]
        if columns[0].shape != columns[1].shape:
            raise ValueError(f"y has shape {y.shape}; give numbers of shape {predicted.shape}.")
        weight = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight)
        each = []
        for true, predicted_column in zip(*columns, strict=True):
            known = ~np.isnan(true)
            if not known.any():
                raise ValueError("y is NaN in all rows; give the numbers of some rows to score.")
            each.append(r2_score(true[known], predicted_column[known], sample_weight=weight[known]))
        return float(np.mean(each))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
