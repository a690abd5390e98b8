"""Sets in tensorflow-datasets' own layout: fetched and prepared once, read without TensorFlow."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import io
import math
import os
import pathlib
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent import futures
from typing import Any

import numpy as np

from ladder_jax.data.arrays import to_scale
from ladder_jax.data.base import MODES, Dataset, Rows, check_examples, chunks, require
from ladder_jax.data.idx import Splits
from ladder_jax.errors import DataError

HOST_BYTES = 4 << 30
"""Size in bytes above which images stay on disk if they need not be in memory."""

TIMEOUT = 10.0
"""Seconds without an answer after which a download is abandoned."""


def tfds_folder(data_dir: str) -> pathlib.Path:
    """Returns the folder of prepared sets: ``data_dir``, or tensorflow-datasets' own default."""
    folder = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    if "://" in str(folder):
        raise DataError(f"data_dir {folder}: data are read from a disk; copy them.")
    return pathlib.Path(folder).expanduser()


def is_prepared(name: str, data_dir: str) -> bool:
    """Returns whether the set of that name is prepared in ``data_dir``."""
    folder = tfds_folder(data_dir) / name
    return any(any(folder.glob(f"{depth}dataset_info.json")) for depth in ("*/", "*/*/"))


def import_tfds() -> Any:
    """Returns tensorflow-datasets; a ``DataError`` says how to install it and what it needs."""
    modules = ("importlib_resources", "PIL", "tensorflow_datasets")
    why = "this data set is read with it"
    return [require(module, why, "'ladder_jax[tfds]'") for module in modules][-1]


class PreparedImages:
    """Holds the images of one split, decoded on access from a source of raw records."""

    def __init__(self, source: Any, image: str, label: str, row_shape: tuple[int, ...]) -> None:
        from tensorflow_datasets.proto import tf_example_pb2

        self._source, self._image, self._label, self._row_shape = source, image, label, row_shape
        self._parse = tf_example_pb2.Example.FromString
        self.shape: tuple[int, ...] = (len(source), *row_shape)

    def __len__(self) -> int:
        return len(self._source)

    def _records(self, rows: Any) -> list[Any]:
        if isinstance(rows, slice):
            rows = np.arange(len(self))[rows]
        return [self._parse(raw).features.feature for raw in self._source.__getitems__(list(rows))]

    def examples(self, rows: Any) -> tuple[np.ndarray, np.ndarray]:
        """Returns images, uint8 ``[k, height, width, channels]``, and classes, int32 ``[k]``."""
        from PIL import Image

        records, mode = self._records(rows), MODES[self._row_shape[-1]]
        x = np.empty((len(records), *self._row_shape), np.uint8)
        for pixels, record in zip(x, records, strict=True):
            encoded = io.BytesIO(record[self._image].bytes_list.value[0])
            # Three times as fast as the stock reader.
            with Image.open(encoded, formats=("PNG", "JPEG")) as image:
                decoded = np.asarray(image if image.mode == mode else image.convert(mode))
            pixels[:] = decoded.reshape(self._row_shape)
        return x, self._classes(records)

    def _classes(self, records: list[Any]) -> np.ndarray:
        return np.array([record[self._label].int64_list.value[0] for record in records], np.int32)

    def __getitem__(self, rows: Any, /) -> np.ndarray:
        return _scaled(self.examples(rows)[0])

    def labels(self) -> np.ndarray:
        """Returns all classes, int32 ``[n]``, without decoding any image."""
        parts = chunks(np.arange(len(self)), 10_000)
        return np.concatenate([self._classes(self._records(part)) for part in parts])


_scaled = functools.partial(to_scale, "images", scale="bytes")


