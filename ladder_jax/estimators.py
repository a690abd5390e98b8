"""``LadderClassifier``: the ladder as a scikit-learn estimator, for rows of features."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
from collections.abc import Sequence
from typing import Any, Self

import jax
import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.metrics import accuracy_score
from sklearn.utils import Tags, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from ladder_jax import data, targets
from ladder_jax.config import Config, current_names
from ladder_jax.data import preprocessing
from ladder_jax.data.arrays import read_npz
from ladder_jax.errors import ConfigError, NotFiniteError
from ladder_jax.loop import Progress, check_progress, epochs, metrics_line
from ladder_jax.predictor import Outputs, Predictor
from ladder_jax.run import files, inputs, multiprocess, nan_search, precision, workfolder
from ladder_jax.run.evaluation import Evaluator
from ladder_jax.run.inputs import Spec, Task
from ladder_jax.run.program import Program, compile_program
from ladder_jax.types import Trained

FORMAT = 1
"""Of the files that ``LadderClassifier.save`` writes."""
_PREPROCESS = "preprocess/"
"""What the names of the preprocessing's arrays begin with in such a file."""


def _as_setting(name: str, value: Any) -> Any:
    """Returns a parameter as ``Config`` has it: tuples, and Python's numbers for NumPy's."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return tuple(_as_setting("", item) for item in value)
    return (value,) if isinstance(getattr(Config, name, None), tuple) else value


def _silent(metrics: dict[str, Any]) -> None:
    """Takes the progress of a fit, and says nothing."""


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
    labeled = has_label(y)
    known, numbers = y[labeled], np.full(len(y), data.NO_LABEL)
    if known.dtype == object and not all(isinstance(label, str) for label in known):
        raise ValueError(
            "Unknown label type: y has dtype object and labels that are not strings; give "
            "integers or strings, and -1 where there is no label."
        )
    if len(known):
        check_classification_targets(known)
    classes, numbers[labeled] = np.unique(known, return_inverse=True)
    if len(classes) < 2:
        found = f"one class alone, {classes[0]}," if len(classes) else "no class"
        raise ValueError(
            f"y has {found} beside -1, which means no label; give labels of at least two classes, "
            "other than -1."
        )
    return classes, numbers


def _train(config: Config, task: Task, program: Program, progress: Progress) -> Trained:
    """Does what ``train_and_evaluate`` does, without a folder."""
    check_progress(progress)
    state = program.init(jax.random.key(config.seed))
    every = epochs(program, state, task.train, stop=config.epochs)
    for epoch, state, metrics in every:  # noqa: B007
        line = metrics_line(epoch, metrics)
        if not np.isfinite(line["loss"]):
            tried = nan_search.hints(config, nan_search.largest_input(task.train))
            raise NotFiniteError(f"NaN or infinity in epoch {epoch}. Try {', or '.join(tried)}.")
        progress(line)
    evaluator = Evaluator(program.evaluate, task, config.norm_statistics)
    return evaluator.trained(evaluator.evaluate(program.params(state)))


class LadderClassifier(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    ClassifierMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """Trains a ladder network on labelled and unlabelled rows of features.

    Parameters are the settings of ``Config`` by the same names, its defaults but for
    ``preprocess`` and ``denoising_cost``, which suit small tables. Where one is of each
    level, a single value serves all. ``fit`` checks them. Fits of the same settings
    and shapes, as in a search, are compiled once.

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
      batch_labeled: labelled rows a step; all of them if there are fewer.
      batch_unlabeled: unlabelled rows a step; all of them if there are fewer.
      epochs: passes over all rows.
      learning_rate: of Adam, at the start.
      decay_from: the part of the run after which the rate falls linearly to 0.
      preprocess: a chain of ``data.preprocessing``, fitted on the rows of ``fit``.
      unit_norm: whether encoder weights are projected to norm 1 after each step.
      ema_decay: of the exponential moving average of the parameters; 0: none.
      adversarial: where noise is virtual adversarial: "none", "input" or "all".
      consistency: weight of the cross-entropy of noisy predictions with the clean ones.
      consistency_from: the part of the run without it, at the start.
      consistency_threshold: a row counts if its clean pass gives a class this probability.
      consistency_temperature: that the clean logits are divided by for the target.
      compute_dtype: of the maps, "float32", "bfloat16" or "auto", the faster one here.
      norm_statistics: what prediction is normalised with: "train" or "labeled" rows.
      random_state: decides start, order and noise; an int is ``Config.seed``.

    After a fit, processes of its own must not be forked ones, in which JAX hangs: use
    ``multiprocessing.get_context("spawn")``, joblib's loky (``n_jobs``), or threads.

    Attributes:
      classes_: ``[k]``, sorted.
      n_iter_: epochs done.
      n_features_in_: features of a row.
      feature_names_in_: their names, where ``X`` had any.
      predictor_: the trained ladder; called, it also gives denoised rows.
      config_: all settings of the run.

    Examples:
      >>> x = np.random.default_rng(0).normal(size=(40, 2)) + np.arange(40)[:, None] % 2 * 9
      >>> y = np.where(np.arange(40) < 6, np.arange(40) % 2, -1)
      >>> ladder = LadderClassifier(units=(4,), epochs=40, learning_rate=0.02, random_state=0)
      >>> ladder.fit(x, y).predict([[0.0, 0.0], [9.0, 9.0]]).tolist()
      [0, 1]
    """

    def __init__(
        self,
        units: Sequence[int] = (250, 100),
        *,
        activation: str = "relu",
        top_gain: bool = True,
        combinators: str | Sequence[str] = "gaussian",
        noise_std: float | Sequence[float] = 0.3,
        denoising_cost: float | Sequence[float] = 0.1,
        batch_labeled: int = 100,
        batch_unlabeled: int = 100,
        epochs: int = 150,
        learning_rate: float = 0.002,
        decay_from: float = 0.67,
        preprocess: str = "standardize",
        unit_norm: bool = False,
        ema_decay: float = 0.0,
        adversarial: str = "none",
        consistency: float = 0.0,
        consistency_from: float = 0.0,
        consistency_threshold: float = 0.95,
        consistency_temperature: float = 0.5,
        compute_dtype: str = "float32",
        norm_statistics: str = "train",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.units = units
        self.activation = activation
        self.top_gain = top_gain
        self.combinators = combinators
        self.noise_std = noise_std
        self.denoising_cost = denoising_cost
        self.batch_labeled = batch_labeled
        self.batch_unlabeled = batch_unlabeled
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.decay_from = decay_from
        self.preprocess = preprocess
        self.unit_norm = unit_norm
        self.ema_decay = ema_decay
        self.adversarial = adversarial
        self.consistency = consistency
        self.consistency_from = consistency_from
        self.consistency_threshold = consistency_threshold
        self.consistency_temperature = consistency_temperature
        self.compute_dtype = compute_dtype
        self.norm_statistics = norm_statistics
        self.random_state = random_state

    def _settings(self) -> dict[str, Any]:
        """Returns the parameters as ``Config`` has them."""
        given = self.get_params().items()
        return {name: _as_setting(name, value) for name, value in given if name != "random_state"}

    def _config(self, rows: int, labeled: int) -> Config:
        """Returns the settings of a run on so many rows."""
        given, drawn = self.random_state, check_random_state(self.random_state)
        seed = int(given) if isinstance(given, int | np.integer) else int(drawn.randint(2**31))
        fixed = {"name": "LadderClassifier", "dataset": "fit", "labels": 0, "seed": seed}
        config = Config.create(self._settings() | fixed)
        return dataclasses.replace(
            config,
            batch_labeled=min(config.batch_labeled, labeled),
            batch_unlabeled=min(config.batch_unlabeled, rows),
        )

    def fit(self, X: Any, y: Any, *, progress: Progress = _silent) -> Self:  # noqa: N803
        """Trains a ladder.

        Args:
          X: ``[n, features]``, numbers, labelled and unlabelled rows.
          y: ``[n]``, integers or strings; -1, among strings also ``"-1"``: no label.
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
        X, y = self._checked(X, y, ensure_min_samples=2)  # noqa: N806
        classes, numbers = number_classes(y)
        config = self._config(len(X), int((numbers != data.NO_LABEL).sum()))
        task = inputs.prepare(config, data.from_arrays(X, numbers, name="fit"))
        config = precision.settle(config, task.spec)
        program = compile_program(config, task.spec)
        trained = _train(config, task, program, progress)
        self.classes_, self.n_iter_, self.config_ = classes, config.epochs, config
        self._set_predictor(trained, task.preprocessing, program)
        return self

    def _set_predictor(
        self, trained: Trained, fitted: preprocessing.Preprocessing, program: Program
    ) -> None:
        self._arrays = trained, fitted._replace(scale="numbers")  # bytes and all else as they are
        self._n_features_out = math.prod(program.net.shapes[-2])
        self.predictor_ = self._make_predictor(program)

    @functools.cached_property
    def predictor_(self) -> Predictor:
        """Makes it at the first use after unpickling, which computes nothing: it may be forked."""
        if "_arrays" not in vars(self):
            raise AttributeError("predictor_ is there after fit")
        multiprocess.check_fork()
        return self._make_predictor(self._program())

    def _program(self) -> Program:
        spec = Spec((self.n_features_in_,), targets.classes(len(self.classes_)))
        return compile_program(self.config_, spec)

    def _make_predictor(self, program: Program) -> Predictor:
        trained, fitted = self._arrays
        names, shape = tuple(map(str, self.classes_)), (self.n_features_in_,)
        of_rows = program.evaluate.outputs
        return Predictor(program.net, jax.device_put(trained), names, shape, fitted, of_rows)

    def _checked(self, *arrays: Any, **how: Any) -> Any:
        return validate_data(self, *arrays, dtype=(np.float64, np.float32), **how)

    def _outputs(self, X: Any) -> Outputs:  # noqa: N803
        check_is_fitted(self)
        return self.predictor_(self._checked(X, reset=False), "X")

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Predicts the most probable class of each row, ``[n]``."""
        numbers = self._outputs(X).classes
        classes: np.ndarray = self.classes_[numbers]
        return classes

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Predicts the probability of each class, ``[n, k]``, in the order of ``classes_``."""
        return self._outputs(X).probabilities

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Computes the top-level features, ``[n, units]``: activations of the last hidden level."""
        return self._outputs(X).features

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: N803
        """Computes the accuracy on the rows that have a label.

        Args:
          X: ``[n, features]``.
          y: ``[n]``, as for ``fit``.
          sample_weight: ``[n]``, or None.

        Raises:
          ValueError: no row has a label.
        """
        found, y = self.predict(X), column_or_1d(y)
        labeled = has_label(y)
        if not labeled.any():
            raise ValueError("y has no label but -1; give the classes of some rows to score.")
        weight = None if sample_weight is None else np.asarray(sample_weight)[labeled]
        return float(accuracy_score(y[labeled], found[labeled], sample_weight=weight))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # float32, whatever is given
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Returns arrays in place of compiled programs."""
        state = dict(super().__getstate__())
        state.pop("predictor_", None)
        if "_arrays" in state:
            trained, fitted = state["_arrays"]
            state["_arrays"] = jax.tree.map(np.asarray, trained), fitted
        return state

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the fitted estimator as one ``.npz`` file, without pickle.

        It holds parameters, statistics, preprocessing and classes as arrays, and the
        rest as JSON. A ``random_state`` that is no int is written as the seed drawn.

        Args:
          path: of the file.

        Raises:
          NotFittedError: there is nothing to write.
          WriteError: the file cannot be written.
        """
        check_is_fitted(self)
        about = {
            "format": FORMAT,
            "parameters": self._settings() | {"random_state": self.config_.seed},
            "config": workfolder.as_json(self.config_),
            "n_iter": self.n_iter_,
            "n_features": self.n_features_in_,
            "feature_names": getattr(self, "feature_names_in_", np.zeros(0)).tolist(),
            "versions": workfolder.versions(),
        }
        fitted, plain = self.predictor_.fitted.fitted, self.classes_.dtype.kind in "biufU"
        arrays = {
            "about": np.array(json.dumps(about)),
            "classes": self.classes_ if plain else self.classes_.astype(str),
            **{_PREPROCESS + name: array for name, array in fitted.items()},
            **workfolder.as_arrays(self.predictor_.trained),
        }
        files.write_arrays(files.as_path(path), arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Loads the estimator that ``save`` wrote.

        Args:
          path: of the file.

        Raises:
          ConfigError: the file is missing, damaged or of another version.
        """
        path = files.as_path(path)
        try:
            return cls._of_arrays(read_npz(path))
        except (KeyError, TypeError, ValueError) as error:  # ConfigError and DataError are
            raise ConfigError(
                f"{path} is not a LadderClassifier of this version of ladder_jax ({error}); "
                "give another file, or fit and save again."
            ) from error

    @classmethod
    def _of_arrays(cls, arrays: dict[str, np.ndarray]) -> Self:
        about: dict[str, Any] = json.loads(str(arrays["about"]))
        if about["format"] != FORMAT:
            raise ValueError(f"format {about['format']}, not {FORMAT}")
        parameters = current_names(about["parameters"])
        found = cls(**{name: _as_setting("", value) for name, value in parameters.items()})
        found.config_ = Config.create(about["config"])
        found.classes_, found.n_iter_ = arrays["classes"], about["n_iter"]
        found.n_features_in_ = about["n_features"]
        if about["feature_names"]:
            found.feature_names_in_ = np.array(about["feature_names"], object)
        steps = {
            name.removeprefix(_PREPROCESS): array
            for name, array in arrays.items()
            if name.startswith(_PREPROCESS)
        }
        trained = workfolder.as_trained(arrays, found._program().net)
        fitted = preprocessing.Preprocessing(found.config_.preprocess, steps)
        found._set_predictor(trained, fitted, found._program())
        return found
