"""Measures how well the default classifier is calibrated, with and without a temperature.

  python -m benchmarks.calibration
  python -m benchmarks.calibration --sets=iris,wine --splits=5 --output=calibration.json

One ladder is fitted with all labels, another with some labels of each class held out; scikit-learn
fits its temperature to the held-out rows. Sets, splits and test rows are those of
benchmarks.tables; the figures are means over sets and splits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import flags
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import log_loss
from tqdm import tqdm

from benchmarks import tables, tables_data, tables_report, tables_sets
from benchmarks.table import machine
from benchmarks.tables_tasks import CLASSES
from experiments import cli
from ladder_jax import data
from ladder_jax.errors import ConfigError
from ladder_jax.report import measures
from ladder_jax.run import files, workfolder

_HELD_OUT = flags.DEFINE_integer(
    "temperature_labels",
    5,
    "Labels per class that a ladder's temperature is fitted to, and the ladder is not.",
    lower_bound=2,
)


class Measured(NamedTuple):
    """Holds measures of the probabilities predicted for test rows.

    Attributes:
      error: misclassified rows, in percent.
      confidence: mean probability of the predicted class, in percent.
      calibration_error: expected calibration error over 15 bins, in percent.
      log_loss: cross-entropy in nats.
    """

    error: float
    confidence: float
    calibration_error: float
    log_loss: float


def judge(probabilities: np.ndarray, y: np.ndarray) -> Measured:
    """Measures probabilities ``[n, classes]`` against the classes, ``0`` to ``classes - 1``.

    Examples:
      >>> judge(np.array([[0.75, 0.25], [0.75, 0.25]]), np.array([0, 1]))._asdict()
      {'error': 50.0, 'confidence': 75.0, 'calibration_error': 25.0, 'log_loss': 0.8369882167858358}
    """
    correct, confidence = probabilities.argmax(1) == y, probabilities.max(1)
    calibration = measures.calibration(correct, confidence)
    loss = float(log_loss(y, probabilities, labels=np.arange(probabilities.shape[1])))
    means = float(100 * np.mean(~correct)), float(100 * np.mean(confidence))
    return Measured(*means, calibration.error, loss)


def compare(part: tables_data.Split, held_out: int, seed: int) -> dict[str, Measured]:
    """Measures a ladder with all labels, and one with fewer, without and with a temperature.

    Args:
      part: split of a set, with more than ``held_out`` labels of each class.
      held_out: number of labels per class that the temperature is fitted to.
      seed: seed of the ladders.
    """

    def fit(y: np.ndarray) -> Any:
        return CLASSES["ladder"].build().set_params(random_state=seed).fit(part.x, y)

    by_class = [part.labeled[part.y[part.labeled] == label] for label in np.unique(part.y_test)]
    rows = np.concatenate([entry[:held_out] for entry in by_class])
    fewer = part.y.copy()
    fewer[rows] = data.NO_LABEL
    ladder = fit(fewer)
    # The ladder is already fitted: the folds only predict, and share one temperature.
    calibrated = CalibratedClassifierCV(FrozenEstimator(ladder), method="temperature", cv=2)
    models = {
        "all labels": fit(part.y),
        "fewer": ladder,
        "fewer, with a temperature": calibrated.fit(part.x[rows], part.y[rows]),
    }
    return {
        name: judge(model.predict_proba(part.x_test), part.y_test) for name, model in models.items()
    }


def table(judged: Sequence[Mapping[str, Measured]]) -> str:
    """Returns the means as a Markdown table.

    Examples:
      >>> print(table([{"all": Measured(1, 90, 8, 0.5)}, {"all": Measured(2, 80, 7, 0.6)}]))
      | labels | error | confidence | calibration error | log loss |
      |---|--:|--:|--:|--:|
      | all | 1.5 | 85.0 | 7.5 | 0.55 |
    """
    rows = []
    for name in judged[0]:
        *percent, nats = np.mean([entry[name] for entry in judged], axis=0)
        rows.append((name, [*(f"{value:.1f}" for value in percent), f"{nats:.2f}"]))
    names = [name.replace("_", " ") for name in Measured._fields]
    return tables_report.markdown("labels", names, rows)


def main() -> None:
    """Fits all sets, prints the table, and writes each split's figures if --output is given."""
    labels, *others = cli.label_numbers("10")
    held_out = _HELD_OUT.value
    if others:
        raise ConfigError(f"--labels={cli.LABELS.value}; give one number.")
    if held_out >= labels:
        raise ConfigError(
            f"--temperature_labels={held_out} of --labels={labels} per class leaves none to learn "
            "from; give fewer."
        )
    sets = tables_sets.CLASSES
    folder = tables.find_folder(sets.source)
    names = tables_sets.choose_sets(tables.SETS.value, sets, folder, final=False)
    path = cli.output_path(cli.OUTPUT.value) if cli.OUTPUT.value else None
    fits = []
    for name in (bar := tqdm(names, leave=False)):
        bar.set_description(name)
        for split in range(tables.SPLITS.value):
            part = tables_data.load_split(name, sets, folder, labels, split)
            fits.append((name, split, compare(part, held_out, split)))
    print(table([judged for *_, judged in fits]))
    summary = f"{len(names)} set(s), {tables.SPLITS.value} split(s), {labels} labels per class"
    print(f"\n{summary}, {held_out} for the temperature; {machine()}")
    if path is not None:
        lines = [
            {"set": name, "split": split}
            | {entry: measured._asdict() for entry, measured in judged.items()}
            for name, split, judged in fits
        ]
        settings = {"labels": labels, "temperature_labels": held_out, "processor": machine()}
        files.write_json(path, settings | {"fits": lines, "versions": workfolder.versions()})


if __name__ == "__main__":
    cli.run(
        main,
        shared=(
            *(tables.SETS, tables.SPLITS, tables.FOLDERS["keel"]),
            *(cli.LABELS, cli.OUTPUT, cli.OVERWRITE_OUTPUT),
        ),
        about={"labels": "How many per class. Default: 10.", "output": "File to write, as JSON."},
    )
