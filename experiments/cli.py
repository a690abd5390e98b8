"""Code shared by all commands: an error prints one clear line and exits with status 1."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import io
import json
import logging
import os
import pathlib
import re
import runpy
import sys
import threading
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
from absl import app, flags
from absl import logging as absl_logging
from ml_collections import ConfigDict

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
from ladder_jax.run.files import (
    as_path,
    expanded,
    is_bucket,
    make_folder,
    make_writable,
    reason_of,
    writing,
)
from ladder_jax.run.workfolder import ELSEWHERE

DATASET = flags.DEFINE_string(
    "dataset",
    None,
    "Data set: a name, as in tensorflow-datasets, or the path of an .npz file with x and y, a .csv "
    "file or a folder of images.",
)
DATA_DIR = flags.DEFINE_string(
    "data_dir",
    None,
    "Folder with the data set's IDX files, or to prepare it in. Default: that of "
    "tensorflow-datasets, ~/tensorflow_datasets.",
)
LABELS = flags.DEFINE_string(
    "labels",
    None,
    "Number of labelled examples, or 'all'. Default: the config's; for a file, the labels that it "
    "has.",
)
SEEDS = flags.DEFINE_integer("seeds", 1, "Number of seeds.", lower_bound=1)
FIRST_SEED = flags.DEFINE_integer("first_seed", 0, "First seed.", lower_bound=0)
POPULATION = flags.DEFINE_enum(
    "population",
    "auto",
    ["auto", "on", "off"],
    "Whether to train all seeds and combinations as one compiled program; auto: not on a CPU.",
)
EPOCHS = flags.DEFINE_integer(
    "epochs", None, "Number of epochs. Default: the config's.", lower_bound=1
)
COMPUTE_DTYPE = flags.DEFINE_enum(
    "compute_dtype", None, COMPUTE_DTYPES, "Precision of matrix products. Default: the config's."
)
WORKDIR_HELP = "Folder to write to; a stopped run in it resumes."
WORKDIR = flags.DEFINE_string("workdir", None, f"{WORKDIR_HELP} Default: runs/NAME-TIME.")
OUTPUT = flags.DEFINE_string("output", None, "File to write. Default: none.")
OVERWRITE_OUTPUT = flags.DEFINE_bool(
    "overwrite_output", False, "Whether existing files may be overwritten."
)

READS = {
    "workdir": "Folder of a finished run.",
    "dataset": "Data set of the examples, or the path of an .npz or .csv file or of a folder of "
    "images. Default: the run's.",
    "data_dir": "Folder of its files. Default: the run's.",
}
"""Help texts of these flags in commands that read a run."""
PATIENCE = 10.0
"""Seconds that an exiting process waits for the others to exit too."""


def local_path(path: str | os.PathLike[str], what: str) -> pathlib.Path:
    """Returns a path on disk, for files that cannot be in a bucket."""
    if is_bucket(path):
        raise ConfigError(f"{path}: {what} cannot be in a bucket; give a path on a disk.")
    return expanded(path)


def read_json(path: pathlib.Path, needed: Collection[str] = ()) -> dict[str, Any]:
    """Reads an object from a JSON file that a command wrote.

    Args:
      path: path of the file.
      needed: names of the entries that it must have.

    Raises:
      DataError: it is something else, e.g. cut short or edited.
    """
    try:
        values: Any = json.loads(path.read_bytes())
        lacking = [name for name in needed if name not in values]
        reason = f"no {lacking[0]}" if lacking else "" if isinstance(values, dict) else "no object"
    except (TypeError, ValueError) as error:
        reason = str(error)
    if reason:
        raise DataError(f"{path} is not what a command writes ({reason}); restore or remove it.")
    entries: dict[str, Any] = values
    return entries


def find_workdir() -> str:
    """Returns the folder of the run to read.

    Raises:
      ConfigError: ``--workdir`` is not given.
    """
    if not WORKDIR.value:
        raise ConfigError("--workdir is not given; name the folder of a finished run.")
    return str(WORKDIR.value)


def seeds() -> range:
    """Returns the requested seeds."""
    return range(FIRST_SEED.value, FIRST_SEED.value + SEEDS.value)


def label_numbers(default: str, least: int = 1) -> list[int]:
    """Returns the requested numbers of labels, without duplicates.

    Args:
      default: value of ``--labels`` if it is not given.
      least: the smallest number accepted.

    Raises:
      ConfigError: ``--labels`` is not a list of such numbers.
    """
    words = (LABELS.value or default).split(",")
    if not all(word.isdecimal() and int(word) >= least for word in words):
        raise ConfigError(f"--labels={LABELS.value}; give numbers from {least} on, e.g. {default}.")
    return list(dict.fromkeys(map(int, words)))


def output_path(default: str) -> pathlib.Path:
    """Returns the file to write: ``--output``, or the default.

    Raises:
      ConfigError: as for ``check_output``.
    """
    path = as_path(OUTPUT.value or default)
    if not OUTPUT.value:
        make_folder(path.parent)
    check_output(path)
    return path


def check_output(path: pathlib.Path) -> None:
    """Checks that a file can be written without silently replacing another.

    Raises:
      ConfigError: the file exists already, or its folder does not exist or is not writable.
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
    """Returns the path of a config file, with its arguments, from its path or name.

    Raises:
      ConfigError: the file, or its row for these arguments, does not exist, or the file cannot be
        read.

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
    if (path := expanded(file)).is_file():
        _check_config_file(path, arguments)
        return f"{path}{colon}{arguments}"
    known = ", ".join(configs.names())
    raise ConfigError(
        f"--config={name}: no such file; give a path, or one of {known} (--help lists their rows)."
    )


def _check_config_file(path: pathlib.Path, arguments: str) -> None:
    """Checks that a user's config file defines settings.

    Raises:
      ConfigError: it does not, or fails.
    """
    try:
        get_config = runpy.run_path(str(path))["get_config"]
        values = get_config(*filter(None, [arguments]))
    except Exception as error:  # whatever the user's code raises
        reason = f"{type(error).__name__}: {reason_of(error)}"
        raise ConfigError(
            f"--config={path}: it cannot be read ({reason}); mend its get_config()."
        ) from error
    if not isinstance(values, ConfigDict):
        raise ConfigError(
            f"--config={path}: its get_config() returns a {type(values).__name__}; return "
            "base.config_dict(Config(...)), as experiments/configs/digits.py does."
        )


def _with_config_paths(argv: Sequence[str], config: str | None) -> list[str]:
    """Replaces config names in ``argv`` with paths and adds the default config if none is given."""
    named, has_config = [], config is None
    for i, word in enumerate(argv):
        if word.startswith(("--config=", "-config=")):
            word, has_config = f"--config={config_path(word.split('=', 1)[1])}", True
        elif i and argv[i - 1] in ("--config", "-config"):
            word, has_config = config_path(word), True
        named.append(word)
    if not has_config and config is not None:
        named.insert(1, f"--config={config_path(config)}")
    return named


def _with_current_names(word: str) -> str:
    """Replaces a setting's former name in a flag with its current name.

    Examples:
      >>> _with_current_names("--config.average=0.9")
      '--config.ema_decay=0.9'
    """
    flag, equals, value = word.partition("=")
    dashes, _, name = flag.partition("config.")
    known = name in OLD_NAMES and not dashes.strip("-")
    return f"{dashes}config.{OLD_NAMES[name]}{equals}{value}" if known else word


def as_flags(message: str, listed: Collection[str]) -> str:
    """Rewrites parameters in a message of the library as a command's flags.

    Args:
      message: a message that names parameters with a value, such as ``overwrite=True``.
      listed: names of the command's flags.

    Examples:
      >>> as_flags("seed=3: give labels=9, or overwrite=True", ["config", "labels", "overwrite"])
      '--config.seed=3: give --labels=9, or --overwrite'
    """
    if "overwrite" not in listed:  # such commands replace no run
        message = message.replace(ELSEWHERE, ELSEWHERE.partition(",")[0])
    settings = {field.name for field in dataclasses.fields(Config)} if "config" in listed else ()

    def flag(parameter: re.Match[str]) -> str:
        name, true = parameter.groups()
        if name in listed:
            return f"--{name}" if true else f"--{name}="
        return f"--config.{parameter[0]}" if name in settings else parameter[0]

    return re.sub(r"(?<![^\s(\"'])(\w+)=(True\b)?", flag, message)


def _foreign_flags(listed: Collection[str]) -> set[str]:
    """Returns the flags of our modules that belong to other commands.

    Args:
      listed: names of this command's flags; if empty, all flags are its own.
    """
    by_module = flags.FLAGS.flags_by_module_dict().items()
    known = {flag.name for name, defined in by_module if "experiments." in name for flag in defined}
    return known.difference(listed) if listed else set()


def _unknown_flag(name: str, listed: Collection[str] = ()) -> str:
    """Returns the error message for an unknown flag, suggesting a similar flag if there is one."""
    known = {flag: flag for flag in flags.FLAGS if flag not in _foreign_flags(listed)}
    if "config" in known:
        settings = [field.name for field in dataclasses.fields(Config)]
        known = {setting: f"config.{setting}" for setting in settings} | known
    matches = difflib.get_close_matches(name.removeprefix("config."), known, n=1)
    return f"there is no flag --{name}; " + (
        f"did you mean --{known[matches[0]]}?" if matches else "--help lists the flags."
    )


def _parse(argv: Sequence[str], config: str | None, listed: Collection[str] = ()) -> list[str]:
    """Parses the flags as absl does, with errors in one line.

    Args:
      argv: the command line.
      config: default config, as for ``run``.
      listed: names of the command's flags; if empty, all defined flags.
    """
    try:
        args = flags.FLAGS(_with_config_paths(argv, config))
        if not flags.FLAGS["verbosity"].present:
            # JAX reports every backend that it does not find.
            absl_logging.set_verbosity(absl_logging.WARNING)
        if len(args) > 1:
            raise ConfigError(f"unexpected argument {args[1]!r}; flags are given as --name=value.")
        for foreign in sorted(_foreign_flags(listed)):
            if flags.FLAGS[foreign].present:
                raise flags.UnrecognizedFlagError(foreign)
        return args
    except flags.UnrecognizedFlagError as error:
        sys.exit(f"error: {_unknown_flag(error.flagname, listed)}")
    except (AttributeError, KeyError) as error:
        # From ml_collections; the message begins with the name in quotes.
        name = re.findall(r"\w+", str(error))[:1]
        sys.exit(f"error: {_unknown_flag('config.' + ''.join(name), listed)}")
    except (flags.Error, ConfigError, TypeError, ValueError) as error:
        # Errors of absl and of ml_collections' overrides.
        sys.exit(f"error: {' '.join(str(error).split())}")


_PLUGIN_ERRORS: list[str] = []
"""JAX's messages on failed plugins, recorded if JAX_PLATFORMS is set."""


