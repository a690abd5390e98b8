"""Combination functions: how a level joins its noisy z with the signal from above, u.

Every one is a ``Combinator``: ``init(key, shape) -> params`` and
``apply(params, z_noisy, u) -> z_hat``. The first eight are those of the paper's own
program, their parameters named as there, one per unit (or channel) each; the nets are
those of Pezeshki et al. A function of z alone (``*_lateral``) needs no map from above.
s is the logistic function, z the noisy z.

To add one, decorate a function without required arguments with ``@registered``: its
name is then a value of ``combinators=``, and the tests run over it. Its docstring is its
section of the documentation: a formula after "Makes" or "::" is typeset, and the tests
check it, and what "Start:" says, against the code.

References:
  Rasmus et al. 2015, https://arxiv.org/abs/1507.02672;
  Pezeshki et al. 2016, https://arxiv.org/abs/1511.06430.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from ladder_jax.types import Array, Combinator, Params, Shape

COMBINATORS: dict[str, Callable[[], Combinator]] = {}
"""By the names that configurations use."""

_Make = TypeVar("_Make", bound=Callable[[], Combinator])
_s = jax.nn.sigmoid


def registered(make: _Make) -> _Make:
    """Adds a combinator to ``COMBINATORS`` by the name of the function that makes it."""
    COMBINATORS[make.__name__] = make
    return make


def _with_u(
    name: str, formula: Callable[[Params, Array, Array], Array], **starts: float
) -> Combinator:
    """A combinator of z and u; ``starts`` are its parameters and their start values."""

    def init(key: Array, shape: Shape) -> Params:
        del key
        # Made by NumPy: eagerly, each shape would be compiled.
        return {name: jnp.asarray(np.full(shape, value)) for name, value in starts.items()}

    def apply(params: Params, z_noisy: Array, u: Array | None) -> Array:
        assert u is not None
        return formula(params, z_noisy, u)

    return Combinator(init, apply, name=name)


def _lateral(name: str, formula: Callable[[Params, Array], Array], **starts: float) -> Combinator:
    """A combinator of z alone."""
    init = _with_u(name, lambda p, z, u: z, **starts).init
    return Combinator(init, lambda params, z, u: formula(params, z), uses_u=False, name=name)


def gaussian_moments(params: Params, u: Array) -> tuple[Array, Array]:
    """Computes the prior's mean mu(u) and the gain v(u) of the gaussian combinator.

    Args:
      params: of ``gaussian``.
      u: ``[B, ...]``, the normalised signal from above.

    Returns:
      ``(mu, v)``, each of the shape of ``u``.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> mu, v = gaussian_moments(gaussian().init(jax.random.key(0), (2,)), jnp.ones((1, 2)))
      >>> mu.tolist(), v.tolist()
      ([[0.0, 0.0]], [[0.0, 0.0]])
    """
    p = params
    mu = p["a1"] * _s(p["a2"] * u + p["a3"]) + p["a4"] * u + p["a5"]
    v = p["a6"] * _s(p["a7"] * u + p["a8"]) + p["a9"] * u + p["a10"]
    return mu, v


def _gaussian(name: str, gain: Callable[[Array], Array]) -> Combinator:
    def formula(params: Params, z: Array, u: Array) -> Array:
        mu, v = gaussian_moments(params, u)
        return (z - mu) * gain(v) + mu

    mean = {"a1": 0.0, "a2": 1.0, "a3": 0.0, "a4": 0.0, "a5": 0.0}
    return _with_u(name, formula, **mean, a6=0.0, a7=1.0, a8=0.0, a9=0.0, a10=0.0)


@registered
def gaussian() -> Combinator:
    """Makes z_hat = (z - mu(u)) v(u) + mu(u): the paper's choice (equations 2, 3).

    The best estimate if, given u, z is Gaussian::

        mu(u) = a1 s(a2 u + a3) + a4 u + a5
        v(u)  = a6 s(a7 u + a8) + a9 u + a10

    Start: a2 = a7 = 1, the rest 0, and so z_hat = 0: the map from above has no gradient
    at the first step. ``gauss`` in the paper's program.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> g = gaussian()
      >>> params = g.init(jax.random.key(0), (2,))
      >>> g.apply(params, jnp.ones((1, 2)), jnp.ones((1, 2))).tolist()
      [[0.0, 0.0]]
    """
    return _gaussian("gaussian", lambda v: v)


@registered
def gated_gaussian() -> Combinator:
    """Makes z_hat = (z - mu(u)) s(v(u)) + mu(u): the gaussian with a gain from 0 to 1.

    A true weighted mean of z and mu. ``gauss_stable_v`` in the paper's program; the
    GatedGauss of Pezeshki et al. likewise puts the gain through s. Start: as
    ``gaussian``, and so z_hat = z / 2.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> g = gated_gaussian()
      >>> params = g.init(jax.random.key(0), (1,))
      >>> g.apply(params, jnp.ones((1, 1)), jnp.ones((1, 1))).tolist()
      [[0.5]]
    """
    return _gaussian("gated_gaussian", _s)


@registered
def sigmoid() -> Combinator:
    """Makes z_hat = a1 + a2 z + a3 u + a4 z u + b1 s(c1 + c2 z + c3 u + c4 z u).

    Start: a2 = b1 = c2 = 1, the rest 0. The paper's first version, ``sig`` in its
    program; the vanilla combinator of Pezeshki et al.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> g = sigmoid()
      >>> params = g.init(jax.random.key(0), (1,))
      >>> g.apply(params, jnp.zeros((1, 1)), jnp.zeros((1, 1))).tolist()
      [[0.5]]
    """

    def formula(p: Params, z: Array, u: Array) -> Array:
        inside: Array = p["c1"] + p["c2"] * z + p["c3"] * u + p["c4"] * z * u
        linear: Array = p["a1"] + p["a2"] * z + p["a3"] * u + p["a4"] * z * u
        curve: Array = p["b1"] * _s(inside)
        return linear + curve

    line = {"a1": 0.0, "a2": 1.0, "a3": 0.0, "a4": 0.0}
    return _with_u("sigmoid", formula, **line, b1=1.0, c1=0.0, c2=1.0, c3=0.0, c4=0.0)


@registered
def sigmoid_without_product() -> Combinator:
    """Makes z_hat = a1 + a2 z + a3 u + b1 s(c1 + c2 z + c3 u): ``sigmoid`` without z u.

    Start: as ``sigmoid``. ``comparison_g2`` in the paper's program.

    Examples:
      >>> import jax
      >>> len(sigmoid_without_product().init(jax.random.key(0), (1,)))
      7
    """

    def formula(p: Params, z: Array, u: Array) -> Array:
        curve: Array = p["b1"] * _s(p["c1"] + p["c2"] * z + p["c3"] * u)
        linear: Array = p["a1"] + p["a2"] * z + p["a3"] * u
        return linear + curve

    line = {"a1": 0.0, "a2": 1.0, "a3": 0.0}
    return _with_u("sigmoid_without_product", formula, **line, b1=1.0, c1=0.0, c2=1.0, c3=0.0)


@registered
def bilinear() -> Combinator:
    """Makes z_hat = a1 + a2 z + a3 u + a4 z u: ``sigmoid`` without its curve.

    Start: a2 = 1, the rest 0. ``comparison_g3`` in the paper's program.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> g = bilinear()
      >>> g.apply(g.init(jax.random.key(0), (1,)), 2 * jnp.ones((1, 1)), jnp.ones((1, 1))).tolist()
      [[2.0]]
    """

    def formula(p: Params, z: Array, u: Array) -> Array:
        z_hat: Array = p["a1"] + p["a2"] * z + p["a3"] * u + p["a4"] * z * u
        return z_hat

    return _with_u("bilinear", formula, a1=0.0, a2=1.0, a3=0.0, a4=0.0)


def _curve(p: Params, x: Array, name: str) -> Array:
    bend: Array = p[f"w2_{name}"] * _s(p["b1"] + p[f"w1_{name}"] * x)
    line: Array = p[f"w3_{name}"] * x
    return bend + line


@registered
def separate() -> Combinator:
    """Makes a curve of z plus a curve of u, without any mixing.

    The paper's program shares b1 between the two::

        z_hat = w2_lat s(b1 + w1_lat z) + w3_lat z + b2 + w2_ver s(b1 + w1_ver u) + w3_ver u

    u shifts the curve and no more. Start: w1 = w2 = 1, the rest 0. ``comparison_g4`` in
    the paper's program.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> g = separate()
      >>> g.apply(g.init(jax.random.key(0), (1,)), jnp.zeros((1, 1)), jnp.zeros((1, 1))).tolist()
      [[1.0]]
    """
    lateral = {"b1": 0.0, "b2": 0.0, "w1_lat": 1.0, "w2_lat": 1.0, "w3_lat": 0.0}
    return _with_u(
        "separate",
        lambda p, z, u: _curve(p, z, "lat") + p["b2"] + _curve(p, u, "ver"),
        **lateral,
        w1_ver=1.0,
        w2_ver=1.0,
        w3_ver=0.0,
    )


@registered
def mlp(hidden: Sequence[int] = (4,), *, stddev: float = 0.025, shared: bool = True) -> Combinator:
    """Makes a small net of u and z: leaky ReLU r (slope 0.1) between its layers.

    Pezeshki et al.: each unit's two numbers go through a net whose weights all units of
    a level share, as the paper writes it, or each unit has its own. u is normalised per
    unit, so a shared net cannot give each pixel its own mean and scale back. For
    hidden (4,)::

        z_hat = W2 r(W1 [u, z] + b1) + b2

    Start: the weights are drawn from N(0, stddev^2), with a stddev that the paper tunes
    per net; the biases are 0.

    Args:
      hidden: units of each hidden layer; the paper's are (4,), (2, 2), (2, 2, 2).
      stddev: of the weights at the start.
      shared: whether all units of a level have the same weights.

    Raises:
      ValueError: an argument is out of range.

    Examples:
      >>> import jax
      >>> params = mlp((2, 2)).init(jax.random.key(0), (100,))
      >>> [params[name].shape for name in ("W1", "W2", "W3")]
      [(2, 2), (2, 2), (2, 1)]
    """
    return _net("mlp", 2, hidden, stddev, shared)


@registered
def augmented_mlp(
    hidden: Sequence[int] = (4,), *, stddev: float = 0.025, shared: bool = True
) -> Combinator:
    """Makes ``mlp`` with the product u z as a third input.

    The best of Pezeshki et al.: 1.00 % at 100 labels with hidden (2, 2, 2), 0.97 % at
    1000 with (4,), 0.57 % with all and (2, 2). For hidden (4,)::

        z_hat = W2 r(W1 [u, z, u z] + b1) + b2

    Start: as ``mlp``.

    Args:
      hidden: as for ``mlp``.
      stddev: as for ``mlp``.
      shared: as for ``mlp``.

    Raises:
      ValueError: an argument is out of range.

    Examples:
      >>> import jax
      >>> augmented_mlp().init(jax.random.key(0), (100,))["W1"].shape
      (3, 4)
    """
    return _net("augmented_mlp", 3, hidden, stddev, shared)


def _net(name: str, inputs: int, hidden: Sequence[int], stddev: float, shared: bool) -> Combinator:
    sizes = (inputs, *hidden, 1)
    words = [
        name,
        *(map(str, hidden) if tuple(hidden) != (4,) else ()),
        *(() if shared else ("per_unit",)),
    ]
    if not hidden or min(hidden) < 1:
        raise ValueError(f"{name}: hidden is {tuple(hidden)}; give one size or more, each from 1.")
    if not stddev > 0:
        raise ValueError(f"{name}: stddev is {stddev}; give more than 0.")

    def init(key: Array, shape: Shape) -> Params:
        units = () if shared else shape
        keys = jax.random.split(key, len(sizes) - 1)
        params = {}
        for i, (layer_key, fan_in, fan_out) in enumerate(
            zip(keys, sizes[:-1], sizes[1:], strict=True)
        ):
            weights = jax.random.normal(layer_key, (fan_in, fan_out, *units))
            params[f"W{i + 1}"] = stddev * weights
            params[f"b{i + 1}"] = jnp.zeros((fan_out, *units))
        return params

    def apply(params: Params, z_noisy: Array, u: Array | None) -> Array:
        assert u is not None
        h = (u, z_noisy, u * z_noisy)[:inputs]
        # Number by number: one array of so few would fill no vector of a processor.
        for i in range(1, len(sizes)):
            weights, bias = params[f"W{i}"], params[f"b{i}"]
            sums = [
                sum(w * x for w, x in zip(weights[:, k], h, strict=True)) for k in range(sizes[i])
            ]
            h = tuple(total + b for total, b in zip(sums, bias, strict=True))
            if i < len(sizes) - 1:
                h = tuple(jax.nn.leaky_relu(x, 0.1) for x in h)
        return h[0]

    return Combinator(init, apply, name="_".join(words))


@registered
def linear() -> Combinator:
    """Makes z_hat = a1 z + b: lateral alone.

    Start: a1 = 1, b = 0. ``lin`` in the paper's program.

    Examples:
      >>> linear().uses_u
      False
    """
    return _lateral("linear", lambda p, z: p["a1"] * z + p["b"], a1=1.0, b=0.0)


@registered
def identity() -> Combinator:
    """Makes z_hat = z: lateral alone, what it costs not to denoise at all.

    No parameters. ``i`` in the paper's program.

    Examples:
      >>> import jax
      >>> identity().init(jax.random.key(0), (3,))
      {}
    """
    return _lateral("identity", lambda p, z: z)


@registered
def vertical_relu() -> Combinator:
    """Makes z_hat = max(0, u + b): vertical alone, an ordinary decoder.

    Start: b = 0. ``relu`` in the paper's program.

    Examples:
      >>> import jax
      >>> sorted(vertical_relu().init(jax.random.key(0), (3,)))
      ['b']
    """
    return _with_u("vertical_relu", lambda p, z, u: jax.nn.relu(u + p["b"]), b=0.0)


@registered
def vertical_sigmoid() -> Combinator:
    """Makes z_hat = s(c (u + b)): vertical alone.

    Start: c = 1, b = 0. ``sigmoid`` in the paper's program.

    Examples:
      >>> import jax
      >>> sorted(vertical_sigmoid().init(jax.random.key(0), (3,)))
      ['b', 'c']
    """
    return _with_u("vertical_sigmoid", lambda p, z, u: _s((u + p["b"]) * p["c"]), b=0.0, c=1.0)


@registered
def gaussian_lateral() -> Combinator:
    """Makes z_hat = w1 z + b1: what remains of ``gaussian`` without u.

    Start: w1 = 1, b1 = 0. ``gauss0`` and ``gauss_stable_v0`` in the paper's program.
    """
    return _lateral("gaussian_lateral", lambda p, z: p["w1"] * z + p["b1"], w1=1.0, b1=0.0)


@registered
def sigmoid_lateral() -> Combinator:
    """Makes z_hat = a1 + a2 z + b1 s(c1 + c2 z): ``sigmoid`` without u.

    Start: a2 = b1 = c2 = 1, the rest 0. ``sig0`` and ``comparison_g20`` in the paper's
    program.
    """

    def formula(p: Params, z: Array) -> Array:
        z_hat: Array = p["a1"] + p["a2"] * z + p["b1"] * _s(p["c1"] + p["c2"] * z)
        return z_hat

    return _lateral("sigmoid_lateral", formula, a1=0.0, a2=1.0, b1=1.0, c1=0.0, c2=1.0)


@registered
def bilinear_lateral() -> Combinator:
    """Makes z_hat = a1 + a2 z: ``bilinear`` without u.

    Start: a2 = 1, a1 = 0. ``comparison_g30`` in the paper's program.
    """
    return _lateral("bilinear_lateral", lambda p, z: p["a1"] + p["a2"] * z, a1=0.0, a2=1.0)


@registered
def separate_lateral() -> Combinator:
    """Makes z_hat = w2_lat s(b1 + w1_lat z) + w3_lat z + b2: ``separate`` without u.

    Start: w1 = w2 = 1, the rest 0. ``comparison_g40`` in the paper's program.
    """
    starts = {"b1": 0.0, "b2": 0.0, "w1_lat": 1.0, "w2_lat": 1.0, "w3_lat": 0.0}
    return _lateral("separate_lateral", lambda p, z: _curve(p, z, "lat") + p["b2"], **starts)


COMBINATORS |= {
    "mlp_2_2": functools.partial(mlp, (2, 2)),
    "mlp_2_2_2": functools.partial(mlp, (2, 2, 2)),
    "augmented_mlp_2_2": functools.partial(augmented_mlp, (2, 2)),
    "augmented_mlp_2_2_2": functools.partial(augmented_mlp, (2, 2, 2)),
    "augmented_mlp_per_unit": functools.partial(augmented_mlp, stddev=0.3, shared=False),
}
