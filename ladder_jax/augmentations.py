"""Augmentations: random changes of images that leave their labels true.

The paper uses none, as its ladders know nothing of images. For rows that are images, augmentations
express prior knowledge: a mirrored or slightly moved shirt is still a shirt. The clean and the
noisy pass see the same augmented image, a new one at each step; predictions use images unchanged.

The name of a chain, e.g. ``"flip+shift:2"``, joins the names and arguments of constructors. To add
an augmentation, decorate its constructor with ``@registered``.

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
"""Constructors of augmentations by the first word of their names."""
registered = _checks.registering(AUGMENTATIONS)
"""Adds an augmentation to ``AUGMENTATIONS`` under the name of its constructor."""


@registered
def flip() -> Augmentation:
    """Mirrors each image, left to right, with probability 1/2.

    Examples:
      >>> x = jnp.array([0.0, 1.0]).reshape(1, 1, 2, 1)
      >>> sorted({tuple(flip()(jax.random.key(i), x).ravel().tolist()) for i in range(9)})
      [(0.0, 1.0), (1.0, 0.0)]
    """

    def augment(key: Array, x: Array) -> Array:
        mirrored = jax.random.bernoulli(key, shape=(x.shape[0], 1, 1, 1))
        return jnp.where(mirrored, x[:, :, ::-1], x)

    return augment


@registered
def shift(pixels: int) -> Augmentation:
    """Moves each image by up to ``pixels`` up or down, and left or right.

    All moves are equally probable. Pixels that enter at a border mirror those next to it.

    Args:
      pixels: maximum move, 1 or more, and less than the height and width of an image.

    Examples:
      >>> x = jnp.arange(3.0).reshape(1, 1, 3, 1).repeat(3, axis=1)
      >>> moved = {tuple(shift(1)(jax.random.key(i), x)[0, 0, :, 0].tolist()) for i in range(9)}
      >>> sorted(moved)
      [(0.0, 1.0, 2.0), (1.0, 0.0, 1.0), (1.0, 2.0, 1.0)]
    """
    _checks.check_count("shift: pixels", pixels)

    def augment(key: Array, x: Array) -> Array:
        if pixels >= min(x.shape[1:3]):
            raise ValueError(
                f"shift({pixels}): images are {x.shape[1]} x {x.shape[2]}; give fewer pixels."
            )
        padded = jnp.pad(x, ((0, 0), *((pixels, pixels),) * 2, (0, 0)), mode="reflect")
        corners = jax.random.randint(key, (x.shape[0], 2), 0, 2 * pixels + 1)

        def crop(image: Array, corner: Array) -> Array:
            return jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), x.shape[1:])

        return jax.vmap(crop)(padded, corners)

    return augment


def from_names(names: str) -> Augmentation:
    """Creates a chain of augmentations, applied in turn, each with its own key.

    Args:
      names: names of the chain, joined by "+": each a key of ``AUGMENTATIONS``, followed by its
        arguments, all joined by colons.

    Raises:
      ValueError: a name is unknown, or its arguments are wrong.
    """
    chain = [_from_name(name) for name in names.split("+")]

    def augment(key: Array, x: Array) -> Array:
        for number, stage in enumerate(chain):
            x = stage(jax.random.fold_in(key, number), x)
        return x

    return augment


def _from_name(name: str) -> Augmentation:
    kind, *arguments = name.split(":")
    if all(word.isdigit() for word in arguments):
        augmentation = _checks.made(AUGMENTATIONS, kind, *map(int, arguments))
        if augmentation is not None:
            return augmentation
    raise ValueError(
        f"augmentation {name!r} is not known; give one of {', '.join(AUGMENTATIONS)} with its "
        "number, e.g. flip, shift:2 or flip+shift:2."
    )


def of_rows(augmentation: Augmentation, shape: Shape) -> Augmentation:
    """Creates an augmentation of images stored as rows of any shape, e.g. for dense layers.

    Args:
      augmentation: augmentation of images.
      shape: shape of an image, ``(height, width)`` or ``(height, width, channels)``.

    Examples:
      >>> of_rows(flip(), (2, 3))(jax.random.key(0), jnp.ones((4, 6))).shape
      (4, 6)
    """
    image = (*shape, 1) if len(shape) == 2 else shape

    def augment(key: Array, x: Array) -> Array:
        return augmentation(key, x.reshape(-1, *image)).reshape(x.shape)

    return augment
