"""The data sets by name: one entry each for those that need no preparing."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

from ladder_jax.data import idx
from ladder_jax.data.arrays import load_npz
from ladder_jax.data.base import DataError, Dataset
from ladder_jax.data.digits import load_digits
from ladder_jax.data.prepared import is_prepared, load_prepared, tfds_folder

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
_KANA = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")

_BUILT_IN: dict[str, Callable[[], Dataset]] = {"digits": load_digits}

_IDX = {"mnist": _TEN_DIGITS, "fashion_mnist": _CLOTHES, "kmnist": _KANA}
"""Sets that are read from their IDX files as well: their class names."""

NAMES = (*_BUILT_IN, *_IDX, "cifar10", "svhn_cropped")
"""Every data set known by name without tensorflow-datasets."""


def is_file(name: str) -> bool:
    """Whether a data set is named by the path of a file.

    Example:
      >>> is_file("data/mine.npz"), is_file("mnist")
      (True, False)
    """
    return name.endswith(".npz")


def located(name: str) -> str:
    """Returns a data set's name; if it is the path of a file, absolute and resolved.

    Examples:
      >>> located("mnist"), located("a/../b.npz") == located("./b.npz")
      ('mnist', True)
    """
    return str(pathlib.Path(name).expanduser().resolve()) if is_file(name) else name


def load(name: str, data_dir: str = "", *, in_memory: bool = True) -> Dataset:
    """A data set by name.

    Nothing is fetched here: ``prepare`` does that, once.

    Args:
      name: one of ``NAMES``, any image classification set of tensorflow-datasets, or
        the path of an ``.npz`` file (see ``load_npz``).
      data_dir: the folder with its IDX files, or in which it was prepared; "" for
        tensorflow-datasets' default.
      in_memory: whether all of a prepared set is read now; else when asked for.

    Returns:
      A ``Dataset``.

    Raises:
      DataError: the name is not known, or the files are missing or wrong.

    Example:
      >>> load("digits").x_test.shape
      (500, 8, 8, 1)
    """
    if is_file(name):
        return load_npz(name)
    if name in _BUILT_IN:
        return _BUILT_IN[name]()
    folder = tfds_folder(data_dir)
    if data_dir and not folder.is_dir():
        raise DataError(f"{folder}: not a folder; give the one that holds the data as --data_dir.")
    if data_dir and name in _IDX and any(idx.find_idx(folder, file) for file in idx.FILES):
        return idx.load_idx(name, folder, _IDX[name])
    if is_prepared(name, data_dir):
        return load_prepared(name, data_dir, in_memory=in_memory)
    if name not in NAMES and not _is_known(name):
        raise DataError(
            f"dataset {name!r} is not known; known are {', '.join(NAMES)}, the path of an .npz "
            "file, and with pip install 'ladder_jax[tfds]' the names of tensorflow-datasets."
        )
    files = ", or give the folder of its IDX files as --data_dir" if name in _IDX else ""
    raise DataError(
        f"{name} is not prepared in {folder}: run python -m experiments.prepare_data "
        f"--dataset={name}{f' --data_dir={data_dir}' if data_dir else ''}{files}."
    )


def _is_known(name: str) -> bool:
    """Whether tensorflow-datasets is installed and knows the name."""
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        return False
    try:
        tfds.builder_cls(name)
    except ValueError:
        return False
    return True
