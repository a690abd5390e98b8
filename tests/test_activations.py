"""Activations: values at the start, parameters and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ladder_jax import activations
from ladder_jax.activations import ACTIVATIONS

Z = np.random.default_rng(0).normal(size=(4, 2, 3))
AT_START = {
    "relu": np.maximum(Z, 0),
    "leaky_relu": np.where(Z > 0, Z, 0.1 * Z),
    "sigmoid": 1 / (1 + np.exp(-Z)),
    "softplus": np.log(1 + np.exp(Z)),
    "linear": Z,
}


def apply(act, params, z):
    return act.nonlinearity(act.affine(params, z))


@pytest.mark.parametrize("name", AT_START)
def test_initial_values(name):
    act = ACTIVATIONS[name]()
    np.testing.assert_allclose(apply(act, act.init((2, 3)), Z), AT_START[name], rtol=1e-5)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_parameters_are_per_channel_and_have_gradients(name):
    act = ACTIVATIONS[name]()
    assert act.name == name
    with jax.enable_x64(True):
        params = jax.tree.map(lambda p: np.float64(p) + 0.3, act.init((2, 3)))
        assert all(p.shape == (3,) for p in params.values())
        h = apply(act, params, Z)
        assert h.shape == Z.shape and h.dtype == np.float64
        check_grads(
            jax.jit(lambda params, z: apply(act, params, z)),
            (params, Z),
            order=1,
            modes=["rev"],
            rtol=1e-6,
            atol=1e-6,
        )
        grads = jax.grad(lambda params: jnp.square(apply(act, params, Z)).sum())(params)
    assert all(np.abs(grad).min() > 0 for grad in grads.values())


def test_bias_comes_before_gain():
    act = activations.activation(jnp.tanh, gain=True)
    params = {"bias": np.array([1.0, 2.0, 3.0]), "gain": np.array([0.5, -1.0, 2.0])}
    expected = np.tanh((Z + params["bias"]) * params["gain"])
    np.testing.assert_allclose(apply(act, params, Z), expected, rtol=1e-5, atol=1e-6)
