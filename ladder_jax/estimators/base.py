"""Base class of the estimators: parameters, training, pickling and saved files."""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import jax
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ladder_jax import data, targets
from ladder_jax._checks import check_values
from ladder_jax.config import ADDED, Config, current_names
from ladder_jax.data import preprocessing
from ladder_jax.data.arrays import read_npz
from ladder_jax.errors import ConfigError, NotFiniteError
from ladder_jax.estimators.columns import AUTO, FLOATS, TableEncoder, accept_tables, fill, read
from ladder_jax.loop import Line, Progress, check_progress, epochs, metrics_line
from ladder_jax.predictor import Predictor
from ladder_jax.run import files, inputs, multiprocess, nan_search, precision, workfolder
from ladder_jax.run.evaluation import Evaluator
from ladder_jax.run.inputs import Scaling, Spec, Task
from ladder_jax.run.program import Program, compile_program
from ladder_jax.types import Trained

FORMAT = 1
"""Format version of the files that ``LadderEstimator.save`` writes."""
_PREPROCESS = "preprocess/"
"""Prefix of the names of the preprocessing's arrays in these files."""
_OWN = (
    *("random_state", "class_weight", "ignore", "verbose"),
    *("preprocess", "epochs", "consistency"),
)
"""Parameters that are not passed to ``Config`` unchanged."""
EPOCHS, UPDATES = 30, 1000
"""Passes over all rows if ``epochs`` is None, and the minimum number of updates then."""


