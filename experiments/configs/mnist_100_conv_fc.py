"""MNIST, 100 labels, Conv-FC: 0.99 +- 0.15 % test error in the paper.

python -m experiments.train --config=mnist_100_conv_fc --data_dir=FOLDER
"""

from ml_collections import ConfigDict

from experiments.configs import base


def get_config() -> ConfigDict:
    """A 26 x 26 convolution, then 1 x 1 ones; all levels decoded; 150 epochs."""
    return base.conv("mnist_conv_fc", 100)
