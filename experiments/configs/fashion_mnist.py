"""Fashion-MNIST: the paper's MNIST ladder and supervised net, tuned for this data set.

  python -m experiments.train --config=fashion_mnist:labels=100 --data_dir=FOLDER
  python -m experiments.train --config=fashion_mnist:labels=100,model=tuned_supervised \\
      --data_dir=FOLDER

The ladder has our recipe without consistency, because confident predictions are often wrong on
this data set. Its noise and costs, and the supervised net's noise and learning rate, are the best
of 24 trials each of ``experiments.sweep`` with 10,000 images held out of the training set
(experiments/TRIED.md).
"""

from typing import Any

from ml_collections import ConfigDict

from experiments.configs import base, mnist
from ladder_jax.presets import MNIST_UNITS

EPOCHS = {"tuned": 30, "tuned_supervised": 60}
_TUNED_VALUES: dict[str, dict[str, tuple[float, ...]]] = {
    "tuned": {
        "100": (0.3595, 0.1495, 3857.0, 3.39, 0.03641),
        "1000": (0.417, 0.1908, 25330.0, 4.163, 0.2572),
    },
    "tuned_supervised": {
        "100": (0.3745, 0.8308, 0.0008795),
        "1000": (0.131, 0.6041, 0.0009818),
    },
}
"""Noise of the input and of the levels above; then the costs of the input, of level 1 and of the
levels above, or the learning rate."""
TABLE: base.Table = {model: dict.fromkeys(by_labels) for model, by_labels in _TUNED_VALUES.items()}


def get_config(arguments: str = "") -> ConfigDict:
    """Returns the config of a row of ``TABLE``, given as ``labels=LABELS,model=MODEL``."""
    labels, model = base.choose(TABLE, arguments, labels="100", model="tuned")
    input_noise, noise_above, *costs_or_rate = _TUNED_VALUES[model][labels]
    levels = len(MNIST_UNITS)
    settings: dict[str, Any] = {"noise_std": (input_noise,) + (noise_above,) * levels}
    if model == "tuned":
        config = mnist.tuned(labels)
        input_cost, first_cost, cost_above = costs_or_rate
        costs = (input_cost, first_cost) + (cost_above,) * (levels - 1)
        settings |= {"denoising_cost": costs, "consistency": 0.0}
    else:
        config = mnist.mlp(labels, "supervised")
        settings |= {"learning_rate": costs_or_rate[0]}
    name = f"fashion_mnist_{labels}_{model}"
    config.update(name=name, dataset="fashion_mnist", epochs=EPOCHS[model], **settings)
    return config