def _as_setting(name: str, value: Any) -> Any:
    """Converts a parameter to the type of its ``Config`` setting: tuples and Python numbers."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return tuple(_as_setting("", item) for item in value)
    return (value,) if isinstance(getattr(Config, name, None), tuple) else value


def silent(metrics: dict[str, Any]) -> None:
    """Ignores the progress of a fit."""


def printing(name: str, stop: int, progress: Progress) -> Progress:
    """Wraps ``progress`` to also print a line about every tenth of a fit's epochs.

    Examples:
      >>> printing("LadderClassifier", 40, silent)({"epoch": 8, "loss": 1.5, "error": 0.25})
      [LadderClassifier] epoch 8 of 40: loss 1.5, error 0.25
    """

    def report(line: Line) -> None:
        epoch = line["epoch"]
        if epoch == stop or epoch % max(1, stop // 10) == 0:
            values = ", ".join(f"{key} {line[key]:.4g}" for key in ("loss", "error"))
            print(f"[{name}] epoch {epoch} of {stop}: {values}", flush=True)
        progress(line)

    return report


def weight_setting(class_weight: Any, labels: np.ndarray, classes: np.ndarray) -> str:
    """Converts class weights keyed by the user's class labels to ``Config.class_weight``.

    Examples:
      >>> weight_setting({"yes": 3}, np.array([0, 1]), np.array(["no", "yes"]))
      '0:1.0,1:3.0'
    """
    weights = targets.class_weights(class_weight, labels, classes.tolist())
    if weights is None or isinstance(class_weight, str):
        return class_weight or ""
    return ",".join(f"{number}:{weight}" for number, weight in enumerate(weights))


def _seed(random_state: Any) -> int:
    """Returns an int as it is; from anything else that scikit-learn takes, draws a seed."""
    try:
        generator = check_random_state(random_state)
    except ValueError as error:
        raise ValueError(
            f"random_state is {random_state!r}; give an int from 0 to {2**32 - 1}, a "
            "numpy.random.RandomState, or None."
        ) from error
    is_int = isinstance(random_state, int | np.integer)
    return int(random_state) if is_int else int(generator.randint(2**31))


def row_weights(sample_weight: Any, labeled: np.ndarray) -> np.ndarray | None:
    """Checks sample weights and scales them so that the largest of a labelled row is 1.

    Args:
      sample_weight: ``[n]``, or None.
      labeled: which labels are known, bool ``[n]``, or ``[n, d]`` for several per row; weights
        of rows without a label are not used, and may be missing (NaN, None, NA).

    Raises:
      ValueError: there is not one weight per row, that of a labelled row is negative or not
        finite, or those of all rows with a label, or with one in some column, are zero.

    Examples:
      >>> row_weights([1, 2, 3], np.array([True, True, False])).tolist()
      [0.5, 1.0, 1.5]
    """
    if sample_weight is None:
        return None
    try:
        weight = np.asarray(fill(sample_weight, math.nan, "sample_weight"), np.float64)
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"sample_weight: {error}; give one number, 0 or more, per row.") from error
    columns = labeled.reshape(len(labeled), -1)
    if weight.shape != (len(columns),):
        raise ValueError(
            f"sample_weight has shape {weight.shape} for {len(labeled)} rows; give one number per "
            "row."
        )
    is_valid = lambda w: ~columns.any(1) | ((w >= 0) & (w < math.inf))
    check_values("sample_weight", weight, is_valid, "a finite number, 0 or more")
    largest = [weight[known].max(initial=0.0) for known in columns.T]
    if not all(largest):
        column = f" of column {largest.index(0.0)}" if len(largest) > 1 else ""
        raise ValueError(
            f"sample_weight is zero for all labelled rows{column}; give at least one of them more."
        )
    scaled: np.ndarray = weight / max(largest)  # a weighted mean does not depend on their scale
    return scaled


def _train(config: Config, task: Task, program: Program, progress: Progress) -> Trained:
    """Trains and evaluates like ``train_and_evaluate``, without writing to a folder."""
    state = program.init(jax.random.key(config.seed))
    trained_epochs = epochs(program, state, task.train, stop=config.epochs, together=True)
    for epoch, state, metrics in trained_epochs:  # noqa: B007
        line = metrics_line(epoch, metrics)
        if not np.isfinite(line["loss"]):
            hints = nan_search.hints(config, nan_search.largest_input(task.train))
            raise NotFiniteError(f"NaN or infinity in epoch {epoch}. Try {', or '.join(hints)}.")
        progress(line)
    evaluator = Evaluator(program.evaluate, task, config.norm_statistics)
    return evaluator.trained(evaluator.evaluate(program.params(state)))


@dataclasses.dataclass(eq=False, repr=False)
class LadderEstimator(BaseEstimator):  # type: ignore[misc]
    """Implements the parameters, training, prediction, pickling and saving of all estimators.

    Parameters have the names and meanings of the settings in ``Config``.
    """

    units: int | Sequence[int] = (250, 100)
    _: dataclasses.KW_ONLY
    activation: str = "relu"
    top_gain: bool = True
    combinators: str | Sequence[str] = "gaussian"
    noise_std: float | Sequence[float] = 0.3
    denoising_cost: float | Sequence[float] = 0.1
    batch_labeled: int = 100
    batch_unlabeled: int = 100
    epochs: int | None = 150
    learning_rate: float = 0.002
    decay_from: float = 0.67
    preprocess: str = "standardize"
    unit_norm: bool = False
    ema_decay: float = 0.0
    adversarial: str = "none"
    consistency: float | None = 0.0
    consistency_from: float = 0.0
    consistency_threshold: float = 0.95
    consistency_temperature: float = 0.5
    compute_dtype: str = "float32"
    joint_norm: bool = False
    norm_statistics: str = "train"
    random_state: int | np.random.RandomState | None = None
    verbose: int = 0

    KINDS: ClassVar[tuple[str, ...]] = ()
    """Kinds of labels, from ``data.KINDS``, that the estimator learns."""

    def _settings(self) -> dict[str, Any]:
        """Returns the parameters, except those in ``_OWN``, as ``Config`` settings."""
        given = self.get_params().items()
        return {name: _as_setting(name, value) for name, value in given if name not in _OWN}

    def _config(self, rows: int, labeled: int, known: Mapping[str, Any]) -> Config:
        """Returns the config of a fit.

        Args:
          rows: number of rows.
          labeled: number of labelled rows.
          known: settings that follow from the labels.
        """
        seed = _seed(self.random_state)
        fixed = {"name": type(self).__name__, "dataset": "fit", "labels": 0, "seed": seed}
        # For the numbers that ``TableEncoder`` returns.
        columns = self.preprocess == AUTO and "pixels" not in self.KINDS
        own: dict[str, Any] = {
            "consistency": _as_setting("consistency", self.consistency),
            "preprocess": "tabular" if columns else _as_setting("preprocess", self.preprocess),
            "epochs": EPOCHS if self.epochs is None else _as_setting("epochs", self.epochs),
        }
        config = Config.create({**self._settings(), **fixed, **own, **known})
        unlabeled = min(config.batch_unlabeled, rows)
        min_epochs = math.ceil(UPDATES / (rows // unlabeled)) if self.epochs is None else 0
        return dataclasses.replace(
            config,
            batch_labeled=min(config.batch_labeled, max(labeled, 2)),
            batch_unlabeled=unlabeled,
            epochs=max(config.epochs, min_epochs),
        )

    def _fit(
        self,
        dataset: data.Dataset,
        weight: np.ndarray | None,
        progress: Progress,
        known: Mapping[str, Any] | None = None,
        **fitted: Any,
    ) -> Self:
        """Trains a ladder and sets the attributes in ``fitted`` on the estimator."""
        check_progress(progress)
        labeled = data.has_label(dataset.y_train, dataset.kind)
        config = self._config(len(labeled), int(labeled.sum()), known or {})
        task = inputs.prepare(config, dataset, weight=weight)
        config = precision.settle(config, task.spec)
        program = compile_program(config, task.spec)
        if self.verbose:
            progress = printing(config.name, config.epochs, progress)
        trained = _train(config, task, program, progress)
        self.n_iter_, self.config_, self.target_ = config.epochs, config, task.target.name
        self._shape, self._scaling = task.example_shape, task.scaling
        self.__dict__.update(fitted)
        self._set_predictor(trained, task.preprocessing, program)
        return self

    def _set_predictor(
        self, trained: Trained, fitted: preprocessing.Preprocessing, program: Program
    ) -> None:
        self._arrays = trained, fitted
        self._n_features_out = math.prod(program.net.shapes[-2])
        self.predictor_ = self._make_predictor(program)

    @functools.cached_property
    def predictor_(self) -> Predictor:
        """Builds the predictor on first use after unpickling.

        Unpickling itself computes nothing, so the process can still be forked.
        """
        if "_arrays" not in vars(self):
            raise AttributeError("predictor_ exists only after fit")
        multiprocess.check_fork()
        return self._make_predictor(self._program())

    def _program(self) -> Program:
        target, shape = inputs.named_target(self.target_), self._shape
        images = inputs.as_images(self.config_, target)
        return compile_program(self.config_, Spec(shape if images else (math.prod(shape),), target))

    def _make_predictor(self, program: Program) -> Predictor:
        trained, fitted = self._arrays
        count = int(self.target_.split(":")[1])
        names = tuple(map(str, getattr(self, "classes_", range(count))))
        given = program.net, jax.device_put(trained), names, self._shape, fitted
        return Predictor(*given, program.evaluate.outputs, self._scaling)

    def _forget(self) -> None:
        """Removes what an earlier fit has learnt, so that a fit that fails leaves none."""
        for name in ("columns_", "predictor_", "_arrays"):
            self.__dict__.pop(name, None)

    def _fit_rows(self, X: Any, y: Any, **checks: Any) -> tuple[np.ndarray, np.ndarray]:  # noqa: N803
        """Returns the rows of a table as numbers and the labels, with scikit-learn's checks."""
        self._forget()
        if self.preprocess != AUTO:
            rows, y = validate_data(self, data.unmask(X), y, **checks)
            return rows, y
        table = read(self, X, reset=True)
        columns = TableEncoder().fit(table)
        # A copy, since validation records the number of columns, here after encoding.
        rows, y = validate_data(copy.copy(self), columns.transform(table), y, **checks)
        self.columns_ = columns
        return rows, y

    def _checked(self, X: Any) -> np.ndarray:  # noqa: N803
        """Checks new rows and returns them as numbers."""
        if hasattr(self, "columns_"):
            numbers: np.ndarray = self.columns_.transform(read(self, X, reset=False))
            return numbers
        rows: np.ndarray = validate_data(self, data.unmask(X), reset=False, dtype=FLOATS)
        return rows

    def __sklearn_is_fitted__(self) -> bool:
        return "_arrays" in vars(self)  # a fit that failed may have set other attributes

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        if self.preprocess == AUTO:
            accept_tables(tags)
        return tags

    def _outputs(self, X: Any, part: str) -> np.ndarray:  # noqa: N803
        """Computes one attribute of the ``Outputs`` for rows."""
        check_is_fitted(self)
        parts = self.predictor_.parts(self._checked(X), "X")
        return np.concatenate([getattr(outputs, part) for outputs in parts])

    def __getstate__(self) -> dict[str, Any]:
        """Returns the state to pickle, with arrays instead of compiled programs."""
        state = dict(super().__getstate__())
        state.pop("predictor_", None)
        if "_arrays" in state:
            trained, fitted = state["_arrays"]
            state["_arrays"] = jax.tree.map(np.asarray, trained), fitted
        return state

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the fitted estimator to one ``.npz`` file, without pickle.

        The file holds parameters, statistics, preprocessing and classes as arrays, and the
        rest as JSON. A ``random_state`` that is not an int is saved as the seed drawn from it.

        Args:
          path: the file to write.

        Raises:
          NotFittedError: the estimator is not fitted.
          WriteError: the file cannot be written.
        """
        check_is_fitted(self)
        about = {
            "format": FORMAT,
            "parameters": self._parameters(),
            "config": workfolder.as_json(self.config_),
            "target": self.target_,
            "n_iter": self.n_iter_,
            "shape": self._shape,
            "scale": self.predictor_.fitted.scale,
            "scaling": self._scaling,
            "one_column": getattr(self, "_one_column", False),
            "feature_names": getattr(self, "feature_names_in_", np.zeros(0)).tolist(),
            "columns": self.columns_.state() if hasattr(self, "columns_") else None,
            "versions": workfolder.versions(),
        }
        arrays = {
            **{_PREPROCESS + k: array for k, array in self.predictor_.fitted.fitted.items()},
            **workfolder.as_arrays(self.predictor_.trained),
        }
        if hasattr(self, "classes_"):
            plain = self.classes_.dtype.kind in "biufU"
            about["class_objects"] = not plain
            arrays["classes"] = self.classes_ if plain else self.classes_.astype(str)
        arrays["about"] = np.array(json.dumps(about))
        files.write_arrays(files.as_path(path), arrays)

    def _parameters(self) -> dict[str, Any]:
        """Returns the parameters in JSON form, a dict as pairs."""
        parameters = {name: _as_setting("", value) for name, value in self.get_params().items()}
        parameters["random_state"] = self.config_.seed
        if isinstance(parameters.get("class_weight"), Mapping):
            parameters["class_weight"] = [
                _as_setting("", pair) for pair in parameters["class_weight"].items()
            ]
        return parameters

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Loads an estimator that ``save`` wrote.

        Args:
          path: the file to read.

        Raises:
          ConfigError: the file is missing, corrupt, or from another estimator or version.
        """
        path = files.as_path(path)
        try:
            return cls._of_arrays(read_npz(path))
        except (KeyError, TypeError, ValueError) as error:  # includes ConfigError and DataError
            raise ConfigError(
                f"{path} is not a {cls.__name__} of this version of ladder_jax ({error}); "
                "give another file, or fit and save again."
            ) from error

    @classmethod
    def _of_arrays(cls, arrays: dict[str, np.ndarray]) -> Self:
        about: dict[str, Any] = json.loads(str(arrays["about"]))
        if about["format"] != FORMAT:
            raise ValueError(f"format {about['format']}, not {FORMAT}")
        # Earlier versions saved only classifiers with one class per row.
        target = about.get("target") or f"classes:{len(arrays['classes'])}"
        if target.split(":")[0] not in cls.KINDS:
            raise ValueError(f"it learnt {target}")
        parameters = current_names(about["parameters"])
        parameters = {"joint_norm": ADDED["joint_norm"]} | parameters
        estimator = cls(**{name: _as_setting("", value) for name, value in parameters.items()})
        weights = parameters.get("class_weight")
        if isinstance(weights, list) and all(isinstance(pair, list) for pair in weights):
            estimator.class_weight = dict(weights)
        estimator.config_, estimator.target_ = Config.create(about["config"]), target
        estimator.n_iter_, estimator._one_column = about["n_iter"], about.get("one_column", False)
        estimator._shape = tuple(about["shape"] if "shape" in about else [about["n_features"]])
        estimator._scaling = about.get("scaling") and Scaling(*map(tuple, about["scaling"]))
        if "classes" in arrays:
            objects = about.get("class_objects", False)
            estimator.classes_ = arrays["classes"].astype(object) if objects else arrays["classes"]
        if "pixels" in cls.KINDS:
            estimator.image_shape_ = estimator._shape
        else:
            estimator.n_features_in_ = estimator._shape[0]
        if about.get("columns"):
            estimator.columns_ = TableEncoder.from_state(about["columns"])
            estimator.n_features_in_ = estimator.columns_.n_features_in_
        if about["feature_names"]:
            estimator.feature_names_in_ = np.array(about["feature_names"], object)
        steps = {
            name.removeprefix(_PREPROCESS): array
            for name, array in arrays.items()
            if name.startswith(_PREPROCESS)
        }
        trained = workfolder.as_trained(arrays, estimator._program().net)
        chain, scale = estimator.config_.preprocess, about.get("scale", "numbers")
        fitted = preprocessing.Preprocessing(chain, steps, scale)
        estimator._set_predictor(trained, fitted, estimator._program())
        return estimator
