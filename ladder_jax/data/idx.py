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

IMAGES, LABELS = 2051, 2049

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def read_idx(path: pathlib.Path, magic: int) -> np.ndarray:
    """The array in one file.

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
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
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
            body = file.read(size + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: damaged gzip ({error}); fetch the file again.") from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}.") from error
    if len(body) != size:
        kind = "cut short" if len(body) < size else "longer than its header says"
        raise DataError(f"{path}: {kind} (wanted {size} bytes of data); fetch the file again.")
    return np.frombuffer(body, np.uint8).reshape(shape)


def _find(folder: pathlib.Path, name: str) -> pathlib.Path:
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    raise DataError(f"{folder}: no {name} or {name}.gz; put the four IDX files there.")


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
    paths = [_find(folder, file) for file in FILES]
    kinds = (IMAGES, LABELS, IMAGES, LABELS)
    arrays = [read_idx(path, kind) for path, kind in zip(paths, kinds, strict=True)]
    splits: list[np.ndarray] = []
    for split, x, y in (("train", arrays[0], arrays[1]), ("test", arrays[2], arrays[3])):
        images, labels = x[..., None].astype(np.float32) / 255, y.astype(np.int32)
        check_examples(f"{folder} ({split})", images, labels, classes=len(class_names))
        splits += [images, labels]
    if arrays[0].shape[1:] != arrays[2].shape[1:]:
        raise DataError(
            f"{folder}: training images are {arrays[0].shape[1:]}, test images "
            f"{arrays[2].shape[1:]}; they must be of one size."
        )
    x_train, y_train, x_test, y_test = splits
    return Dataset(name, x_train, y_train, x_test, y_test, class_names)