def _plugin_error_in_one_line(record: logging.LogRecord) -> bool:
    """Shortens JAX's report of a failing plugin to one line, or keeps it for our own error."""
    if not record.name.startswith("jax") or not record.exc_info:
        return True
    record.msg, record.args = f"{record.getMessage()}: {record.exc_info[1]}".split("\n")[0], ()
    record.exc_info = None
    if os.environ.get("JAX_PLATFORMS"):
        _PLUGIN_ERRORS.append(record.msg)
    return not os.environ.get("JAX_PLATFORMS")


def _platform_error() -> str | None:
    """Returns an error message if JAX cannot use JAX_PLATFORMS, otherwise None."""
    platforms = os.environ.get("JAX_PLATFORMS")
    if not platforms:
        return None
    try:
        jax.devices()
    except Exception as error:  # for CUDA, an AssertionError without a message
        reason = " ".join(str(error).partition(" (set JAX_PLATFORMS")[0].split())
    else:
        return None
    reason = [*_PLUGIN_ERRORS, reason][0] or "no plugin for it, or no such device"
    jax.config.update("jax_platforms", "")  # type: ignore[no-untyped-call]
    available = " or ".join(sorted({"cpu", jax.default_backend()}))
    return (
        f"JAX_PLATFORMS={platforms} is not available here ({reason[:300].rstrip('.')}); give "
        f"JAX_PLATFORMS={available}, or install what JAX needs for {platforms}."
    )