def load_prepared(name: str, data_dir: str, *, in_memory: bool = True) -> Dataset:
    """Loads a set that tensorflow-datasets or ``data.prepare`` has prepared.

    Its test set is the split "test", or else "validation". If ``in_memory``, all images
    become floats now; otherwise on access, from bytes that are decoded now if there are
    no more than ``HOST_BYTES``.
    """
    tfds, folder = import_tfds(), tfds_folder(data_dir)
    try:
        builder = tfds.builder(name, data_dir=folder)
    except Exception as error:  # anything that may be wrong with the files
        reason = str(error).strip().split("\n")[0]
        raise DataError(f"{name}: tensorflow-datasets cannot read {folder} ({reason}).") from error
    image, label = _check_features(name, tfds, builder.info)
    names = tuple(builder.info.features[label].names)
    row_shape = tuple(builder.info.features[image].shape)
    arrays: list[Any] = []
    x: Any
    for split in ("train", "test" if "test" in builder.info.splits else "validation"):
        if split not in builder.info.splits:  # there is no test set
            arrays += [np.zeros((0, *row_shape), np.float32), np.zeros(0, np.int32)]
            continue
        try:
            raw = tfds.decode.DeserializeMethod.RAW_BYTES
            source = builder.as_data_source(split=split, deserialize_method=raw)
            images = PreparedImages(source, image, label, row_shape)
            if not in_memory and math.prod(images.shape) > HOST_BYTES:
                x, y = images, images.labels()
            else:  # as floats, or as bytes, a quarter of the size
                pixels, y = images.examples(slice(None))
                x = _scaled(pixels) if in_memory else Rows(pixels, transform=_scaled)
        except NotImplementedError as error:
            raise DataError(
                f"{builder.data_path}: prepared in a format that only TensorFlow reads; prepare it "
                f"in another folder: ladder_jax.data.prepare({builder.name!r}, data_dir)."
            ) from error
        except Exception as error:  # by array_record, protobuf or Pillow, on corrupt bytes
            reason = " ".join(str(error).split())[:100]
            raise DataError(
                f"{folder / name}: corrupt ({reason}); delete it and prepare it again."
            ) from error
        check_examples(f"{name} ({split})", y[:, None], y, len(names))  # pixels are finite
        arrays += [x, y]
    x_train, y_train, x_test, y_test = arrays
    return Dataset(name, x_train, y_train, x_test, y_test, names, "bytes")


def _check_features(name: str, tfds: Any, info: Any) -> tuple[str, str]:
    """Returns the names of the image and class features; refuses a set without suitable ones."""
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
    return keys[0], keys[1]


def find_builder(name: str) -> Any:
    """Returns the builder class of a set; None if tensorflow-datasets has none."""
    try:
        return import_tfds().builder_cls(name)
    except ValueError:
        return None


def build(stock: Any, splits: Splits, class_names: tuple[str, ...], folder: pathlib.Path) -> None:
    """Writes arrays as a stock builder's set, in their order and without TensorFlow."""
    from PIL import Image  # which the stock feature encodes without TensorFlow

    class Builder(stock, skip_registration=True):  # type: ignore[misc, call-arg]
        name = stock.name

        def _info(self) -> Any:
            info = super()._info()
            # Some stock builders read the names from a file of their own.
            info.features["label"].names = list(class_names)
            info.as_proto.disable_shuffling = True
            return info

        def _split_generators(self, dl_manager: Any) -> Any:
            return {split: self._generate_examples(split) for split in splits}

        def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
            for i, (image, label) in enumerate(zip(*splits[split], strict=True)):
                example = {"image": Image.fromarray(image), "label": int(label)}
                if "id" in self.info.features:
                    example["id"] = f"{split}_{i:05d}"
                yield i, example

    _prepare(Builder(data_dir=folder, file_format="array_record"), folder, None)


