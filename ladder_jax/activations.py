"""Activations: bias, gain and nonlinearity of a level (Algorithm 1, line 8).

As in the paper's own program, the nonlinearity determines whether there is a bias (beta) and
a gain (gamma): relu needs no gain, since a gain commutes with it; linear needs neither. The
bias is added before the gain is applied: ``gamma * (z + beta)``.

To add one, decorate a function without required arguments with ``@registered``.

Examples:
  >>> [sorted(make().init((3,))) for make in (relu, sigmoid, linear)]
  [['bias'], ['bias', 'gain'], []]
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np

from ladder_jax import _checks
from ladder_jax.types import Activation, Array, Params, Shape

ACTIVATIONS: dict[str, Callable[[], Activation]] = {}
"""Activations by the names that configurations use."""
registered = _checks.registering(ACTIVATIONS)
"""Adds an activation to ``ACTIVATIONS`` under the name of the function that creates it."""


def activation(
    nonlinearity: Callable[[Array], Array],
    *,
    bias: bool = True,
    gain: bool = False,
    name: str = "custom",
) -> Activation:
    """Creates h = nonlinearity(gain * (z + bias)), with one bias and one gain per channel.

    Args:
      nonlinearity: elementwise function (softmax: over the last axis).
      bias: whether there is a bias; it starts at 0.
      gain: whether there is a gain; it starts at 1.
      name: name in the ladder's repr.

    Examples:
      >>> activation(jax.nn.tanh, gain=True).init((2,))["gain"].tolist()
      [1.0, 1.0]
    """

    def init(shape: Shape) -> Params:
        params = {}
        if bias:
            params["bias"] = jax.device_put(np.zeros(shape[-1:]))
        if gain:
            params["gain"] = jax.device_put(np.ones(shape[-1:]))
        return params

    def affine(params: Params, z: Array) -> Array:
        if bias:
            z = z + params["bias"]
        if gain:
            z = z * params["gain"]
        return z

    return Activation(init, affine, nonlinearity, name)


@registered
def relu() -> Activation:
    """Creates max(0, z + bias)."""
    return activation(jax.nn.relu, name="relu")


@registered
def leaky_relu(slope: float = 0.1) -> Activation:
    """Creates z + bias where this is positive, and slope (z + bias) elsewhere."""
    return activation(lambda x: jax.nn.leaky_relu(x, slope), name="leaky_relu")


@registered
def sigmoid() -> Activation:
    """Creates 1 / (1 + exp(-gain (z + bias)))."""
    return activation(jax.nn.sigmoid, gain=True, name="sigmoid")


@registered
def softplus() -> Activation:
    """Creates log(1 + exp(gain (z + bias)))."""
    return activation(jax.nn.softplus, gain=True, name="softplus")


def softmax(*, gain: bool = True) -> Activation:
    """Creates softmax(gain (z + bias)), the top of a classifier; ``gain`` is the paper's ``top_c``.

    Examples:
      >>> softmax(gain=False).nonlinearity(np.zeros(2)).tolist()
      [0.5, 0.5]
    """
    return activation(jax.nn.softmax, gain=gain, name="softmax")


def affine() -> Activation:
    """Creates gain (z + bias), the top of a ladder for regression.

    Examples:
      >>> sorted(affine().init((2,)))
      ['bias', 'gain']
    """
    return activation(lambda z: z, gain=True, name="affine")


@registered
def linear() -> Activation:
    """Creates h = z, without parameters."""
    return activation(lambda z: z, bias=False, name="linear")
