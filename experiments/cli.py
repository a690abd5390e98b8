"""What every command shares: one clear line for an error, exit status 1."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import os
import pathlib
import re
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags, logging

from ladder_jax.config import Config, ConfigError
from ladder_jax.data import DataError
from ladder_jax.files import WriteError, as_path, is_bucket, make_writable, writing
from ladder_jax.guard import NotFiniteError
from ladder_jax.interrupts import INTERRUPTED, Interrupted
from ladder_jax.parallel import PeerError, leave

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
LABELS = flags.DEFINE_string(
    "labels",
    None,
    "How many labelled examples: a number, or 'all'. Default: the config's; for a file, those that "
    "it has; of a table, all its rows (100,all: several).",
)
SEEDS = flags.DEFINE_integer("seeds", 1, "How many seeds.", lower_bound=1)
WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "Folder of the run: one to write to, where a run that was stopped goes on, or one to read. "
    "Default when training: runs/NAME-TIME.",
)
OUTPUT = flags.DEFINE_string(
    "output", None, "File to write; default: predictions.csv, or model.stablehlo."
)
OVERWRITE_OUTPUT = flags.DEFINE_bool(
    "overwrite_output", False, "Whether files that are there already may be replaced."
)


def find_workdir() -> str:
    """The folder of the run that is read.

    Raises:
      ConfigError: it is not given.
    """
    if not WORKDIR.value:
        raise ConfigError("--workdir is not given; name the folder of a finished run.")
    return str(WORKDIR.value)


def output_path(default: str) -> pathlib.Path:
    """The file to write: that given, or the default.

    Raises:
      ConfigError: as ``check_output``.
    """
    path = as_path(OUTPUT.value or default)
    check_output(path)
    return path


def check_output(path: pathlib.Path) -> None:
    """That a file can be written, without a word replacing another.

    Raises:
      ConfigError: it is there already, or its folder is not.
    """
    if not is_bucket(path) and not path.parent.is_dir():
        raise ConfigError(f"--output={path}: {path.parent} is not a folder; make it first.")
    if path.is_dir():
        raise ConfigError(f"--output={path} is a folder; give the name of a file in it.")
    if path.exists() and not OVERWRITE_OUTPUT.value:
        raise ConfigError(
            f"{path} is there already; give another --output, or --overwrite_output to replace it."
        )
    if is_bucket(path):
        with writing(path):
            make_writable(path.parent)
    elif not os.access(path.parent, os.W_OK):
        raise ConfigError(f"--output={path}: {path.parent} may not be written to; give another.")


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


def _unknown(name: str) -> str:
    """What to say of a flag that does not exist, with the flag that may be meant."""
    known = {flag: flag for flag in flags.FLAGS}
    if "config" in known:
        settings = [field.name for field in dataclasses.fields(Config)]
        known = {setting: f"config.{setting}" for setting in settings} | known
    near = difflib.get_close_matches(name.removeprefix("config."), known, n=1)
    return f"there is no flag --{name}; " + (
        f"did you mean --{known[near[0]]}?" if near else "--help lists those there are."
    )


_WIDTH, _COLUMN = 100, 26
_HELP = {"-h", "--h", "-help", "--help", "-helpshort", "--helpshort"}


def _flag_help(flag: flags.Flag[Any]) -> str:
    """A flag, what it is for and its default."""
    name = f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}"
    text = str(flag.help).partition(";\n")[0]  # absl says what may be repeated
    default = ", ".join(flag.default) if isinstance(flag.default, list) else flag.default
    if flag.boolean:
        default = "on" if flag.default else "off"
    if default not in (None, "", 0):
        text += f" Default: {default}."
    lead = f"  {name:<{_COLUMN - 3}} "
    return textwrap.fill(text, _WIDTH, initial_indent=lead, subsequent_indent=" " * _COLUMN)


def help_text(shared: Sequence[flags.FlagHolder[Any]]) -> str:
    """What the command does, its flags in the order of their definition, and where more are.

    Args:
      shared: those defined here that it uses.
    """
    main = sys.modules["__main__"]
    own = flags.FLAGS.flags_by_module_id_dict().get(id(main), [])
    listed = [*own, *(flags.FLAGS[holder.name] for holder in shared)]
    lines = [(main.__doc__ or "").strip(), "", *map(_flag_help, listed)]
    if "config" in flags.FLAGS:
        lines.append(f"  {'--config.SETTING':<{_COLUMN - 3}} Any setting of ladder_jax/config.py.")
    return "\n".join([*lines, "", "--helpfull lists the flags of all libraries too."])


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
    except flags.UnrecognizedFlagError as error:
        sys.exit(f"error: {_unknown(error.flagname)}")
    except (AttributeError, KeyError) as error:
        # Of ml_collections; the message begins with the name in quotes.
        name = re.findall(r"\w+", str(error))[:1]
        sys.exit(f"error: {_unknown('config.' + ''.join(name))}")
    except (flags.Error, ConfigError, TypeError, ValueError) as error:
        # Beside absl's own errors, those of ml_collections' overrides.
        sys.exit(f"error: {' '.join(str(error).split())}")


def run(
    main: Callable[[], None],
    *,
    config: str | None = None,
    shared: Sequence[flags.FlagHolder[Any]] = (DATASET, DATA_DIR, LABELS, SEEDS, WORKDIR),
) -> None:
    """Parses the flags and runs ``main``; what goes wrong ends in one line, exit status 1.

    Ctrl-C ends it with exit status 130; what a run is stopped by may have its own.

    Args:
      main: the command.
      config: what ``--config`` is where it is not given; None: there is no such flag.
      shared: the flags defined here that the command uses, for its ``--help``.
    """

    # JAX tells of every backend that it does not find.
    flags.FLAGS.set_default("verbosity", logging.WARNING)

    if _HELP & set(sys.argv[1:]):
        print(help_text(shared))
        return

    def guarded(argv: Sequence[str]) -> None:
        del argv
        status = 1
        try:
            main()
            sys.stdout.flush()
            return
        except BrokenPipeError:  # by head and the like; nobody reads what is left
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return
        except (ConfigError, DataError, NotFiniteError, PeerError, WriteError) as error:
            line = f"error: {error}"
        except KeyboardInterrupt as error:
            line = str(error) or "interrupted"
            status = error.status if isinstance(error, Interrupted) else INTERRUPTED
        except Exception:
            leave(status, traceback.format_exc())
            raise
        print(line, file=sys.stderr)
        leave(status)
        sys.exit(status)

    app.run(guarded, flags_parser=functools.partial(_parse, config=config))
