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
from collections.abc import Iterator
from typing import Any

import jax

from ladder_jax import parallel
from ladder_jax.config import Config, ConfigError
from ladder_jax.files import write_json

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
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
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


def load_summary(folder: pathlib.Path) -> dict[str, Any]:
    """``result.json`` of a run that is done."""
    return _read_json(folder / "result.json")


def check_labels(folder: pathlib.Path, labels: list[int]) -> None:
    """That the run in a folder, if there is one, was begun with these labelled rows.

    Raises:
      ConfigError: it was begun with others.
    """
    path = folder / "labels.json"
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != labels:
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
