"""The ladders of the paper (Rasmus et al. 2015, section 4) by name, and others for any shape."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from ladder_jax import layers
from ladder_jax._checks import as_shape, check_count, is_whole, per_level
from ladder_jax.activations import softmax
from ladder_jax.algorithm import ladder
from ladder_jax.layers import dense, global_mean_pool, max_pool, upsample
from ladder_jax.types import Ladder, Layer, Shape

Model = Literal["full", "bottom", "gamma", "supervised"]
Labels = Literal[50, 100, 1000, "all"]

MNIST_UNITS = (1000, 500, 250, 250, 250, 10)
"""Widths of levels 1 to 6 of the paper's multi-layer perceptron."""


class Settings(NamedTuple):
    """Holds one row of the paper's tables 1 to 3.

    Attributes:
      input_shape: shape of one example.
      layers: layers of levels 1 to L.
      decoded: whether each of levels 0 to L is decoded.
      denoising_cost: weights of the denoising costs of levels 0 to L.
      noise_std: standard deviations of the noise of levels 0 to L.
      activation: activation of the levels below the top.
      top_gain: whether the softmax has a gain.
    """

    input_shape: Shape
    layers: tuple[Layer, ...]
    decoded: tuple[bool, ...]
    denoising_cost: tuple[float, ...]
    noise_std: tuple[float, ...]
    activation: str = "relu"
    top_gain: bool = True


def _build(settings: Settings) -> Ladder:
    """Builds the ladder of a table row."""
    return ladder(
        settings.input_shape,
        settings.layers,
        combinators=["gaussian" if decoded else None for decoded in settings.decoded],
        denoising_cost=settings.denoising_cost,
        noise_std=settings.noise_std,
        activation=settings.activation,
        top=softmax(gain=settings.top_gain),
    )


def _top_only(levels: int, cost: float) -> tuple[tuple[bool, ...], tuple[float, ...]]:
    """Returns ``decoded`` and ``denoising_cost`` for a decoder at the top only; cost 0: none."""
    return (False,) * (levels - 1) + (cost > 0,), (0.0,) * (levels - 1) + (cost,)


_FULL: dict[Labels, tuple[float, float, float]] = {
    50: (2000.0, 20.0, 0.1),
    100: (1000.0, 10.0, 0.1),
    1000: (2000.0, 20.0, 0.1),
    "all": (1000.0, 1.0, 0.01),
}
_BOTTOM: dict[Labels, float] = {50: 5000.0, 100: 5000.0, 1000: 2000.0, "all": 2000.0}
_GAMMA: dict[Labels, float] = {50: 0.5, 100: 0.5, 1000: 10.0, "all": 2.0}


def mnist_settings(labels: Labels = 100, model: Model = "full") -> Settings:
    """Returns one row of the paper's table for the permutation-invariant MNIST ladder.

    The paper has no bottom-only and no Gamma row for 50 labels; the settings are then those for
    100 labels.

    Args:
      labels: number of labels: 50, 100, 1000 or ``"all"``.
      model: ``"full"``, ``"bottom"`` (cost at the input only), ``"gamma"`` (decoder at the top
        only) or ``"supervised"`` (no decoder).

    Raises:
      ValueError: the table has no such row.

    Examples:
      >>> mnist_settings(100).denoising_cost
      (1000.0, 10.0, 0.1, 0.1, 0.1, 0.1, 0.1)
    """
    if labels not in _FULL:
        raise ValueError(f"labels is {labels!r}; the paper has 50, 100, 1000 and 'all'.")
    n_above = len(MNIST_UNITS)
    noise = 0.2 if labels == 1000 and model == "full" else 0.3
    if model in ("full", "bottom"):
        bottom, first, upper = _FULL[labels] if model == "full" else (_BOTTOM[labels], 0.0, 0.0)
        decoded, costs = (True,) * (n_above + 1), (bottom, first) + (upper,) * (n_above - 1)
    elif model == "gamma":
        decoded, costs = _top_only(n_above + 1, _GAMMA[labels])
    elif model == "supervised":
        noise = 0.5
        decoded, costs = _top_only(n_above + 1, 0.0)
    else:
        raise ValueError(f"model is {model!r}; wanted 'full', 'bottom', 'gamma' or 'supervised'.")
    dense_layers = tuple(map(dense, MNIST_UNITS))
    return Settings((784,), dense_layers, decoded, costs, (0.3,) + (noise,) * n_above)


