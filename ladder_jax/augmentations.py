"""Augmentations: random changes of images that leave their labels true.

The paper has none, as its ladders know nothing of images. Where rows are images, what is known of
them can be said so: a shirt stays one when it is mirrored or moved a little. Clean and noisy pass
see the same changed image, another one at each step; predictions are of images as they are.

A chain's name, as ``"flip+shift:2"``, joins those of constructors and their arguments. To add one,
decorate its constructor with ``@registered``.

Examples:
  >>> change = from_names("flip+shift:1")
  >>> change(jax.random.key(0), jnp.ones((5, 8, 8, 1))).shape
  (5, 8, 8, 1)
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ladder_jax import _checks
from ladder_jax.types import Array, Shape

Augmentation = Callable[[Array, Array], Array]
"""``(key, x [B, height, width, channels]) -> x``, of the same shape."""

AUGMENTATIONS: dict[str, Callable[..., Augmentation]] = {}
"""By the first word of their names."""
registered = _checks.registering(AUGMENTATIONS)
"""Adds an augmentation to ``AUGMENTATIONS`` by the name of its constructor."""


@registered
def flip() -> Augmentation:
    """Mirrors each image, left to right, with probability 1/2.

    Examples:
      >>> x = jnp.array([0.0, 1.0]).reshape(1, 1, 2, 1)
      >>> sorted({tuple(flip()(jax.random.key(i), x).ravel().tolist()) for i in range(9)})
      [(0.0, 1.0), (1.0, 0.0)]
    """

    def change(key: Array, x: Array) -> Array:
        turned = jax.random.bernoulli(key, shape=(x.shape[0], 1, 1, 1))
        return jnp.where(turned, x[:, :, ::-1], x)

    return change


@registered
def shift(pixels: int) -> Augmentation:
    """Moves each image by up to so many pixels up or down, and left or right.

    All moves are equally probable. What comes in at a border mirrors what is there.

    Args:
      pixels: 1 or more, and fewer than an image is high and wide.

    Examples:
      >>> x = jnp.arange(3.0).reshape(1, 1, 3, 1).repeat(3, axis=1)
      >>> moved = {tuple(shift(1)(jax.random.key(i), x)[0, 0, :, 0].tolist()) for i in range(9)}
      >>> sorted(moved)
      [(0.0, 1.0, 2.0), (1.0, 0.0, 1.0), (1.0, 2.0, 1.0)]
    """
    if not _checks.is_whole(pixels, 1):
        raise ValueError(f"shift: pixels is {pixels!r}; give a whole number, 1 or more.")

    def change(key: Array, x: Array) -> Array:
        if pixels >= min(x.shape[1:3]):
            raise ValueError(
                f"shift({pixels}): images are {x.shape[1]} x {x.shape[2]}; give fewer pixels."
            )
        wide = jnp.pad(x, ((0, 0), *((pixels, pixels),) * 2, (0, 0)), mode="reflect")
        corners = jax.random.randint(key, (x.shape[0], 2), 0, 2 * pixels + 1)

        def cut(image: Array, corner: Array) -> Array:
            return jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), x.shape[1:])

        return jax.vmap(cut)(wide, corners)

    return change


def from_names(names: str) -> Augmentation:
    """Makes the augmentation of a chain, one after another, each with a key of its own.

    Args:
      names: keys of ``AUGMENTATIONS``, each with its arguments joined by colons, joined by "+".

    Raises:
      ValueError: a name is not known, or its arguments are wrong.
    """
    chain = [_from_name(name) for name in names.split("+")]

    def change(key: Array, x: Array) -> Array:
        for number, each in enumerate(chain):
            x = each(jax.random.fold_in(key, number), x)
        return x

    return change


def _from_name(name: str) -> Augmentation:
    kind, *words = name.split(":")
    if all(word.isdigit() for word in words):
        augmentation = _checks.made(AUGMENTATIONS, kind, *map(int, words))
        if augmentation is not None:
            return augmentation
    raise ValueError(
        f"augmentation {name!r} is not known; give one of {', '.join(AUGMENTATIONS)} with its "
        "number, e.g. flip, shift:2 or flip+shift:2."
    )


def of_rows(augmentation: Augmentation, shape: Shape) -> Augmentation:
    """Makes an augmentation of rows of any shape, as dense layers take them.

    Args:
      augmentation: of images.
      shape: of an image, ``(height, width)`` or ``(height, width, channels)``.

    Examples:
      >>> of_rows(flip(), (2, 3))(jax.random.key(0), jnp.ones((4, 6))).shape
      (4, 6)
    """
    image = (*shape, 1) if len(shape) == 2 else shape

    def change(key: Array, x: Array) -> Array:
        return augmentation(key, x.reshape(-1, *image)).reshape(x.shape)

    return change
