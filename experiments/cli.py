"""What every command shares: one clear line for an error, exit status 1."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Callable, Sequence

from absl import app, flags

from ladder_jax.config import ConfigError
from ladder_jax.data import DataError

CONFIGS = pathlib.Path(__file__).parent / "configs"


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


def _parse(argv: Sequence[str]) -> list[str]:
    """absl's flag parsing, config names made paths, any error in one line."""
    try:
        named = []
        for i, word in enumerate(argv):
            if word.startswith(("--config=", "-config=")):
                word = f"--config={config_path(word.split('=', 1)[1])}"
            elif i and argv[i - 1] in ("--config", "-config"):
                word = config_path(word)
            named.append(word)
        rest = flags.FLAGS(named)
        if len(rest) > 1:
            raise ConfigError(f"unexpected argument {rest[1]!r}; flags are given as --name=value.")
        return rest
    except (flags.Error, ConfigError, AttributeError, KeyError, TypeError, ValueError) as error:
        # Beside absl's own errors, those of ml_collections' overrides.
        sys.exit(f"error: {' '.join(str(error).split())}")


def run(main: Callable[[], None]) -> None:
    """Parses the flags and runs ``main``; a wrong setting or file ends in one line."""

    def guarded(argv: Sequence[str]) -> None:
        del argv
        try:
            main()
        except (ConfigError, DataError) as error:
            sys.exit(f"error: {error}")

    app.run(guarded, flags_parser=_parse)
