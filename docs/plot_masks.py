"""Draws docs/masks.png: images, masks, and predictions of a ladder and of a supervised net.

python -m experiments.train --config=textured_digits --workdir=FOLDER
python -m docs.plot_masks FOLDER
"""

from __future__ import annotations

import pathlib
import sys

import matplotlib
import numpy as np

from ladder_jax import data, predictor
from ladder_jax.data import masks

matplotlib.use("Agg")
from matplotlib import pyplot

IMAGES = 8


def main(folder: str) -> None:
    """Draws the first test images, with one row of the figure per kind of picture."""
    dataset = data.load("textured_digits")
    x, y = dataset.x_test[:IMAGES], dataset.y_test[:IMAGES]
    ladder, supervised = (
        predictor.load(pathlib.Path(folder) / name)(x) for name in ("ladder-0", "supervised-0")
    )
    rows = {
        "image": x[..., 0],
        "mask": masks.colored(y),
        "supervised": masks.colored(np.asarray(supervised.predictions)),
        "ladder": masks.colored(np.asarray(ladder.predictions)),
        "uncertainty": np.asarray(ladder.uncertainty),
    }
    figure, grid = pyplot.subplots(len(rows), IMAGES, figsize=(8, 5.2), layout="constrained")
    for axes_of_row, (name, pictures) in zip(grid, rows.items(), strict=True):
        for axes, picture in zip(axes_of_row, pictures, strict=True):
            axes.imshow(picture, cmap="gray", vmin=0, vmax=1)
            axes.set(xticks=[], yticks=[])
        axes_of_row[0].set_ylabel(name)
    figure.savefig(pathlib.Path(__file__).parent / "masks.png", dpi=110)


if __name__ == "__main__":
    main(*sys.argv[1:])
