"""Translates a command of the paper's own program to one of this project, and prints it.

  python -m experiments.original run.py train --encoder-layers 1000-10 \\
      --decoder-spec gauss-gauss-gauss --denoising-cost-x 1000,10,0.1 -- name
"""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from experiments import cli
from experiments.configs import digits
from ladder_jax import layers
from ladder_jax._checks import per_level
from ladder_jax.config import Config
from ladder_jax.errors import ConfigError

ACTIVATIONS = {
    "relu": "relu",
    "leakyrelu": "leaky_relu",
    "sigmoid": "sigmoid",
    "softplus": "softplus",
    "linear": "linear",
}
"""Names in ``activations.ACTIVATIONS`` by the original's words."""

DECODERS = {
    "gauss": ("gaussian", "gaussian_lateral"),
    "gauss_stable_v": ("gated_gaussian", "gaussian_lateral"),
    "sig": ("sigmoid", "sigmoid_lateral"),
    "comparison_g2": ("sigmoid_without_product", "sigmoid_lateral"),
    "comparison_g3": ("bilinear", "bilinear_lateral"),
    "comparison_g4": ("separate", "separate_lateral"),
    "comparison_g5": ("gaussian", "gaussian_lateral"),
    "lin": ("linear", "linear"),
    "i": ("identity", "identity"),
    "relu": ("vertical_relu", None),
    "sigmoid": ("vertical_sigmoid", None),
}
"""Names in ``combinators.COMBINATORS``, with and without u, by the original's words."""


def split(words: str | Sequence[str]) -> tuple[str, ...]:
    """Splits words joined by dashes, or converts a list of words, into a tuple.

    Examples:
      >>> split("1000-500-10")
      ('1000', '500', '10')
    """
    return tuple(words.split("-")) if isinstance(words, str) else tuple(words)


def decoder_names(words: str | Sequence[str], levels: int) -> tuple[str, ...]:
    """Returns the combinators of levels 0 to L for the original's ``--decoder-spec``.

    ``"0"`` marks a level that is not decoded. A word that ends in 0, such as ``"sig0"``,
    is the function without u, the signal from above; as in the original, so is any function
    whose level above is not decoded.

    Args:
      words: words joined by dashes, or a list; one for all levels or one per level.
      levels: number of levels, the input included.

    Returns:
      Keys of ``combinators.COMBINATORS``, or ``"none"``.

    Raises:
      ValueError: a word is not known, or a function of u only lacks its u.

    Examples:
      >>> decoder_names("gauss-0-sig0-gauss", 4)
      ('gaussian_lateral', 'none', 'sigmoid_lateral', 'gaussian')
    """
    level_words = per_level("words", split(words), levels)
    combinators = []
    for level, word in enumerate(level_words):
        if word == "0":
            combinators.append("none")
            continue
        function = word.removesuffix("0")
        if function not in DECODERS:
            raise ValueError(
                f"decoder {word!r} is not known; known are 0 (none) and {', '.join(DECODERS)}, "
                "each also with a 0 at its end."
            )
        full, lateral = DECODERS[function]
        lacks_u = level + 1 < levels and level_words[level + 1] == "0"
        name = lateral if word != function or lacks_u else full
        if name is None:
            raise ValueError(
                f"decoder {word!r} of level {level} is a function of the signal from above "
                "alone, which it does not get; give another, or decode the level above."
            )
        combinators.append(name)
    return tuple(combinators)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"the original's command: {message}.")


def _floats(text: str) -> tuple[float, ...]:
    return tuple(float(number) for number in text.split(","))


