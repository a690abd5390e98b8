"""CIFAR-10's files: the official binary version, or lossless mosaics of its images."""

from __future__ import annotations

import pathlib
import tarfile

import numpy as np

from ladder_jax.data.base import DataError

CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
ARCHIVE = "cifar-10-binary.tar.gz"
_BATCHES = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
_TEST_BATCH = "test_batch.bin"
_RECORD = 1 + 3 * 32 * 32
_ROWS = 10_000
_MOSAIC = (25, 40)
_FOLDER = "cifar-10-batches-bin"

Split = tuple[np.ndarray, np.ndarray]


def is_unpacked(folder: pathlib.Path) -> bool:
    """Whether ``read_cifar10`` has something to read there beside the archive."""
    names = (_BATCHES[0], f"{_FOLDER}/{_BATCHES[0]}", "labels.npy")
    return any((folder / name).is_file() for name in names)


def read_cifar10(folder: pathlib.Path) -> dict[str, Split]:
    """All images and labels in the official order.

    The folder holds one of:

    - ``cifar-10-binary.tar.gz``, or its content unpacked (with or without its
      folder ``cifar-10-batches-bin``). The archive for Python is a pickle, which
      would be executed, and is not read.
    - ``train_NN.webp`` and ``test_NN.webp`` (or ``.png``), mosaics of 25 x 40
      images row by row, and ``labels.npy``, integers of the training set and then
      the test set.

    Args:
      folder: of the files.

    Returns:
      ``"train"`` and ``"test"``: uint8 ``[n, 32, 32, 3]`` and int64 ``[n]``.

    Raises:
      DataError: a file is missing or wrong.

    Example:
      >>> import pathlib
      >>> read_cifar10(pathlib.Path("nowhere"))
      Traceback (most recent call last):
      ...
      ladder_jax.data.base.DataError: nowhere: no cifar-10-binary.tar.gz; put it there.
    """
    if (folder / "labels.npy").is_file():
        return _read_mosaics(folder)
    if is_unpacked(folder):
        batches = _read_unpacked(folder / _FOLDER if (folder / _FOLDER).is_dir() else folder)
    elif (folder / ARCHIVE).is_file():
        batches = _read_archive(folder / ARCHIVE)
    else:
        raise DataError(f"{folder}: no {ARCHIVE}; put it there.")
    train = [_decode(folder / name, batches[name]) for name in _BATCHES]
    x, y = (np.concatenate(parts) for parts in zip(*train, strict=True))
    return {"train": (x, y), "test": _decode(folder / _TEST_BATCH, batches[_TEST_BATCH])}


def _read_unpacked(folder: pathlib.Path) -> dict[str, bytes]:
    found = {}
    for name in (*_BATCHES, _TEST_BATCH):
        if not (folder / name).is_file():
            raise DataError(f"{folder}: no {name}; unpack all of {ARCHIVE} there.")
        with (folder / name).open("rb") as file:
            found[name] = file.read(_ROWS * _RECORD + 1)
    return found


def _read_archive(path: pathlib.Path) -> dict[str, bytes]:
    """The batches by name, no more read than each should have; nothing is unpacked to disk."""
    found = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                name = pathlib.PurePosixPath(member.name).name
                file = archive.extractfile(member)
                if name in (*_BATCHES, _TEST_BATCH) and file is not None:
                    found[name] = file.read(_ROWS * _RECORD + 1)
    except (EOFError, OSError, ValueError, tarfile.TarError) as error:
        raise DataError(f"{path}: damaged archive ({error}); fetch it again.") from error
    for name in (*_BATCHES, _TEST_BATCH):
        if name not in found:
            raise DataError(f"{path}: no {name} in it; fetch {ARCHIVE} again.")
    return found


def _decode(path: pathlib.Path, batch: bytes) -> Split:
    """Records of a label byte and three planes of 32 x 32."""
    if len(batch) != _ROWS * _RECORD:
        raise DataError(f"{path}: wanted {_ROWS * _RECORD} bytes; fetch {ARCHIVE} again.")
    records = np.frombuffer(batch, np.uint8).reshape(-1, _RECORD)
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), records[:, 0].astype(np.int64)


def _read_mosaics(folder: pathlib.Path) -> dict[str, Split]:
    from PIL import Image  # an optional package

    try:
        labels = np.load(folder / "labels.npy", allow_pickle=False)
        images = {}
        for split in ("train", "test"):
            paths = sorted(p for p in folder.glob(f"{split}_*") if p.suffix in (".webp", ".png"))
            rows, columns = _MOSAIC
            tiles = []
            for path in paths:
                with Image.open(path) as mosaic:
                    cut = np.asarray(mosaic).reshape(rows, 32, columns, 32, 3)
                tiles.append(cut.transpose(0, 2, 1, 3, 4).reshape(-1, 32, 32, 3))
            images[split] = np.concatenate(tiles)
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: mosaics or labels.npy missing or damaged ({error}).") from error
    rows = len(images["train"])
    if labels.shape != (rows + len(images["test"]),):
        raise DataError(
            f"{folder}: {rows} + {len(images['test'])} images, but labels.npy is {labels.shape}."
        )
    return {"train": (images["train"], labels[:rows]), "test": (images["test"], labels[rows:])}
