"""The folder that a run writes into, and what says where a result comes from."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
import os
import pathlib
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from ladder_jax import denoising, parallel
from ladder_jax.config import Config, ConfigError
from ladder_jax.data.npz import read_npz
from ladder_jax.types import Array, Ladder, Trained

CHECKPOINTS = "checkpoints"
"""The folder of the checkpoints within that of a run."""
BEST = "best.npz"
"""The parameters that were best on validation examples, in the form of ``params.npz``."""
EVENTS = "tensorboard"
"""The folder of the events that TensorBoard reads."""
REPORT = "report.html"
_WRITTEN = (
    *("labels.json", "metrics.jsonl", "params.npz", "preprocess.npz", "result.json"),
    *(BEST, REPORT),
)
_WHEREABOUTS = {"data_dir", "keep", "checkpoint_seconds"}
"""Settings that change no result, and may change where a run goes on."""


class WriteError(OSError):
    """A file cannot be written; the message names it, the reason and what to do."""


@contextlib.contextmanager
def writing(path: pathlib.Path) -> Iterator[None]:
    """Makes a ``WriteError`` of any error of writing ``path``, a full disk's above all.

    Example:
      >>> with writing(pathlib.Path("params.npz")):
      ...     raise OSError(28, "No space left on device")
      Traceback (most recent call last):
      ladder_jax.workfolder.WriteError: cannot write params.npz: No space left on device; make
      room, then give the same command to go on.
    """
    try:
        yield
    except WriteError:  # of a file within
        raise
    except OSError as error:
        raise WriteError(
            f"cannot write {path}: {error.strerror or error}; make room, then give the same "
            "command to go on."
        ) from error


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A name to write to; what is there then takes the place of ``path`` at once, or never."""
    temporary = path.with_name(f".new-{path.name}")
    with writing(path):
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def make_workdir(workdir: str | os.PathLike[str], *, overwrite: bool = False) -> pathlib.Path:
    """An empty folder to write into.

    Args:
      workdir: the folder; made if it is not there.
      overwrite: whether files of an earlier run in it may be replaced.

    Returns:
      Its path.

    Raises:
      ConfigError: it holds files already, or cannot be written to.
    """
    folder = pathlib.Path(workdir).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        occupied = any(not path.name.startswith(".") for path in folder.iterdir())
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(f"workdir {folder}: {error.strerror}; give another folder.") from error
    if occupied and not overwrite:
        raise ConfigError(
            f"workdir {folder} is not empty; give another folder, or --overwrite to replace what "
            "is in it."
        )
    return folder


@contextlib.contextmanager
def _locked(folder: pathlib.Path) -> Iterator[None]:
    """Keeps other processes out of a folder; ends with the process, however that ends."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
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
    workdir: str | os.PathLike[str], config: Config, *, overwrite: bool = False
) -> Iterator[pathlib.Path]:
    """The folder of one run, new or with the same run begun, for this process alone.

    ``config.json`` says which run it is; it is the first file in a folder. Of several
    processes of a job the first has the folder. The others have a temporary one that
    is removed in the end, so that they need not see the same disk.

    Args:
      workdir: the folder; made if it is not there.
      config: of the run.
      overwrite: whether to begin anew; what an earlier run wrote is removed.

    Yields:
      Its path.

    Raises:
      ConfigError: it holds another run or other files, another process is in it, or
        it cannot be written to.
      PeerError: the first process cannot open it.
    """
    with contextlib.ExitStack() as opened:
        with parallel.together():
            if parallel.is_first():
                folder = opened.enter_context(_open(workdir, config, overwrite=overwrite))
            else:
                made = tempfile.TemporaryDirectory(prefix="ladder-jax-")
                folder = pathlib.Path(opened.enter_context(made))
        yield folder


@contextlib.contextmanager
def _open(
    workdir: str | os.PathLike[str], config: Config, *, overwrite: bool
) -> Iterator[pathlib.Path]:
    """The folder itself."""
    known = pathlib.Path(workdir).expanduser() / "config.json"
    begun = known.is_file() and not overwrite
    folder = make_workdir(workdir, overwrite=overwrite or begun)
    with _locked(folder):
        if begun:
            check_same(folder, _read_json(known), as_json(config))
        elif overwrite:
            for name in _WRITTEN:
                (folder / name).unlink(missing_ok=True)
            for name in (CHECKPOINTS, EVENTS):
                shutil.rmtree(folder / name, ignore_errors=True)
        write_json(known, as_json(config))
        yield folder


def read_config(folder: pathlib.Path) -> Config:
    """The settings of the run in a folder.

    Raises:
      ConfigError: there are none, or they are of another version.
    """
    path = folder / "config.json"
    try:
        return Config.create(_read_json(path))
    except (FileNotFoundError, ConfigError) as error:
        raise ConfigError(
            f"{path} is not the settings of a run of this version of ladder_jax ({error}); give "
            "another folder, or train again."
        ) from error


def as_json(config: Config) -> dict[str, Any]:
    """The settings as JSON has them, lists for tuples."""
    values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return values


def deciding(config: Config) -> dict[str, Any]:
    """The settings that a result depends on, as JSON has them."""
    return {name: v for name, v in as_json(config).items() if name not in _WHEREABOUTS}


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise ConfigError(
            f"{path} is not what a run writes ({error}); give another folder, or --overwrite to "
            "replace what is in it."
        ) from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} is not what a run writes (no settings); give another folder.")
    return values


def check_same(folder: pathlib.Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    """That a folder's settings are those of now, but for where things are.

    Args:
      folder: of the run.
      old: settings by name, as JSON has them: those that it was begun with.
      new: those of now.

    Raises:
      ConfigError: they differ; the message says in what.
    """
    differences = [
        f"{name}: {old.get(name, 'none')} -> {new.get(name, 'none')}"
        for name in sorted((old.keys() | new.keys()) - _WHEREABOUTS)
        if old.get(name) != new.get(name)
    ]
    if differences:
        raise ConfigError(
            f"workdir {folder} holds a run of other settings ({', '.join(differences)}); give "
            "another folder, or --overwrite to replace what is in it."
        )


def versions() -> dict[str, str]:
    """The versions and the machine that a result depends on.

    Example:
      >>> sorted(versions())[:3]
      ['cores', 'device', 'flax']
    """
    names = ("ladder_jax", "jax", "jaxlib", "flax", "optax", "numpy")
    found = {name: importlib.metadata.version(name) for name in names}
    device = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    cores = str(os.cpu_count())
    return found | {"python": platform.python_version(), "device": device, "cores": cores}


def _named(trained: Trained) -> tuple[list[str], list[Any], Any]:
    """The leaves, what each is called in a file, and the structure."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(trained)
    names = [jax.tree_util.keystr(place, simple=True, separator="/") for place, _ in leaves]
    return names, [leaf for _, leaf in leaves], structure


