"""Digits on grounds of their own texture, a class per pixel: 20 labelled images of 2,000.

python -m experiments.train --config=textured_digits

Convolutions by 3 x 3 at full resolution, dilated by 1, 2 and 4, whose channels are ``units``;
the last layer follows from the data, so that the config serves masks of one's own too:

python -m experiments.train --config=textured_digits --dataset=FOLDER
"""

from ml_collections import ConfigDict

from experiments.configs import base
from ladder_jax.config import Config


def get_config() -> ConfigDict:
    """A small fully convolutional ladder."""
    return base.config_dict(
        Config(
            name="textured_digits",
            dataset="textured_digits",
            labels=20,
            units=(8, 8, 8),
            denoising_cost=(1.0, 0.1, 0.1, 0.1, 0.1),
            batch_labeled=20,
            batch_unlabeled=50,
            epochs=10,
            eval_every=5,
        )
    )
