"""The folder that a run writes into, and what says where a result comes from."""

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

from ladder_jax import data, files, parallel
from ladder_jax.config import Config, ConfigError
from ladder_jax.files import write_json

CHECKPOINTS = "checkpoints"
"""The folder of the checkpoints within that of a run."""
BEST = "best.npz"
"""The parameters that were best on validation examples, in the form of ``params.npz``."""
EVENTS = "tensorboard"
"""The folder of the events that TensorBoard reads."""
REPORT = "report.html"
FIGURES = "figures"
"""The folder of the report's figures as files."""
_LABELED = "labelled rows"
_LABELS, _EXAMPLES = "labels.json", "examples.json"
_WRITTEN = (
    *(_LABELS, _EXAMPLES, "metrics.jsonl", "params.npz", "preprocess.npz", "result.json"),
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
    folder = files.as_path(workdir)
    try:
        files.make_writable(folder)
        occupied = any(not path.name.startswith(".") for path in files.listed(folder))
    except files.failures(folder) as error:
        reason = files.reason_of(error)
        raise ConfigError(f"workdir {folder}: {reason}; give another folder.") from error
    if occupied and not overwrite:
        raise ConfigError(
            f"workdir {folder} is not empty; give another folder, or --overwrite to replace what "
            "is in it."
        )
    return folder


@contextlib.contextmanager
def _locked(folder: pathlib.Path) -> Iterator[None]:
    """Keeps other processes out of a folder; ends with the process, however that ends."""
    if os.name == "nt" or files.is_bucket(folder):  # which have no such locks
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
    """The folder of one run, new or with the same run begun, for this process alone.

    ``config.json`` says which run it is, paths of data made absolute; it is the first
    file in a folder. ``labels.json`` and ``examples.json`` say of which data. Of several
    processes of a job the first has the folder. The others have a temporary one that
    is removed in the end, so that they need not see the same disk.

    Args:
      workdir: the folder; made if it is not there.
      config: of the run.
      record: of its data, of ``data_record``, or a part of it.
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
                folder = opened.enter_context(_open(workdir, config, record, overwrite=overwrite))
            else:
                made = tempfile.TemporaryDirectory(prefix="ladder-jax-")
                folder = pathlib.Path(opened.enter_context(made))
        yield folder


@contextlib.contextmanager
def _open(
    workdir: str | os.PathLike[str], config: Config, record: Mapping[str, Any], *, overwrite: bool
) -> Iterator[pathlib.Path]:
    """The folder itself."""
    settings = _located(as_json(config))
    known = files.as_path(workdir) / "config.json"
    begun = known.is_file() and not overwrite
    folder = make_workdir(workdir, overwrite=overwrite or begun)
    with _locked(folder):
        if begun:
            check_same(folder, _known_settings(folder, settings), settings)
            check_data(folder, record)
        elif overwrite:
            for name in (*_WRITTEN, CHECKPOINTS, EVENTS, FIGURES):
                files.remove(folder / name)
        write_json(known, settings)
        examples = dict(record)
        for name, value in ((_LABELS, examples.pop(_LABELED, None)), (_EXAMPLES, examples)):
            if value:
                write_json(folder / name, value)
        yield folder


def _located(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that hold in any working directory."""
    data_dir = str(settings.get("data_dir", ""))
    where = {"data_dir": str(pathlib.Path(data_dir).expanduser().resolve())} if data_dir else {}
    return settings | {"dataset": data.located(str(settings.get("dataset", "")))} | where


def _known_settings(folder: pathlib.Path, now: dict[str, Any]) -> dict[str, Any]:
    """Those that the folder's run was begun with.

    Where checksums tell what is in a file, it may have moved with its folder.
    """
    known = _located(_read_json(folder / "config.json"))
    names = {pathlib.PurePath(settings["dataset"]).name for settings in (known, now)}
    if (folder / _EXAMPLES).exists() and data.is_file(now["dataset"]) and len(names) == 1:
        known["dataset"] = now["dataset"]
    return known


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


@functools.cache
def commit() -> str | None:
    """Finds the commit of the program that runs, with a plus if Python files differ from it.

    Returns:
      None where its file is not one of a git checkout, or there is no git.
    """
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
    """Says when a result comes, and by which command and commit as far as that is known.

    The command is that of ``python -m``: it has no path but those given.

    Example:
      >>> origin()["date"].endswith("+00:00")
      True
    """
    now = datetime.datetime.now(datetime.UTC)
    found = {"date": now.isoformat(timespec="seconds")}
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None and not hasattr(sys, "ps1"):  # not that of a notebook's kernel
        name = spec.name.removesuffix(".__main__")
        found["command"] = shlex.join(["python", "-m", name, *sys.argv[1:]])
    return found | ({"commit": at} if (at := commit()) else {})


def load_summary(folder: pathlib.Path) -> dict[str, Any]:
    """``result.json`` of a run that is done."""
    return _read_json(folder / "result.json")


def data_record(labeled: np.ndarray, checksums: Mapping[str, int]) -> dict[str, Any]:
    """Returns what is kept of a run's data, so that it is resumed on the same alone.

    Args:
      labeled: the numbers of the labelled rows.
      checksums: of ``tasks.checksums``.
    """
    return {_LABELED: labeled.tolist(), **checksums}


def check_data(
    folder: pathlib.Path,
    record: Mapping[str, Any],
    advice: str = "give another folder, or --overwrite",
) -> None:
    """Checks that the run in a folder, if there is one, was begun on these data.

    Args:
      folder: of the run.
      record: as for ``open_run``; what the folder does not know is not compared.
      advice: what to do if they differ.

    Raises:
      ConfigError: it was begun on others; the message says what differs.
    """
    labels, examples = folder / _LABELS, folder / _EXAMPLES
    known = {_LABELED: json.loads(labels.read_text(encoding="utf-8"))} if labels.exists() else {}
    known |= _read_json(examples) if examples.exists() else {}
    changed = [name for name, now in record.items() if known.get(name, now) != now]
    if changed:
        raise ConfigError(
            f"workdir {folder} holds a run on other data, though the settings are the same: the "
            f"{' and the '.join(changed)} have changed; {advice}."
        )
