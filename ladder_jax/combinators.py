"""Combination functions, which combine a level's noisy z with the signal u from above.

Each is a ``Combinator``: ``init(key, shape) -> params`` and
``apply(params, z_noisy, u) -> z_hat``. The nets are those of Pezeshki et al.; all others come
from the paper's own program, with its parameter names, each parameter with one value per unit
(or channel). A function of z only (``*_lateral``) needs no map from above. s is the logistic
function, z the noisy z.

To add one, decorate a function without required arguments with ``@registered``: its
name is then a value of ``combinators=``, and the tests cover it. Its docstring becomes its
section of the documentation: formulas after "Makes" or "::" are typeset, and the tests
check them, and the values after "Start:", against the code.

Examples:
  >>> g = COMBINATORS["gated_gaussian"]()
  >>> g.apply(g.init(jax.random.key(0), (1,)), jnp.ones((2, 1)), jnp.ones((2, 1))).tolist()
  [[0.5], [0.5]]

References:
  Rasmus et al. 2015, https://arxiv.org/abs/1507.02672;
  Pezeshki et al. 2016, https://arxiv.org/abs/1511.06430.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ladder_jax import _checks
from ladder_jax.types import Array, Combinator, Params, Shape

COMBINATORS: dict[str, Callable[[], Combinator]] = {}
"""Combinators by the names that configurations use."""
registered = _checks.registering(COMBINATORS)
"""Adds a combinator to ``COMBINATORS`` under the name of the function that creates it."""

_s = jax.nn.sigmoid


def _elementwise(name: str, formula: Callable[..., Array]) -> Combinator:
    """Creates a combinator from a formula in z, or z and u, and parameters.

    The parameters are the formula's further arguments; the defaults are their initial values.
    """
    arguments = inspect.signature(formula).parameters
    starts = {a.name: a.default for a in arguments.values() if a.default is not a.empty}

    def init(key: Array, shape: Shape) -> Params:
        del key
        # With NumPy, as JAX would eagerly compile a program for each shape.
        return {
            name: jax.device_put(np.full(shape, value, float)) for name, value in starts.items()
        }

    def apply(params: Params, z_noisy: Array, u: Array | None) -> Array:
        return formula(z_noisy, u, **params) if "u" in arguments else formula(z_noisy, **params)

    return Combinator(init, apply, uses_u="u" in arguments, name=name)


def _moment(u: Array, a1: Array, a2: Array, a3: Array, a4: Array, a5: Array) -> Array:
    return a1 * _s(a2 * u + a3) + a4 * u + a5


def gaussian_moments(params: Params, u: Array) -> tuple[Array, Array]:
    """Computes the prior's mean mu(u) and the gain v(u) of the gaussian combinator.

    Args:
      params: parameters of ``gaussian``.
      u: normalised signal from above ``[B, ...]``.

    Returns:
      ``(mu, v)``, each of the shape of ``u``.

    Examples:
      >>> mu, v = gaussian_moments(gaussian().init(jax.random.key(0), (2,)), jnp.ones((1, 2)))
      >>> mu.tolist(), v.tolist()
      ([[0.0, 0.0]], [[0.0, 0.0]])
    """
    a = [params[f"a{i}"] for i in range(1, 11)]
    return _moment(u, *a[:5]), _moment(u, *a[5:])


def _gaussian(name: str, gain: Callable[[Array], Array]) -> Combinator:
    def estimate(z: Array, mu: Array, v: Array) -> Array:
        return (z - mu) * gain(v) + mu

    return _elementwise(
        name,
        lambda z, u, a1=0, a2=1, a3=0, a4=0, a5=0, a6=0, a7=1, a8=0, a9=0, a10=0: estimate(
            z, _moment(u, a1, a2, a3, a4, a5), _moment(u, a6, a7, a8, a9, a10)
        ),
    )


@registered
def gaussian() -> Combinator:
    """Makes z_hat = (z - mu(u)) v(u) + mu(u): the paper's choice (equations 2, 3).

    The best estimate if, given u, z is Gaussian::

        mu(u) = a1 s(a2 u + a3) + a4 u + a5
        v(u)  = a6 s(a7 u + a8) + a9 u + a10

    Start: a2 = a7 = 1, the rest 0, and hence z_hat = 0: the map from above has no gradient
    at the first step. ``gauss`` in the paper's program.
    """
    return _gaussian("gaussian", lambda v: v)


@registered
def gated_gaussian() -> Combinator:
    """Makes z_hat = (z - mu(u)) s(v(u)) + mu(u): the gaussian with a gain from 0 to 1.

    A true weighted mean of z and mu. ``gauss_stable_v`` in the paper's program; the GatedGauss of
    Pezeshki et al. likewise puts the gain through s. Start: as ``gaussian``, and so z_hat = z / 2.
    """
    return _gaussian("gated_gaussian", _s)


def _bent(line: Array, height: Array, inside: Array) -> Array:
    # Called by keyword, inside first: the order of operations decides how gradients round.
    return line + height * _s(inside)


@registered
def sigmoid() -> Combinator:
    """Makes z_hat = a1 + a2 z + a3 u + a4 z u + b1 s(c1 + c2 z + c3 u + c4 z u).

    Start: a2 = b1 = c2 = 1, the rest 0. The paper's first version, ``sig`` in its
    program; the vanilla combinator of Pezeshki et al.
    """
    return _elementwise(
        "sigmoid",
        lambda z, u, a1=0, a2=1, a3=0, a4=0, b1=1, c1=0, c2=1, c3=0, c4=0: _bent(
            inside=c1 + c2 * z + c3 * u + c4 * z * u,
            line=a1 + a2 * z + a3 * u + a4 * z * u,
            height=b1,
        ),
    )


@registered
def sigmoid_without_product() -> Combinator:
    """Makes z_hat = a1 + a2 z + a3 u + b1 s(c1 + c2 z + c3 u): ``sigmoid`` without z u.

    Start: as ``sigmoid``. ``comparison_g2`` in the paper's program.
    """
    return _elementwise(
        "sigmoid_without_product",
        lambda z, u, a1=0, a2=1, a3=0, b1=1, c1=0, c2=1, c3=0: _bent(
            inside=c1 + c2 * z + c3 * u, line=a1 + a2 * z + a3 * u, height=b1
        ),
    )


@registered
def bilinear() -> Combinator:
    """Makes z_hat = a1 + a2 z + a3 u + a4 z u: ``sigmoid`` without its curve.

    Start: a2 = 1, the rest 0. ``comparison_g3`` in the paper's program.
    """
    return _elementwise(
        "bilinear", lambda z, u, a1=0, a2=1, a3=0, a4=0: a1 + a2 * z + a3 * u + a4 * z * u
    )


def _curve(x: Array, b1: Array, w1: Array, w2: Array, w3: Array) -> Array:
    return w2 * _s(b1 + w1 * x) + w3 * x


@registered
def separate() -> Combinator:
    """Makes a curve in z plus a curve in u, without any mixing.

    As in the paper's program, both curves share b1::

        z_hat = w2_lat s(b1 + w1_lat z) + w3_lat z + b2 + w2_ver s(b1 + w1_ver u) + w3_ver u

    u only shifts the curve. Start: w1 = w2 = 1, the rest 0. ``comparison_g4`` in
    the paper's program.
    """
    return _elementwise(
        "separate",
        lambda z, u, b1=0, b2=0, w1_lat=1, w2_lat=1, w3_lat=0, w1_ver=1, w2_ver=1, w3_ver=0: (
            _curve(z, b1, w1_lat, w2_lat, w3_lat) + b2 + _curve(u, b1, w1_ver, w2_ver, w3_ver)
        ),
    )


@registered
def mlp(hidden: Sequence[int] = (4,), *, stddev: float = 0.025, shared: bool = True) -> Combinator:
    """Makes a small net of u and z, with leaky ReLUs r (slope 0.1) between its layers.

    Pezeshki et al.: each unit's two numbers pass through a net. All units of a level share its
    weights, as their paper writes it, or each unit has its own. u is normalised per unit, so a
    shared net cannot restore the mean and scale of each pixel. For hidden (4,)::

        z_hat = W2 r(W1 [u, z] + b1) + b2

    Start: the weights are drawn from N(0, stddev^2), with a stddev that the paper tunes
    per net; the biases are 0.

    Args:
      hidden: units of each hidden layer; the paper uses (4,), (2, 2) and (2, 2, 2).
      stddev: standard deviation of the initial weights.
      shared: whether all units of a level share their weights.

    Raises:
      ValueError: an argument is out of range.

    Examples:
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

    The best combinator of Pezeshki et al.: 1.00 % at 100 labels with hidden (2, 2, 2), 0.97 %
    at 1000 labels with (4,), 0.57 % with all labels and (2, 2). For hidden (4,)::

        z_hat = W2 r(W1 [u, z, u z] + b1) + b2

    Arguments and start: as ``mlp``.
    """
    return _net("augmented_mlp", 3, hidden, stddev, shared)


def _net(name: str, inputs: int, hidden: Sequence[int], stddev: float, shared: bool) -> Combinator:
    if not hidden or min(hidden) < 1:
        raise ValueError(f"{name}: hidden is {tuple(hidden)}; give one size or more, each from 1.")
    if not stddev > 0:
        raise ValueError(f"{name}: stddev is {stddev}; give more than 0.")
    sizes = (inputs, *hidden, 1)
    words = [name, *(hidden if sizes[1:-1] != (4,) else ()), *(() if shared else ("per_unit",))]

    def init(key: Array, shape: Shape) -> Params:
        units = () if shared else shape
        params = {}
        keys = jax.random.split(key, len(sizes) - 1)
        for i, (layer_key, size) in enumerate(zip(keys, itertools.pairwise(sizes), strict=True), 1):
            params[f"W{i}"] = stddev * jax.random.normal(layer_key, (*size, *units))
            params[f"b{i}"] = jnp.zeros((size[1], *units))
        return params

    def apply(params: Params, z_noisy: Array, u: Array | None) -> Array:
        assert u is not None
        h = (u, z_noisy, u * z_noisy)[:inputs]
        # Unit by unit of the net: arrays this small would not fill a processor's vectors.
        for i in range(1, len(sizes)):
            weights, bias = params[f"W{i}"], params[f"b{i}"]
            sums = [
                sum(w * x for w, x in zip(weights[:, k], h, strict=True)) for k in range(sizes[i])
            ]
            h = tuple(total + b for total, b in zip(sums, bias, strict=True))
            if i < len(sizes) - 1:
                h = tuple(jax.nn.leaky_relu(x, 0.1) for x in h)
        return h[0]

    return Combinator(init, apply, name="_".join(map(str, words)))


@registered
def linear() -> Combinator:
    """Makes z_hat = a1 z + b: lateral only.

    Start: a1 = 1, b = 0. ``lin`` in the paper's program.
    """
    return _elementwise("linear", lambda z, a1=1, b=0: a1 * z + b)


@registered
def identity() -> Combinator:
    """Makes z_hat = z: lateral only, a baseline that does not denoise.

    No parameters. ``i`` in the paper's program.
    """
    return _elementwise("identity", lambda z: z)


@registered
def vertical_relu() -> Combinator:
    """Makes z_hat = max(0, u + b): vertical only, an ordinary decoder.

    Start: b = 0. ``relu`` in the paper's program.
    """
    return _elementwise("vertical_relu", lambda z, u, b=0: jax.nn.relu(u + b))


@registered
def vertical_sigmoid() -> Combinator:
    """Makes z_hat = s(c (u + b)): vertical only.

    Start: c = 1, b = 0. ``sigmoid`` in the paper's program.
    """
    return _elementwise("vertical_sigmoid", lambda z, u, b=0, c=1: _s((u + b) * c))


@registered
def gaussian_lateral() -> Combinator:
    """Makes z_hat = w1 z + b1: ``gaussian`` without u.

    Start: w1 = 1, b1 = 0. ``gauss0`` and ``gauss_stable_v0`` in the paper's program.
    """
    return _elementwise("gaussian_lateral", lambda z, w1=1, b1=0: w1 * z + b1)


@registered
def sigmoid_lateral() -> Combinator:
    """Makes z_hat = a1 + a2 z + b1 s(c1 + c2 z): ``sigmoid`` without u.

    Start: a2 = b1 = c2 = 1, the rest 0. ``sig0`` and ``comparison_g20`` in the paper's program.
    """
    return _elementwise(
        "sigmoid_lateral",
        lambda z, a1=0, a2=1, b1=1, c1=0, c2=1: a1 + a2 * z + b1 * _s(c1 + c2 * z),
    )


@registered
def bilinear_lateral() -> Combinator:
    """Makes z_hat = a1 + a2 z: ``bilinear`` without u.

    Start: a2 = 1, a1 = 0. ``comparison_g30`` in the paper's program.
    """
    return _elementwise("bilinear_lateral", lambda z, a1=0, a2=1: a1 + a2 * z)


@registered
def separate_lateral() -> Combinator:
    """Makes z_hat = w2_lat s(b1 + w1_lat z) + w3_lat z + b2: ``separate`` without u.

    Start: w1 = w2 = 1, the rest 0. ``comparison_g40`` in the paper's program.
    """
    return _elementwise(
        "separate_lateral",
        lambda z, b1=0, b2=0, w1_lat=1, w2_lat=1, w3_lat=0: (
            _curve(z, b1, w1_lat, w2_lat, w3_lat) + b2
        ),
    )


COMBINATORS |= {
    "mlp_2_2": functools.partial(mlp, (2, 2)),
    "mlp_2_2_2": functools.partial(mlp, (2, 2, 2)),
    "augmented_mlp_2_2": functools.partial(augmented_mlp, (2, 2)),
    "augmented_mlp_2_2_2": functools.partial(augmented_mlp, (2, 2, 2)),
    "augmented_mlp_per_unit": functools.partial(augmented_mlp, stddev=0.3, shared=False),
}
