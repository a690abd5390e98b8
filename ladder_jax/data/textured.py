"""Handwritten digits that differ from the ground only in texture, with a class per pixel."""

from __future__ import annotations

import functools

import numpy as np

from ladder_jax.data.arrays import from_arrays
from ladder_jax.data.base import Dataset

GROUND = 10
"""Class of the pixels of the ground; the class of a digit's pixels is the digit."""

_MOST_DIGITS = 3
"""Maximum number of digits in an image; the minimum is 2."""
_HEIGHTS = 0.45, 0.6
"""Minimum and maximum height of a digit, as fractions of the image's height."""
_WIDEST = 1.25
"""Maximum width of a digit, as a multiple of its height."""
_TRIES = 12
"""Maximum number of places tried for a digit, until it covers no other."""
_PERIODS = 2.6, 3.6
"""Minimum and maximum period of the stripes, in pixels."""
_TURN = np.pi / 8
"""Maximum tilt of stripes, from vertical in a ground and from horizontal in a digit, in radians."""


def textured_digits(
    digits: Dataset, train: int = 2000, test: int = 500, size: int = 32, seed: int = 0
) -> Dataset:
    """Makes images of striped digits on striped grounds.

    All stripes have the same brightness. Each digit and each ground has its own period,
    phase and direction of stripes: vertical in a ground and horizontal in a digit, within
    22.5 degrees.

    Args:
      digits: images ``[n, height, width, 1]`` from 0 to 1; test images show digits of its
        test set.
      train: number of training images.
      test: number of test images.
      size: height and width of an image.
      seed: seed of all random choices.

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
        _paint(np.asarray(images), classes, count, size, np.random.default_rng([seed, split]))
        for split, (images, classes, count) in enumerate(sets)
    )
    names = (*map(str, range(GROUND)), "ground")
    return from_arrays(x, y, x_test, y_test, class_names=names, name="textured_digits")


def _paint(
    digits: np.ndarray, classes: np.ndarray, count: int, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns images, bytes ``[count, size, size, 1]``, and the class of each pixel."""
    layers = np.zeros((count, size, size), np.int64)  # 0 is the ground
    class_of = np.full((count, _MOST_DIGITS + 1), GROUND)
    low, high = (round(part * size) for part in _HEIGHTS)
    for image, classes_of_layers in zip(layers, class_of, strict=True):
        for layer in range(1, rng.integers(2, _MOST_DIGITS + 1) + 1):
            row = rng.integers(len(digits))
            classes_of_layers[layer] = classes[row]
            covered = _covered(digits[row, ..., 0], int(rng.integers(low, high + 1)))
            _place(image, covered, layer, rng)
    return _stripes(layers, rng), _of_pixels(class_of, layers)


def _of_pixels(values: np.ndarray, layers: np.ndarray) -> np.ndarray:
    """Returns the value of each pixel's layer; values are ``[n, layers]``."""
    flat = np.take_along_axis(values, layers.reshape(len(layers), -1), 1)
    return flat.reshape(layers.shape)


def _covered(digit: np.ndarray, height: int) -> np.ndarray:
    """Returns which pixels a digit covers, without its margins, when scaled to a height."""
    ink = digit > digit.max() / 4
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    digit = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    tall, wide = digit.shape
    width = max(3, min(round(height * wide / tall), int(_WIDEST * height)))
    resized = _interpolation(height, tall) @ digit @ _interpolation(width, wide).T
    covered: np.ndarray = resized > 0.45 * digit.max()
    return covered


@functools.cache
def _interpolation(size_out: int, size_in: int) -> np.ndarray:
    """Returns the matrix ``[size_out, size_in]`` of linear interpolation between pixel centres."""
    positions = ((np.arange(size_out) + 0.5) * size_in / size_out - 0.5).clip(0, size_in - 1)
    matrix: np.ndarray = np.maximum(0, 1 - np.abs(positions[:, None] - np.arange(size_in)))
    return matrix


def _place(image: np.ndarray, covered: np.ndarray, layer: int, rng: np.random.Generator) -> None:
    """Adds a layer at the place, of those tried, where it hides the fewest pixels of the others."""
    tall, wide = covered.shape
    fewest, best = covered.size + 1, image[:tall, :wide]
    for top, left in rng.integers(0, np.array(image.shape) - covered.shape + 1, (_TRIES, 2)):
        window = image[top : top + tall, left : left + wide]
        hidden = int(np.count_nonzero(window[covered]))
        if hidden < fewest:
            fewest, best = hidden, window
        if not hidden:
            break
    best[covered] = layer


def _stripes(layers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns images, bytes ``[n, size, size, 1]``, in which each layer has its own stripes."""
    shape, pixel = (len(layers), _MOST_DIGITS + 1), np.arange(layers.shape[1])
    turn = rng.uniform(-_TURN, _TURN, shape) + np.pi / 2 * (np.arange(_MOST_DIGITS + 1) > 0)
    rate = 2 * np.pi / rng.uniform(*_PERIODS, shape)
    across, down = _of_pixels(rate * np.cos(turn), layers), _of_pixels(rate * np.sin(turn), layers)
    phase = _of_pixels(rng.uniform(0, 2 * np.pi, shape), layers)
    wave = np.cos(across * pixel + down * pixel[:, None] + phase)
    image = 127.5 + 100 * wave + rng.normal(0, 12, layers.shape)
    pixels: np.ndarray = np.rint(image).clip(0, 255).astype(np.uint8)
    return pixels[..., None]
