"""Fashion-MNIST: the paper's MNIST ladder and its supervised net, tuned for it.

  python -m experiments.train --config=fashion_mnist:labels=100 --data_dir=FOLDER
  python -m experiments.train --config=fashion_mnist:labels=100,model=tuned_supervised \\
      --data_dir=FOLDER

Our recipe without consistency, as what a ladder is sure of there is often wrong; its noise and
costs, and the supervised net's noise and rate, are the best of 24 trials each of
``experiments.sweep`` with 10,000 images held out of the training set (experiments/TRIED.md).
"""

from typing import Any

from ml_collections import ConfigDict

from experiments.configs import base, mnist
from ladder_jax.presets import MNIST_UNITS

EPOCHS = {"tuned": 30, "tuned_supervised": 60}
_FOUND: dict[str, dict[str, tuple[float, ...]]] = {
    "tuned": {
        "100": (0.3595, 0.1495, 3857.0, 3.39, 0.03641),
        "1000": (0.417, 0.1908, 25330.0, 4.163, 0.2572),
    },
    "tuned_supervised": {
        "100": (0.3745, 0.8308, 0.0008795),
        "1000": (0.131, 0.6041, 0.0009818),
    },
}
"""Noise at the input and above; then the costs of the input, of level 1 and of those above it, or
the learning rate."""
TABLE: base.Table = {model: dict.fromkeys(found) for model, found in _FOUND.items()}


def get_config(arguments: str = "") -> ConfigDict:
    """Returns a row of ``TABLE``: that of ``labels=LABELS,model=MODEL``."""
    labels, model = base.choose(TABLE, arguments, labels="100", model="tuned")
    noise, above, *rest = _FOUND[model][labels]
    levels = len(MNIST_UNITS)
    settings: dict[str, Any] = {"noise_std": (noise,) + (above,) * levels}
    if model == "tuned":
        config = mnist.tuned(labels)
        bottom, first, others = rest
        costs = (bottom, first) + (others,) * (levels - 1)
        settings |= {"denoising_cost": costs, "consistency": 0.0}
    else:
        config = mnist.mlp(labels, "supervised")
        settings |= {"learning_rate": rest[0]}
    name = f"fashion_mnist_{labels}_{model}"
    config.update(name=name, dataset="fashion_mnist", epochs=EPOCHS[model], **settings)
    return config
