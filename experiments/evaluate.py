"""Measures a finished run on a test set.

  python -m experiments.evaluate --workdir=RUN
  python -m experiments.evaluate --workdir=RUN --dataset=new.npz
  python -m experiments.evaluate --workdir=RUN --dataset=mnist --data_dir=FOLDER

The default is the test set of the data the run was trained on. Another .npz file must hold
x_test and y_test, or x and y, with a class, a mask, numbers or several labels for each
example, as in training; a .csv file or a folder of images has the form that experiments.train
reads. Values are scaled as in training (see python -m experiments.predict --help).
"""

from __future__ import annotations

import math
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from experiments import cli, score_tables
from ladder_jax import data, errors, predictor
from ladder_jax.config import Config
from ladder_jax.data.csv_files import is_whole
from ladder_jax.data.named import table_suffix
from ladder_jax.predictor import Predictor
from ladder_jax.report.measures import BINS, calibration, scores
from ladder_jax.run import inputs, signals, workfolder


class Judged(NamedTuple):
    """Holds the predictions for a test set and their cross-entropy.

    Attributes:
      y: true classes ``[n]``.
      predicted: predicted classes ``[n]``.
      confidence: probabilities of the predicted classes ``[n]``.
      cross_entropy: mean of -log p(y | x), in nats.
    """

    y: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    cross_entropy: float


def measure(ladder: Predictor, x: data.Examples, y: np.ndarray, name: str = "x") -> Judged:
    """Evaluates a ladder, chunk by chunk.

    Args:
      ladder: the trained ladder.
      x: examples ``[n, *example_shape]``.
      y: true classes ``[n]``.
      name: name of the examples, for messages.

    Returns:
      A ``Judged``.

    Raises:
      DataError: the examples differ in shape or scale from training, or are not finite.
    """
    predicted, confidence, total, start = [], [], 0.0, 0
    for outputs in ladder.parts(x, name):
        labels = y[start : start + len(outputs.logits)]
        start += len(labels)
        predicted.append(outputs.classes)
        confidence.append(outputs.probabilities.max(1))
        log_p = np.asarray(jax.nn.log_softmax(outputs.logits), np.float64)
        total -= log_p[np.arange(len(labels)), labels].sum()
    return Judged(y, np.concatenate(predicted), np.concatenate(confidence), total / len(y))


def examples(
    ladder: Predictor,
    config: Config,
    name: str,
    data_dir: str,
    features: Sequence[str] = (),
    folder: pathlib.Path | None = None,
) -> tuple[data.Examples, np.ndarray]:
    """Loads the test examples.

    Args:
      ladder: the trained ladder.
      config: config of its run.
      name: name of a data set, or path of a file or folder; "" for the run's own data.
      data_dir: folder of the data set; "" for the run's, if it is the run's own data set.
      features: names of the features in training, if they had any.
      folder: folder of the run, whose own data must not have changed; None: not checked.

    Returns:
      ``(x, y)``.

    Raises:
      DataError: there are no test examples, or their labels are of another kind or of other
        classes.
    """
    x: data.Examples
    is_own = not name or data.located(name) == data.located(config.dataset)
    name = name or config.dataset
    kind = ladder.target.kind
    if data.is_file(name) and not is_own:
        x, y, names = _test_file(ladder, config, name, features)
        names = names or ladder.class_names
    else:
        directory = data_dir or (config.data_dir if is_own else "")
        size = config.image_size if is_own else 0
        dataset = data.load(name, directory, in_memory=False, image_size=size)
        x, y, names = dataset.x_test, dataset.y_test, dataset.class_names
        if folder and isinstance(x, np.ndarray):
            known = inputs.checksums(dataset)
            if "test_error" not in workfolder.load_summary(folder):
                del known["test examples"]  # the run has not seen them
            workfolder.check_data(folder, known, "give the test examples as --dataset=FILE")
        if dataset.kind != kind:
            raise errors.DataError(
                f"{name} has labels that are {dataset.kind}, but the run was trained on {kind}; "
                "give others."
            )
        if dataset.scale in ("bytes", "unit") and ladder.fitted.scale in ("pixels", "numbers"):
            raise errors.DataError(
                f"{name} holds {data.SCALES[dataset.scale]}, but in training "
                f"{data.SCALES[ladder.fitted.scale]}; give an .npz file on that scale."
            )
    if not len(y):
        raise errors.DataError(
            f"{name} has no test set; give other examples than those of training, e.g. "
            "--dataset=new.npz with x and y."
        )
    if names != ladder.class_names:
        labels = {"numbers": "numbers", "several": "labels"}.get(kind, "classes")
        raise errors.DataError(
            f"{name} has the {labels} {_listed(names)}; the run was trained on "
            f"{_listed(ladder.class_names)}."
        )
    return x, y


