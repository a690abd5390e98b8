"""Baselines for the ladder: scikit-learn's semi-supervised classifiers.

scikit-learn takes a second to import, so functions import it only when they need it.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ladder_jax.config import Config
from ladder_jax.run.inputs import Task

if TYPE_CHECKING:
    from ladder_jax.estimators import LadderClassifier


def _label_spreading() -> object:
    from sklearn.semi_supervised import LabelSpreading

    return LabelSpreading(kernel="knn", n_neighbors=7)


def _self_training() -> object:
    from sklearn.semi_supervised import SelfTrainingClassifier
    from sklearn.svm import SVC

    return SelfTrainingClassifier(SVC(probability=True, random_state=0))


def _self_training_linear() -> object:
    """Makes a classifier for tens of thousands of rows, on which an SVC takes hours."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.semi_supervised import SelfTrainingClassifier

    return SelfTrainingClassifier(LogisticRegression(max_iter=200))


BASELINES: dict[str, Callable[[], object]] = {
    "label_spreading": _label_spreading,
    "self_training": _self_training,
    "self_training_linear": _self_training_linear,
}


def with_settings(ladder: Any, config: Config) -> Any:
    """Copies the settings of a config that an estimator takes unchanged; returns the estimator."""
    names = (*ladder._settings(), "consistency")
    return ladder.set_params(**{name: getattr(config, name) for name in names})


def estimator_of(config: Config) -> LadderClassifier:
    """Returns an estimator with the settings of a config, as far as it has them."""
    from ladder_jax.estimators import LadderClassifier

    ladder = LadderClassifier(
        epochs=config.epochs, preprocess=config.preprocess, class_weight=config.class_weights
    )
    with_settings(ladder, config)
    return ladder


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences warnings about what the classifiers leave to the user.

    They are about the number of iterations, the planned removal of SVC's probabilities, and rows
    that no labelled row reaches, as with a narrow kernel.
    """
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        for kind in (ConvergenceWarning, FutureWarning, RuntimeWarning):
            warnings.simplefilter("ignore", kind)
        yield


def baseline_error(name: str, task: Task, measured: str) -> float:
    """Returns the error in percent of one of ``BASELINES`` on the ladder's examples.

    Args:
      name: key of ``BASELINES``.
      task: the data that the ladder gets.
      measured: examples that the error is of, "test" or "validation".
    """

    def flat(x: Any) -> np.ndarray:
        return np.reshape(x, (len(x), -1))

    x = flat(np.concatenate([task.train.labeled, task.train.unlabeled]))
    y = np.concatenate([task.train.labels, np.full(len(task.train.unlabeled), -1)])
    with quiet():
        model = BASELINES[name]().fit(x, y)  # type: ignore[attr-defined]
        examples = task.test if measured == "test" else task.validation
        assert examples is not None  # ensured by train.py
        return 100 * float(np.mean(model.predict(flat(examples[0])) != np.asarray(examples[1])))
