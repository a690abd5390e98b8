"""Reads images (PNG or JPEG) and masks (PNG) with Pillow."""

from __future__ import annotations

import contextlib
import pathlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from ladder_jax.data.base import MODES, require
from ladder_jax.errors import DataError

_SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
"""Pillow's format name for each file suffix."""
_INDEXED = ("1", "L", "P")
"""Pillow's modes for masks: two values, grey, palette indices."""
_ORIENTATION = 0x0112
"""EXIF tag of the orientation."""
_TURNED = range(5, 9)
"""Orientations that swap height and width; 1 to 4 do not, and others are ignored."""
_MOST_PIXELS = 2**26
"""Maximum number of pixels of an image to be scaled: 256 MiB at four bytes each."""


def is_image(path: pathlib.Path) -> bool:
    """Returns whether a file's name is that of an image to read.

    Examples:
      >>> [is_image(pathlib.Path(name)) for name in ("a.PNG", "a.jpg", "a.gif", "._a.png")]
      [True, True, False, False]
    """
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")


def is_png(path: pathlib.Path) -> bool:
    """Returns whether a file's name is that of a mask to read.

    Examples:
      >>> [is_png(pathlib.Path(name)) for name in ("a.PNG", "a.jpg", "._a.png")]
      [True, False, False]
    """
    return is_image(path) and path.suffix.lower() == ".png"


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[Any]:
    """Yields an image with only its header read; a ``DataError`` says if it is not an image."""
    pillow = require("PIL.Image", "images are read with it", "pillow")
    kind = _SUFFIXES[path.suffix.lower()]
    try:
        # Pillow warns of huge images; these are refused by their size before they are decoded.
        with warnings.catch_warnings(action="ignore"), pillow.open(path, formats=(kind,)) as image:
            yield image
    except DataError:
        raise
    except Exception as error:  # on corrupt bytes Pillow raises a dozen types
        reason = getattr(error, "strerror", None)
        raise DataError(
            f"{path}: not a {kind} file, or a corrupt one{f' ({reason})' if reason else ''}."
        ) from error


def _has_exif(image: Any) -> bool:
    """Returns whether an image has EXIF in its header; a PNG would be read to the end for it."""
    return "exif" in image.info and image.format != "PNG"


def _upright_size(image: Any) -> tuple[int, int]:
    """Returns the height and width of an image as displayed, after its EXIF orientation."""
    width, height = image.size
    turned = _has_exif(image) and image.getexif().get(_ORIENTATION, 1) in _TURNED
    return (width, height) if turned else (height, width)


def image_shape(path: pathlib.Path) -> tuple[int, int, int]:
    """Returns the height, width and channels (1 or 3) of an image, from its header."""
    with _opened(path) as image:
        return *_upright_size(image), 3 if image.mode[:1] in "CPR" else 1  # CMYK, P, RGB, RGBA


def as_image(name: str, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Returns the height, width and channels of a training example of the given shape.

    Raises:
      DataError: it is not an image; the message begins with ``name``, that of the new images.

    Examples:
      >>> as_image("new", (28, 28)), as_image("new", (32, 32, 3))
      ((28, 28, 1), (32, 32, 3))
    """
    image = (*shape, 1) if len(shape) == 2 else shape
    if len(image) != 3 or image[2] not in MODES:
        raise DataError(f"{name}: images, but in training an example was {shape}, no image.")
    return image


def _verify(path: pathlib.Path, size: tuple[int, int] | None, like: str) -> None:
    """Checks an image's checksums and its height and width; if ``size`` is None, only a limit."""
    with _opened(path) as image:
        height, width = _upright_size(image)
        if size is None and width * height > _MOST_PIXELS:
            raise DataError(
                f"{path}: {height} x {width} pixels; scale it to {_MOST_PIXELS} pixels or fewer."
            )
        if size is not None and (height, width) != size:
            raise DataError(
                f"{path}: {height} x {width} pixels; wanted {size[0]} x {size[1]}, {like}."
            )
        image.verify()  # the image cannot be read afterwards


def read_image(
    path: pathlib.Path, shape: tuple[int, ...], like: str = "as in training", fit: bool = False
) -> np.ndarray:
    """Reads an image as bytes ``[height, width, channels]``, in grey or colour as required.

    A JPEG is rotated according to its EXIF, as image viewers do.

    Args:
      path: path of the file.
      shape: required shape, ``(height, width, channels)``.
      like: reason for that size, for messages.
      fit: whether an image of another size is scaled to fill the height and width, and
        cropped equally on both sides where it exceeds them.

    Raises:
      DataError: the image is missing, corrupt, of another size, 16-bit or transparent, or has
        too many pixels to be scaled.
    """
    height, width, channels = shape
    _verify(path, None if fit else (height, width), like)
    with _opened(path) as image:
        _check_kind(path, image, channels)
        from PIL import ImageOps

        upright = ImageOps.exif_transpose(image) if _has_exif(image) else image
        pixels = upright.convert(MODES[channels])
        if pixels.size != (width, height):
            pixels = ImageOps.fit(pixels, (width, height))
        return np.asarray(pixels).reshape(shape)


def _check_kind(path: pathlib.Path, image: Any, channels: int) -> None:
    """Checks that pixels are bytes, and that conversion to ``channels`` loses no transparency."""
    if image.mode.startswith("I"):
        raise DataError(f"{path}: 16 bits per pixel; write it with 8.")
    if channels != 4 and image.has_transparency_data:
        lowest_alpha, _ = image.convert("RGBA").getchannel("A").getextrema()
        if lowest_alpha < 255:
            raise DataError(f"{path}: has transparent pixels; put it on a background first.")


def _bits(path: pathlib.Path) -> int:
    """Returns the number of bits per channel of a PNG file, from its header."""
    with path.open("rb") as file:
        return file.read(25)[24]


def read_mask(path: pathlib.Path, height: int, width: int) -> np.ndarray:
    """Reads a mask as bytes ``[height, width]``: its palette indices or grey values.

    Raises:
      DataError: the mask is missing, corrupt, of another size, has colours, or has grey values of
        2 or 4 bits, which Pillow multiplies so that the largest is 255.
    """
    _verify(path, (height, width), "as its image")
    with _opened(path) as image:
        if image.mode not in _INDEXED:
            raise DataError(
                f"{path}: a mask of mode {image.mode}; write class numbers from 0, 255 for none, "
                "as 8 bits grey or with a palette, not colours."
            )
        if image.mode == "L" and (bits := _bits(path)) < 8:
            raise DataError(f"{path}: grey values of {bits} bits; write them with 8.")
        return np.asarray(image).astype(np.uint8)
