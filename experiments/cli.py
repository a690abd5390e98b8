"""Code shared by all commands: an error is one clear line and exit status 1."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import io
import logging
import os
import pathlib
import re
import sys
import threading
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
from absl import app, flags
from absl import logging as absl_logging

from experiments import configs, helptext
from ladder_jax.config import COMPUTE_DTYPES, OLD_NAMES, Config
from ladder_jax.errors import (
    ConfigError,
    DataError,
    Interrupted,
    NotFiniteError,
    PeerError,
    WriteError,
)
from ladder_jax.run.files import as_path, is_bucket, make_writable, writing

DATASET = flags.DEFINE_string(
    "dataset",
    None,
    "Data set: a name, as in tensorflow-datasets, or the path of an .npz file with x and y, of a "
    ".csv file or of a folder of images.",
)
DATA_DIR = flags.DEFINE_string(
    "data_dir",
    None,
    "Folder with the data set's IDX files, or in which it is prepared. Default: that of "
    "tensorflow-datasets, ~/tensorflow_datasets.",
)
LABELS = flags.DEFINE_string(
    "labels",
    None,
    "How many labelled examples: a number, or 'all'. Default: the config's; for a file, those that "
    "it has.",
)
SEEDS = flags.DEFINE_integer("seeds", 1, "How many seeds.", lower_bound=1)
FIRST_SEED = flags.DEFINE_integer("first_seed", 0, "The first of them.", lower_bound=0)
EPOCHS = flags.DEFINE_integer("epochs", None, "Instead of the config's own.", lower_bound=1)
COMPUTE_DTYPE = flags.DEFINE_enum(
    "compute_dtype", None, COMPUTE_DTYPES, "Precision of matrix products. Default: the config's."
)
WORKDIR_HELP = "Folder to write to; a stopped run in it resumes."
WORKDIR = flags.DEFINE_string("workdir", None, f"{WORKDIR_HELP} Default: runs/NAME-TIME.")
OUTPUT = flags.DEFINE_string("output", None, "File to write. Default: none.")
OVERWRITE_OUTPUT = flags.DEFINE_bool(
    "overwrite_output", False, "Whether files that are there already may be replaced."
)

READS = {
    "workdir": "Folder of a finished run.",
    "dataset": "Data set of the examples, or the path of an .npz or .csv file or of a folder of "
    "images. Default: the run's.",
    "data_dir": "Folder of its files. Default: the run's.",
}
"""Help of these flags in a command that reads a run."""
PATIENCE = 10.0
"""Seconds that a process that ends waits for the others to end with it."""


def local_path(path: str | os.PathLike[str], what: str) -> pathlib.Path:
    """Returns the path on a disk of what cannot be in a bucket."""
    if is_bucket(path):
        raise ConfigError(f"{path}: {what} cannot be in a bucket; give a path on a disk.")
    return pathlib.Path(path).expanduser()


def find_workdir() -> str:
    """Returns the folder of the run that is read.

    Raises:
      ConfigError: it is not given.
    """
    if not WORKDIR.value:
        raise ConfigError("--workdir is not given; name the folder of a finished run.")
    return str(WORKDIR.value)


def seeds() -> range:
    """Returns the seeds asked for."""
    return range(FIRST_SEED.value, FIRST_SEED.value + SEEDS.value)


def label_numbers(default: str, least: int = 1) -> list[int]:
    """Returns the numbers of labels asked for, each once.

    Args:
      default: what ``--labels`` is where it is not given.
      least: the smallest that is accepted.

    Raises:
      ConfigError: they are not such numbers.
    """
    words = (LABELS.value or default).split(",")
    if not all(word.isdecimal() and int(word) >= least for word in words):
        raise ConfigError(f"--labels={LABELS.value}; give numbers from {least} on, e.g. {default}.")
    return list(dict.fromkeys(map(int, words)))


def output_path(default: str) -> pathlib.Path:
    """Returns the file to write: that given, or the default.

    Raises:
      ConfigError: as ``check_output``.
    """
    path = as_path(OUTPUT.value or default)
    check_output(path)
    return path


def check_output(path: pathlib.Path) -> None:
    """Checks that a file can be written without silently replacing another.

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
    """Returns the path of a config file, with its arguments, given by path or by name.

    Raises:
      ConfigError: there is no such file or row.

    Examples:
      >>> config_path("mnist_100_gamma").endswith("configs/mnist.py:labels=100,model=gamma")
      True
    """
    file, colon, arguments = configs.current(name).partition(":")
    if file in configs.names():
        try:
            configs.load(name)
        except ConfigError as error:
            raise ConfigError(f"--config={name}: {error}") from error
        return f"{configs.FOLDER / file}.py{colon}{arguments}"
    if pathlib.Path(file).is_file():
        return name
    known = ", ".join(configs.names())
    raise ConfigError(
        f"--config={name}: no such file; give a path, or one of {known} (--help lists their rows)."
    )


