"""A data set that is a folder of PNG images beside a folder of their masks."""

from __future__ import annotations

import itertools
import pathlib

import numpy as np

from ladder_jax.data import labels
from ladder_jax.data.arrays import from_arrays
from ladder_jax.data.base import Dataset
from ladder_jax.data.png import is_png, png_shape, read_mask, read_png
from ladder_jax.errors import DataError

IMAGES, MASKS, NAMES = "images", "masks", "classes.txt"
"""Names of the folders, and of a file with the name of one class per line."""

_FIRST = "as the first image"


def is_folder(name: str) -> bool:
    """Returns whether a data set is named by the path of such a folder.

    Examples:
      >>> is_folder("mnist"), is_folder("mine.npz")
      (False, False)
    """
    folder = pathlib.Path(name).expanduser()
    inside = (folder / IMAGES, folder / "train" / IMAGES)
    return bool(name) and (folder.is_absolute() or any(path.is_dir() for path in inside))


def load_folder(path: str | pathlib.Path) -> Dataset:
    """Loads a ``Dataset`` from a folder of images and masks.

    ``FOLDER/images/NAME.png`` are the images, all of one size, grey or coloured, and
    ``FOLDER/masks/NAME.png`` the class of each pixel, for those that have one: grey values
    or the numbers of a palette, 255 where there is no label. An image without a mask is
    unlabelled. With a test set these are ``FOLDER/train/images``, ``FOLDER/train/masks``,
    ``FOLDER/test/images`` and ``FOLDER/test/masks``, and each test image has a mask.
    ``FOLDER/classes.txt``, if there is one, names the classes, one per line.

    Raises:
      DataError: a file is missing, corrupt or has no image; a mask has another size,
        colours or a class outside the range.
    """
    folder = pathlib.Path(path).expanduser()
    if not folder.is_dir():
        raise DataError(f"{folder}: not a folder; give one that holds {IMAGES} and {MASKS}.")
    splits = [folder / split for split in ("train", "test") if (folder / split).is_dir()]
    splits = splits if (folder / "train").is_dir() else [folder]
    paths = [_images(split) for split in splits]
    every = [png_shape(path) for split in paths for path in split]
    shape = (*every[0][:2], max(channels for *_, channels in every))
    arrays: list[np.ndarray] = []
    for split, found in zip(splits, paths, strict=True):
        arrays.append(np.stack([read_png(path, shape, _FIRST) for path in found]))
        arrays.append(_read_masks(split, found, shape, must=split.name == "test"))
    return from_arrays(*arrays, class_names=_names(folder), name=folder.name, kind="pixels")


def load_test_folder(
    path: str | pathlib.Path, classes: int, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Loads images and masks to test on from ``FOLDER/test``, or else from ``FOLDER``.

    Args:
      path: of the folder, as ``load_folder`` takes it; each image has a mask.
      classes: how many there are.
      shape: of an image in training, ``(height, width, channels)``.

    Returns:
      ``(x, y, class names)``, x as bytes, no names where it has none.

    Raises:
      DataError: as ``load_folder``, or an image has another shape than in training.
    """
    folder = pathlib.Path(path).expanduser()
    split = folder / "test" if (folder / "test").is_dir() else folder
    images = _images(split)
    x = np.stack([read_png(image, shape) for image in images])
    y = labels.as_kind(f"{folder}", _read_masks(split, images, shape, must=True), "pixels")
    labels.check(f"{folder}", x, y, "pixels", classes)
    return x, y, tuple(_names(folder))


def _images(split: pathlib.Path) -> list[pathlib.Path]:
    """Returns the images of a split in the order of their names."""
    folder = split / IMAGES
    found = sorted(path for path in folder.iterdir() if is_png(path)) if folder.is_dir() else []
    if not found:
        raise DataError(f"{folder}: no PNG files in it, or no folder; put the images there.")
    for one, other in itertools.pairwise(found):
        if one.stem == other.stem:
            raise DataError(f"{other}: named as {one.name}; give each image a name of its own.")
    return found


def _read_masks(
    split: pathlib.Path, images: list[pathlib.Path], shape: tuple[int, ...], must: bool
) -> np.ndarray:
    """Reads the masks of images, ``[n, height, width]``; no label where there is none."""
    folder, stems = split / MASKS, {path.stem: row for row, path in enumerate(images)}
    masks = np.full((len(images), *shape[:2]), labels.NO_LABEL, np.int32)
    paths = sorted(path for path in folder.iterdir() if is_png(path)) if folder.is_dir() else []
    for path in paths:
        if path.stem not in stems:
            raise DataError(f"{path}: no image {path.stem}.png in {split / IMAGES}; remove it.")
        masks[stems[path.stem]] = read_mask(path, *shape[:2])
    bare = sorted(stems.keys() - {path.stem for path in paths})
    if must and bare:
        raise DataError(f"{folder}: no mask {bare[0]}.png; give one for each test image.")
    return masks


def _names(folder: pathlib.Path) -> list[str]:
    """Returns the names of the classes, none where there is no file of them."""
    path = folder / NAMES
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines() if path.exists() else []
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error}).") from error
    return [line.strip() for line in lines if line.strip()]
