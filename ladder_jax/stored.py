"""Parameters and statistics as a file, keyed by their place in the tree."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from ladder_jax import denoising
from ladder_jax.config import ConfigError
from ladder_jax.data.npz import read_npz
from ladder_jax.files import write_arrays
from ladder_jax.types import Array, Ladder, Trained


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
