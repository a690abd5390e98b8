"""Combination functions: how a level joins its noisy z with the signal from above.

Every one is a ``Combinator``: ``init(key, shape) -> params`` and
``apply(params, z_noisy, u) -> z_hat``. The parameters are named as in the
paper's own program.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ladder_jax.types import Array, Combinator, Params, Shape


def _constants(shape: Shape, values: dict[str, float]) -> Params:
    # value * ones, as jnp.full would give a weakly typed array.
    return {name: value * jnp.ones(shape) for name, value in values.items()}


def gaussian_moments(params: Params, u: Array) -> tuple[Array, Array]:
    """The prior's mean mu(u) and the gain v(u) of the gaussian combinator.

    Args:
      params: of ``gaussian``.
      u: ``[B, ...]``, the normalised signal from above.

    Returns:
      ``(mu, v)``, each of the shape of ``u``.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> mu, v = gaussian_moments(gaussian().init(jax.random.key(0), (2,)), jnp.ones((1, 2)))
      >>> mu.tolist(), v.tolist()
      ([[0.0, 0.0]], [[0.0, 0.0]])
    """
    p = params
    mu = p["a1"] * jax.nn.sigmoid(p["a2"] * u + p["a3"]) + p["a4"] * u + p["a5"]
    v = p["a6"] * jax.nn.sigmoid(p["a7"] * u + p["a8"]) + p["a9"] * u + p["a10"]
    return mu, v


def gaussian() -> Combinator:
    """z_hat = (z_noisy - mu(u)) v(u) + mu(u): the paper's choice (equations 2, 3).

    The best estimate if, given u, z is Gaussian. With s the logistic function::

        mu(u) = a1 s(a2 u + a3) + a4 u + a5
        v(u)  = a6 s(a7 u + a8) + a9 u + a10

    a2 = a7 = 1 at the start, the rest 0, and so z_hat = 0.

    Returns:
      A ``Combinator``.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> g = gaussian()
      >>> params = g.init(jax.random.key(0), (2,))
      >>> g.apply(params, jnp.ones((1, 2)), jnp.ones((1, 2))).tolist()
      [[0.0, 0.0]]
    """
    names = {f"a{i}": 1.0 if i in (2, 7) else 0.0 for i in range(1, 11)}

    def init(key: Array, shape: Shape) -> Params:
        del key
        return _constants(shape, names)

    def apply(params: Params, z_noisy: Array, u: Array | None) -> Array:
        assert u is not None
        mu, v = gaussian_moments(params, u)
        return (z_noisy - mu) * v + mu

    return Combinator(init, apply)


def sigmoid() -> Combinator:
    """The logistic combination, ``sig`` in the paper's own program.

    With s the logistic function and z the noisy z::

        z_hat = a1 + a2 z + a3 u + a4 z u + b1 s(c1 + c2 z + c3 u + c4 z u)

    a2 = b1 = c2 = 1 at the start, the rest 0.

    Returns:
      A ``Combinator``.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> g = sigmoid()
      >>> params = g.init(jax.random.key(0), (1,))
      >>> g.apply(params, jnp.zeros((1, 1)), jnp.zeros((1, 1))).tolist()
      [[0.5]]
    """
    names = dict.fromkeys(("a1", "a2", "a3", "a4", "b1", "c1", "c2", "c3", "c4"), 0.0)
    names |= dict.fromkeys(("a2", "b1", "c2"), 1.0)

    def init(key: Array, shape: Shape) -> Params:
        del key
        return _constants(shape, names)

    def apply(params: Params, z_noisy: Array, u: Array | None) -> Array:
        assert u is not None
        p, z = params, z_noisy
        inside: Array = p["c1"] + p["c2"] * z + p["c3"] * u + p["c4"] * z * u
        linear: Array = p["a1"] + p["a2"] * z + p["a3"] * u + p["a4"] * z * u
        curve: Array = p["b1"] * jax.nn.sigmoid(inside)
        return linear + curve

    return Combinator(init, apply)


COMBINATORS: dict[str, Callable[[], Combinator]] = {"gaussian": gaussian, "sigmoid": sigmoid}
"""By the names that configurations use."""
