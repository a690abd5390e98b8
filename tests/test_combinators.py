"""Combinators: their start, what they read, the nets of Pezeshki et al. in NumPy."""

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
def test_start(name):
    g = COMBINATORS[name]()
    z_hat = g.apply(g.init(jax.random.key(0), (3,)), Z, U)
    np.testing.assert_allclose(z_hat, AT_START[name](np.asarray(Z), np.asarray(U)), atol=1e-6)


@pytest.mark.parametrize("name", COMBINATORS)
def test_every_parameter_matters_and_uses_u_is_true(name):
    g = COMBINATORS[name]()
    params = moved(g.init(jax.random.key(0), (3,)))
    cost = jax.jit(lambda p, z, u: jnp.square(g.apply(p, z, u) - 1).sum())
    grads, by_u = jax.jit(jax.grad(cost, argnums=(0, 2)))(params, Z, U)
    assert all(float(jnp.abs(leaf).max()) > 0 for leaf in jax.tree.leaves(grads))
    assert bool(jnp.abs(by_u).max() > 0) == g.uses_u
    np.testing.assert_allclose(
        cost(params, Z, U), jnp.square(g.apply(params, Z, U) - 1).sum(), rtol=1e-5
    )
    if not g.uses_u:
        np.testing.assert_array_equal(g.apply(params, Z, None), g.apply(params, Z, U))


def test_starts_are_all_known():
    nets = {name for name in COMBINATORS if "mlp" in name}
    assert set(AT_START) == set(COMBINATORS) - nets


@pytest.mark.parametrize("hidden", [(4,), (2, 2), (2, 2, 2)])
@pytest.mark.parametrize("name", ["mlp", "augmented_mlp"])
@pytest.mark.parametrize("shared", [True, False])
def test_nets_are_those_of_the_paper(name, hidden, shared):
    g = getattr(combinators, name)(hidden, shared=shared)
    params = moved(g.init(jax.random.key(3), (5, 3)))
    z, u = (np.asarray(jax.random.normal(jax.random.key(k), (2, 5, 3))) for k in (4, 5))
    z_hat = np.asarray(g.apply(params, z, u))
    p = {key: np.asarray(value) for key, value in params.items()}
    for place in np.ndindex(z.shape):
        inputs = [u[place], z[place]] + [u[place] * z[place]] * (name == "augmented_mlp")
        own = {key: value if shared else value[..., *place[1:]] for key, value in p.items()}
        h = np.array(inputs)
        for i in range(1, len(hidden) + 1):
            h = h @ own[f"W{i}"] + own[f"b{i}"]
            h = np.where(h > 0, h, 0.1 * h)
        h = h @ own[f"W{len(hidden) + 1}"] + own[f"b{len(hidden) + 1}"]
        np.testing.assert_allclose(z_hat[place], h[0], rtol=1e-4, atol=1e-5)


def test_nets_start_small():
    params = combinators.augmented_mlp((200, 200), stddev=0.006).init(jax.random.key(0), (3,))
    np.testing.assert_allclose(params["W2"].std(), 0.006, rtol=0.02)
    assert not params["b1"].any()


@pytest.mark.parametrize("arguments", [{"hidden": ()}, {"hidden": (2, 0)}, {"stddev": 0.0}])
def test_bad_nets(arguments):
    with pytest.raises(ValueError, match="mlp: "):
        combinators.mlp(**arguments)


def test_the_page_shows_every_combinator():
    docs = pathlib.Path(__file__).parent.parent / "docs"
    page = (docs / "combinators.md").read_text()
    sizes = ("mlp_", "augmented_mlp_")  # the same functions with other arguments
    names = [name for name in COMBINATORS if not name.startswith(sizes)]
    assert sorted(re.findall(r"^## (\w+)$", page, re.MULTILINE)) == sorted(names)
    for name in names:
        assert f"(combinators/{name}.svg)" in page
        plot = docs / "combinators" / f"{name}.svg"
        assert ElementTree.parse(plot).getroot().tag.endswith("svg")
        assert "prefers-color-scheme: dark" in plot.read_text()
