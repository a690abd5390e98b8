"""MNIST: the paper's ladders and baselines, and our recipe in three forms.

  python -m experiments.train --config=mnist:labels=100 --data_dir=FOLDER
  python -m experiments.train --config=mnist:labels=1000,model=gamma --data_dir=FOLDER

Dense ladders are 784-1000-500-250-250-250-10 except for "wide"; all are trained for 150 epochs
except for "quick" and the convolutional baseline. "tuned" is the paper's full ladder with a
different training, "quick" its short form and "wide" a net of twice the width; the trials behind
them are in experiments/TRIED.md.
"""

from typing import Any

from ml_collections import ConfigDict

from experiments.configs import base
from ladder_jax import presets
from ladder_jax.config import Config

TABLE: base.Table = {
    "full": {"50": (1.62, 0.65), "100": (1.06, 0.37), "1000": (0.84, 0.08), "all": (0.57, 0.02)},
    "bottom": {"50": None, "100": (1.09, 0.32), "1000": (0.90, 0.05), "all": (0.59, 0.03)},
    "gamma": {"50": None, "100": (3.06, 1.44), "1000": (1.53, 0.10), "all": (0.78, 0.03)},
    "supervised": {"50": None, "100": (21.74, 1.77), "1000": (5.70, 0.20), "all": (0.80, 0.03)},
    "tuned": dict.fromkeys(("20", "50", "100", "1000", "all")),
    "quick": dict.fromkeys(("20", "100")),
    "wide": dict.fromkeys(("20", "50", "100", "1000", "all")),
    "conv_fc": {"100": (0.99, 0.15)},
    "conv_small_gamma": {"100": (0.89, 0.50)},
    "conv_small_supervised": {"100": (6.43, 0.84)},
}
_CONV_TRAINING: dict[str, Any] = {"conv_small_supervised": {"epochs": 20, "decay_from": 0.5}}
"""Training settings by model, if not the defaults; the baseline overfits."""


def mlp(labels: str, model: str) -> ConfigDict:
    """Returns the config of a row of the paper's MNIST table, with the paper's settings."""
    number = 0 if labels == "all" else int(labels)
    settings = presets.mnist_settings(number or "all", model)  # type: ignore[arg-type]
    return base.config_dict(
        Config(
            name=f"mnist_{labels}" + ("" if model == "full" else f"_{model}"),
            dataset="mnist",
            labels=number,
            units=presets.MNIST_UNITS[:-1],
            combinators=tuple("gaussian" if d else "none" for d in settings.decoded),
            noise_std=settings.noise_std,
            denoising_cost=settings.denoising_cost,
        )
    )


def tuned(labels: str) -> ConfigDict:
    """Returns our recipe: the paper's ladder, noise and costs, with a different training.

    Batches are three times as large and the learning rate twice as high, parameters are averaged,
    the decay is longer, and consistency is used in the last two fifths of the run. With 20 labels,
    the costs are those for 50, and the labelled rows, too few for a variance of their own, are
    normalised together with the unlabelled ones. The 150 epochs of 60,000 images are 30,000
    updates, the number chosen on 50,000 images.
    """
    config = mlp("50" if labels == "20" else labels, "full")
    config.update(
        name=f"mnist_{labels}_tuned",
        batch_labeled=300 if labels == "all" else 100,
        batch_unlabeled=300,
        epochs=150,
        learning_rate=0.004,
        decay_from=0.5,
        ema_decay=0.997,
        consistency=1.0,
        consistency_from=0.6,
        compute_dtype="bfloat16",
    )
    if labels == "20":
        config.update(labels=20, joint_norm=True)
    return config


def quick(labels: str) -> ConfigDict:
    """Returns the recipe for 11,000 updates, in the dtype that is faster on the machine.

    More noise and a higher cost at the input than the paper's speed up learning
    (experiments/TRIED.md).
    A run takes 18 minutes on two cores without bfloat16 products, 9 to 10 with them.

    With 20 labels, it has 13,000 updates and consistency in the second half of them. So that fewer
    classes are confused, a cost keeps those of the predictions equally frequent, and labels are
    spread to the neighbours of the labelled rows, in five stages.
    """
    config = tuned(labels)
    config.update(
        name=f"mnist_{labels}_quick",
        epochs=55,
        noise_std=(0.4, *config.noise_std[1:]),
        denoising_cost=(4000.0, *config.denoising_cost[1:]),
        compute_dtype="auto",
    )
    if labels == "20":
        config.update(
            epochs=65,
            consistency_from=0.5,
            class_balance=1.0,
            spread_labels="0.1:0.3,0.15:0.4,0.23:0.5,0.31:0.6,0.4:0.7",
        )
    return config


def wide(labels: str) -> ConfigDict:
    """Returns the recipe for a net of twice the width, at a lower learning rate.

    Meant for an accelerator: a step has three times the operations of ``tuned``.
    """
    config = tuned(labels)
    config.update(
        name=f"mnist_{labels}_wide",
        units=(2000, 1000, 500, 500, 500),
        learning_rate=0.003,
        eval_every=10,
    )
    return config


OURS = {"tuned": tuned, "quick": quick, "wide": wide}
"""Our recipe and its variants, by name; each returns the config for a number of labels."""


def get_config(arguments: str = "") -> ConfigDict:
    """Returns the config of a row of ``TABLE``, given as ``labels=LABELS,model=MODEL``."""
    labels, model = base.choose(TABLE, arguments, labels="100", model="full")
    if model in OURS:
        return OURS[model](labels)
    if model.startswith("conv"):
        return base.conv(f"mnist_{model}", labels, **_CONV_TRAINING.get(model, {}))
    return mlp(labels, model)
