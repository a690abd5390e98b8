"""Class colours, and masks written as PNG files in these colours."""

from __future__ import annotations

import colorsys
import pathlib
from typing import Any

import numpy as np

from ladder_jax.data.base import require
from ladder_jax.data.labels import NO_LABEL
from ladder_jax.errors import DataError

NO_CLASS = 255
"""Value of a byte mask where there is no label."""

_FIRST = (
    *("4878a8", "d87800", "00ffff", "600018", "f0ff90", "6000a8"),
    *("c060ff", "a81800", "6000ff", "003060", "f0c0a8", "a8ff00"),
)
"""Twelve colours that, like grey, all colour-blind people tell apart: 28 or more in CIELAB."""
_VOID = (128, 128, 128)


def _palette() -> np.ndarray:
    """Makes the palette: the colours of ``_FIRST``, then hues that turn by the golden ratio."""
    palette = np.zeros((256, 3), np.uint8)
    for i in range(NO_CLASS):
        value = 1.0 - 0.25 * (i % 3)
        palette[i] = np.round(255 * np.array(colorsys.hsv_to_rgb(i * 0.618034 % 1, 0.7, value)))
    palette[: len(_FIRST)] = [tuple(bytes.fromhex(color)) for color in _FIRST]
    palette[NO_CLASS] = _VOID
    return palette


PALETTE = _palette()
"""Colours of the classes, bytes ``[256, 3]``; the last one means no label."""


def check_classes(classes: int) -> None:
    """Checks that a byte mask can hold this many classes.

    Raises:
      DataError: there are too many.
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
    """Returns the colour of a class in HTML notation.

    Examples:
      >>> hex_color(0)
      '#4878a8'
    """
    return f"#{PALETTE[number].tobytes().hex()}"


def blend(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Blends the colours of a mask with its image, half and half.

    Args:
      image: grey or colour values from 0 to 1, ``[height, width, channels]``.
      mask: classes ``[height, width]``; where it has no label, the image is left unchanged.

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

    The class numbers of a mask are indices into ``PALETTE``, as ``images.read_mask`` reads them.
    All 256 colours are written: with fewer, Pillow would store fewer bits per index.
    """
    pillow: Any = require("PIL.Image", "PNG files are written with it", "pillow")
    image = pillow.fromarray(pixels)
    if pixels.ndim == 2:
        image.putpalette(PALETTE.tobytes())
    image.save(path, format="PNG")