def mnist_mlp(labels: Labels = 100, model: Model = "full") -> Ladder:
    """Builds the paper's permutation-invariant MNIST ladder for rows of 784 pixels in [0, 1].

    Args:
      labels: as for ``mnist_settings``.
      model: as for ``mnist_settings``.

    Examples:
      >>> mnist_mlp().shapes
      ((784,), (1000,), (500,), (250,), (250,), (250,), (10,))
    """
    return _build(mnist_settings(labels, model))


_full = functools.partial(layers.conv, padding="full")


def _valid(*sizes: tuple[int, int]) -> tuple[Layer, ...]:
    return tuple(layers.conv(channels, kernel) for channels, kernel in sizes)


_CONV_FC = (
    *_valid((1000, 26), (500, 1), (250, 1), (250, 1), (250, 1), (10, 1)),
    global_mean_pool(),
)
_CONV_SMALL = (
    *(_full(32, 5), max_pool(2)),
    *(*_valid((64, 3)), _full(64, 3), max_pool(2)),
    *_valid((128, 3), (10, 1)),
    *(global_mean_pool(), dense(10)),
)
_CONV_LARGE = (
    *(*_valid((96, 3)), _full(96, 3), _full(96, 3), max_pool(2)),
    *(*_valid((192, 3)), _full(192, 3), *_valid((192, 3)), max_pool(2)),
    *_valid((192, 3), (192, 1), (10, 1)),
    global_mean_pool(),
)
_MNIST, _CIFAR = (28, 28, 1), (32, 32, 3)

CONV: dict[str, Settings] = {
    "mnist_conv_fc": Settings(
        _MNIST, _CONV_FC, (True,) * 8, (1000.0, 10.0) + (0.1,) * 6, (0.3,) * 8
    ),
    "mnist_conv_small_gamma": Settings(_MNIST, _CONV_SMALL, *_top_only(10, 1.0), (0.3,) * 10),
    "mnist_conv_small_supervised": Settings(
        _MNIST, _CONV_SMALL, *_top_only(10, 0.0), (0.3,) + (0.45,) * 9
    ),
    "cifar10_conv_large_gamma": Settings(
        _CIFAR, _CONV_LARGE, *_top_only(13, 4.0), (0.3,) * 13, "leaky_relu", False
    ),
    "cifar10_conv_large_supervised": Settings(
        _CIFAR, _CONV_LARGE, *_top_only(13, 0.0), (0.3,) * 13, "leaky_relu", False
    ),
}
"""The convolutional ladders of the paper, by name."""


def conv(name: str) -> Ladder:
    """Builds one of the paper's convolutional ladders for images.

    Args:
      name: a key of ``CONV``.

    Raises:
      ValueError: the name is unknown.

    Examples:
      >>> conv("mnist_conv_small_gamma").shapes[-3:]
      ((6, 6, 10), (10,), (10,))
    """
    if name not in CONV:
        raise ValueError(f"name is {name!r}; known are {', '.join(CONV)}.")
    return _build(CONV[name])


def mlp(features: int, units: int | Sequence[int], **settings: object) -> Ladder:
    """Builds a ladder of dense layers.

    Args:
      features: number of features of the input.
      units: widths of levels 1 to L, the last being the number of classes; one number: no
        hidden level.
      **settings: as for ``ladder``.

    Examples:
      >>> mlp(64, [100, 10]).shapes
      ((64,), (100,), (10,))
    """
    widths = as_shape("units", units)
    return ladder((features,), [dense(n) for n in widths], **settings)  # type: ignore[arg-type]


