"""Small numeric tables of your own: the settings of ``LadderClassifier``.

python -m experiments.train --config=table --dataset=mine.csv --validation=50
"""

from ml_collections import ConfigDict

from experiments.configs import base
from ladder_jax.config import Config


def get_config() -> ConfigDict:
    """Returns the config of a ladder with two levels of 100 units, for few labels per class."""
    return base.config_dict(
        Config(
            name="table",
            preprocess="tabular",
            units=(100, 100),
            denoising_cost=(0.3,),
            learning_rate=0.01,
            epochs=300,
            consistency=3.0,
            consistency_from=0.3,
            consistency_threshold=0.0,
            joint_norm=True,
        )
    )
