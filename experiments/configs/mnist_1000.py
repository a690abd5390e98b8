"""MNIST, 1000 labels, full ladder: 0.84 +- 0.08 % test error in the paper.

python -m experiments.train --config=mnist_1000 --data_dir=FOLDER
"""

from ml_collections import ConfigDict

from experiments.configs import base


def get_config() -> ConfigDict:
    """The paper's settings: 784-1000-500-250-250-250-10, 150 epochs, Adam 0.002."""
    return base.mnist(1000)
