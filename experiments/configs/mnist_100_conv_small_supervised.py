"""MNIST, 100 labels, Conv-Small supervised: 6.43 +- 0.84 % test error in the paper.

python -m experiments.train --config=mnist_100_conv_small_supervised --data_dir=FOLDER
"""

from ml_collections import ConfigDict

from experiments.configs import base


def get_config() -> ConfigDict:
    """No decoder; 20 epochs, as it overfits."""
    return base.conv("mnist_conv_small_supervised", 100, epochs=20, decay_from=0.5)
