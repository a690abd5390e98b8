"""MNIST, 100 labels, supervised net with noise: 21.74 +- 1.77 % test error in the paper.

python -m experiments.train --config=mnist_100_supervised --data_dir=FOLDER
"""

from ml_collections import ConfigDict

from experiments.configs import base


def get_config() -> ConfigDict:
    """784-1000-500-250-250-250-10, no decoder, 150 epochs, Adam 0.002."""
    return base.mnist(100, "supervised")