def _parser() -> argparse.ArgumentParser:
    """Defines the flags of the original's ``run.py train``, with its defaults."""
    parser = _Parser(prog="run.py", add_help=False, allow_abbrev=False)
    flag = parser.add_argument
    flag("--encoder-layers", required=True)
    flag("--decoder-spec", default="sig")
    flag("--denoising-cost-x", type=_floats, default=(0.0,))
    flag("--super-noise-std", type=float, default=0.3)
    flag("--f-local-noise-std", type=_floats, default=(0.3,))
    flag("--act", default="relu", choices=sorted(ACTIVATIONS))
    flag("--top-c", default="True", choices=["True", "False"])
    flag("--zestbn", default="bugfix", choices=["bugfix"])
    flag("--dataset", default="mnist", choices=["mnist", "cifar10"])
    flag("--whiten-zca", type=int, default=0, choices=[0, 3072])
    flag("--contrast-norm", type=int, default=0, choices=[0, 55])
    flag("--labeled-samples", type=int, default=0)
    flag("--unlabeled-samples", type=int, default=0)
    flag("--batch-size", type=int, default=100)
    flag("--num-epochs", type=int, default=150)
    flag("--lr", type=float, default=0.002)
    flag("--lrate-decay", type=float, default=0.67)
    flag("--seed", type=int, default=1)
    flag("save_to", nargs="?", default="noname")
    return parser


_TRAINING_IMAGES = {"mnist": 60000, "cifar10": 50000}


def _noise(args: argparse.Namespace, levels: int) -> tuple[float, ...]:
    """Returns the noise by level; level 0 has its own flag, not the list's first entry."""
    local = args.f_local_noise_std
    local = local * levels if len(local) == 1 else local
    above = (*local, *(0.0,) * levels)[1:levels]
    return (args.super_noise_std, *above)


def config(command: str) -> Config:
    """Returns the config that trains the same ladder as a command of the original.

    Args:
      command: a command as in the original's README, e.g. ``run.py train ... -- name``.

    Returns:
      The equivalent ``Config``.

    Raises:
      ConfigError: a flag or a word is not known, or the lists do not fit.

    Examples:
      >>> config("run.py train --encoder-layers 20-10 --decoder-spec 0-0-gauss "
      ...        "--denoising-cost-x 0,0,2 -- x").combinators
      ('none', 'none', 'gaussian')
    """
    parts = shlex.split(command)
    if "train" not in parts:
        raise ConfigError(f"{command!r}: give a command of the form: run.py train --flags -- name.")
    args = _parser().parse_args(parts[parts.index("train") + 1 :])
    words = split(args.encoder_layers)
    levels = len(words) + 1
    images = _TRAINING_IMAGES[args.dataset]
    preprocessing = ["contrast"] * bool(args.contrast_norm) + ["zca"] * bool(args.whiten_zca)
    try:
        maps = layers.from_names(args.encoder_layers)
    except ValueError as error:
        raise ConfigError(f"--encoder-layers: {error}") from error
    values: dict[str, Any] = {"encoder": layers.to_names(maps)}
    if all(word.isdigit() for word in words):
        values = {"units": tuple(map(int, words[:-1]))}
    try:
        combinators = decoder_names(args.decoder_spec, levels)
    except ValueError as error:
        raise ConfigError(f"--decoder-spec: {error}") from error
    validation = images - args.unlabeled_samples if args.unlabeled_samples else 10000
    return Config(
        name=args.save_to,
        dataset=args.dataset,
        labels=0 if args.labeled_samples in (0, images - validation) else args.labeled_samples,
        validation=validation,
        activation=ACTIVATIONS[args.act],
        top_gain=args.top_c == "True",
        combinators=combinators,
        noise_std=_noise(args, levels),
        denoising_cost=args.denoising_cost_x,
        batch_labeled=args.batch_size,
        batch_unlabeled=args.batch_size,
        epochs=args.num_epochs,
        learning_rate=args.lr,
        decay_from=args.lrate_decay,
        seed=args.seed,
        preprocess="+".join(preprocessing) or "none",
        **values,
    )


def our_command(settings: Config) -> str:
    """Returns this project's command for a config, with flags for what differs from ``digits``.

    Examples:
      >>> our_command(Config(units=(500, 250, 100), denoising_cost=(0.1,)))
      "python -m experiments.train '--config.denoising_cost=(0.1,)'"
    """
    default = Config.create(digits.get_config().to_dict())
    flags = [
        shlex.quote(f"--config.{field.name}={getattr(settings, field.name)}")
        for field in dataclasses.fields(settings)
        if getattr(settings, field.name) != getattr(default, field.name)
    ]
    return " ".join(["python -m experiments.train", *flags])


def main() -> None:
    """Reads a command of the original and prints this project's."""
    print(our_command(config(shlex.join(sys.argv[1:]))))


if __name__ == "__main__":
    cli.run(main, words=True)
