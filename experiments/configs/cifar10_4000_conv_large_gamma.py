"""CIFAR-10, 4000 labels, Conv-Large Gamma: 20.40 +- 0.47 % test error in the paper.

python -m experiments.train --config=cifar10_4000_conv_large_gamma --data_dir=FOLDER
"""

from ml_collections import ConfigDict

from experiments.configs import base


def get_config() -> ConfigDict:
    """Decoder and cost at the top alone, leaky ReLU, 70 epochs."""
    return base.conv("cifar10_conv_large_gamma", 4000, epochs=70, decay_from=0.86)