def build_stock(stock: Any, name: str, folder: pathlib.Path, given: pathlib.Path | None) -> None:
    """Prepares a set with its own builder, from files in the given folder or downloads."""
    needs_tensorflow = hasattr(sys.modules[stock.__module__], "tf")
    if needs_tensorflow and importlib.util.find_spec("tensorflow") is None:
        raise DataError(
            f"{name} is not prepared in {folder}, and its builder needs TensorFlow: pip install "
            "tensorflow and repeat, or prepare it elsewhere and give that folder as data_dir."
        )
    for url, info in (stock.url_infos or {}).items():
        if given is None or not (given / (info.filename or "")).is_file():
            _check_reachable(name, url, folder)
            break  # the others are on the same server
    try:
        builder = import_tfds().builder(name, data_dir=folder, file_format="array_record")
        _prepare(builder, folder, given)
    except Exception as error:  # builders, of many authors, raise anything
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise DataError(f"{name}: its builder failed ({reason}).") from error


def _prepare(builder: Any, folder: pathlib.Path, manual_dir: pathlib.Path | None) -> None:
    make_config = import_tfds().download.DownloadConfig
    config = make_config(manual_dir=manual_dir, try_download_gcs=False)
    builder.download_and_prepare(download_dir=folder / "downloads", download_config=config)


def fetch_all(name: str, url_infos: Mapping[str, Any], folder: pathlib.Path) -> None:
    """Fetches the files of a set that are missing from a folder, and checks the others.

    ``url_infos`` maps each file's address to its name and SHA-256. A file that is present
    unpacked (without its ``.gz``) is used as it is.
    """
    for url, info in url_infos.items():
        path = folder / info.filename
        if path.is_file():
            try:
                with path.open("rb") as file:
                    checksum = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise DataError(f"{path}: {error.strerror}.") from error
            if checksum != info.checksum:
                raise DataError(
                    f"{path}: not the file that {name} is made of (wrong checksum); delete it and "
                    "fetch it again."
                )
        elif not path.with_suffix("").is_file() or path.suffix != ".gz":
            names = ", ".join(item.filename for item in url_infos.values())
            _fetch(name, url, path, info, f"put {names} into {folder}, or give their folder")


def _fetch(name: str, url: str, path: pathlib.Path, info: Any, remedy: str) -> None:
    """Fetches one file in a single try, with a progress bar, and checks it."""
    from tqdm import tqdm

    part, digest = path.with_name(path.name + ".part"), hashlib.sha256()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            _open(url) as response,
            part.open("wb") as file,
            tqdm(total=int(info.size), desc=path.name, unit="B", unit_scale=True) as bar,
        ):
            while block := response.read(1 << 18):
                file.write(block)
                digest.update(block)
                bar.update(len(block))
    except OSError as error:  # URLError, a timeout, a full disk
        part.unlink(missing_ok=True)
        raise DataError(
            f"{name}: cannot fetch {url} ({_reason(error)}); {remedy} as download_dir."
        ) from error
    if digest.hexdigest() != info.checksum:
        part.unlink()
        raise DataError(f"{name}: {url} is not the file it should be (wrong checksum).")
    part.rename(path)


def _check_reachable(name: str, url: str, folder: pathlib.Path) -> None:
    """Checks in a single try that the server of an address answers."""
    try:
        _open(url).close()
    except urllib.error.HTTPError:
        pass  # it answers
    except OSError as error:
        raise DataError(
            f"{name} is not prepared in {folder} and cannot be fetched from {url} "
            f"({_reason(error)}); give the folder of its files as download_dir, or one where it "
            "is prepared as data_dir."
        ) from error


def _reason(error: OSError) -> str:
    return str(getattr(error, "reason", None) or error.strerror or error)


def _open(url: str) -> Any:
    """Returns the response to a request, with its connection made within ``TIMEOUT``.

    The request runs in a thread that is left behind on a timeout, since name lookup has none.
    """
    response = futures.Future[Any]()

    def request() -> None:
        try:
            response.set_result(urllib.request.urlopen(url, timeout=TIMEOUT))
        except OSError as error:
            response.set_exception(error)

    threading.Thread(target=request, daemon=True).start()
    if not futures.wait([response], TIMEOUT).done:
        raise TimeoutError(f"no answer in {TIMEOUT:.0f} s")
    return response.result()
