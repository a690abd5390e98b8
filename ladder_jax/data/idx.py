"""Reads original files: the IDX files of MNIST and its family, and those of CIFAR-10."""

from __future__ import annotations

import gzip
import math
import pathlib
import tarfile
import zlib
from collections.abc import Iterator

import numpy as np

from ladder_jax.data.base import MOST_DEFLATED, read_into, require
from ladder_jax.errors import DataError

IMAGES, LABELS = 2051, 2049
"""Magic numbers of IDX files; big-endian sizes follow, then one byte per value."""

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

ARCHIVE = "cifar-10-binary.tar.gz"
_BATCHES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
_FOLDER = "cifar-10-batches-bin"
CIFAR10_FILES = (_BATCHES[0], f"{_FOLDER}/{_BATCHES[0]}", "train_00.webp", "train_00.png")
"""Files of which any one in a folder lets ``read_cifar10`` do without the archive."""

_ROWS, _RECORD = 10_000, 1 + 3 * 32 * 32
_MOSAIC = (25, 40)

Splits = dict[str, tuple[np.ndarray, np.ndarray]]
"""uint8 images and integer labels of the splits "train" and "test"."""


def read_idx(path: pathlib.Path, magic: int) -> np.ndarray:
    """Reads one file, gzipped if its name ends in ``.gz``: uint8 ``[n, height, width]`` or ``[n]``.

    No more memory is allocated than the header declares, and none if the file cannot
    hold that much. The file must begin with the number ``magic``.
    """
    header, gzipped = 16 if magic == IMAGES else 8, path.suffix == ".gz"
    try:
        limit = path.stat().st_size * (MOST_DEFLATED if gzipped else 1)
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
            body = np.empty(size if size <= limit else 0, np.uint8)
            complete = len(body) == size and read_into(file, body)
            if not complete or file.read(1):
                problem = "longer than its header says" if complete else "cut short"
                raise DataError(
                    f"{path}: {problem} (wanted {size} bytes of data); fetch the file again."
                )
            return body.reshape(shape)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: corrupt gzip ({error}); fetch the file again.") from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}.") from error


def find_idx(folder: pathlib.Path, name: str) -> pathlib.Path | None:
    """Returns the file of that name in a folder, plain or gzipped, or None.

    The spelling ``train-images.idx3-ubyte``, which some unpacking programs write, is found too.
    """
    spellings = (name, name.replace("-idx", ".idx"))
    candidates = (
        folder / f"{spelling}{suffix}" for spelling in spellings for suffix in ("", ".gz")
    )
    return next((path for path in candidates if path.is_file()), None)


def read_mnist(folder: pathlib.Path) -> Splits:
    """Reads the four ``FILES`` of an MNIST-like set; a ``DataError`` says what is wrong."""
    arrays = []
    for name, magic in zip(FILES, 2 * (IMAGES, LABELS), strict=True):
        path = find_idx(folder, name)
        if path is None:
            raise DataError(f"{folder}: no {name} or {name}.gz; put the four IDX files there.")
        arrays.append(read_idx(path, magic))
    x, y, x_test, y_test = arrays
    return {"train": (x, y), "test": (x_test, y_test)}


def read_cifar10(folder: pathlib.Path) -> Splits:
    """Reads all images and labels of CIFAR-10 in the official order.

    The folder holds one of:

    - ``cifar-10-binary.tar.gz``, or its unpacked content (with or without its
      folder ``cifar-10-batches-bin``). The archive for Python is not read: it is a
      pickle, and loading it would execute it.
    - ``train_NN.webp`` and ``test_NN.webp`` (or ``.png``), mosaics of 25 x 40
      images, row by row, and ``labels.npy``, integer labels of the training set
      followed by those of the test set.
    """
    if (folder / "labels.npy").is_file():
        return _read_mosaics(folder)
    if any((folder / name).is_file() for name in CIFAR10_FILES):
        unpacked = folder / _FOLDER if (folder / _FOLDER).is_dir() else folder
        batches = dict(_read_unpacked(unpacked))
    elif (folder / ARCHIVE).is_file():
        batches = dict(_read_archive(folder / ARCHIVE))
    else:
        raise DataError(f"{folder}: no {ARCHIVE}; put it there.")
    for name in _BATCHES:
        if len(batches.get(name, b"")) != _ROWS * _RECORD:
            size = _ROWS * _RECORD
            raise DataError(f"{folder / name}: wanted {size} bytes of it; fetch {ARCHIVE} again.")
    # Records of a label byte and three planes of 32 x 32.
    raw = b"".join(batches[name] for name in _BATCHES)
    records = np.frombuffer(raw, np.uint8).reshape(-1, _RECORD)
    x = np.ascontiguousarray(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    y, train = records[:, 0].astype(np.int64), 5 * _ROWS
    return {"train": (x[:train], y[:train]), "test": (x[train:], y[train:])}


def _read_unpacked(folder: pathlib.Path) -> Iterator[tuple[str, bytes]]:
    for name in _BATCHES:
        if not (folder / name).is_file():
            raise DataError(f"{folder}: no {name}; unpack all of {ARCHIVE} there.")
        try:
            with (folder / name).open("rb") as file:
                yield name, file.read(_ROWS * _RECORD + 1)
        except OSError as error:
            raise DataError(f"{folder / name}: {error.strerror}.") from error


def _read_archive(path: pathlib.Path) -> Iterator[tuple[str, bytes]]:
    """Yields the batches, reading at most a byte beyond each; nothing is unpacked to disk."""
    try:
        with gzip.open(path) as stream, tarfile.open(None, "r:", stream) as archive:
            for member in archive:
                name = pathlib.PurePosixPath(member.name).name
                file = archive.extractfile(member) if member.isfile() else None
                if name in _BATCHES and file is not None:
                    yield name, file.read(_ROWS * _RECORD + 1)
            while stream.read(1 << 20):  # up to the checksum, which gzip then compares
                pass
    except (EOFError, OSError, ValueError, tarfile.TarError, zlib.error) as error:
        raise DataError(f"{path}: corrupt archive ({error}); fetch it again.") from error


def _read_mosaics(folder: pathlib.Path) -> Splits:
    pillow, (rows, columns) = require("PIL.Image", "mosaics are read with it", "pillow"), _MOSAIC
    parts: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    try:
        labels = np.load(folder / "labels.npy", allow_pickle=False)
        for split, tiles in parts.items():
            for path in sorted(folder.glob(f"{split}_*")):
                if path.suffix in (".webp", ".png"):
                    with pillow.open(path) as mosaic:
                        tiled = np.asarray(mosaic).reshape(rows, 32, columns, 32, 3)
                    tiles.append(tiled.transpose(0, 2, 1, 3, 4).reshape(-1, 32, 32, 3))
        train, test = (np.concatenate(tiles) for tiles in parts.values())
    except (EOFError, OSError, ValueError) as error:
        raise DataError(f"{folder}: mosaics or labels.npy missing or corrupt ({error}).") from error
    if labels.shape != (len(train) + len(test),):
        raise DataError(
            f"{folder}: {len(train)} + {len(test)} images, but labels.npy is {labels.shape}."
        )
    return {"train": (train, labels[: len(train)]), "test": (test, labels[len(train) :])}
