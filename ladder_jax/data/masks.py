"""The colours of classes, and masks written as PNG files in them."""

from __future__ import annotations

import colorsys
import pathlib
from typing import Any

import numpy as np

from ladder_jax.data.base import require
from ladder_jax.data.labels import NO_LABEL
from ladder_jax.errors import DataError

NO_CLASS = 255
"""What a mask of bytes holds where there is no label."""

_FIRST = (
    *("4878a8", "d87800", "00ffff", "600018", "f0ff90", "6000a8"),
    *("c060ff", "a81800", "6000ff", "003060", "f0c0a8", "a8ff00"),
)
"""A dozen, and grey, that the colour-blind tell apart: 28 or more in CIELAB for all of them."""
_VOID = (128, 128, 128)


def _palette() -> np.ndarray:
    """Makes the colours: those of ``_FIRST``, then hues that turn by the golden ratio."""
    palette = np.zeros((256, 3), np.uint8)
    for i in range(NO_CLASS):
        value = 1.0 - 0.25 * (i % 3)
        palette[i] = np.round(255 * np.array(colorsys.hsv_to_rgb(i * 0.618034 % 1, 0.7, value)))
    palette[: len(_FIRST)] = [tuple(bytes.fromhex(color)) for color in _FIRST]
    palette[NO_CLASS] = _VOID
    return palette


PALETTE = _palette()
"""The colour of each class, bytes ``[256, 3]``; the last is that of no label."""


def check_classes(classes: int) -> None:
    """Checks that so many classes have a number in a mask of bytes.

    Raises:
      DataError: they have not.
    """
    if classes > NO_CLASS:
        raise DataError(
            f"masks of {classes} classes, but a PNG mask holds {NO_CLASS}; predict with "
            "ladder_jax.load(FOLDER).predict."
        )


def as_bytes(mask: np.ndarray) -> np.ndarray:
    """Returns a mask as bytes, 255 where it has no label.

    Examples:
      >>> as_bytes(np.array([[0, 3, -1]])).tolist()
      [[0, 3, 255]]
    """
    return np.where(mask == NO_LABEL, NO_CLASS, mask).astype(np.uint8)


def colored(mask: np.ndarray) -> np.ndarray:
    """Returns the colours of a mask ``[..., height, width]``, bytes ``[..., height, width, 3]``."""
    colors: np.ndarray = PALETTE[as_bytes(mask)]
    return colors


def hex_color(number: int) -> str:
    """Returns the colour of a class as a page of HTML takes it.

    Examples:
      >>> hex_color(0)
      '#4878a8'
    """
    return f"#{PALETTE[number].tobytes().hex()}"


def blend(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Lays the colours of a mask over its image, half and half.

    Args:
      image: ``[height, width, channels]`` from 0 to 1, grey or coloured.
      mask: ``[height, width]``, classes; where there is none, the image stays as it is.

    Returns:
      Bytes ``[height, width, 3]``.

    Examples:
      >>> blend(np.ones((1, 2, 1)), np.array([[0, -1]])).tolist()
      [[[164, 188, 212], [255, 255, 255]]]
    """
    shades = 255 * np.broadcast_to(image[..., :3], (*mask.shape, 3))
    mixed = np.where((mask == NO_LABEL)[..., None], shades, (shades + colored(mask)) / 2)
    return np.round(mixed).astype(np.uint8)


def write_png(path: pathlib.Path, pixels: np.ndarray) -> None:
    """Writes bytes as a PNG file: ``[height, width, 3]`` as colours, ``[height, width]`` as a mask.

    A mask has the numbers of its classes as those of ``PALETTE``, as ``png.read_mask`` reads
    them. All 256 colours are written: of fewer, Pillow would keep fewer bits of a number.
    """
    pillow: Any = require("PIL.Image", "PNG files are written with it", "pillow")
    image = pillow.fromarray(pixels)
    if pixels.ndim == 2:
        image.putpalette(PALETTE.tobytes())
    image.save(path, format="PNG")
