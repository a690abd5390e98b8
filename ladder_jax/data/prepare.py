"""Preparing sets for ``prepared``: once, in tensorflow-datasets' own layout.

The MNIST family and CIFAR-10 are prepared without TensorFlow, from files in a
folder or fetched once, in the official order of their examples. Other sets are
left to their own builders, most of which need TensorFlow.
"""

from __future__ import annotations

import importlib.util
import pathlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ladder_jax.data import cifar, fetch, idx
from ladder_jax.data.base import DataError
from ladder_jax.data.prepared import import_tfds, is_prepared, tfds_folder

Splits = Mapping[str, tuple[np.ndarray, np.ndarray]]


def _read_mnist(folder: pathlib.Path) -> Splits:
    x_train, y_train, x_test, y_test = idx.read_all(folder)
    splits = {"train": (x_train, y_train), "test": (x_test, y_test)}
    for split, (x, y) in splits.items():
        if len(x) != len(y):
            raise DataError(f"{folder} ({split}): {len(x)} images but {len(y)} labels.")
    return splits


_READERS: dict[str, Callable[[pathlib.Path], Splits]] = {
    "mnist": _read_mnist,
    "fashion_mnist": _read_mnist,
    "kmnist": _read_mnist,
    "cifar10": cifar.read_cifar10,
}
"""The sets that need no TensorFlow: how their files are read."""

_CLASS_NAMES = {"cifar10": cifar.CLASS_NAMES}
"""Where the stock builder reads the names from a file of its own."""


def prepare(name: str, data_dir: str = "", download_dir: str = "") -> pathlib.Path:
    """Prepares a set, unless it is.

    Args:
      name: in tensorflow-datasets.
      data_dir: where to; "" for tensorflow-datasets' default.
      download_dir: the folder of the set's original files; those that are missing
        are fetched into it. "" for ``data_dir/downloads/NAME``.

    Returns:
      The folder to give as ``data_dir`` from now on.

    Raises:
      DataError: files are missing and cannot be fetched, or are wrong; the set is
        not known; or its builder needs a package that is not installed.
    """
    folder = tfds_folder(data_dir)
    if is_prepared(name, data_dir):
        return folder
    tfds = import_tfds()
    try:
        stock = tfds.builder_cls(name)
    except ValueError as error:
        raise DataError(f"dataset {name!r} is not known to tensorflow-datasets.") from error
    given = pathlib.Path(download_dir).expanduser() if download_dir else None
    if given is not None and not given.is_dir():
        raise DataError(f"{given}: not a folder; give the one that holds the files of {name}.")
    if name not in _READERS:
        _prepare_stock(tfds, stock, name, folder, given)
        return folder
    files = given or folder / "downloads" / name
    if name != "cifar10" or not cifar.is_unpacked(files):
        fetch.fetch_all(name, stock.url_infos, files)
    splits = _READERS[name](files)
    builder = _builder_class(tfds, stock, splits)(data_dir=folder, file_format="array_record")
    builder.download_and_prepare(
        download_dir=folder / "downloads",
        download_config=tfds.download.DownloadConfig(try_download_gcs=False),
    )
    return folder


def _builder_class(tfds: Any, stock: Any, splits: Splits) -> Any:
    """The stock builder, but for where its examples come from and their order.

    The examples are in memory; images are given as PIL images, which the stock
    feature encodes without TensorFlow, and are not shuffled on disk.
    """
    from PIL import Image

    class Builder(stock, skip_registration=True):  # type: ignore[misc, call-arg]
        name = stock.name

        def _info(self) -> Any:
            info = super()._info()
            if stock.name in _CLASS_NAMES:
                info.features["label"].names = list(_CLASS_NAMES[stock.name])
            return tfds.core.DatasetInfo(
                builder=self,
                description=info.description,
                features=info.features,
                supervised_keys=info.supervised_keys,
                homepage=info.homepage,
                citation=info.citation,
                disable_shuffling=True,
            )

        def _split_generators(self, dl_manager: Any) -> Any:
            return {split: self._generate_examples(split) for split in splits}

        def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
            for i, (image, label) in enumerate(zip(*splits[split], strict=True)):
                example = {"image": Image.fromarray(image), "label": int(label)}
                if "id" in self.info.features:
                    example["id"] = f"{split}_{i:05d}"
                yield i, example

    return Builder


def _prepare_stock(
    tfds: Any, stock: Any, name: str, folder: pathlib.Path, given: pathlib.Path | None
) -> None:
    """A set whose own builder does the work."""
    needs_tensorflow = hasattr(sys.modules[stock.__module__], "tf")
    if needs_tensorflow and importlib.util.find_spec("tensorflow") is None:
        raise DataError(
            f"{name} is not prepared in {folder}, and its builder needs TensorFlow: pip install "
            "tensorflow and repeat, or prepare it elsewhere and give that folder as --data_dir."
        )
    missing = [
        url
        for url, info in (stock.url_infos or {}).items()
        if given is None or not (given / (info.filename or "")).is_file()
    ]
    if missing:
        fetch.check_reachable(name, missing[0], folder)
    config = tfds.download.DownloadConfig(manual_dir=given, try_download_gcs=False)
    try:
        builder = tfds.builder(name, data_dir=folder, file_format="array_record")
        builder.download_and_prepare(download_dir=folder / "downloads", download_config=config)
    except Exception as error:  # whatever a builder of many authors raises
        reason = " ".join(str(error).split())[:300]
        kind = type(error).__name__
        raise DataError(f"{name}: its builder failed ({kind}: {reason}).") from error