def noise_by_depth(levels: int) -> float:
    """Returns the noise with which a ladder of any depth keeps as much of its input as the paper's.

    A level has variance 1, noise of standard deviation s adds s^2, and the next level is
    normalised again, so that 1 / (1 + s^2) of its variance comes from below. All levels together
    keep as much as seven levels with noise 0.3::

        (1 + s^2)^levels = (1 + 0.3^2)^7

    Args:
      levels: number of levels with noise, including the input and the top.

    Raises:
      ValueError: ``levels`` is not a whole number, 1 or more.

    Examples:
      >>> [round(noise_by_depth(levels), 3) for levels in (7, 22, 34)]
      [0.3, 0.167, 0.134]
    """
    if not is_whole(levels):
        raise ValueError(f"levels is {levels!r}; give how many levels have noise, at least 1.")
    paper_levels = len(MNIST_UNITS) + 1
    return math.sqrt((1.0 + 0.3**2) ** (paper_levels / levels) - 1.0)


def hourglass_layers(
    input_shape: Shape, classes: int, channels: int | Sequence[int] = (16, 32, 64), kernel: int = 3
) -> list[Layer]:
    """Makes the layers of an hourglass, to coarser scales and back, for one class per pixel.

    One convolution per scale, each followed by max pooling to half the size, leads down to the
    convolution of the coarsest scale; upsampling and one convolution per scale lead back, and a
    final 1 x 1 convolution gives the classes. The top has the height and width of the input, even
    if these are odd.

    Args:
      input_shape: shape of an image, ``(height, width, channels)``.
      classes: number of classes of a pixel.
      channels: channels of each scale, the finest first; one number: one scale.
      kernel: height and width of the kernels.

    Returns:
      Layers up to a level ``(height, width, classes)``; ``layers.to_names`` turns them into a
      ``config.encoder``.

    Examples:
      >>> hourglass_layers((27, 36, 1), 5, (8, 16), kernel=5)[:3]
      [conv:8:5:1:same, max_pool:2, conv:16:5:1:same]
      >>> hourglass_layers((27, 36, 1), 5, (8, 16), kernel=5)[3:]
      [upsample:2:27:36, conv:8:5:1:same, conv:5:1]
    """
    sizes = as_shape("input_shape", input_shape)
    if len(sizes) != 3:
        raise ValueError(f"input_shape is {input_shape!r}; give (height, width, channels).")
    check_count("classes", classes, 2)
    *finer, coarsest = (
        layers.conv(n, kernel, padding="same") for n in as_shape("channels", channels)
    )
    down: list[Layer] = []
    up: list[Layer] = []
    height, width = sizes[:2]
    for convolution in finer:
        exact = height % 2 == width % 2 == 0
        down += [convolution, max_pool(2)]
        up = [upsample(2) if exact else upsample(2, height, width), convolution, *up]
        height, width = (height + 1) // 2, (width + 1) // 2
    return [*down, coarsest, *up, layers.conv(classes, 1)]


def fully_convolutional_layers(
    classes: int,
    channels: int | Sequence[int] = 32,
    dilations: Sequence[int] = (1, 1, 2, 4),
    kernel: int = 3,
) -> list[Layer]:
    """Makes the layers of a net at full resolution, for one class per pixel.

    Growing dilations give a few convolutions a large receptive field: a pixel's class depends on
    pixels up to (kernel - 1) / 2 times the sum of the dilations away.

    Args:
      classes: number of classes of a pixel.
      channels: channels of all convolutions, or one number per convolution.
      dilations: dilation of each convolution.
      kernel: height and width of the kernels.

    Returns:
      Layers from an image of any height and width to a level ``(height, width, classes)``;
      ``layers.to_names`` turns them into a ``config.encoder``.

    Examples:
      >>> fully_convolutional_layers(5, 8, (1, 2))
      [conv:8:3:1:same, conv:8:3:1:same:2, conv:5:1]
    """
    check_count("classes", classes, 2)
    steps = as_shape("dilations", dilations)
    widths = per_level("channels", channels, len(steps), 1)
    convolutions = [
        layers.conv(n, kernel, padding="same", dilation=step)
        for n, step in zip(widths, steps, strict=True)
    ]
    return [*convolutions, layers.conv(classes, 1)]
