"""Data sets by name: one entry each, from which lists, messages and help derive."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np

from ladder_jax.data import idx, tfds
from ladder_jax.data.arrays import from_arrays, load_npz, to_scale
from ladder_jax.data.base import Dataset, check_examples
from ladder_jax.data.csv_files import load_csv
from ladder_jax.data.folder import is_folder, load_folder
from ladder_jax.data.textured import textured_digits
from ladder_jax.errors import DataError


class NamedSet(NamedTuple):
    """Describes a data set known by name; it is downloaded from tensorflow-datasets' addresses."""

    load: Callable[[], Dataset] | None = None  # if the set needs no preparation
    of_digits: Callable[[Dataset], Dataset] | None = None
    """Makes the set from MNIST's digits if they are available, else from scikit-learn's."""
    class_names: tuple[str, ...] = ()  # if there is a ``read``
    read: Callable[[pathlib.Path], idx.Splits] | None = None
    """Reads the original files in a folder, so that preparation needs no TensorFlow."""
    unpacked: tuple[str, ...] = ()  # files of which any one makes downloads unnecessary
    direct: tuple[str, ...] = ()  # files, plain or gzipped, of which one is enough to load


def load_digits() -> Dataset:
    """Returns scikit-learn's 1,797 handwritten digits ``[8, 8, 1]``, which its wheel contains.

    The set has no official split; the 500 test images were chosen once, at random with
    seed 0.
    """
    from sklearn import datasets  # a slow import that only this set needs

    bunch = datasets.load_digits()
    x, y = (bunch.images[..., None] / 16).astype(np.float32), bunch.target
    test, train = np.split(np.random.default_rng(0).permutation(len(x)), [500])
    return from_arrays(x[train], y[train], x[test], y[test], name="digits")


def _idx(names: str) -> NamedSet:
    """Describes a set of four IDX files."""
    return NamedSet(class_names=tuple(names.split(", ")), read=idx.read_mnist, direct=idx.FILES)


