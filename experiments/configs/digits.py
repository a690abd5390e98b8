"""scikit-learn's digits, 100 labels.

python -m experiments.train
"""

from ml_collections import ConfigDict

from experiments.configs import base
from ladder_jax.config import Config


def get_config() -> ConfigDict:
    """A small ladder, 64-250-100-10."""
    return base.config_dict(
        Config(
            units=(250, 100),
            noise_std=(0.3,),
            denoising_cost=(100.0, 10.0, 0.1, 0.1),
            epochs=150,
        )
    )
