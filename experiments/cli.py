"""What every command shares: one clear line for an error, exit status 1."""

from __future__ import annotations

import functools
import pathlib
import sys
from collections.abc import Callable, Sequence

from absl import app, flags, logging

from ladder_jax.config import ConfigError
from ladder_jax.data import DataError

CONFIGS = pathlib.Path(__file__).parent / "configs"

DATASET = flags.DEFINE_string(
    "dataset",
    None,
    "Data set: a name, as in tensorflow-datasets, or the path of an .npz file with x and y.",
)
DATA_DIR = flags.DEFINE_string(
    "data_dir",
    None,
    "Folder with the data set's IDX files, or in which it is prepared; default: that of "
    "tensorflow-datasets, ~/tensorflow_datasets.",
)


def config_path(name: str) -> str:
    """The path of a config file given by path or by the bare name of one of ours.

    Raises:
      ConfigError: there is no such file.

    Example:
      >>> config_path("digits").endswith("configs/digits.py")
      True
    """
    ours = CONFIGS / f"{name}.py"
    if ours.is_file():
        return str(ours)
    if pathlib.Path(name.split(":")[0]).is_file():
        return name
    known = sorted(
        path.stem for path in CONFIGS.glob("*.py") if path.stem not in ("__init__", "base")
    )
    raise ConfigError(f"--config={name}: no such file; give a path, or one of {', '.join(known)}.")


def _named(argv: Sequence[str], config: str | None) -> list[str]:
    """``argv`` with config names made paths, and the default config where none is given."""
    named, given = [], config is None
    for i, word in enumerate(argv):
        if word.startswith(("--config=", "-config=")):
            word, given = f"--config={config_path(word.split('=', 1)[1])}", True
        elif i and argv[i - 1] in ("--config", "-config"):
            word, given = config_path(word), True
        named.append(word)
    if not given and config is not None:
        named.insert(1, f"--config={config_path(config)}")
    return named


def _parse(argv: Sequence[str], config: str | None) -> list[str]:
    """absl's flag parsing, any error in one line."""
    try:
        rest = flags.FLAGS(_named(argv, config))
        if not flags.FLAGS["verbosity"].present:
            # JAX tells of every backend that it does not find.
            logging.set_verbosity(logging.WARNING)
        if len(rest) > 1:
            raise ConfigError(f"unexpected argument {rest[1]!r}; flags are given as --name=value.")
        return rest
    except (flags.Error, ConfigError, AttributeError, KeyError, TypeError, ValueError) as error:
        # Beside absl's own errors, those of ml_collections' overrides.
        sys.exit(f"error: {' '.join(str(error).split())}")


def run(main: Callable[[], None], *, config: str | None = None) -> None:
    """Parses the flags and runs ``main``; a wrong setting or file ends in one line.

    Args:
      main: the command.
      config: what ``--config`` is where it is not given; None: there is no such flag.
    """

    # JAX tells of every backend that it does not find.
    flags.FLAGS.set_default("verbosity", logging.WARNING)

    def guarded(argv: Sequence[str]) -> None:
        del argv
        try:
            main()
        except (ConfigError, DataError) as error:
            sys.exit(f"error: {error}")

    app.run(guarded, flags_parser=functools.partial(_parse, config=config))
