"""IDX files, the format of MNIST and its family, plain or gzipped.

Magic number 2051 (images) or 2049 (labels), big-endian sizes, then one byte a
value.
"""

from __future__ import annotations

import gzip
import math
import pathlib
import zlib

import numpy as np

from ladder_jax.data.base import DataError, Dataset, check_examples
from ladder_jax.data.bounded import MOST_DEFLATED, read_into
from ladder_jax.data.scaling import to_scale

IMAGES, LABELS = 2051, 2049

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def read_idx(path: pathlib.Path, magic: int) -> np.ndarray:
    """The array in one file.

    No more memory is taken than the header declares, and none where the file
    cannot hold that much.

    Args:
      path: of the file; gzipped if its name ends in ``.gz``.
      magic: the number it must begin with, ``IMAGES`` or ``LABELS``.

    Returns:
      uint8 ``[n, height, width]`` or ``[n]``.

    Raises:
      DataError: the file is missing, cut short, too long or of another kind.

    Example:
      >>> import pathlib
      >>> read_idx(pathlib.Path("nowhere"), IMAGES)
      Traceback (most recent call last):
      ...
      ladder_jax.data.base.DataError: nowhere: No such file or directory.
    """
    axes = 3 if magic == IMAGES else 1
    header = 4 * (1 + axes)
    gzipped = path.suffix == ".gz"
    try:
        most = path.stat().st_size * (MOST_DEFLATED if gzipped else 1)
        with (gzip.open if gzipped else open)(path, "rb") as file:
            head = file.read(header)
            if len(head) < header:
                raise DataError(f"{path}: cut short in its header; fetch the file again.")
            found, *shape = np.frombuffer(head, ">u4").tolist()
            if found != magic:
                raise DataError(
                    f"{path}: magic number {found}, wanted {magic}: this is not an IDX file of "
                    f"{'images' if magic == IMAGES else 'labels'}."
                )
            size = math.prod(shape)
            if size == 0:
                raise DataError(f"{path}: its header declares no data; fetch the file again.")
            wrong = "cut short"
            if size <= most:
                body = np.empty(size, np.uint8)
                if read_into(file, body) == size:
                    wrong = "longer than its header says" if file.read(1) else ""
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: damaged gzip ({error}); fetch the file again.") from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}.") from error
    if wrong:
        raise DataError(f"{path}: {wrong} (wanted {size} bytes of data); fetch the file again.")
    return body.reshape(shape)


def find_idx(folder: pathlib.Path, name: str) -> pathlib.Path | None:
    """The file of that name in the folder, plain or gzipped, or None."""
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    return None


def read_all(folder: pathlib.Path) -> list[np.ndarray]:
    """The four arrays of an MNIST-like set, in the order of ``FILES``.

    Raises:
      DataError: a file is missing or wrong.
    """
    kinds = (IMAGES, LABELS, IMAGES, LABELS)
    arrays = []
    for name, kind in zip(FILES, kinds, strict=True):
        path = find_idx(folder, name)
        if path is None:
            raise DataError(f"{folder}: no {name} or {name}.gz; put the four IDX files there.")
        arrays.append(read_idx(path, kind))
    return arrays


def load_idx(name: str, folder: pathlib.Path, class_names: tuple[str, ...]) -> Dataset:
    """The four files of an MNIST-like set.

    Args:
      name: of the set.
      folder: where the files are.
      class_names: one a class.

    Returns:
      A ``Dataset`` of images ``[height, width, 1]``.

    Raises:
      DataError: a file is missing or wrong, or files do not fit each other.

    Example:
      >>> import pathlib
      >>> load_idx("mnist", pathlib.Path("nowhere"), ())
      Traceback (most recent call last):
      ...
      ladder_jax.data.base.DataError: nowhere: not a folder; give the one that holds the IDX files.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: not a folder; give the one that holds the IDX files.")
    arrays = read_all(folder)
    splits: list[np.ndarray] = []
    for split, x, y in (("train", arrays[0], arrays[1]), ("test", arrays[2], arrays[3])):
        images, labels = to_scale(split, x[..., None], "bytes"), y.astype(np.int32)
        check_examples(f"{folder} ({split})", images, labels, classes=len(class_names))
        splits += [images, labels]
    if arrays[0].shape[1:] != arrays[2].shape[1:]:
        raise DataError(
            f"{folder}: training images are {arrays[0].shape[1:]}, test images "
            f"{arrays[2].shape[1:]}; they must be of one size."
        )
    x_train, y_train, x_test, y_test = splits
    return Dataset(name, x_train, y_train, x_test, y_test, class_names, "bytes")
