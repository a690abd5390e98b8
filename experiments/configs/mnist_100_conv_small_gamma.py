"""MNIST, 100 labels, Conv-Small Gamma: 0.89 +- 0.50 % test error in the paper.

python -m experiments.train --config=mnist_100_conv_small_gamma --data_dir=FOLDER
"""

from ml_collections import ConfigDict

from experiments.configs import base


def get_config() -> ConfigDict:
    """Decoder and cost at the top alone, 150 epochs."""
    return base.conv("mnist_conv_small_gamma", 100)
