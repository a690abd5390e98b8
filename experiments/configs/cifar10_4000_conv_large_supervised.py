"""CIFAR-10, 4000 labels, Conv-Large supervised: 23.33 +- 0.61 % in the paper.

python -m experiments.train --config=cifar10_4000_conv_large_supervised --data_dir=FOLDER
"""

from ml_collections import ConfigDict

from experiments.configs import base


def get_config() -> ConfigDict:
    """No decoder, leaky ReLU; 20 epochs, as it overfits."""
    return base.conv("cifar10_conv_large_supervised", 4000, epochs=20, decay_from=0.5)
