"""Draws docs/mistakes.png, test images that ladders of several seeds misclassify; counts them.

python -m experiments.reproduce --rows=quick --labels=100 --seeds=5 --workdir=RUNS --data_dir=FOLDER
python -m docs.plot_mistakes FOLDER RUNS/mnist/quick-100-*

The counts are in docs/mistakes.json: the error of each ladder and of their mean probabilities,
the number of images that k ladders misclassify, and, of images that most ladders misclassify,
the true and the predicted classes.
"""

from __future__ import annotations

import collections
import json
import pathlib
import sys

import matplotlib
import numpy as np

from ladder_jax import data, predictor

matplotlib.use("Agg")
from matplotlib import pyplot

ROWS, COLUMNS = 5, 12


def main(data_dir: str, *runs: str) -> None:
    """Draws images by the number of wrong ladders, then by the highest mean probability."""
    digits = data.load("mnist", data_dir)
    x, y = digits.x_test, digits.y_test
    p = np.stack([predictor.load(run).predict_proba(x) for run in runs])  # [runs, n, classes]
    errors = p.argmax(2) != y  # [runs, n]
    wrong = errors.sum(0)
    mean = p.mean(0)
    others = np.where(np.arange(mean.shape[1]) == y[:, None], 0, mean)
    predicted = others.argmax(1)  # the most probable wrong class
    mostly = np.flatnonzero(2 * wrong > len(runs))
    pairs = collections.Counter(f"{y[i]} as {predicted[i]}" for i in mostly)
    counts = {
        "ladders": [pathlib.Path(run).name for run in runs],
        "error": [100 * float(errors_of_run.mean()) for errors_of_run in errors],
        "error_together": 100 * float(np.mean(mean.argmax(1) != y)),
        "wrong_in": {k: int(np.sum(wrong == k)) for k in range(1, len(runs) + 1)},
        "wrong_in_most": dict(pairs.most_common()),
    }
    folder = pathlib.Path(__file__).parent
    (folder / "mistakes.json").write_text(json.dumps(counts, indent=1) + "\n", encoding="utf-8")
    drawn = np.lexsort((-mean.max(1), -wrong))[: ROWS * COLUMNS]
    figure, grid = pyplot.subplots(ROWS, COLUMNS, figsize=(8, 4.2), layout="constrained")
    for axes, i in zip(grid.ravel(), drawn, strict=True):
        axes.imshow(x[i].reshape(28, 28), cmap="gray_r", vmin=0)
        axes.set(xticks=[], yticks=[])
        axes.set_title(f"{y[i]} as {predicted[i]}", fontsize=8, pad=2)
    figure.savefig(folder / "mistakes.png", dpi=110)


if __name__ == "__main__":
    main(*sys.argv[1:])
