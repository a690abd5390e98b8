"""MNIST, 50 labels, Gamma-model: not in the paper; its settings of 100 labels.

python -m experiments.train --config=mnist_50_gamma --data_dir=FOLDER
"""

from ml_collections import ConfigDict

from experiments.configs import base


def get_config() -> ConfigDict:
    """784-1000-500-250-250-250-10, decoder and cost at the top alone, 150 epochs, Adam 0.002."""
    return base.mnist(50, "gamma")