def shutdown(status: int, words: str = "") -> None:
    """Shuts down distributed JAX before this process exits with an error.

    If all processes exit, as after a signal, they wait for each other and this returns. If the
    others keep running, this process exits here, and JAX then ends the others.
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


def _prepare_output() -> None:
    """Makes stdout accept any text, escaping characters that its encoding lacks.

    Output that the shell has closed, as ``>&-`` does, is discarded.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))
    if isinstance(sys.stdout, io.TextIOWrapper):  # not so in a notebook
        sys.stdout.reconfigure(errors="backslashreplace")


def _discard_unwritable() -> None:
    """Discards output that stdout does not take, which would also fail when Python exits."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(
    main: Callable[[], None],
    *,
    config: str | None = None,
    shared: Sequence[flags.FlagHolder[Any]] = (),
    about: Mapping[str, str] | None = None,
    words: bool = False,
) -> None:
    """Parses the flags and runs ``main``; an error prints one line and exits with status 1.

    Ctrl-C exits with status 130; other signals that stop a run may have their own status.

    Args:
      main: the command.
      config: default of ``--config``; None: the command has no such flag.
      shared: flags of other modules that the command accepts; others are refused.
      about: help texts, by flag, that differ from the flags' own.
      words: whether the command reads ``sys.argv`` itself.
    """
    _prepare_output()
    sys.argv[1:] = map(_with_current_names, sys.argv[1:])  # ml_collections reads it too
    # JAX reports every backend that it does not find.
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
        status, line, finished = 1, "", False
        try:
            main()
            finished = True
            sys.stdout.flush()
            return
        except BrokenPipeError:  # from head and the like; nobody reads the remaining output
            status = 0 if finished else 1
        except (ConfigError, DataError, NotFiniteError, PeerError, WriteError) as error:
            line = f"error: {as_flags(str(error), listed)}"
        except KeyboardInterrupt as error:
            line = str(error) or "interrupted"
            status = error.status if isinstance(error, Interrupted) else 130
        except OSError as error:
            reason = f"{error.filename}: {error.strerror}" if error.filename else error
            line = f"error: {reason}"
        except Exception:
            platform_error = _platform_error()
            if platform_error is None:
                shutdown(status, traceback.format_exc())
                raise
            line = f"error: {platform_error}"
        _discard_unwritable()
        if line:
            print(line, file=sys.stderr)
        shutdown(status)
        sys.exit(status)

    parse = functools.partial(_parse, config=config, listed=("help", *listed))
    app.run(guarded, flags_parser=(lambda argv: flags.FLAGS(argv[:1])) if words else parse)


def _config_help(config: str) -> str:
    """Returns the list of configs and settings for a command's help."""
    return helptext.of_configs(pathlib.Path(config_path(config)))
