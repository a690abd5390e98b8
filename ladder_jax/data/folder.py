"""Data sets in folders of images: one folder per class, or images beside their masks."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Sequence

import numpy as np

from ladder_jax.data import labels
from ladder_jax.data.arrays import from_arrays
from ladder_jax.data.base import Dataset
from ladder_jax.data.images import (
    as_image,
    image_shape,
    is_image,
    is_png,
    read_image,
    read_mask,
)
from ladder_jax.errors import DataError

IMAGES, MASKS, NAMES = "images", "masks", "classes.txt"
"""Names of the folders, and of a file with one class name per line."""
UNLABELED = "unlabeled"
"""Name of the folder, beside those of the classes, of images without a label."""

_UNREAD = (".avif", ".bmp", ".gif", ".heic", ".jfif", ".jp2", ".tif", ".tiff", ".webp")
"""Suffixes of images that are not read."""
_MISSPELT = ("unlabeled", "unlabelled")
"""Names, in any case, that a folder of images without a label is likely to be given."""
_FIRST = "as the first image; image_size=N scales them all"


def is_folder(name: str) -> bool:
    """Returns whether a data set's name is the path of a folder of images.

    Examples:
      >>> is_folder("mnist"), is_folder("mine.npz")
      (False, False)
    """
    folder = pathlib.Path(name).expanduser()
    if not name or folder.is_absolute():
        return bool(name)
    roots = [folder / "train", folder]
    return any((root / IMAGES).is_dir() or _holds_classes(root) for root in roots)


def _listed(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns what is in a folder, in the order of names, without what is hidden.

    Raises:
      DataError: the folder cannot be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}.") from error


def _folders(split: pathlib.Path) -> list[pathlib.Path]:
    """Returns the subfolders of a split in the order of their names, without hidden ones."""
    return [path for path in (_listed(split) if split.is_dir() else ()) if path.is_dir()]


def _holds_classes(split: pathlib.Path) -> bool:
    """Returns whether any subfolder of a split holds an image."""
    return any(any(map(is_image, _listed(folder))) for folder in _folders(split))


def _images_in(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the images in a folder, in the order of their names; other files are ignored.

    Raises:
      DataError: an image is of a format that is not read, so that it would be missing unnoticed.
    """
    paths = _listed(folder)
    for path in paths:
        if path.suffix.lower() in _UNREAD:
            raise DataError(f"{path}: only PNG and JPEG files are read; convert it, or remove it.")
    return list(filter(is_image, paths))


def load_folder(path: str | pathlib.Path, image_size: int = 0) -> Dataset:
    """Loads a ``Dataset`` from a folder of images, PNG or JPEG, all of one size.

    Either ``FOLDER/CLASS/NAME.png`` are the images of a class, with the classes in the order of
    their names, and ``FOLDER/unlabeled/NAME.png`` are images without a label. Or
    ``FOLDER/images/NAME.png`` are the images, and ``FOLDER/masks/NAME.png`` give the class of each
    pixel as a grey value or a palette index, 255 for no label. An image without a mask is
    unlabelled. ``FOLDER/classes.txt``, if it exists, then names the classes, one per line.

    If there is a test set, ``FOLDER/train`` and ``FOLDER/test`` are folders of this form; each
    test image needs a class or a mask.

    Args:
      path: path of the folder.
      image_size: height and width that images of classes are scaled and cropped to; 0 if all
        have the same size, which they keep.

    Raises:
      DataError: a file is missing, corrupt or not an image; an image is of another format, such
        as GIF or TIFF, or a mask is a JPEG file; images differ in size; the class of a
        test image does not occur in training; a mask has another size than its image, colours
        or a class outside the range, or would have to be scaled.
    """
    folder = pathlib.Path(path).expanduser()
    if not folder.is_dir():
        raise DataError(f"{folder}: not a folder; give one that holds images.")
    splits = [folder / split for split in ("train", "test") if (folder / split).is_dir()]
    splits = splits if (folder / "train").is_dir() else [folder]
    if len(splits) > 1 and (folder / UNLABELED).is_dir():
        raise DataError(f"{folder / UNLABELED}: move it into {splits[0]}.")
    masks = (splits[0] / IMAGES).is_dir()
    if masks and image_size:
        raise DataError(
            f"{folder}: image_size={image_size}, but masks are not scaled; leave it out, and "
            "scale images and masks before."
        )
    names = _names(folder) if masks else _classes(splits[0])
    paths = [_images(split) if masks else _of_classes(split, names) for split in splits]
    shapes = [image_shape(path) for split in paths for path in split]
    height, width = (image_size, image_size) if image_size else shapes[0][:2]
    shape = (height, width, max(channels for *_, channels in shapes))
    arrays: list[np.ndarray] = []
    for split, images in zip(splits, paths, strict=True):
        arrays.append(np.stack([read_image(p, shape, _FIRST, image_size > 0) for p in images]))
        must = split != splits[0]
        arrays.append(
            _read_masks(split, images, shape, must) if masks else _numbers(images, names, must)
        )
    kind = "pixels" if masks else "classes"
    return from_arrays(*arrays, class_names=names, name=folder.name, kind=kind)


