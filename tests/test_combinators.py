"""Combinators: documented formulas and starts, and the nets of Pezeshki et al. in NumPy."""

import functools
import inspect
import pathlib
import re
from xml.etree import ElementTree

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ladder_jax import combinators
from ladder_jax.combinators import COMBINATORS

Z = jax.random.normal(jax.random.key(0), (7, 3))
U = jax.random.normal(jax.random.key(1), (7, 3))


def moved(params):
    keys = iter(jax.random.split(jax.random.key(2), max(len(jax.tree.leaves(params)), 1)))
    return jax.tree.map(lambda p: p + 0.5 * jax.random.normal(next(keys), p.shape), params)


s = lambda x: 1 / (1 + np.exp(-x))
AT_START = {
    "gaussian": lambda z, u: 0 * z,
    "gated_gaussian": lambda z, u: z / 2,
    "sigmoid": lambda z, u: z + s(z),
    "sigmoid_without_product": lambda z, u: z + s(z),
    "bilinear": lambda z, u: z,
    "separate": lambda z, u: s(z) + s(u),
    "linear": lambda z, u: z,
    "identity": lambda z, u: z,
    "vertical_relu": lambda z, u: np.maximum(u, 0),
    "vertical_sigmoid": lambda z, u: s(u),
    "gaussian_lateral": lambda z, u: z,
    "sigmoid_lateral": lambda z, u: z + s(z),
    "bilinear_lateral": lambda z, u: z,
    "separate_lateral": lambda z, u: s(z),
}


@pytest.mark.parametrize("name", AT_START)
def test_initial_estimates(name):
    g = COMBINATORS[name]()
    z_hat = g.apply(g.init(jax.random.key(0), (3,)), Z, U)
    np.testing.assert_allclose(z_hat, AT_START[name](np.asarray(Z), np.asarray(U)), atol=1e-6)


@pytest.mark.parametrize("name", COMBINATORS)
def test_every_parameter_has_a_gradient_and_uses_u_is_true(name):
    g = COMBINATORS[name]()
    params = moved(g.init(jax.random.key(0), (3,)))
    cost = jax.jit(lambda p, z, u: jnp.square(g.apply(p, z, u) - 1).sum())
    grads, u_gradient = jax.jit(jax.grad(cost, argnums=(0, 2)))(params, Z, U)
    assert all(float(jnp.abs(leaf).max()) > 0 for leaf in jax.tree.leaves(grads))
    assert bool(jnp.abs(u_gradient).max() > 0) == g.uses_u
    np.testing.assert_allclose(
        cost(params, Z, U), jnp.square(g.apply(params, Z, U) - 1).sum(), rtol=1e-5
    )
    if not g.uses_u:
        np.testing.assert_array_equal(g.apply(params, Z, None), g.apply(params, Z, U))


@pytest.mark.parametrize("name", COMBINATORS)
def test_name_and_values_in_float64_per_unit_and_per_channel(name):
    g = COMBINATORS[name]()
    assert g.name == name
    params = g.init(jax.random.key(0), (3,))
    rows = g.apply(params, Z, U)
    with jax.enable_x64(True):
        maps = [np.float64(x).reshape(1, 7, 1, 3) for x in (Z, U)]
        z_hat = jax.jit(g.apply)(jax.tree.map(np.float64, params), *maps)
    assert z_hat.dtype == np.float64
    np.testing.assert_allclose(np.reshape(z_hat, (7, 3)), rows, rtol=1e-5, atol=1e-6)


def documentation(name):
    """Returns a combinator's docstring up to its first section."""
    text = inspect.getdoc(COMBINATORS[name]) or ""
    return re.split(r"\n\n\w+:\n", text, maxsplit=1)[0]


def formulas(name):
    """Returns both sides of a docstring's formulas, in Python; "a b" is a product."""
    lines = re.findall(
        r"^(?:Makes |    )(\w[^=:\n]*?) += (.+?)(?:: .+|\.)?$", documentation(name), re.M
    )
    return [(left, re.sub(r"(?<=[\w)]) (?=[\w(])", "*", right)) for left, right in lines]


OWN = [name for name, make in COMBINATORS.items() if not isinstance(make, functools.partial)]
FORMULAS = [formula for name in OWN for formula in formulas(name)]
# Formulas of vectors, as of the nets, are not Python; test_nets_equal_the_paper covers them.
Z_HAT = {
    name: right
    for name in OWN
    for left, right in formulas(name)
    if left == "z_hat" and "[" not in right
}