def _named(argv: Sequence[str], config: str | None) -> list[str]:
    """Returns ``argv`` with config names made paths, and the default config where none is given."""
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


def _with_current_names(word: str) -> str:
    """Returns a flag that has a setting's old name by its name of now.

    Examples:
      >>> _with_current_names("--config.average=0.9")
      '--config.ema_decay=0.9'
    """
    flag, equals, value = word.partition("=")
    dashes, _, name = flag.partition("config.")
    known = name in OLD_NAMES and not dashes.strip("-")
    return f"{dashes}config.{OLD_NAMES[name]}{equals}{value}" if known else word


def as_flags(message: str, listed: Collection[str]) -> str:
    """Returns a message of the library with its parameters as a command's flags.

    Args:
      message: that names parameters with a value, as ``overwrite=True``.
      listed: the flags that the command has.

    Examples:
      >>> as_flags("seed=3: give labels=9, or overwrite=True", ["config", "labels", "overwrite"])
      '--config.seed=3: give --labels=9, or --overwrite'
    """
    settings = {field.name for field in dataclasses.fields(Config)} if "config" in listed else ()

    def flag(parameter: re.Match[str]) -> str:
        name, true = parameter.groups()
        if name in listed:
            return f"--{name}" if true else f"--{name}="
        return f"--config.{parameter[0]}" if name in settings else parameter[0]

    return re.sub(r"(?<![^\s(\"'])(\w+)=(True\b)?", flag, message)


def _strangers(listed: Collection[str]) -> set[str]:
    """Returns the flags of our modules that belong to another command.

    Args:
      listed: those of this command; none: of any.
    """
    by_module = flags.FLAGS.flags_by_module_dict().items()
    known = {flag.name for name, some in by_module if "experiments." in name for flag in some}
    return known.difference(listed) if listed else set()


def _unknown(name: str, listed: Collection[str] = ()) -> str:
    """Returns the error for a flag that does not exist, with the flag that may be meant."""
    known = {flag: flag for flag in flags.FLAGS if flag not in _strangers(listed)}
    if "config" in known:
        settings = [field.name for field in dataclasses.fields(Config)]
        known = {setting: f"config.{setting}" for setting in settings} | known
    near = difflib.get_close_matches(name.removeprefix("config."), known, n=1)
    return f"there is no flag --{name}; " + (
        f"did you mean --{known[near[0]]}?" if near else "--help lists those there are."
    )


def _parse(argv: Sequence[str], config: str | None, listed: Collection[str] = ()) -> list[str]:
    """Parses the flags as absl does, with any error in one line.

    Args:
      argv: the words.
      config: as for ``run``.
      listed: the flags that the command has; none: any that is defined.
    """
    try:
        rest = flags.FLAGS(_named(argv, config))
        if not flags.FLAGS["verbosity"].present:
            # JAX tells of every backend that it does not find.
            absl_logging.set_verbosity(absl_logging.WARNING)
        if len(rest) > 1:
            raise ConfigError(f"unexpected argument {rest[1]!r}; flags are given as --name=value.")
        for stranger in sorted(_strangers(listed)):
            if flags.FLAGS[stranger].present:
                raise flags.UnrecognizedFlagError(stranger)
        return rest
    except flags.UnrecognizedFlagError as error:
        sys.exit(f"error: {_unknown(error.flagname, listed)}")
    except (AttributeError, KeyError) as error:
        # Of ml_collections; the message begins with the name in quotes.
        name = re.findall(r"\w+", str(error))[:1]
        sys.exit(f"error: {_unknown('config.' + ''.join(name), listed)}")
    except (flags.Error, ConfigError, TypeError, ValueError) as error:
        # Beside absl's own errors, those of ml_collections' overrides.
        sys.exit(f"error: {' '.join(str(error).split())}")


