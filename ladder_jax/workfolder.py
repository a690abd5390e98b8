"""The folder that a run writes into, and what says where a result comes from."""

from __future__ import annotations

import importlib.metadata
import json
import os
import pathlib
import platform

import jax
import numpy as np

from ladder_jax.config import ConfigError
from ladder_jax.types import Params, Statistics


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
        occupied = any(folder.iterdir())
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


def save_params(path: pathlib.Path, params: Params, statistics: Statistics) -> None:
    """Parameters and statistics as ``.npz``, keyed by their place in the tree."""
    leaves = jax.tree_util.tree_leaves_with_path({"params": params, "statistics": statistics})
    named = {
        jax.tree_util.keystr(place, simple=True, separator="/"): np.asarray(leaf)
        for place, leaf in leaves
    }
    np.savez(path, **named)  # type: ignore[arg-type]


def write_json(path: pathlib.Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n")
