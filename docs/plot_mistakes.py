"""Draws docs/mistakes.png, test images that ladders of several seeds get wrong, and counts them.

python -m experiments.reproduce --rows=quick --labels=100 --seeds=5 --workdir=RUNS --data_dir=FOLDER
python -m docs.plot_mistakes FOLDER RUNS/mnist/quick-100-*

Beside it is mistakes.json: the error of each and of the mean of their probabilities, how many
images so many of them get wrong, and what those that most get wrong are, and are taken for.
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
    """Draws them in the order of how many ladders are wrong, then of how sure these are."""
    digits = data.load("mnist", data_dir)
    x, y = digits.x_test, digits.y_test
    found = np.stack([predictor.load(run).predict_proba(x) for run in runs])  # [runs, n, classes]
    errors = found.argmax(2) != y  # [runs, n]
    wrong = errors.sum(0)
    mean = found.mean(0)
    others = np.where(np.arange(mean.shape[1]) == y[:, None], 0, mean)
    taken = others.argmax(1)  # for which of the other classes
    mostly = np.flatnonzero(2 * wrong > len(runs))
    pairs = collections.Counter(f"{y[i]} as {taken[i]}" for i in mostly)
    counted = {
        "ladders": [pathlib.Path(run).name for run in runs],
        "error": [100 * float(of.mean()) for of in errors],
        "error_together": 100 * float(np.mean(mean.argmax(1) != y)),
        "wrong_in": {k: int(np.sum(wrong == k)) for k in range(1, len(runs) + 1)},
        "wrong_in_most": dict(pairs.most_common()),
    }
    folder = pathlib.Path(__file__).parent
    (folder / "mistakes.json").write_text(json.dumps(counted, indent=1) + "\n", encoding="utf-8")
    shown = np.lexsort((-mean.max(1), -wrong))[: ROWS * COLUMNS]
    figure, places = pyplot.subplots(ROWS, COLUMNS, figsize=(8, 4.2), layout="constrained")
    for place, i in zip(places.ravel(), shown, strict=True):
        place.imshow(x[i].reshape(28, 28), cmap="gray_r", vmin=0)
        place.set(xticks=[], yticks=[])
        place.set_title(f"{y[i]} as {taken[i]}", fontsize=8, pad=2)
    figure.savefig(folder / "mistakes.png", dpi=110)


if __name__ == "__main__":
    main(*sys.argv[1:])