_PLUGIN_ERRORS: list[str] = []
"""What JAX said of plugins that failed, where its platform is asked for."""


def _plugin_error_in_one_line(record: logging.LogRecord) -> bool:
    """Makes JAX report a failing plugin without its traceback, or with our own error."""
    if not record.name.startswith("jax") or not record.exc_info:
        return True
    record.msg, record.args = f"{record.getMessage()}: {record.exc_info[1]}".split("\n")[0], ()
    record.exc_info = None
    if os.environ.get("JAX_PLATFORMS"):
        _PLUGIN_ERRORS.append(record.msg)
    return not os.environ.get("JAX_PLATFORMS")


def _platform_error() -> str | None:
    """Says what is wrong with JAX_PLATFORMS; None where JAX finds what it asks for."""
    asked = os.environ.get("JAX_PLATFORMS")
    if not asked:
        return None
    try:
        jax.devices()
    except Exception as error:  # an AssertionError without a word for CUDA
        reason = " ".join(str(error).partition(" (set JAX_PLATFORMS")[0].split())
    else:
        return None
    reason = [*_PLUGIN_ERRORS, reason][0] or "no plugin for it, or no such device"
    jax.config.update("jax_platforms", "")  # type: ignore[no-untyped-call]
    there = " or ".join(sorted({"cpu", jax.default_backend()}))
    return (
        f"JAX_PLATFORMS={asked} is not to be had here ({reason[:300].rstrip('.')}); give "
        f"JAX_PLATFORMS={there}, or install what JAX needs for {asked}."
    )


def shutdown(status: int, words: str = "") -> None:
    """Ends the other processes before this one ends otherwise than it should.

    Where all of them leave, as after a signal, they wait for each other, and it
    returns. A process that is left alone ends here, by which JAX ends the others.
    """
    if not jax.distributed.is_initialized():
        return
    ending = threading.Thread(target=jax.distributed.shutdown, daemon=True)
    ending.start()
    ending.join(PATIENCE)
    if ending.is_alive():
        print(words, end="", file=sys.stderr, flush=True)
        sys.stdout.flush()
        os._exit(status)


def _open_output() -> None:
    """Makes stdout take any text: what its encoding lacks is written as an escape."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # it may be another, as in a notebook
        sys.stdout.reconfigure(errors="backslashreplace")


def run(
    main: Callable[[], None],
    *,
    config: str | None = None,
    shared: Sequence[flags.FlagHolder[Any]] = (),
    about: Mapping[str, str] | None = None,
    words: bool = False,
) -> None:
    """Parses the flags and runs ``main``; what goes wrong ends in one line, exit status 1.

    Ctrl-C ends it with exit status 130; what a run is stopped by may have its own.

    Args:
      main: the command.
      config: what ``--config`` is where it is not given; None: there is no such flag.
      shared: the flags of other modules that the command has; no others are taken.
      about: what these are here, by name, where it is not what it is elsewhere.
      words: whether the command reads ``sys.argv`` itself.
    """
    _open_output()
    sys.argv[1:] = map(_with_current_names, sys.argv[1:])  # ml_collections reads it too
    # JAX tells of every backend that it does not find.
    flags.FLAGS.set_default("verbosity", absl_logging.WARNING)
    absl_logging.get_absl_handler().addFilter(_plugin_error_in_one_line)
    for name, text in (about or {}).items():
        flags.FLAGS[name].help = text
    listed = helptext.listed(shared)
    if helptext.is_asked_for(sys.argv[1:]):
        text = helptext.of_command(listed, config and _config_help(config))
        main, words = functools.partial(print, text), True

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
            line = f"error: {as_flags(str(error), listed)}"
        except KeyboardInterrupt as error:
            line = str(error) or "interrupted"
            status = error.status if isinstance(error, Interrupted) else 130
        except Exception:
            said = _platform_error()
            if said is None:
                shutdown(status, traceback.format_exc())
                raise
            line = f"error: {said}"
        print(line, file=sys.stderr)
        shutdown(status)
        sys.exit(status)

    parse = functools.partial(_parse, config=config, listed=("help", *listed))
    app.run(guarded, flags_parser=(lambda argv: flags.FLAGS(argv[:1])) if words else parse)


def _config_help(config: str) -> str:
    """Lists the configs and the settings, for a command's help."""
    return helptext.of_configs(pathlib.Path(config_path(config)))
