"""CIFAR-10, 4000 labels: the paper's Conv-Large Gamma ladder, and small ladders for a CPU.

  python -m experiments.train --config=cifar10 --data_dir=FOLDER
  python -m experiments.train --config=cifar10:model=small --data_dir=FOLDER

All use leaky ReLU. "conv_large_gamma" is the paper's ladder, with a decoder and a cost at the top
only, trained for 70 epochs; its supervised baseline overfits and is trained for 20. The small
ladders have the layers of the paper's Conv-Small with half the channels, a full decoder, one at the
top or none, and 5000 updates. The supervised one takes 28 minutes on one core of a shared machine;
a step of the Gamma ladder takes twice as long. experiments/TRIED.md lists the costs from which the
Gamma ladder's was chosen.
"""

from ml_collections import ConfigDict

from experiments.configs import base
from ladder_jax.config import Config

TABLE: base.Table = {
    "conv_large_gamma": {"4000": (20.40, 0.47)},
    "conv_large_supervised": {"4000": (23.33, 0.61)},
    "small": {"4000": None},
    "small_gamma": {"4000": None},
    "small_supervised": {"4000": None},
}
_PREPROCESS = "contrast+zca"
_ENCODER = (
    "conv:16:5:1:full-max_pool:2-conv:32:3-conv:32:3:1:full-max_pool:2-"
    "conv:64:3-conv:10:1-global_mean_pool-dense:10"
)
_COST = {
    "small": (10.0, 1.0, *(0.1,) * 6, 0.0, 1.0),
    "small_gamma": (*(0.0,) * 9, 1.0),
    "small_supervised": (0.0,) * 10,
}
"""Denoising costs of levels 0 to 9. "small" decodes all levels, the others those with a cost."""


def small(labels: str, model: str) -> ConfigDict:
    """Returns the config of a small ladder."""
    costs = _COST[model]
    return base.config_dict(
        Config(
            name=f"cifar10_{labels}_{model}",
            dataset="cifar10",
            labels=int(labels),
            preprocess=_PREPROCESS,
            encoder=_ENCODER,
            activation="leaky_relu",
            top_gain=False,
            combinators=tuple("gaussian" if model == "small" or cost else "none" for cost in costs),
            noise_std=(0.3,) * 10,
            denoising_cost=costs,
            epochs=10,
            decay_from=0.5,
            compute_dtype="auto",
        )
    )


def get_config(arguments: str = "") -> ConfigDict:
    """Returns the config of a row of ``TABLE``, given as ``labels=LABELS,model=MODEL``."""
    labels, model = base.choose(TABLE, arguments, labels="4000", model="conv_large_gamma")
    if model in _COST:
        return small(labels, model)
    epochs, decay_from = (20, 0.5) if model == "conv_large_supervised" else (70, 0.86)
    return base.conv(
        f"cifar10_{model}",
        labels,
        preprocess=_PREPROCESS,
        epochs=epochs,
        decay_from=decay_from,
    )
