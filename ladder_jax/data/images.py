"""Reads image files, PNG and JPEG, and masks, which are PNG, with Pillow."""

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
"""Pillow's name for the format of a file, by the end of its name."""
_INDEXED = ("1", "L", "P")
"""Pillow's names for masks: two values, grey, numbers of a palette."""
_ORIENTATION = 0x0112
"""EXIF's tag for how an image is turned; above 4 height and width are exchanged."""
_MOST_PIXELS = 2**26
"""Of an image that is scaled: 256 MiB at four bytes each."""


def is_image(path: pathlib.Path) -> bool:
    """Returns whether a file is an image to read, by its name.

    Examples:
      >>> [is_image(pathlib.Path(name)) for name in ("a.PNG", "a.jpg", "a.gif", "._a.png")]
      [True, True, False, False]
    """
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")


def is_png(path: pathlib.Path) -> bool:
    """Returns whether a file is a mask to read, by its name.

    Examples:
      >>> [is_png(pathlib.Path(name)) for name in ("a.PNG", "a.jpg", "._a.png")]
      [True, False, False]
    """
    return is_image(path) and path.suffix.lower() == ".png"


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[Any]:
    """Yields an image of which the header alone is read; a ``DataError`` says if it is none."""
    pillow = require("PIL.Image", "images are read with it", "pillow")
    form = _SUFFIXES[path.suffix.lower()]
    try:
        # What Pillow warns of, a huge image, is refused by its size before it is unpacked.
        with warnings.catch_warnings(action="ignore"), pillow.open(path, formats=(form,)) as image:
            yield image
    except DataError:
        raise
    except Exception as error:  # on corrupt bytes Pillow raises a dozen kinds
        reason = getattr(error, "strerror", None)
        raise DataError(
            f"{path}: not a {form} file, or a corrupt one{f' ({reason})' if reason else ''}."
        ) from error


def _has_exif(image: Any) -> bool:
    """Returns whether an image has EXIF in its header; of a PNG it would be read to the end."""
    return "exif" in image.info and image.format != "PNG"


def _upright_size(image: Any) -> tuple[int, int]:
    """Returns the height and width of an image as it is shown, turned as its EXIF says."""
    width, height = image.size
    turned = _has_exif(image) and image.getexif().get(_ORIENTATION, 1) > 4
    return (width, height) if turned else (height, width)


def image_shape(path: pathlib.Path) -> tuple[int, int, int]:
    """Returns the height, width and channels (1 or 3) of an image, from its header."""
    with _opened(path) as image:
        return *_upright_size(image), 3 if image.mode[:1] in "CPR" else 1  # CMYK, P, RGB, RGBA


def as_image(name: str, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Returns the height, width and channels of an example in training.

    Raises:
      DataError: it was no image; ``name`` is that of the images that were to be like it.

    Examples:
      >>> as_image("new", (28, 28)), as_image("new", (32, 32, 3))
      ((28, 28, 1), (32, 32, 3))
    """
    image = (*shape, 1) if len(shape) == 2 else shape
    if len(image) != 3 or image[2] not in MODES:
        raise DataError(f"{name}: images, but in training an example was {shape}, no image.")
    return image


def _verify(path: pathlib.Path, size: tuple[int, int] | None, like: str) -> None:
    """Checks the height and width of an image, any up to a limit if None, and its checksums."""
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
        image.verify()  # it cannot be read afterwards


def read_image(
    path: pathlib.Path, shape: tuple[int, ...], like: str = "as in training", fit: bool = False
) -> np.ndarray:
    """Reads the bytes of an image, ``[height, width, channels]``, grey or coloured as asked for.

    A JPEG is turned as its EXIF says, as it is by programs that show it.

    Args:
      path: of the file.
      shape: that it must have.
      like: says why, in messages.
      fit: whether an image of another size is scaled to fill the height and width, and what
        sticks out is cropped on both sides alike.

    Raises:
      DataError: it is missing, corrupt, of another size, of 16 bits, or transparent; or it has
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
    """Checks that its pixels are bytes, and that none is transparent where that would be lost."""
    if image.mode.startswith("I"):
        raise DataError(f"{path}: 16 bits per pixel; write it with 8.")
    if channels != 4 and image.has_transparency_data:
        least, _ = image.convert("RGBA").getchannel("A").getextrema()
        if least < 255:
            raise DataError(f"{path}: has transparent pixels; put it on a background first.")


def read_mask(path: pathlib.Path, height: int, width: int) -> np.ndarray:
    """Reads the bytes of a mask, ``[height, width]``: numbers of its palette, or grey values.

    Raises:
      DataError: it is missing, corrupt, of another size, or has colours.
    """
    _verify(path, (height, width), "as its image")
    with _opened(path) as image:
        if image.mode not in _INDEXED:
            raise DataError(
                f"{path}: a mask of mode {image.mode}; write class numbers from 0, 255 for none, "
                "as 8 bits grey or with a palette, not colours."
            )
        return np.asarray(image).astype(np.uint8)
