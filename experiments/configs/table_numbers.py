"""Small tables whose labels are numbers: the settings of ``LadderRegressor``.

python -m experiments.train --config=table_numbers --dataset=mine.csv --validation=50
"""

from ml_collections import ConfigDict

from experiments.configs import base
from ladder_jax.config import Config


def get_config() -> ConfigDict:
    """Returns the config of a ladder with one hidden level of 50 units, without consistency."""
    return base.config_dict(
        Config(
            name="table_numbers",
            preprocess="tabular",
            units=(50,),
            denoising_cost=(0.3,),
            learning_rate=0.005,
            epochs=300,
            joint_norm=True,
        )
    )
