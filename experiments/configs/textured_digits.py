"""Textured digits on textured backgrounds, a class per pixel: 20 labelled images of 2,000.

  python -m experiments.train --config=textured_digits
  python -m experiments.train --config=textured_digits:labels=50,model=supervised

The net is an hourglass with two convolutions per scale (one at full size), down to a quarter of
the size and back up to half of it, where each pixel stands for four of the mask. Costs and noise
were chosen on 400 images held out of the training set, with seeds 100 and 101. At the levels above
the first upsampling, a denoising cost draws pixels to the most frequent class; the more masks there
are, the less denoising helps. With all masks, both nets have less noise, which is better for both.
For masks of your own, end ``encoder`` with their number of classes, or give ``units`` instead:

  python -m experiments.train --dataset=FOLDER --config.units=16,16,16
"""

import dataclasses

from ml_collections import ConfigDict

from experiments.configs import base
from ladder_jax.config import Config

ENCODER = (
    *("conv:16:3:1:same", "max_pool:2", "conv:32:3:1:same", "conv:48:3:1:same", "max_pool:2"),
    *("conv:64:3:1:same", "conv:64:3:1:same", "upsample:2"),
    *("conv:32:3:1:same", "conv:11:1", "upsample:2"),
)
_COSTS = (1.0, *[0.1] * 8, 0.0, 0.0, 0.0)
_LABELS = dict.fromkeys(("10", "20", "50", "all"))
TABLE: base.Table = {"full": _LABELS, "supervised": _LABELS}


def get_config(arguments: str = "") -> ConfigDict:
    """Returns the config of a row of ``TABLE``, given as ``labels=LABELS,model=MODEL``."""
    labels, model = base.choose(TABLE, arguments, labels="20", model="full")
    few = labels != "all"
    config = Config(
        name=f"textured_digits_{labels}" + ("" if model == "full" else f"_{model}"),
        dataset="textured_digits",
        labels=int(labels) if few else 0,
        encoder="-".join(ENCODER),
        preprocess="standardize",
        denoising_cost=_COSTS if few else tuple(cost / 10 for cost in _COSTS),
        batch_labeled=8,
        batch_unlabeled=8,
        learning_rate=0.008,
        decay_from=0.5,
        epochs=6,
    )
    supervised = config.supervised()
    noise = supervised.noise_std if few else config.noise_std
    chosen = supervised if model == "supervised" else config
    return base.config_dict(dataclasses.replace(chosen, noise_std=noise))
