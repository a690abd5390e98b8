"""Folder of a run: its files, and the origin of its results."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import importlib.metadata
import json
import os
import pathlib
import platform
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from ladder_jax import data
from ladder_jax.config import ADDED, Config, current_names
from ladder_jax.data import preprocessing
from ladder_jax.data.arrays import read_npz
from ladder_jax.errors import ConfigError, DataError
from ladder_jax.run import files, multiprocess
from ladder_jax.run.files import read_bytes, replacing, write_arrays, write_json
from ladder_jax.types import Array, Ladder, Trained

CONFIG = "config.json"  # settings of the run, the first file in its folder
CHECKPOINTS = "checkpoints"  # folder within the run's folder
METRICS = "metrics.jsonl"  # a line of metrics per epoch
BEST = "best.npz"  # parameters with the lowest validation error, in the format of params.npz
SPREAD = "spread_labels"  # folder with the labels of each stage of ``Config.spread_labels``
EVENTS = "tensorboard"  # folder of events for TensorBoard
REPORT = "report.html"
FIGURES = "figures"  # folder of the report's figures
ELSEWHERE = "give another folder, or overwrite=True to replace what is in it"
"""Advice on a folder that cannot be used as it is."""
LABELED = "labelled rows"  # name of their indices in ``check_data``
_LABELS, _EXAMPLES = "labels.json", "examples.json"
_WRITTEN = (
    *(_LABELS, _EXAMPLES, METRICS, "params.npz", "preprocess.npz", "result.json", BEST, REPORT),
)
# Settings that affect no result and may differ when a run resumes.
_NOT_DECIDING = {"name", "data_dir", "keep", "checkpoint_seconds"}


@contextlib.contextmanager
def _locked(folder: pathlib.Path) -> Iterator[None]:
    """Locks a folder against other processes; the lock ends with the process, however it ends."""
    if os.name == "nt" or files.is_bucket(folder):  # neither has such locks
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"workdir {folder}: another process is training in it; give another folder."
            ) from error
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def open_run(
    workdir: str | os.PathLike[str],
    config: Config,
    record: Mapping[str, Any] = {},
    *,
    overwrite: bool = False,
) -> Iterator[pathlib.Path]:
    """Opens the folder of one run, new or with the same run started, for this process only.

    ``config.json``, the first file in a folder, identifies the run, with absolute paths of
    data; ``labels.json`` and ``examples.json`` identify the data. With several processes, the
    first one has the folder. The others have a temporary one, removed at the end, so that
    they need not share a disk.
    """
    with contextlib.ExitStack() as stack:
        with multiprocess.together():
            if multiprocess.is_primary():
                folder = stack.enter_context(_open(workdir, config, record, overwrite=overwrite))
            else:
                temporary = tempfile.TemporaryDirectory(prefix="ladder-jax-")
                folder = pathlib.Path(stack.enter_context(temporary))
        yield folder


@contextlib.contextmanager
def _open(
    workdir: str | os.PathLike[str], config: Config, record: Mapping[str, Any], *, overwrite: bool
) -> Iterator[pathlib.Path]:
    """Opens the actual folder of a run."""
    settings, folder = _located(as_json(config)), files.as_path(workdir)
    known = folder / CONFIG
    resuming = known.is_file() and not overwrite
    try:
        files.make_writable(folder)
        occupied = any(not path.name.startswith(".") for path in files.listed(folder))
    except files.failures(folder) as error:
        reason = files.reason_of(error)
        raise ConfigError(f"workdir {folder}: {reason}; give another folder.") from error
    if occupied and not (resuming or overwrite):
        raise ConfigError(f"workdir {folder} is not empty; {ELSEWHERE}.")
    with _locked(folder):
        if resuming:
            check_same(folder, _known_settings(folder, settings), settings)
            check_data(folder, record)
        elif overwrite:
            for name in (*_WRITTEN, CHECKPOINTS, SPREAD, EVENTS, FIGURES):
                files.remove(folder / name)
        write_json(known, settings)
        examples = dict(record)
        for name, value in ((_LABELS, examples.pop(LABELED, None)), (_EXAMPLES, examples)):
            if value:
                write_json(folder / name, value)
        yield folder


def _located(settings: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings with absolute paths, valid in any working directory."""
    data_dir = str(settings.get("data_dir", ""))
    absolute = {"data_dir": str(files.expanded(data_dir).resolve())} if data_dir else {}
    return settings | {"dataset": data.located(str(settings.get("dataset", "")))} | absolute


