"""MNIST, 1000 labels, Gamma-model: 1.53 +- 0.10 % test error in the paper.

python -m experiments.train --config=mnist_1000_gamma --data_dir=FOLDER
"""

from ml_collections import ConfigDict

from experiments.configs import base


def get_config() -> ConfigDict:
    """784-1000-500-250-250-250-10, decoder and cost at the top alone, 150 epochs, Adam 0.002."""
    return base.mnist(1000, "gamma")
