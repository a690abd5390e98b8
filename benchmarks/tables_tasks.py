"""Tasks of ``benchmarks.tables``: their sets, the methods they compare, and how errors count."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import balanced_accuracy_score
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from sklearn.svm import SVC

from benchmarks import tables_sets
from benchmarks.tables_data import LEAST
from experiments.baselines import BASELINES, with_settings
from ladder_jax.config import Config
from ladder_jax.estimators import LadderClassifier, LadderRegressor


class Method(NamedTuple):
    """Holds a classifier or a regressor.

    Attributes:
      build: function that returns it, unfitted.
      labeled_alone: whether it is fitted to the labelled rows only.
    """

    build: Callable[[], Any]
    labeled_alone: bool = False


class Task(NamedTuple):
    """Describes a comparison of methods on sets.

    Attributes:
      sets: sets that may be read.
      methods: methods by name.
      labels: default numbers of labels, as ``--labels`` takes them.
      least: fewest labels that every method works with.
      unit: unit that labels are counted in.
      error: description of the error.
      measure: ``measure(true, predicted)`` returns a measure of the error and its unit; the
        error is their quotient in percent.
    """

    sets: tables_sets.Sets
    methods: dict[str, Method]
    labels: str
    least: int
    unit: str
    error: str
    measure: Callable[[np.ndarray, np.ndarray], tuple[float, float]]


def settings_of(method: Method) -> str:
    """Returns a checksum of a method's settings, defaults included.

    Examples:
      >>> settings_of(CLASSES["ladder"]) == settings_of(CLASSES["no_decoder"])
      False
    """
    params = method.build().get_params()
    named = json.dumps(params, default=lambda value: getattr(value, "__name__", str(type(value))))
    return hashlib.sha256(named.encode()).hexdigest()[:8]


def without_decoder(ladder: LadderClassifier | LadderRegressor) -> Any:
    """Returns the estimator's supervised net of the same size, with the same settings."""
    return with_settings(ladder, Config.create(ladder._settings()).supervised())


def _self_training() -> SelfTrainingClassifier:
    """Makes self-training of an SVC, with probabilities from scikit-learn's calibration.

    The SVC's own probabilities are due to be removed, and with two labels per class they
    often rank the wrong class first.
    """
    return SelfTrainingClassifier(CalibratedClassifierCV(SVC(), ensemble=False, cv=LEAST))


def _gaussian_process() -> GaussianProcessRegressor:
    """Makes a Gaussian process that fits scale, length and noise by likelihood, six starts."""
    kernel = ConstantKernel() * RBF() + WhiteKernel()
    return GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=5)


def _kernel_ridge() -> TransformedTargetRegressor:
    """Makes kernel ridge regression, tuned by three folds of the labelled rows.

    Targets are standardised, as it has no intercept.
    """
    grid = {"alpha": [0.001, 0.01, 0.1, 1.0, 10.0], "gamma": [0.001, 0.003, 0.01, 0.03, 0.1, 0.3]}
    search = GridSearchCV(
        KernelRidge(kernel="rbf"), grid, cv=3, scoring="neg_root_mean_squared_error"
    )
    return TransformedTargetRegressor(search, transformer=StandardScaler())


CLASSES = {
    "ladder": Method(LadderClassifier),
    "no_decoder": Method(lambda: without_decoder(LadderClassifier())),
    "label_spreading": Method(BASELINES["label_spreading"]),
    # The kernel's default gamma is 1 / features, as that of an SVC on standardised columns.
    "label_spreading_rbf": Method(lambda: LabelSpreading(kernel=rbf_kernel)),
    "self_training": Method(_self_training),
    "logistic_regression": Method(lambda: LogisticRegression(max_iter=1000), True),
    "random_forest": Method(RandomForestClassifier, True),
    "k_nearest": Method(lambda: KNeighborsClassifier(3, weights="distance"), True),
}
IMBALANCED = {
    "ladder": CLASSES["ladder"],
    "ladder_balanced": Method(lambda: LadderClassifier(class_weight="balanced")),
    "no_decoder": CLASSES["no_decoder"],
    "logistic_regression": Method(
        lambda: LogisticRegression(max_iter=1000, class_weight="balanced"), True
    ),
    "random_forest": Method(lambda: RandomForestClassifier(class_weight="balanced"), True),
}
NUMBERS = {
    "ladder": Method(LadderRegressor),
    "no_decoder": Method(lambda: without_decoder(LadderRegressor())),
    # By default it chooses alpha by the leave-one-out error.
    "ridge": Method(lambda: RidgeCV([0.01, 0.1, 1.0, 10.0, 100.0, 1000.0]), True),
    "random_forest": Method(RandomForestRegressor, True),
    "gaussian_process": Method(_gaussian_process, True),
    "kernel_ridge": Method(_kernel_ridge, True),
}


def wrong(true: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    """Measures the fraction of misclassified rows."""
    return float(np.mean(predicted != true)), 1.0


def wrong_per_class(true: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    """Measures the misclassified fraction of a class, averaged over the classes.

    Examples:
      >>> wrong_per_class(np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0]))
      (0.5, 1.0)
    """
    return 1 - float(balanced_accuracy_score(true, predicted)), 1.0


def rmse(true: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    """Measures the root mean squared error; its unit is the RMSE of the mean of ``true``.

    Examples:
      >>> rmse(np.array([1.0, 5.0]), np.array([2.0, 6.0]))
      (1.0, 2.0)
    """
    return float(np.sqrt(np.mean((predicted - true) ** 2))), float(np.std(true))


TASKS = {
    "classes": Task(
        sets=tables_sets.CLASSES,
        methods=CLASSES,
        labels="2,5,10",
        least=LEAST,
        unit="labels per class",
        error="error in %",
        measure=wrong,
    ),
    "numbers": Task(
        sets=tables_sets.NUMBERS,
        methods=NUMBERS,
        labels="20,50",
        least=6,  # two for each fold
        unit="targets",
        error="RMSE in % of the test targets' standard deviation",
        measure=rmse,
    ),
    "imbalanced": Task(
        sets=tables_sets.IMBALANCED,
        methods=IMBALANCED,
        labels="50,100",
        least=2 * LEAST,
        unit="labels",
        error="100 - balanced accuracy in %",
        measure=wrong_per_class,
    ),
}