NAMED = {
    "digits": NamedSet(load=load_digits),
    "textured_digits": NamedSet(of_digits=textured_digits),
    "mnist": _idx("0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
    "fashion_mnist": _idx(
        "T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, Ankle boot"
    ),
    "kmnist": _idx("o, ki, su, tsu, na, ha, ma, ya, re, wo"),
    "cifar10": NamedSet(
        class_names=(
            *("airplane", "automobile", "bird", "cat", "deer"),
            *("dog", "frog", "horse", "ship", "truck"),
        ),
        read=idx.read_cifar10,
        unpacked=idx.CIFAR10_FILES,
        direct=(*idx.CIFAR10_FILES, idx.ARCHIVE),
    ),
    "svhn_cropped": NamedSet(),
}
"""Data sets by name; a new one needs only an entry here."""

NAMES = tuple(NAMED)
"""Names of all data sets known without tensorflow-datasets."""


_TABLES = {".csv": load_csv, ".npz": load_npz}
"""Functions that load data files, by suffix."""


def table_suffix(name: str) -> str:
    """Returns the suffix of a data file's name in lower case; "" if it is not one of a data file.

    Examples:
      >>> table_suffix("data/MINE.CSV"), table_suffix("mnist")
      ('.csv', '')
    """
    suffix = pathlib.PurePath(name).suffix.lower()
    return suffix if suffix in _TABLES else ""


def is_file(name: str) -> bool:
    """Returns whether a data set's name is the path of a file or of a folder of images.

    Examples:
      >>> is_file("data/mine.npz"), is_file("mnist")
      (True, False)
    """
    return name not in NAMED and (bool(table_suffix(name)) or is_folder(name))


def located(name: str) -> str:
    """Returns a data set's name; the path of a file or folder is made absolute and resolved.

    Examples:
      >>> located("mnist"), located("a/../b.npz") == located("./b.npz")
      ('mnist', True)
    """
    return str(pathlib.Path(name).expanduser().resolve()) if is_file(name) else name


def load(name: str, data_dir: str = "", *, in_memory: bool = True, image_size: int = 0) -> Dataset:
    """Loads a data set by name.

    Nothing is downloaded: ``prepare`` does that, once.

    Args:
      name: one of ``NAMES``, any image classification set of tensorflow-datasets, or the
        path of an ``.npz`` file (see ``load_npz``), of a ``.csv`` file (``load_csv``) or of a
        folder of images (``load_folder``).
      data_dir: folder of the set's original files, or in which it was prepared; "" for
        tensorflow-datasets' default.
      in_memory: whether a prepared set is read completely now, rather than on access.
      image_size: size that images of a folder are scaled and cropped to; see ``load_folder``.

    Raises:
      DataError: the name is unknown, the files are missing or wrong, or ``image_size`` is
        given for a set that is not a folder.

    Examples:
      >>> load("digits").x_test.shape
      (500, 8, 8, 1)
    """
    suffix = table_suffix(name)
    if is_file(name) and not suffix:
        return load_folder(name, image_size)
    if image_size:
        raise DataError(
            f"image_size={image_size}, but {name} is no folder of images, and only those are "
            "scaled; leave it out."
        )
    if suffix:
        return _TABLES[suffix](name)
    known = NAMED.get(name)
    if known and known.load:
        return known.load()
    if known and known.of_digits:
        return known.of_digits(load("mnist" if has_mnist(data_dir) else "digits", data_dir))
    folder = tfds.tfds_folder(data_dir)
    if data_dir and not folder.is_dir():
        raise DataError(f"{folder}: not a folder; give the one that holds the data as data_dir.")
    if data_dir and known and any(idx.find_idx(folder, file) for file in known.direct):
        (x, y), (x_test, y_test) = (
            (to_scale(name, x.reshape(*x.shape[:3], -1), "bytes"), y.astype(np.int32))
            for x, y in _read(known, folder).values()
        )
        return Dataset(name, x, y, x_test, y_test, known.class_names, "bytes")
    if tfds.is_prepared(name, data_dir):
        return tfds.load_prepared(name, data_dir, in_memory=in_memory)
    if not known and (find_spec("tensorflow_datasets") is None or not tfds.find_builder(name)):
        raise DataError(
            f"dataset {name!r} is not known; known are {', '.join(NAMES)}, the path of an .npz "
            "or a .csv file or of a folder of images, and with pip install 'ladder_jax[tfds]' the "
            "names of tensorflow-datasets."
        )
    where = f", {data_dir!r}" if data_dir else ""
    direct = known and known.direct
    files = ", or give the folder of its original files as data_dir" if direct else ""
    raise DataError(
        f"{name} is not prepared in {folder}: prepare it by ladder_jax.data.prepare({name!r}"
        f"{where}){files}."
    )


def has_mnist(data_dir: str) -> bool:
    """Returns whether ``data_dir`` is given and holds MNIST."""
    folder = pathlib.Path(data_dir).expanduser()
    files = any(idx.find_idx(folder, name) for name in idx.FILES)
    return bool(data_dir) and (files or tfds.is_prepared("mnist", data_dir))


def _read(known: NamedSet, folder: pathlib.Path) -> idx.Splits:
    """Reads and checks the original files of a set."""
    splits = known.read(folder) if known.read else {}
    for split, (x, y) in splits.items():  # one pixel is enough, as bytes are finite
        check_examples(f"{folder} ({split})", x[:, 0, 0], y, len(known.class_names))
    shapes = [x.shape[1:] for x, _ in splits.values()]
    if len(set(shapes)) > 1:
        raise DataError(
            f"{folder}: training images are {shapes[0]}, test images {shapes[1]}; they must be of "
            "one size."
        )
    return splits


def prepare(name: str, data_dir: str = "", download_dir: str = "") -> pathlib.Path:
    """Prepares a set in tensorflow-datasets' own layout, unless it is prepared already.

    Sets whose entry reads their original files (the MNIST family and CIFAR-10) are
    prepared without TensorFlow, in the official order of their examples. Others are
    left to their own builders, most of which need TensorFlow.

    Args:
      name: name of the set in tensorflow-datasets.
      data_dir: folder to prepare it in; "" for tensorflow-datasets' default.
      download_dir: folder of the set's original files. If its entry reads them, missing
        ones are downloaded into it, and "" is ``data_dir/downloads/NAME``; otherwise it
        is the ``manual_dir`` of the set's own builder, which downloads elsewhere.

    Returns:
      The folder to pass as ``data_dir`` from now on.

    Raises:
      DataError: files are wrong, or missing and cannot be downloaded; the set is
        unknown; or its builder needs a package that is not installed.
    """
    folder, known = tfds.tfds_folder(data_dir), NAMED.get(name, NamedSet())
    if tfds.is_prepared(name, data_dir):
        return folder
    stock = tfds.find_builder(name)
    if stock is None:
        raise DataError(f"dataset {name!r} is not known to tensorflow-datasets.")
    manual_dir = pathlib.Path(download_dir).expanduser() if download_dir else None
    if manual_dir is not None and not manual_dir.is_dir():
        raise DataError(f"{manual_dir}: not a folder; give the one that holds the files of {name}.")
    if known.read is None:
        tfds.build_stock(stock, name, folder, manual_dir)
        return folder
    files = manual_dir or folder / "downloads" / name
    if not any((files / file).is_file() for file in known.unpacked):
        tfds.fetch_all(name, stock.url_infos, files)
    tfds.build(stock, _read(known, files), known.class_names, folder)
    return folder
