"""MNIST, 100 labels, our recipe, not in the paper; test error: RESULTS.md, row "own".

python -m experiments.train --config=mnist_100_own --data_dir=FOLDER
"""

from ml_collections import ConfigDict

from experiments.configs import base


def get_config() -> ConfigDict:
    """The paper's ladder; late in the run noisy predictions follow the sure clean ones."""
    return base.own(100)
