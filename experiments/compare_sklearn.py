"""Compares the ladder with scikit-learn's semi-supervised classifiers on its digits.

  python -m experiments.compare_sklearn                    50 and 100 labels, five splits
  python -m experiments.compare_sklearn --labels=100 --seeds=10 --output=errors.json

Prints a Markdown table of the test error. The ladder has the settings of the config
``digits``, which were chosen on held-out training images. Each of the other classifiers has, for
each number of labels, the one of many settings with the lowest mean error on the test images
themselves: its error in the table is, if anything, too low.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import flags
from sklearn.base import clone
from sklearn.model_selection import ParameterGrid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelPropagation, LabelSpreading, SelfTrainingClassifier
from sklearn.svm import SVC
from tqdm import tqdm

from experiments import baselines, cli
from experiments.configs import digits
from ladder_jax import data
from ladder_jax.config import Config
from ladder_jax.estimators import LadderClassifier
from ladder_jax.report.measures import over_seeds
from ladder_jax.run import files, workfolder

# Pixels from 0 to 1 or standardised, each with values of the kernel's gamma to match.
_INPUTS = (("passthrough", [0.3, 1.0, 3.0, 10.0]), (StandardScaler(), [0.03, 0.1, 0.3]))
_NEIGHBORS = [3, 5, 7, 10, 15]
_ALPHAS = [0.2, 0.8, 0.95, 0.99]


class Split(NamedTuple):
    """Holds one choice of labelled rows.

    Attributes:
      seed: seed of the choice.
      y: labels ``[n]``; -1 marks an unlabelled row.
    """

    seed: int
    y: np.ndarray


def _graphs(model: Any, **grid: Sequence[Any]) -> list[Any]:
    """Returns label propagation or spreading with every graph and setting of a grid."""
    models = []
    for scaler, gammas in _INPUTS:
        for settings in ParameterGrid(
            [
                {"kernel": ["knn"], "n_neighbors": _NEIGHBORS, **grid},
                {"kernel": ["rbf"], "gamma": gammas, **grid},
            ]
        ):
            models.append(make_pipeline(scaler, clone(model).set_params(**settings)))
    return models


def _self_training() -> list[Any]:
    grid = ParameterGrid({"C": [1.0, 10.0, 100.0], "threshold": [0.3, 0.5, 0.75]})
    return [
        make_pipeline(
            scaler,
            SelfTrainingClassifier(
                SVC(C=settings["C"], probability=True, random_state=0),
                threshold=settings["threshold"],
                max_iter=None,
            ),
        )
        for scaler, _ in _INPUTS
        for settings in grid
    ]


def others() -> dict[str, list[Any]]:
    """Returns the baselines by name, one estimator per setting."""
    return {
        "LabelSpreading": _graphs(LabelSpreading(), alpha=_ALPHAS),
        "LabelPropagation": _graphs(LabelPropagation()),
        "SelfTrainingClassifier(SVC)": _self_training(),
    }


def ladder() -> LadderClassifier:
    """Returns the ladder with the settings of ``configs/digits.py``."""
    config = Config.create(digits.get_config().to_dict())
    return baselines.estimator_of(config)


def splits(y: np.ndarray, labels: int, seeds: int) -> list[Split]:
    """Returns the labelled rows that ``experiments.train`` chooses with the same seeds.

    Examples:
      >>> [int((split.y >= 0).sum()) for split in splits(np.arange(40) % 10, 20, 2)]
      [20, 20]
    """
    classes = int(y.max()) + 1
    choices = []
    for seed in range(seeds):
        partial = np.full(len(y), data.NO_LABEL)
        rows = data.choose_labeled(y, labels, seed, classes)
        partial[rows] = y[rows]
        choices.append(Split(seed, partial))
    return choices


def errors(model: Any, dataset: data.Dataset, chosen: Sequence[Split]) -> list[float]:
    """Returns an estimator's test error on each split, in percent.

    Args:
      model: estimator to fit.
      dataset: data set, whose rows may be images.
      chosen: splits to fit the estimator on.
    """
    parts = np.asarray(dataset.x_train), np.asarray(dataset.x_test)
    x, x_test = (part.reshape(len(part), -1) for part in parts)
    percentages = []
    for split in chosen:
        fitted = clone(model)
        if "random_state" in fitted.get_params():
            fitted.set_params(random_state=split.seed)
        with baselines.quiet():
            wrong = fitted.fit(x, split.y).predict(x_test) != dataset.y_test
        percentages.append(100 * float(np.mean(wrong)))
    return percentages


def _described(model: Any) -> str:
    """Describes a pipeline in one line: its input, its classifier and their settings."""
    (_, scaler), (_, classifier) = model.steps
    inputs = "pixels" if scaler == "passthrough" else "standardised"
    return f"{inputs}, {' '.join(str(classifier).split())}"


def table(errors: dict[str, dict[int, list[float]]]) -> str:
    """Formats mean and standard deviation over the splits, one row per classifier.

    Examples:
      >>> print(table({"ladder": {50: [1.0, 2.0], 100: [1.0, 1.0]}}))
      | test error in % | 50 labels | 100 labels |
      |---|---|---|
      | ladder | 1.50 ± 0.71 | 1.00 ± 0.00 |
    """
    numbers = list(next(iter(errors.values())))
    lines = [
        "| test error in % | " + " | ".join(f"{n} labels" for n in numbers) + " |",
        "|---" * (len(numbers) + 1) + "|",
    ]
    for name, by_labels in errors.items():
        cells = [over_seeds(values).mean_and_sd() for values in by_labels.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Fits every classifier on every split and prints the table."""
    numbers = cli.label_numbers("50,100")
    output = cli.output_path(cli.OUTPUT.value) if cli.OUTPUT.value else None
    dataset, seeds = data.load("digits"), cli.SEEDS.value
    by_labels = {n: splits(dataset.y_train, n, seeds) for n in numbers}
    test_errors: dict[str, dict[int, list[float]]] = {}
    notes = []
    for name, models in {"LadderClassifier": [ladder()], **others()}.items():
        test_errors[name] = {}
        for n, chosen in by_labels.items():
            errors_by_setting = [
                errors(model, dataset, chosen)
                for model in tqdm(models, desc=f"{name}, {n} labels", leave=False)
            ]
            best = int(np.argmin(np.mean(errors_by_setting, 1)))
            test_errors[name][n] = errors_by_setting[best]
            if len(models) > 1:
                text = f"best on test images of {len(models)} settings: {_described(models[best])}"
                notes.append(f"- {name}, {n} labels, {text}")
    print(f"{table(test_errors)}\n\ndigits, {len(dataset.y_test)} test images, {seeds} split(s)\n")
    print("\n".join(notes))
    if output is not None:
        about = {"test_errors": test_errors, "settings": notes, "versions": workfolder.versions()}
        files.write_json(output, about)


if __name__ == "__main__":
    flags.FLAGS.set_default("seeds", 5)
    about = {
        "labels": "How many labelled examples, one or several numbers. Default: 50,100.",
        "output": "File to write the errors to, as JSON. Default: none.",
    }
    shared = (cli.LABELS, cli.SEEDS, cli.OUTPUT, cli.OVERWRITE_OUTPUT)
    cli.run(main, shared=shared, about=about)
