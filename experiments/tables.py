"""The rows of the tables that ``experiments.reproduce`` fills: one line each."""

from __future__ import annotations

import dataclasses
import importlib
from typing import NamedTuple

from ladder_jax.config import Config


class Row(NamedTuple):
    """A row of a table.

    Attributes:
      row: what is trained: ``full``, ``bottom``, ``gamma``, ``baseline``, ``own`` (our
        recipe), or a key of ``baselines.BASELINES``.
      labels: how many, or "all".
      config: a file of ``experiments/configs``.
      published: mean and standard deviation in percent, where there is any.
      dataset: instead of the config's.
      epochs: instead of the config's, unless 0.
    """

    row: str
    labels: str
    config: str
    published: tuple[float, float] | None = None
    dataset: str = ""
    epochs: int = 0

    def settings(self, seed: int) -> Config:
        """The config of one run."""
        module = importlib.import_module(f"experiments.configs.{self.config}")
        config = Config.create(module.get_config().to_dict())
        return dataclasses.replace(
            config,
            dataset=self.dataset or config.dataset,
            epochs=self.epochs or config.epochs,
            seed=seed,
        )


def _fashion(row: str, labels: str, config: str, epochs: int = 0) -> Row:
    return Row(row, labels, config, dataset="fashion_mnist", epochs=epochs)


# Of the nets of Fashion-MNIST, where there is no published figure to be compared with.
FASHION_EPOCHS = 60


OWN_LABELS = ("20", "50", "100", "1000", "all")

TABLES = {
    "mnist": (
        Row("full", "50", "mnist_50", (1.62, 0.65)),
        Row("bottom", "50", "mnist_50_bottom"),
        Row("gamma", "50", "mnist_50_gamma"),
        Row("baseline", "50", "mnist_50_supervised"),
        Row("full", "100", "mnist_100", (1.06, 0.37)),
        Row("bottom", "100", "mnist_100_bottom", (1.09, 0.32)),
        Row("gamma", "100", "mnist_100_gamma", (3.06, 1.44)),
        Row("baseline", "100", "mnist_100_supervised", (21.74, 1.77)),
        Row("full", "1000", "mnist_1000", (0.84, 0.08)),
        Row("bottom", "1000", "mnist_1000_bottom", (0.90, 0.05)),
        Row("gamma", "1000", "mnist_1000_gamma", (1.53, 0.10)),
        Row("baseline", "1000", "mnist_1000_supervised", (5.70, 0.20)),
        Row("full", "all", "mnist_all", (0.57, 0.02)),
        Row("bottom", "all", "mnist_all_bottom", (0.59, 0.03)),
        Row("gamma", "all", "mnist_all_gamma", (0.78, 0.03)),
        Row("baseline", "all", "mnist_all_supervised", (0.80, 0.03)),
        *(Row("own", labels, f"mnist_{labels}_own") for labels in OWN_LABELS),
    ),
    "mnist_conv": (
        Row("full", "100", "mnist_100_conv_fc", (0.99, 0.15)),
        Row("gamma", "100", "mnist_100_conv_small_gamma", (0.89, 0.50)),
        Row("baseline", "100", "mnist_100_conv_small_supervised", (6.43, 0.84)),
    ),
    "cifar10": (
        Row("gamma", "4000", "cifar10_4000_conv_large_gamma", (20.40, 0.47)),
        Row("baseline", "4000", "cifar10_4000_conv_large_supervised", (23.33, 0.61)),
    ),
    "fashion_mnist": tuple(
        _fashion(row, labels, f"mnist_{labels}{suffix}", epochs)
        for labels in ("100", "1000")
        for row, suffix, epochs in (
            ("full", "", FASHION_EPOCHS),
            ("gamma", "_gamma", FASHION_EPOCHS),
            ("baseline", "_supervised", FASHION_EPOCHS),
            ("label_spreading", "", 0),
            ("self_training_linear", "", 0),
        )
    ),
}
"""Table by name; its heading in ``RESULTS.md`` is the name."""