def load_test_folder(
    path: str | pathlib.Path,
    classes: Sequence[str],
    shape: tuple[int, ...],
    kind: str = "pixels",
    fit: bool = False,
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Loads test images from ``FOLDER/test`` if it exists, else from ``FOLDER``.

    Args:
      path: path of the folder, as for ``load_folder``; each image needs a class or a mask.
      classes: names of the classes in training.
      shape: shape of a training example, ``(height, width)`` or ``(height, width, channels)``.
      kind: kind of the labels, "classes" or "pixels".
      fit: whether images of another size are scaled and cropped, as with ``image_size``.

    Returns:
      ``(x, y, class names)``: x as bytes; the names are empty if the folder gives none.

    Raises:
      DataError: as ``load_folder``, or an image does not have the training shape.
    """
    folder = pathlib.Path(path).expanduser()
    split = folder / "test" if (folder / "test").is_dir() else folder
    example_shape = as_image(f"{folder}", shape)
    images = _images(split) if kind == "pixels" else _of_classes(split, classes)
    x = np.stack([read_image(image, example_shape, fit=fit).reshape(shape) for image in images])
    if kind == "classes":
        return x, _numbers(images, classes, must=True).astype(np.int32), tuple(classes)
    y = labels.as_kind(f"{folder}", _read_masks(split, images, example_shape, must=True), kind)
    labels.check(f"{folder}", x, y, kind, len(classes))
    return x, y, tuple(_names(folder))


def _classes(split: pathlib.Path) -> list[str]:
    """Returns the names of the class folders."""
    names = [folder.name for folder in _folders(split) if folder.name != UNLABELED]
    for name in names:
        if name.lower() in _MISSPELT:
            raise DataError(f"{split / name}: would be a class; call the folder {UNLABELED}.")
    if not names:
        raise DataError(
            f"{split}: no folder in it; put the images of each class in one of its name, or all "
            f"images in {IMAGES} and their masks in {MASKS}."
        )
    return names


def _of_classes(split: pathlib.Path, names: Sequence[str]) -> list[pathlib.Path]:
    """Returns the images of all classes, and those without a label, folder by folder."""
    paths = []
    for folder in _folders(split):
        if folder.name not in (*names, UNLABELED):
            raise DataError(
                f"{folder}: not a class of the training data ({', '.join(names)}); remove it."
            )
        images = _images_in(folder)
        if not images:
            raise DataError(f"{folder}: no PNG or JPEG files in it; remove it, or put some there.")
        paths += images
    if not paths:
        raise DataError(f"{split}: no folder of images in it; make one for each class.")
    return paths


def _numbers(images: list[pathlib.Path], names: Sequence[str], must: bool) -> np.ndarray:
    """Returns the class numbers of images, ``[n]``, from the names of their folders."""
    number = {name: i for i, name in enumerate(names)}
    for image in images:
        if must and image.parent.name not in number:
            raise DataError(f"{image.parent}: images without a label; each test image needs one.")
    return np.array([number.get(image.parent.name, labels.NO_LABEL) for image in images])


def _images(split: pathlib.Path) -> list[pathlib.Path]:
    """Returns the images of a split in the order of their names."""
    folder = split / IMAGES
    paths = _images_in(folder) if folder.is_dir() else []
    if not paths:
        raise DataError(f"{folder}: no PNG or JPEG files in it, or no folder; put images there.")
    for previous, path in itertools.pairwise(paths):
        if previous.stem == path.stem:
            raise DataError(f"{path}: named as {previous.name}; give each image a name of its own.")
    return paths


def _read_masks(
    split: pathlib.Path, images: list[pathlib.Path], shape: tuple[int, ...], must: bool
) -> np.ndarray:
    """Reads the masks of images, ``[n, height, width]``; -1 everywhere if an image has none."""
    folder, stems = split / MASKS, {path.stem: row for row, path in enumerate(images)}
    masks = np.full((len(images), *shape[:2]), labels.NO_LABEL, np.int32)
    paths = _images_in(folder) if folder.is_dir() else []
    for path in paths:
        if not is_png(path):
            raise DataError(f"{path}: a JPEG file changes class numbers; write masks as PNG.")
        if path.stem not in stems:
            raise DataError(f"{path}: no image {path.stem}.png in {split / IMAGES}; remove it.")
        masks[stems[path.stem]] = read_mask(path, *shape[:2])
    unmasked = sorted(stems.keys() - {path.stem for path in paths})
    if must and unmasked:
        raise DataError(f"{folder}: no mask {unmasked[0]}.png; give one for each test image.")
    return masks


def _names(folder: pathlib.Path) -> list[str]:
    """Returns the class names in ``classes.txt``; an empty list if there is no such file."""
    path = folder / NAMES
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines() if path.exists() else []
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error}).") from error
    return [line.strip() for line in lines if line.strip()]