def _test_file(
    ladder: Predictor, config: Config, name: str, features: Sequence[str]
) -> tuple[data.Examples, np.ndarray, tuple[str, ...]]:
    """Loads test examples from a file or a folder of images."""
    kind = ladder.target.kind
    suffix = table_suffix(name)
    if suffix == ".npz":
        # Classes that a CSV file or folders name by numbers may not be numbered from 0.
        is_npz = table_suffix(config.dataset) == ".npz" or not data.is_file(config.dataset)
        by_name = not is_npz and all(map(is_whole, ladder.class_names))
        return data.load_test_npz(name, ladder.class_names, kind, by_name=by_name)
    if suffix == ".csv":
        size = math.prod(ladder.example_shape)
        return data.load_test_csv(name, ladder.class_names, size, kind, features)
    if kind not in ("classes", "pixels"):
        raise errors.DataError(
            f"{name}: a folder of images, but the run was trained on {kind}; give an .npz file."
        )
    known = ladder.class_names, ladder.example_shape, kind
    return data.load_test_folder(name, *known, fit=config.image_size > 0)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "") + f" ({len(names)})"


def table(judged: Judged, class_names: tuple[str, ...]) -> str:
    """Formats the scores as text, over all examples and per class.

    Examples:
      >>> y, confidence = np.zeros(10, int), np.full(10, 0.95)
      >>> print(table(Judged(y, np.arange(10) // 9, confidence, 0.25), ("no", "yes")))
      error          10.00 %  (95 % interval 1.79 to 40.42, Wilson), 1 of 10 examples
      cross-entropy  0.2500 nats
      calibration    5.00 %  expected calibration error (ECE), 15 bins
      macro average  precision 50.00 %, recall 90.00 %, F1 47.37 %
      <BLANKLINE>
      class  examples  error %          95 %  precision %  recall %    F1 %  most often taken for
      no           10    10.00   1.8 to 40.4       100.00     90.00   94.74  yes (1)
      yes           0        -             -         0.00         -    0.00
    """
    from sklearn.metrics import confusion_matrix

    overall, *classes = scores(judged.y, judged.predicted, class_names)
    (low, high), ece = (
        overall.interval,
        calibration(judged.predicted == judged.y, judged.confidence).error,
    )
    width = max(5, *map(len, class_names))
    lines = [
        f"error          {overall.error:.2f} %  (95 % interval {low:.2f} to {high:.2f}, "
        f"Wilson), {overall.wrong} of {overall.n} examples",
        f"cross-entropy  {judged.cross_entropy:.4f} nats",
        f"calibration    {ece:.2f} %  expected calibration error (ECE), {BINS} bins",
        f"macro average  precision {overall.precision:.2f} %, recall {overall.recall:.2f} %, "
        f"F1 {overall.f1:.2f} %",
        "",
        f"{'class':<{width}}  examples  error %          95 %  precision %  recall %    F1 %  "
        "most often taken for",
    ]
    counts = confusion_matrix(judged.y, judged.predicted, labels=range(len(class_names)))
    np.fill_diagonal(counts, 0)
    for score, mistakes in zip(classes, counts, strict=True):
        ends = "{:.1f} to {:.1f}".format(*score.interval) if score.n else "-"
        error, precision, recall, f1 = (
            "-" if np.isnan(value) else f"{value:.2f}"
            for value in (score.error, score.precision, score.recall, score.f1)
        )
        line = f"{score.name:<{width}}  {score.n:8}  {error:>7}  {ends:>12}  {precision:>11}"
        line += f"  {recall:>8}  {f1:>6}"
        if mistakes.any():
            line += f"  {class_names[mistakes.argmax()]} ({mistakes.max()})"
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    """Reads the flags, evaluates and prints the scores."""
    with signals.at_once():
        folder = predictor.find_run(cli.find_workdir())
        ladder, config = predictor.load(folder), workfolder.read_config(folder)
        name = cli.DATASET.value or ""
        features = workfolder.load_summary(folder).get("feature_names", ())
        own = None if name else folder
        x, y = examples(ladder, config, name, cli.DATA_DIR.value or "", features, own)
        title = name or config.dataset
        if ladder.target.kind == "classes":
            text = table(measure(ladder, x, y, title), ladder.class_names)
        else:
            text = score_tables.table(ladder, x, y, title)
    print(f"{folder} on {title}, {len(y)} examples")
    print(text)


if __name__ == "__main__":
    cli.run(main, shared=(cli.WORKDIR, cli.DATASET, cli.DATA_DIR), about=cli.READS)
