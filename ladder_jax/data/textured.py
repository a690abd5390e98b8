"""Handwritten digits that nothing but their texture tells from the ground, a class per pixel."""

from __future__ import annotations

import functools

import numpy as np

from ladder_jax.data.arrays import from_arrays
from ladder_jax.data.base import Dataset

GROUND = 10
"""The class of a pixel of the ground; that of a pixel of a digit is the digit."""

_MOST = 3
"""Digits in an image: two or three."""
_HEIGHTS = 0.45, 0.6
"""The least and the largest height of a digit, in parts of the image's."""
_WIDEST = 1.25
"""The most that a digit's width may be, in heights."""
_TRIES = 12
"""Places that are tried for a digit, until it covers no other."""
_PERIODS = 2.6, 3.6
"""Pixels from stripe to stripe."""
_TURN = np.pi / 8
"""How far the stripes of a ground may turn from upright, and those of a digit from level."""


def textured_digits(
    digits: Dataset, train: int = 2000, test: int = 500, size: int = 32, seed: int = 0
) -> Dataset:
    """Makes images in which striped digits lie on striped grounds.

    The stripes of all have the same brightness, those of each digit and of each ground
    a period, a phase and a direction of their own: upright in a ground and level in a
    digit, give or take 22.5 degrees.

    Args:
      digits: images ``[n, height, width, 1]`` of 0 to 1; test images show those of its
        test set.
      train: how many training images.
      test: how many test images.
      size: the height and the width of an image.
      seed: decides everything.

    Returns:
      Images ``[n, size, size, 1]`` with the class of each pixel: the digit, or ``GROUND``.

    Examples:
      >>> from ladder_jax.data.named import load_digits
      >>> few = textured_digits(load_digits(), train=20, test=2)
      >>> few.x_train.shape, few.y_test.shape, few.class_names[GROUND]
      ((20, 32, 32, 1), (2, 32, 32), 'ground')
    """
    sets = (digits.x_train, digits.y_train, train), (digits.x_test, digits.y_test, test)
    (x, y), (x_test, y_test) = (
        _paint(np.asarray(shown), classes, count, size, np.random.default_rng([seed, split]))
        for split, (shown, classes, count) in enumerate(sets)
    )
    names = (*map(str, range(GROUND)), "ground")
    return from_arrays(x, y, x_test, y_test, class_names=names, name="textured_digits")


def _paint(
    digits: np.ndarray, classes: np.ndarray, count: int, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns images, bytes ``[count, size, size, 1]``, and the class of each pixel."""
    layers = np.zeros((count, size, size), np.int64)  # 0 is the ground
    class_of = np.full((count, _MOST + 1), GROUND)
    low, high = (round(part * size) for part in _HEIGHTS)
    for image, classes_of_layers in zip(layers, class_of, strict=True):
        for layer in range(1, rng.integers(2, _MOST + 1) + 1):
            row = rng.integers(len(digits))
            classes_of_layers[layer] = classes[row]
            covered = _covered(digits[row, ..., 0], int(rng.integers(low, high + 1)))
            _place(image, covered, layer, rng)
    return _stripes(layers, rng), _of_pixels(class_of, layers)


def _of_pixels(values: np.ndarray, layers: np.ndarray) -> np.ndarray:
    """Returns for each pixel the value of its layer; values are ``[n, layers]``."""
    flat = np.take_along_axis(values, layers.reshape(len(layers), -1), 1)
    return flat.reshape(layers.shape)


def _covered(digit: np.ndarray, height: int) -> np.ndarray:
    """Returns which pixels a digit covers, without its margins, when it is of a height."""
    ink = digit > digit.max() / 4
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    digit = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    tall, wide = digit.shape
    width = max(3, min(round(height * wide / tall), int(_WIDEST * height)))
    resized = _interpolation(height, tall) @ digit @ _interpolation(width, wide).T
    covered: np.ndarray = resized > 0.45 * digit.max()
    return covered


@functools.cache
def _interpolation(out: int, given: int) -> np.ndarray:
    """Returns the matrix ``[out, given]`` of linear interpolation between pixels' centres."""
    at = ((np.arange(out) + 0.5) * given / out - 0.5).clip(0, given - 1)
    matrix: np.ndarray = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(given)))
    return matrix


def _place(image: np.ndarray, covered: np.ndarray, layer: int, rng: np.random.Generator) -> None:
    """Adds a layer where, of the places tried, it hides least of the others."""
    tall, wide = covered.shape
    least, best = covered.size + 1, image[:tall, :wide]
    for top, left in rng.integers(0, np.array(image.shape) - covered.shape + 1, (_TRIES, 2)):
        window = image[top : top + tall, left : left + wide]
        hidden = int(np.count_nonzero(window[covered]))
        if hidden < least:
            least, best = hidden, window
        if not hidden:
            break
    best[covered] = layer


def _stripes(layers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns images, bytes ``[n, size, size, 1]``: each layer has stripes of its own."""
    drawn, place = (len(layers), _MOST + 1), np.arange(layers.shape[1])
    turn = rng.uniform(-_TURN, _TURN, drawn) + np.pi / 2 * (np.arange(_MOST + 1) > 0)
    pace = 2 * np.pi / rng.uniform(*_PERIODS, drawn)
    across, down = _of_pixels(pace * np.cos(turn), layers), _of_pixels(pace * np.sin(turn), layers)
    phase = _of_pixels(rng.uniform(0, 2 * np.pi, drawn), layers)
    wave = np.cos(across * place + down * place[:, None] + phase)
    image = 127.5 + 100 * wave + rng.normal(0, 12, layers.shape)
    pixels: np.ndarray = np.rint(image).clip(0, 255).astype(np.uint8)
    return pixels[..., None]
