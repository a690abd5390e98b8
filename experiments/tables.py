"""Rows of the tables that ``experiments.reproduce`` fills."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from experiments import configs
from experiments.configs import fashion_mnist, mnist, textured_digits
from ladder_jax.config import Config


class Row(NamedTuple):
    """Holds a row of a table.

    Attributes:
      row: the trained model: ``full``, ``bottom``, ``gamma``, ``baseline``, ``tuned`` (our
        recipe) or another form of it, or a key of ``baselines.BASELINES``.
      labels: number of labels, or "all".
      config: name of a config, for ``configs.load``.
      published: mean and standard deviation in percent, if published.
      dataset: data set that replaces the config's, unless empty.
      epochs: number of epochs that replaces the config's, unless 0.
    """

    row: str
    labels: str
    config: str
    published: tuple[float, float] | None = None
    dataset: str = ""
    epochs: int = 0

    def settings(self, seed: int) -> Config:
        """Returns the config of the run with this seed."""
        config = configs.load(self.config)
        return dataclasses.replace(
            config,
            dataset=self.dataset or config.dataset,
            epochs=self.epochs or config.epochs,
            seed=seed,
        )


def _row(row: str, file: str, labels: str, model: str) -> Row:
    """Returns a row with the published figure of its config file, if any."""
    published = configs.module(file).TABLE[model][labels]
    return Row(row, labels, f"{file}:labels={labels},model={model}", published)


def _fashion_row(row: str, labels: str, model: str, epochs: int = 0) -> Row:
    """Returns a row of Fashion-MNIST with MNIST's settings and no published figure."""
    name = f"mnist:labels={labels},model={model}"
    return Row(row, labels, name, dataset="fashion_mnist", epochs=epochs)


FASHION_EPOCHS = 60
"""Epochs of the Fashion-MNIST nets that have MNIST's settings."""
_MODELS = {"full": "full", "bottom": "bottom", "gamma": "gamma", "baseline": "supervised"}
_CONV = {"full": "conv_fc", "gamma": "conv_small_gamma", "baseline": "conv_small_supervised"}
_LARGE = {"gamma": "conv_large_gamma", "baseline": "conv_large_supervised"}
_SMALL = {"full": "small", "gamma": "small_gamma", "baseline": "small_supervised"}

TABLES = {
    "mnist": (
        *(
            _row(row, "mnist", labels, model)
            for labels in mnist.TABLE["full"]
            for row, model in _MODELS.items()
        ),
        *(_row(form, "mnist", labels, form) for form in mnist.OURS for labels in mnist.TABLE[form]),
    ),
    "mnist_conv": tuple(_row(row, "mnist", "100", model) for row, model in _CONV.items()),
    "cifar10": tuple(_row(row, "cifar10", "4000", model) for row, model in _LARGE.items()),
    "cifar10_small": tuple(_row(row, "cifar10", "4000", model) for row, model in _SMALL.items()),
    "textured_digits": tuple(
        _row(row, "textured_digits", labels, _MODELS[row])
        for labels in textured_digits.TABLE["full"]
        for row in ("full", "baseline")
    ),
    "fashion_mnist": (
        *(
            _row(row, "fashion_mnist", labels, model)
            for labels in fashion_mnist.TABLE["tuned"]
            for row, model in (("tuned", "tuned"), ("tuned_baseline", "tuned_supervised"))
        ),
        *(
            _fashion_row(row, labels, model, epochs)
            for labels in ("100", "1000")
            for row, model, epochs in (
                ("full", "full", FASHION_EPOCHS),
                ("gamma", "gamma", FASHION_EPOCHS),
                ("baseline", "supervised", FASHION_EPOCHS),
                ("label_spreading", "full", 0),
                ("self_training_linear", "full", 0),
            )
        ),
    ),
}
"""Rows of each table, by the table's name, which is its heading in ``RESULTS.md``."""
