"""Measures a finished run on a test set.

  python -m experiments.evaluate --workdir=RUN
  python -m experiments.evaluate --workdir=RUN --dataset=new.npz
  python -m experiments.evaluate --workdir=RUN --dataset=mnist --data_dir=FOLDER

By default on the test set of the data that it was trained on. Another .npz file holds
x_test and y_test, or x and y, each example with its class.
"""

from __future__ import annotations

import pathlib
from typing import NamedTuple

import jax
import numpy as np

from experiments import cli
from ladder_jax import data, interrupts, predictor, workfolder
from ladder_jax.config import Config
from ladder_jax.predictor import Predictor
from ladder_jax.report.measures import confusion, wilson


class Scores(NamedTuple):
    """What came of a test set.

    Attributes:
      confusion: ``[classes, classes]``, how many examples of a class (row) were taken
        for one of a class (column).
      cross_entropy: mean of -log p(y | x), in nats.
    """

    confusion: np.ndarray
    cross_entropy: float


def measure(ours: Predictor, x: data.Examples, y: np.ndarray, name: str = "x") -> Scores:
    """Tests a ladder, part by part.

    Args:
      ours: the ladder.
      x: ``[n, *example_shape]``.
      y: ``[n]``, the classes.
      name: of the examples, for the messages.

    Returns:
      ``Scores``.

    Raises:
      DataError: the examples are of another shape than in training.
    """
    classes, total = len(ours.class_names), 0.0
    counts = np.zeros((classes, classes), int)
    for start in range(0, len(y), data.inputs.PART):
        labels = y[start : start + data.inputs.PART]
        rows = data.new_rows(name, x[start : start + len(labels)], ours.example_shape, start)
        found = ours(rows)
        counts += confusion(labels, found.classes, classes)
        log_p = np.asarray(jax.nn.log_softmax(found.logits), np.float64)
        total -= log_p[np.arange(len(labels)), labels].sum()
    return Scores(counts, total / len(y))


def examples(
    ours: Predictor, config: Config, name: str, data_dir: str
) -> tuple[data.Examples, np.ndarray]:
    """The test examples that are asked for.

    Args:
      ours: the ladder.
      config: of its run.
      name: of a data set, or the path of an ``.npz`` file; "" for the run's own.
      data_dir: its folder; "" for the run's, where it is the run's own set.

    Returns:
      ``(x, y)``.

    Raises:
      DataError: there are none, or their classes are others.
    """
    x: data.Examples
    own = not name or _same(name, config.dataset)
    name = name or config.dataset
    if data.is_file(name) and not own:
        x, y, names = data.load_test_npz(name, len(ours.class_names))
        names = names or ours.class_names
    else:
        found = data.load(name, data_dir or (config.data_dir if own else ""), in_memory=False)
        x, y, names = found.x_test, found.y_test, found.class_names
    if not len(y):
        raise data.DataError(
            f"{name} has no test set; give other examples than those of training, e.g. "
            "--dataset=new.npz with x and y."
        )
    if names != ours.class_names:
        raise data.DataError(
            f"{name} has the classes {_listed(names)}; the run was trained on "
            f"{_listed(ours.class_names)}."
        )
    return x, y


def _same(name: str, other: str) -> bool:
    if data.is_file(name) and data.is_file(other):
        return (
            pathlib.Path(name).expanduser().resolve() == pathlib.Path(other).expanduser().resolve()
        )
    return name == other


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "") + f" ({len(names)})"


def table(scores: Scores, class_names: tuple[str, ...]) -> str:
    """The scores as text: all examples, then those of each class.

    Example:
      >>> print(table(Scores(np.array([[9, 1], [0, 0]]), 0.25), ("no", "yes")))
      error          10.00 %  (95 % interval 1.79 to 40.42, Wilson), 1 of 10 examples
      cross-entropy  0.2500 nats
      <BLANKLINE>
      class  examples   error %         95 %  most often taken for
      no           10     10.00   1.8 to 40.4  yes (1)
      yes           0         -
    """
    counts = scores.confusion
    wrong, rows = _wrong(counts).sum(), counts.sum()
    low, high = wilson(int(wrong), int(rows))
    lines = [
        f"error          {100 * wrong / rows:.2f} %  (95 % interval {low:.2f} to {high:.2f}, "
        f"Wilson), {wrong} of {rows} examples",
        f"cross-entropy  {scores.cross_entropy:.4f} nats",
        "",
    ]
    width = max(5, *map(len, class_names))
    lines.append(f"{'class':<{width}}  examples   error %         95 %  most often taken for")
    for name, row, mistaken in zip(class_names, counts, _wrong(counts), strict=True):
        line = f"{name:<{width}}  {row.sum():8}"
        if not row.any():
            lines.append(f"{line}         -")
            continue
        low, high = wilson(int(mistaken.sum()), int(row.sum()))
        line += f"  {100 * mistaken.sum() / row.sum():8.2f}  {f'{low:.1f} to {high:.1f}':>12}"
        if mistaken.any():
            line += f"  {class_names[mistaken.argmax()]} ({mistaken.max()})"
        lines.append(line)
    return "\n".join(lines)


def _wrong(counts: np.ndarray) -> np.ndarray:
    """The confusion without what is right."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    return wrong


def main() -> None:
    """Reads the flags, tests and prints."""
    with interrupts.at_once():
        folder = predictor.find_run(cli.find_workdir())
        ours, config = predictor.load(folder), workfolder.read_config(folder)
        name = cli.DATASET.value or ""
        x, y = examples(ours, config, name, cli.DATA_DIR.value or "")
        title = name or config.dataset
        scores = measure(ours, x, y, title)
    print(f"{folder} on {title}, {len(y)} examples")
    print(table(scores, ours.class_names))


if __name__ == "__main__":
    cli.run(main, shared=(cli.WORKDIR, cli.DATASET, cli.DATA_DIR), about=cli.READS)