@pytest.mark.parametrize("name", Z_HAT)
def test_documented_formulas_hold(name):
    rng = np.random.default_rng(0)
    names = {"s": s, "max": np.maximum, "z": rng.normal(size=(7, 3)), "u": rng.normal(size=(7, 3))}
    g = COMBINATORS[name]()
    with jax.enable_x64(True):
        params = moved(g.init(jax.random.key(0), (3,)))
        z_hat = g.apply(params, names["z"], names["u"])
        names |= {key: np.asarray(p) for key, p in params.items()}
    for left, right in FORMULAS:
        if function := re.fullmatch(r"(\w+)\((\w+)\)", left):
            names[function[1]] = eval(f"lambda {function[2]}: {right}", names)
    np.testing.assert_allclose(z_hat, eval(Z_HAT[name], names), rtol=1e-12)


def start_of(name):
    """Returns the documented initial parameters, and whether all others start at 0."""
    (text,) = re.findall(r"Start: (.*)", documentation(name), re.DOTALL) or [""]
    if reference := re.match(r"as\s+``(\w+)``", text):
        return start_of(reference[1])
    text = re.split(r"\.\s|\.$|,\s+and\s", text)[0]
    equations = re.findall(r"(\w+(?: = \w+)*) = (-?\d+(?:\.\d+)?)", text)
    values = {key: float(value) for keys, value in equations for key in keys.split(" = ")}
    return values, "the rest 0" in text


@pytest.mark.parametrize("name", [name for name in OWN if start_of(name)[0]])
def test_documented_start_holds(name):
    values, others_are_zero = start_of(name)
    for key, p in COMBINATORS[name]().init(jax.random.key(0), (3,)).items():
        documented = values.get(
            key, values.get(key.partition("_")[0], 0.0 if others_are_zero else None)
        )
        assert documented is not None, f"{name}: the docstring does not say where {key} starts"
        np.testing.assert_array_equal(p, np.full(3, documented))


def test_docstrings_are_parsed():
    assert set(Z_HAT) >= set(AT_START) and start_of("gaussian") == ({"a2": 1, "a7": 1}, True)
    assert ("mu(u)", "a1*s(a2*u + a3) + a4*u + a5") in FORMULAS


@pytest.mark.parametrize("hidden", [(4,), (2, 2), (2, 2, 2)])
@pytest.mark.parametrize("name", ["mlp", "augmented_mlp"])
@pytest.mark.parametrize("shared", [True, False])
def test_nets_equal_the_paper(name, hidden, shared):
    g = getattr(combinators, name)(hidden, shared=shared)
    params = moved(g.init(jax.random.key(3), (5, 3)))
    z, u = (np.asarray(jax.random.normal(jax.random.key(k), (2, 5, 3))) for k in (4, 5))
    z_hat = np.asarray(g.apply(params, z, u))
    p = {key: np.asarray(value) for key, value in params.items()}
    for index in np.ndindex(z.shape):
        inputs = [u[index], z[index]] + [u[index] * z[index]] * (name == "augmented_mlp")
        weights = {key: value if shared else value[..., *index[1:]] for key, value in p.items()}
        h = np.array(inputs)
        for i in range(1, len(hidden) + 1):
            h = h @ weights[f"W{i}"] + weights[f"b{i}"]
            h = np.where(h > 0, h, 0.1 * h)
        h = h @ weights[f"W{len(hidden) + 1}"] + weights[f"b{len(hidden) + 1}"]
        np.testing.assert_allclose(z_hat[index], h[0], rtol=1e-4, atol=1e-5)


def test_nets_start_small():
    params = combinators.augmented_mlp((200, 200), stddev=0.006).init(jax.random.key(0), (3,))
    np.testing.assert_allclose(params["W2"].std(), 0.006, rtol=0.02)
    assert not params["b1"].any()


@pytest.mark.parametrize("arguments", [{"hidden": ()}, {"hidden": (2, 0)}, {"stddev": 0.0}])
def test_bad_nets(arguments):
    with pytest.raises(ValueError, match="mlp: "):
        combinators.mlp(**arguments)


PLOTS = pathlib.Path(__file__).parent.parent / "docs" / "combinators"


@pytest.mark.parametrize("plot", sorted(PLOTS.iterdir()), ids=lambda plot: plot.stem)
def test_plots_show_combinators_and_fit_a_dark_page(plot):
    assert plot.stem in OWN
    assert ElementTree.parse(plot).getroot().tag.endswith("svg")
    assert "prefers-color-scheme: dark" in plot.read_text()