def _known_settings(folder: pathlib.Path, now: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings that the folder's run was started with.

    A data file that checksums identify may have moved with its folder.
    """
    known = ADDED | _located(current_names(_read_json(folder / CONFIG)))
    names = {pathlib.PurePath(settings["dataset"]).name for settings in (known, now)}
    if (folder / _EXAMPLES).exists() and data.is_file(now["dataset"]) and len(names) == 1:
        known["dataset"] = now["dataset"]
    return known


def read_config(folder: pathlib.Path) -> Config:
    """Reads the settings of the run in a folder."""
    path = folder / CONFIG
    try:
        return Config.create(_read_json(path))
    except (FileNotFoundError, ConfigError) as error:
        raise ConfigError(
            f"{path} is not the settings of a run of this version of ladder_jax ({error}); give "
            "another folder, or train again."
        ) from error


def as_json(config: Config) -> dict[str, Any]:
    """Returns the settings as JSON types, with lists for tuples."""
    values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return values


def deciding(config: Config) -> dict[str, Any]:
    """Returns the settings that a result depends on, as JSON types."""
    return {name: v for name, v in as_json(config).items() if name not in _NOT_DECIDING}


def _parse(path: pathlib.Path, content: str | bytes) -> Any:
    """Parses JSON that was read from a file of a run."""
    try:
        return json.loads(content)
    except ValueError as error:
        raise ConfigError(f"{path} is not what a run writes ({error}); {ELSEWHERE}.") from error


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    values: dict[str, Any] = _parse(path, path.read_bytes())
    if not isinstance(values, dict):
        raise ConfigError(f"{path} is not what a run writes (no settings); {ELSEWHERE}.")
    return values


def check_same(folder: pathlib.Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    """Checks that a folder's settings are the current ones, except those that affect no result."""
    differences = [
        f"{name}: {old.get(name, 'none')} -> {new.get(name, 'none')}"
        for name in sorted((old.keys() | new.keys()) - _NOT_DECIDING)
        if old.get(name) != new.get(name)
    ]
    if differences:
        raise ConfigError(
            f"workdir {folder} holds a run of other settings ({', '.join(differences)}); "
            f"{ELSEWHERE}."
        )


def versions() -> dict[str, str]:
    """Returns the versions and the machine that a result depends on."""
    names = ("ladder_jax", "jax", "jaxlib", "flax", "optax", "numpy")
    packages = {name: importlib.metadata.version(name) for name in names}
    device = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    cores = str(os.cpu_count())
    return packages | {"python": platform.python_version(), "device": device, "cores": cores}


@functools.cache
def commit() -> str | None:
    """Finds the commit of the running program, with a plus if Python files differ from it."""
    file = getattr(sys.modules["__main__"], "__file__", None)
    if file is None:
        return None
    path = pathlib.Path(file).resolve()

    def git(*words: str) -> str:
        command = ["git", "--no-optional-locks", *words]
        done = subprocess.run(command, cwd=path.parent, capture_output=True, check=True, timeout=30)
        return done.stdout.decode().strip()

    try:
        git("ls-files", "--error-unmatch", "--", path.name)
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/*.py")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def origin() -> dict[str, str]:
    """Returns the date of a result and, where known, the command and commit that produced it.

    The command has the form ``python -m``: its only paths are those in its arguments.
    """
    now = datetime.datetime.now(datetime.UTC)
    about = {"date": now.isoformat(timespec="seconds")}
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None and not hasattr(sys, "ps1"):  # not for a notebook's kernel
        name = spec.name.removesuffix(".__main__")
        about["command"] = shlex.join(["python", "-m", name, *sys.argv[1:]])
    return about | ({"commit": revision} if (revision := commit()) else {})


def load_summary(folder: pathlib.Path) -> dict[str, Any]:
    """Reads the ``result.json`` of a finished run."""
    return _read_json(folder / "result.json")


def check_data(folder: pathlib.Path, record: Mapping[str, Any], advice: str = ELSEWHERE) -> None:
    """Checks that the run in a folder, if there is one, was started on these data."""
    labels, examples = folder / _LABELS, folder / _EXAMPLES
    known = {LABELED: _parse(labels, labels.read_bytes())} if labels.exists() else {}
    known |= _read_json(examples) if examples.exists() else {}
    changed = [name for name, now in record.items() if known.get(name, now) != now]
    if changed:
        raise ConfigError(
            f"workdir {folder} holds a run on other data, though the settings are the same: the "
            f"{' and the '.join(changed)} have changed; {advice}."
        )


def read_lines(folder: pathlib.Path) -> list[dict[str, Any]]:
    """Reads the lines of ``metrics.jsonl``; empty if it does not exist."""
    path = folder / METRICS
    return [_parse(path, line) for line in (read_bytes(path) or b"").splitlines()]


def lines_in(folder: pathlib.Path) -> int:
    """Counts the complete lines of the metrics file; 0 if it does not exist."""
    return (read_bytes(folder / METRICS) or b"").count(b"\n")


def _name(tree_path: tuple[Any, ...]) -> str:
    """Returns the name of an array in a file, from its path in the tree."""
    return jax.tree_util.keystr(tree_path, simple=True, separator="/")


def as_arrays(trained: Trained) -> dict[str, np.ndarray]:
    """Returns parameters and statistics, keyed by their path in the tree."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(trained)
    return {_name(tree_path): np.asarray(leaf) for tree_path, leaf in leaves}


def save_params(path: pathlib.Path, trained: Trained) -> None:
    """Writes parameters and statistics as ``.npz``, keyed by their path in the tree."""
    write_arrays(path, as_arrays(trained))


def as_trained(arrays: Mapping[str, np.ndarray], net: Ladder) -> Trained:
    """Restores what ``as_arrays`` was given, for a ladder of the same shapes."""

    def template(key: Array, rows: Array) -> Trained:
        params = net.init(key)
        statistics = net.statistics(params, rows)
        return Trained(params, statistics, net.decoder_statistics(params, statistics, rows))

    def take(tree_path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> Array:
        if arrays[_name(tree_path)].shape != leaf.shape:
            raise ValueError("arrays of other shapes")
        return jax.numpy.asarray(arrays[_name(tree_path)])

    rows = np.zeros((2, *net.shapes[0]), np.float32)
    expected = jax.eval_shape(template, jax.random.key(0), rows)
    trained: Trained = jax.tree_util.tree_map_with_path(take, expected)
    return trained


def load_params(folder: pathlib.Path, net: Ladder) -> Trained:
    """Loads the parameters and statistics that ``save_params`` wrote to a run's folder."""
    path = folder / "params.npz"
    try:
        return as_trained(read_npz(path), net)
    except (KeyError, ValueError) as error:  # includes DataError
        raise ConfigError(
            f"{path} is not the parameters of this run ({error}): it is missing, corrupt or of "
            "another version of ladder_jax; train again."
        ) from error


def _spread_path(folder: pathlib.Path, epoch: int) -> pathlib.Path:
    return folder / SPREAD / f"{epoch}.npz"


def write_spread(folder: pathlib.Path, epoch: int, labels: np.ndarray) -> None:
    """Writes the labels that rows have in the stage that begins after an epoch."""
    path = _spread_path(folder, epoch)
    with files.writing(path.parent):
        files.make_folder(path.parent)
    write_arrays(path, {"labels": labels})


def read_spread(folder: pathlib.Path, epoch: int) -> np.ndarray:
    """Reads the labels that ``write_spread`` wrote."""
    path = _spread_path(folder, epoch)
    try:
        return read_npz(path)["labels"]
    except (DataError, KeyError) as error:
        reason = str(error).rstrip(".")
        raise ConfigError(
            f"{path} is missing or corrupt ({reason}), and the run needs it to go on; {ELSEWHERE}."
        ) from error


def begin(folder: pathlib.Path, fitted: preprocessing.Preprocessing) -> None:
    """Writes the fitted preprocessing of a run that starts, and caches the commit."""
    commit()  # cached now, as files may change during training
    with multiprocess.together():
        if fitted.chain != "none":
            with replacing(folder / "preprocess.npz") as path:
                preprocessing.save(path, fitted)


def is_done(folder: pathlib.Path) -> bool:
    """Returns whether the run in a folder is finished."""
    return (folder / "result.json").exists()