def as_arrays(trained: Trained) -> dict[str, np.ndarray]:
    """Parameters and statistics, keyed by their place in the tree.

    Example:
      >>> list(as_arrays(Trained({"up": np.ones(2)}, (), ())))
      ['params/up']
    """
    names, leaves, _ = _named(trained)
    return {name: np.asarray(leaf) for name, leaf in zip(names, leaves, strict=True)}


def write_arrays(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Arrays as ``.npz``, put in place whole."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def save_params(path: pathlib.Path, trained: Trained) -> None:
    """Parameters and statistics as ``.npz``, keyed by their place in the tree."""
    write_arrays(path, as_arrays(trained))


def as_trained(arrays: Mapping[str, np.ndarray], net: Ladder) -> Trained:
    """What ``as_arrays`` was given, for a ladder of the same shape; other keys are let be.

    Args:
      arrays: by their place in the tree.
      net: the ladder.

    Raises:
      KeyError: an array is missing.
      ValueError: they are of another ladder.
    """

    def blank(key: Array, rows: Array) -> Trained:
        params = net.init(key)
        statistics = net.statistics(params, rows)
        return Trained(
            params, statistics, denoising.decoder_statistics(net, params, statistics, rows)
        )

    rows = np.zeros((2, *net.shapes[0]), np.float32)
    names, leaves, structure = _named(jax.eval_shape(blank, jax.random.key(0), rows))
    found = [arrays[name] for name in names]
    if [array.shape for array in found] != [leaf.shape for leaf in leaves]:
        raise ValueError("arrays of other shapes")
    trained: Trained = jax.tree.unflatten(structure, map(jax.numpy.asarray, found))
    return trained


def load_params(folder: pathlib.Path, net: Ladder) -> Trained:
    """What ``save_params`` wrote of a ladder into the folder of its run.

    Raises:
      ConfigError: the file is not there, is damaged, or is of another ladder.
    """
    path = folder / "params.npz"
    try:
        return as_trained(read_npz(path), net)
    except (KeyError, ValueError) as error:  # DataError is one
        raise ConfigError(
            f"{path} is not the parameters of this run ({error}): it is missing, damaged or of "
            "another version of ladder_jax; train again."
        ) from error


def load_summary(folder: pathlib.Path) -> dict[str, Any]:
    """``result.json`` of a run that is done."""
    return _read_json(folder / "result.json")


def write_json(path: pathlib.Path, value: object) -> None:
    """A value as JSON, put in place whole."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n")


def check_labels(folder: pathlib.Path, labels: list[int]) -> None:
    """That the run in a folder, if there is one, was begun with these labelled rows.

    Raises:
      ConfigError: it was begun with others.
    """
    path = folder / "labels.json"
    if path.exists() and json.loads(path.read_text()) != labels:
        raise ConfigError(
            f"workdir {folder} holds a run on other labelled examples, though the settings are "
            "the same: the data have changed; give another folder, or --overwrite."
        )


def write_labels(folder: pathlib.Path, labels: list[int]) -> None:
    """``labels.json``, the numbers of the labelled rows.

    Raises:
      ConfigError: as ``check_labels``.
    """
    check_labels(folder, labels)
    write_json(folder / "labels.json", labels)
