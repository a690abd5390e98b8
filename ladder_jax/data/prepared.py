"""Sets that tensorflow-datasets has prepared, read without TensorFlow."""

from __future__ import annotations

import importlib.util
import io
import math
import os
import pathlib
from typing import Any

import numpy as np

from ladder_jax.data.base import (
    DataError,
    Dataset,
    Examples,
    Rows,
    check_examples,
)
from ladder_jax.data.scaling import to_scale

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's name for so many channels."""

HOST_BYTES = 4 << 30
"""Images of more bytes than this stay on disk where they need not be in memory."""


def tfds_folder(data_dir: str) -> pathlib.Path:
    """Where prepared sets are: ``data_dir``, or tensorflow-datasets' own default."""
    default = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    if "://" in (data_dir or default):
        raise DataError(f"data_dir {data_dir or default}: data are read from a disk; copy them.")
    return pathlib.Path(data_dir or default).expanduser()


def is_prepared(name: str, data_dir: str) -> bool:
    """Whether a set of that name is there."""
    folder = tfds_folder(data_dir) / name
    return any(any(folder.glob(f"{depth}dataset_info.json")) for depth in ("*/", "*/*/"))


def import_tfds() -> Any:
    """tensorflow-datasets, or one line on how to get it.

    Raises:
      DataError: it is not installed.
    """
    for module in ("tensorflow_datasets", "importlib_resources", "PIL"):
        if importlib.util.find_spec(module) is None:
            raise DataError(
                f"{module} is not installed, and this data set is read with it: "
                "pip install 'ladder_jax[tfds]'."
            )
    import tensorflow_datasets as tfds

    return tfds


class PreparedImages:
    """The images of one split, decoded when they are asked for.

    Args:
      source: a data source of raw records.
      features: of the set.
      image: the name of the image feature.
      label: the name of the class feature.
    """

    def __init__(self, source: Any, features: Any, image: str, label: str) -> None:
        from tensorflow_datasets.proto import tf_example_pb2

        self._source, self._image, self._label = source, image, label
        self._parse = tf_example_pb2.Example.FromString
        self._row_shape = tuple(features[image].shape)
        self.shape: tuple[int, ...] = (len(source), *self._row_shape)

    def __len__(self) -> int:
        return len(self._source)

    def _records(self, rows: Any) -> list[Any]:
        if isinstance(rows, slice):
            rows = np.arange(len(self))[rows]
        return [self._parse(raw).features.feature for raw in self._source.__getitems__(list(rows))]

    def _decode(self, encoded: bytes) -> np.ndarray:
        """PNG or JPEG to uint8, three times as fast as the stock reader."""
        from PIL import Image

        mode = MODES[self._row_shape[-1]]
        with Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG")) as image:
            pixels = np.asarray(image if image.mode == mode else image.convert(mode))
        return pixels.reshape(self._row_shape)

    def examples(self, rows: Any) -> tuple[np.ndarray, np.ndarray]:
        """Images, uint8 ``[k, height, width, channels]``, and classes, int32 ``[k]``."""
        records = self._records(rows)
        x = np.empty((len(records), *self._row_shape), np.uint8)
        y = np.empty(len(records), np.int32)
        for i, record in enumerate(records):
            x[i] = self._decode(record[self._image].bytes_list.value[0])
            y[i] = record[self._label].int64_list.value[0]
        return x, y

    def __getitem__(self, rows: Any, /) -> np.ndarray:
        return _scaled(self.examples(rows)[0])

    def labels(self) -> np.ndarray:
        """int32 ``[n]``, no image decoded."""
        parts = []
        for start in range(0, len(self), 10_000):
            records = self._records(slice(start, start + 10_000))
            parts += [record[self._label].int64_list.value[0] for record in records]
        return np.array(parts, np.int32)


