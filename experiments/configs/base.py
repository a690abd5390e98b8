"""What the config files are written with."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from ml_collections import ConfigDict

from ladder_jax import presets
from ladder_jax.config import Config


def config_dict(config: Config) -> ConfigDict:
    """A config as the flags want it: mutable, every field a flag."""
    return ConfigDict(dataclasses.asdict(config))


def mnist(labels: presets.Labels, model: presets.Model = "full") -> ConfigDict:
    """One row of the paper's MNIST table, its settings untouched."""
    settings = presets.mnist_settings(labels, model)
    name = f"mnist_{labels}" + ("" if model == "full" else f"_{model}")
    return config_dict(
        Config(
            name=name,
            dataset="mnist",
            labels=0 if labels == "all" else labels,
            units=presets.MNIST_UNITS[:-1],
            combinators=tuple("gaussian" if d else "none" for d in settings.decoded),
            noise_std=settings.noise_std,
            denoising_cost=settings.denoising_cost,
        )
    )


def own(labels: presets.Labels | Literal[20]) -> ConfigDict:
    """Our recipe for MNIST: the paper's ladder, noise and costs, trained otherwise.

    Batches three times as large at twice the learning rate, averaged parameters, a longer decay,
    and consistency in the last two fifths of the run. With 20 labels it has the costs of 50; the
    150 epochs of 60,000 images are the 30,000 updates chosen on 50,000. What was tried is in
    experiments/TRIED.md.
    """
    config = mnist(50 if labels == 20 else labels)
    config.update(
        name=f"mnist_{labels}_own",
        batch_labeled=300 if labels == "all" else 100,
        batch_unlabeled=300,
        epochs=150,
        learning_rate=0.004,
        decay_from=0.5,
        average=0.997,
        consistency=1.0,
        consistency_from=0.6,
        compute_dtype="bfloat16",
    )
    if labels == 20:
        config.labels = 20
    return config


def conv(preset: str, labels: int, **settings: Any) -> ConfigDict:
    """One of the paper's convolutional ladders, with what its training needs beside.

    Args:
      preset: a key of ``presets.CONV``; the data set's name is its first word.
      labels: how many.
      **settings: of ``Config``, over the defaults.
    """
    row = presets.CONV[preset]
    dataset, rest = preset.split("_", 1)
    return config_dict(
        Config(
            name=f"{dataset}_{labels}_{rest}",
            dataset=dataset,
            labels=labels,
            encoder="-".join(layer.name for layer in row.layers),
            activation=row.activation,
            top_gain=row.top_gain,
            combinators=tuple("gaussian" if d else "none" for d in row.decoded),
            noise_std=row.noise_std,
            denoising_cost=row.denoising_cost,
            **settings,
        )
    )
