"""The data sets by name: one entry each."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

from ladder_jax.data.base import DataError, Dataset
from ladder_jax.data.digits import load_digits
from ladder_jax.data.idx import load_idx

_TEN_DIGITS = tuple("0123456789")
_CLOTHES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def _idx(name: str, class_names: tuple[str, ...]) -> Callable[[str], Dataset]:
    def loader(data_dir: str) -> Dataset:
        if not data_dir:
            raise DataError(f"{name}: --data_dir is not given; name the folder of its IDX files.")
        return load_idx(name, pathlib.Path(data_dir).expanduser(), class_names)

    return loader


_LOADERS: dict[str, Callable[[str], Dataset]] = {
    "digits": lambda data_dir: load_digits(),
    "mnist": _idx("mnist", _TEN_DIGITS),
    "fashion_mnist": _idx("fashion_mnist", _CLOTHES),
}

NAMES = tuple(_LOADERS)
"""Every data set that ``load`` knows."""


def load(name: str, data_dir: str = "") -> Dataset:
    """A data set by name.

    Args:
      name: one of ``NAMES``.
      data_dir: the folder with its files, for sets that are not built in.

    Returns:
      A ``Dataset``.

    Raises:
      DataError: the name is not known, or the files are missing or wrong.

    Example:
      >>> load("digits").x_test.shape
      (500, 8, 8, 1)
    """
    if name not in _LOADERS:
        raise DataError(f"dataset {name!r} is not known; known are {', '.join(NAMES)}.")
    return _LOADERS[name](data_dir)