def load_prepared(name: str, data_dir: str, *, in_memory: bool = True) -> Dataset:
    """A set that tensorflow-datasets, or ``prepare`` here, has prepared.

    Args:
      name: in tensorflow-datasets, e.g. ``"mnist"`` or ``"emnist/letters"``.
      data_dir: where it was prepared; "" for tensorflow-datasets' default.
      in_memory: whether all images become floats now; else when asked for, out of
        bytes that are decoded now if there are not more than ``HOST_BYTES``.

    Returns:
      A ``Dataset``; its test set is the split "test", or else "validation".

    Raises:
      DataError: a package is missing, the set is not prepared, is not one of images
        of one size with a class, or is damaged.
    """
    tfds = import_tfds()
    folder = tfds_folder(data_dir)
    try:
        builder = tfds.builder(name, data_dir=folder)
    except Exception as error:  # whatever it finds wrong with the files
        reason = str(error).strip().split("\n")[0]
        raise DataError(f"{name}: tensorflow-datasets cannot read {folder} ({reason}).") from error
    image, label = _check_features(name, tfds, builder.info)
    names = tuple(builder.info.features[label].names)
    row_shape = builder.info.features[image].shape
    arrays: list[Any] = []
    for split in ("train", "test" if "test" in builder.info.splits else "validation"):
        if split not in builder.info.splits and split != "train":
            arrays += [np.zeros((0, *row_shape), np.float32), np.zeros(0, np.int32)]
            continue
        try:
            images = _open(tfds, builder, split, image, label)
            x, y = _read(images, in_memory=in_memory)
        except DataError:
            raise
        except Exception as error:  # of array_record, protobuf or Pillow, on damaged bytes
            reason = " ".join(str(error).split())[:100]
            raise DataError(
                f"{folder / name}: damaged ({reason}); delete it and prepare it again."
            ) from error
        check_examples(f"{name} ({split})", y[:, None], y, len(names))  # pixels are finite
        arrays += [x, y]
    x_train, y_train, x_test, y_test = arrays
    return Dataset(name, x_train, y_train, x_test, y_test, names, "bytes")


def _scaled(x: np.ndarray) -> np.ndarray:
    return to_scale("images", x, "bytes")


def _read(images: PreparedImages, *, in_memory: bool) -> tuple[Examples, np.ndarray]:
    """All images as floats; else as bytes, which are a quarter; else none of them yet."""
    if not in_memory and math.prod(images.shape) > HOST_BYTES:
        return images, images.labels()
    x, y = images.examples(slice(None))
    return (_scaled(x) if in_memory else Rows(x, transform=_scaled)), y


def _check_features(name: str, tfds: Any, info: Any) -> tuple[str, str]:
    """The names of the image and the class, if the set has them as needed here."""
    keys = info.supervised_keys
    if (
        not (keys and len(keys) == 2 and "train" in info.splits)
        or not isinstance(info.features[keys[0]], tfds.features.Image)
        or not isinstance(info.features[keys[1]], tfds.features.ClassLabel)
    ):
        raise DataError(f"{name}: not a training set of images with a class each; give another.")
    shape, dtype = info.features[keys[0]].shape, np.dtype(info.features[keys[0]].np_dtype)
    if None in shape or shape[-1] not in MODES or dtype != np.uint8:
        raise DataError(
            f"{name}: images are {shape} {dtype}; wanted uint8 images of one size. Resize them "
            "and give them as an .npz file."
        )
    image, label = keys
    return image, label


def _open(tfds: Any, builder: Any, split: str, image: str, label: str) -> PreparedImages:
    raw = tfds.decode.DeserializeMethod.RAW_BYTES
    try:
        source = builder.as_data_source(split=split, deserialize_method=raw)
    except NotImplementedError as error:
        raise DataError(
            f"{builder.data_path}: prepared in a format that only TensorFlow reads; prepare it in "
            f"another folder: python -m experiments.prepare_data --dataset={builder.name} "
            "--data_dir=FOLDER."
        ) from error
    return PreparedImages(source, builder.info.features, image, label)
