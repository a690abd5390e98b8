"""Combination functions: how a level joins its noisy z with the signal from above.

Every one is a ``Combinator``: ``init(key, shape) -> params`` and
``apply(params, z_noisy, u) -> z_hat``. Here are those of the paper's own program,
their parameters named as there, one a unit (or channel) each; ``mlp_combinators``
holds those of Pezeshki et al. With ``lateral=True`` a function reads z alone, and
no map leads down to its level. s is the logistic function, z the noisy z.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ladder_jax.mlp_combinators import augmented_mlp, mlp
from ladder_jax.types import Array, Combinator, Params, Shape

__all__ = [
    "COMBINATORS",
    "augmented_mlp",
    "bilinear",
    "gated_gaussian",
    "gaussian",
    "gaussian_moments",
    "identity",
    "linear",
    "mlp",
    "separate",
    "sigmoid",
    "sigmoid_without_product",
    "vertical_relu",
    "vertical_sigmoid",
]

_s = jax.nn.sigmoid


def _with_u(
    starts: dict[str, float], formula: Callable[[Params, Array, Array], Array]
) -> Combinator:
    def init(key: Array, shape: Shape) -> Params:
        del key
        # value * ones, as jnp.full would give a weakly typed array.
        return {name: value * jnp.ones(shape) for name, value in starts.items()}

    def apply(params: Params, z_noisy: Array, u: Array | None) -> Array:
        assert u is not None
        return formula(params, z_noisy, u)

    return Combinator(init, apply)


def _lateral(starts: dict[str, float], formula: Callable[[Params, Array], Array]) -> Combinator:
    init = _with_u(starts, lambda p, z, u: z).init
    return Combinator(init, lambda params, z, u: formula(params, z), uses_u=False)


def _starts(zeros: str = "", ones: str = "") -> dict[str, float]:
    return dict.fromkeys(zeros.split(), 0.0) | dict.fromkeys(ones.split(), 1.0)


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
    mu = p["a1"] * _s(p["a2"] * u + p["a3"]) + p["a4"] * u + p["a5"]
    v = p["a6"] * _s(p["a7"] * u + p["a8"]) + p["a9"] * u + p["a10"]
    return mu, v


_GAUSSIAN = _starts("a1 a3 a4 a5 a6 a8 a9 a10", "a2 a7")


def gaussian(*, lateral: bool = False) -> Combinator:
    """z_hat = (z - mu(u)) v(u) + mu(u): the paper's choice (equations 2, 3).

    The best estimate if, given u, z is Gaussian::

        mu(u) = a1 s(a2 u + a3) + a4 u + a5
        v(u)  = a6 s(a7 u + a8) + a9 u + a10

    a2 = a7 = 1 at the start, the rest 0, and so z_hat = 0. ``gauss`` in the
    original.

    Args:
      lateral: ``w1 z + b1`` instead, w1 = 1 and b1 = 0 at the start.

    Returns:
      A ``Combinator``.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> g = gaussian()
      >>> params = g.init(jax.random.key(0), (2,))
      >>> g.apply(params, jnp.ones((1, 2)), jnp.ones((1, 2))).tolist()
      [[0.0, 0.0]]
    """
    if lateral:
        return _lateral(_starts("b1", "w1"), lambda p, z: p["w1"] * z + p["b1"])

    def formula(params: Params, z: Array, u: Array) -> Array:
        mu, v = gaussian_moments(params, u)
        return (z - mu) * v + mu

    return _with_u(_GAUSSIAN, formula)


def gated_gaussian(*, lateral: bool = False) -> Combinator:
    """The gaussian with a gain from 0 to 1: z_hat = (z - mu(u)) s(v(u)) + mu(u).

    A true weighted mean of z and mu. ``gauss_stable_v`` in the original; the
    GatedGauss of Pezeshki et al. 2016 likewise puts the gain through s.
    Parameters, start and ``lateral`` as for ``gaussian``; z_hat = z / 2 at first.

    Returns:
      A ``Combinator``.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> g = gated_gaussian()
      >>> params = g.init(jax.random.key(0), (1,))
      >>> g.apply(params, jnp.ones((1, 1)), jnp.ones((1, 1))).tolist()
      [[0.5]]
    """
    if lateral:
        return gaussian(lateral=True)

    def formula(params: Params, z: Array, u: Array) -> Array:
        mu, v = gaussian_moments(params, u)
        return (z - mu) * _s(v) + mu

    return _with_u(_GAUSSIAN, formula)


def sigmoid(*, lateral: bool = False) -> Combinator:
    """z_hat = a1 + a2 z + a3 u + a4 z u + b1 s(c1 + c2 z + c3 u + c4 z u).

    a2 = b1 = c2 = 1 at the start, the rest 0. ``sig`` in the original, the vanilla
    combinator of Pezeshki et al. 2016.

    Args:
      lateral: without the terms in u.

    Returns:
      A ``Combinator``.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> g = sigmoid()
      >>> params = g.init(jax.random.key(0), (1,))
      >>> g.apply(params, jnp.zeros((1, 1)), jnp.zeros((1, 1))).tolist()
      [[0.5]]
    """
    if lateral:
        return _lateral(
            _starts("a1 c1", "a2 b1 c2"),
            lambda p, z: p["a1"] + p["a2"] * z + p["b1"] * _s(p["c1"] + p["c2"] * z),
        )

    def formula(p: Params, z: Array, u: Array) -> Array:
        inside: Array = p["c1"] + p["c2"] * z + p["c3"] * u + p["c4"] * z * u
        linear: Array = p["a1"] + p["a2"] * z + p["a3"] * u + p["a4"] * z * u
        curve: Array = p["b1"] * _s(inside)
        return linear + curve

    return _with_u(_starts("a1 a3 a4 c1 c3 c4", "a2 b1 c2"), formula)


def sigmoid_without_product(*, lateral: bool = False) -> Combinator:
    """z_hat = a1 + a2 z + a3 u + b1 s(c1 + c2 z + c3 u): ``sigmoid`` without z u.

    ``comparison_g2`` in the original; start and ``lateral`` as for ``sigmoid``.

    Returns:
      A ``Combinator``.

    Example:
      >>> import jax
      >>> len(sigmoid_without_product().init(jax.random.key(0), (1,)))
      7
    """
    if lateral:
        return sigmoid(lateral=True)

    def formula(p: Params, z: Array, u: Array) -> Array:
        curve: Array = p["b1"] * _s(p["c1"] + p["c2"] * z + p["c3"] * u)
        linear: Array = p["a1"] + p["a2"] * z + p["a3"] * u
        return linear + curve

    return _with_u(_starts("a1 a3 c1 c3", "a2 b1 c2"), formula)


def bilinear(*, lateral: bool = False) -> Combinator:
    """z_hat = a1 + a2 z + a3 u + a4 z u: ``sigmoid`` without its curve.

    a2 = 1 at the start, the rest 0. ``comparison_g3`` in the original.

    Args:
      lateral: without the terms in u.

    Returns:
      A ``Combinator``.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> g = bilinear()
      >>> g.apply(g.init(jax.random.key(0), (1,)), 2 * jnp.ones((1, 1)), jnp.ones((1, 1))).tolist()
      [[2.0]]
    """
    if lateral:
        return _lateral(_starts("a1", "a2"), lambda p, z: p["a1"] + p["a2"] * z)
    return _with_u(
        _starts("a1 a3 a4", "a2"),
        lambda p, z, u: p["a1"] + p["a2"] * z + p["a3"] * u + p["a4"] * z * u,
    )


def separate(*, lateral: bool = False) -> Combinator:
    """A curve of z plus a curve of u, without any mixing::

        z_hat = w2_lat s(b1 + w1_lat z) + w3_lat z + b2 + w2_ver s(b1 + w1_ver u) + w3_ver u

    w1 = w2 = 1 at the start, the rest 0. ``comparison_g4`` in the original, whose
    two curves share b1.

    Args:
      lateral: without the terms in u.

    Returns:
      A ``Combinator``.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> g = separate()
      >>> g.apply(g.init(jax.random.key(0), (1,)), jnp.zeros((1, 1)), jnp.zeros((1, 1))).tolist()
      [[1.0]]
    """

    def curve(p: Params, x: Array, name: str) -> Array:
        bend: Array = p[f"w2_{name}"] * _s(p["b1"] + p[f"w1_{name}"] * x)
        line: Array = p[f"w3_{name}"] * x
        return bend + line

    starts = _starts("w3_lat b1 b2", "w1_lat w2_lat")
    if lateral:
        return _lateral(starts, lambda p, z: curve(p, z, "lat") + p["b2"])
    return _with_u(
        starts | _starts("w3_ver", "w1_ver w2_ver"),
        lambda p, z, u: curve(p, z, "lat") + p["b2"] + curve(p, u, "ver"),
    )


def linear() -> Combinator:
    """z_hat = a1 z + b, lateral alone; a1 = 1 and b = 0 at the start (``lin``).

    Example:
      >>> linear().uses_u
      False
    """
    return _lateral(_starts("b", "a1"), lambda p, z: p["a1"] * z + p["b"])


def identity() -> Combinator:
    """z_hat = z, without parameters (``i`` in the original).

    Example:
      >>> import jax
      >>> identity().init(jax.random.key(0), (3,))
      {}
    """
    return _lateral({}, lambda p, z: z)


def vertical_relu() -> Combinator:
    """z_hat = max(0, u + b), vertical alone; b = 0 at the start (``relu``).

    Example:
      >>> import jax
      >>> sorted(vertical_relu().init(jax.random.key(0), (3,)))
      ['b']
    """
    return _with_u(_starts("b"), lambda p, z, u: jax.nn.relu(u + p["b"]))


def vertical_sigmoid() -> Combinator:
    """z_hat = s(c (u + b)), vertical alone; c = 1, b = 0 at the start (``sigmoid``).

    Example:
      >>> import jax
      >>> sorted(vertical_sigmoid().init(jax.random.key(0), (3,)))
      ['b', 'c']
    """
    return _with_u(_starts("b", "c"), lambda p, z, u: _s((u + p["b"]) * p["c"]))


COMBINATORS: dict[str, Callable[[], Combinator]] = {
    "gaussian": gaussian,
    "gated_gaussian": gated_gaussian,
    "sigmoid": sigmoid,
    "sigmoid_without_product": sigmoid_without_product,
    "bilinear": bilinear,
    "separate": separate,
    "linear": linear,
    "identity": identity,
    "vertical_relu": vertical_relu,
    "vertical_sigmoid": vertical_sigmoid,
    "gaussian_lateral": lambda: gaussian(lateral=True),
    "sigmoid_lateral": lambda: sigmoid(lateral=True),
    "bilinear_lateral": lambda: bilinear(lateral=True),
    "separate_lateral": lambda: separate(lateral=True),
    "mlp": mlp,
    "mlp_2_2": lambda: mlp((2, 2)),
    "mlp_2_2_2": lambda: mlp((2, 2, 2)),
    "augmented_mlp": augmented_mlp,
    "augmented_mlp_2_2": lambda: augmented_mlp((2, 2)),
    "augmented_mlp_2_2_2": lambda: augmented_mlp((2, 2, 2)),
    "augmented_mlp_per_unit": lambda: augmented_mlp(stddev=0.3, shared=False),
}
"""By the names that configurations use."""
