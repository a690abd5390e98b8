"""MNIST, all labels, bottom-only ladder: 0.59 +- 0.03 % test error in the paper.

python -m experiments.train --config=mnist_all_bottom --data_dir=FOLDER
"""

from ml_collections import ConfigDict

from experiments.configs import base


def get_config() -> ConfigDict:
    """784-1000-500-250-250-250-10, a cost at the input alone, 150 epochs, Adam 0.002."""
    return base.mnist("all", "bottom")
