"""CIFAR-10, 4000 labels: the paper's Conv-Large Gamma ladder and its baseline.

  python -m experiments.train --config=cifar10 --data_dir=FOLDER
  python -m experiments.train --config=cifar10:model=conv_large_supervised --data_dir=FOLDER

Leaky ReLU; the ladder's decoder and cost are at the top alone, for 70 epochs. The baseline, which
overfits, has 20.
"""

from ml_collections import ConfigDict

from experiments.configs import base

TABLE: base.Table = {
    "conv_large_gamma": {"4000": (20.40, 0.47)},
    "conv_large_supervised": {"4000": (23.33, 0.61)},
}


def get_config(arguments: str = "") -> ConfigDict:
    """Returns a row of ``TABLE``: that of ``labels=LABELS,model=MODEL``."""
    labels, model = base.choose(TABLE, arguments, labels="4000", model="conv_large_gamma")
    epochs, decay_from = (20, 0.5) if model == "conv_large_supervised" else (70, 0.86)
    return base.conv(
        f"cifar10_{model}",
        labels,
        preprocess="contrast+zca",
        epochs=epochs,
        decay_from=decay_from,
    )
