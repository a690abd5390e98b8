"""bfloat16 products and their gradients accumulate in float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ladder_jax import dense
from ladder_jax._products import dot_general
from ladder_jax.layers import compute_in

PLAIN = (((1,), (0,)), ((), ()))


@jax.jit
def value_and_gradients(lhs, rhs, cotangent):
    value, back = jax.vjp(lambda a, b: dot_general(a, b, PLAIN), lhs, rhs)
    return value, *back(cotangent)


def test_matches_a_float64_product_up_to_rounding():
    rng = np.random.default_rng(0)
    exact = [rng.integers(1, 9, size=shape) / 8 for shape in ((40, 300), (300, 50), (40, 50))]
    lhs, rhs, cotangent = exact  # exact in bfloat16, too
    wanted = lhs @ rhs, cotangent @ rhs.T, lhs.T @ cotangent
    found = value_and_gradients(*(jnp.asarray(x, jnp.bfloat16) for x in exact))
    for actual, expected in zip(found, wanted, strict=True):
        assert actual.dtype == jnp.bfloat16
        np.testing.assert_allclose(actual.astype(jnp.float32), expected, rtol=2**-8)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_vmap_and_second_derivatives(dtype):
    layer = compute_in(jnp.dtype(dtype), dense(3))
    params, _ = layer.init(jax.random.key(0), (4,))
    rows = jax.random.normal(jax.random.key(1), (2, 5, 4))

    def cost(kernel, h):
        return jnp.square(layer.up({"kernel": kernel}, h)).sum()

    def slope_cost(kernel):
        return jnp.square(jax.vmap(lambda h: jax.grad(cost, argnums=1)(kernel, h))(rows)).sum()

    kernel = params.up["kernel"]
    found = jax.jit(jax.grad(slope_cost))(kernel)
    # The slope is 2 h W W^T.
    wanted = jax.grad(lambda w: jnp.square(2 * rows @ w @ w.T).sum())(kernel)
    np.testing.assert_allclose(found, wanted, rtol=0.1 if dtype == "bfloat16" else 1e-4, atol=1.0)


def test_other_products_are_left_to_jax():
    x = jnp.ones((2, 3, 4), jnp.bfloat16)
    found = dot_general(x, x, (((2,), (2,)), ((0,), (0,))), preferred_element_type=jnp.float32)
    assert found.dtype == jnp.float32 and found.shape == (2, 3, 3)
