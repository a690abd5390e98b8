"""Noise is bit-identical to ``jax.random.normal``."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ladder_jax import _noise

SHAPES = [(), (1,), (7, 3), (2, 4, 5, 1), (0, 3)]


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), shape=st.sampled_from(SHAPES))
def test_noise_equals_jax(seed, shape):
    key = jax.random.key(seed)
    drawn = _noise.normal(key, shape)
    assert drawn.dtype == jnp.float32 and np.array_equal(drawn, jax.random.normal(key, shape))


def test_vmap_over_keys():
    keys = jax.random.split(jax.random.key(3), 5)
    drawn = jax.jit(jax.vmap(lambda key: _noise.normal(key, (4, 3))))(keys)
    assert np.array_equal(drawn, jax.vmap(lambda key: jax.random.normal(key, (4, 3)))(keys))


@pytest.mark.parametrize("kind", ["rbg", "unsafe_rbg"])
def test_other_kinds_of_keys(kind):
    key = jax.random.key(0, impl=kind)
    assert np.array_equal(_noise.normal(key, (5, 2)), jax.random.normal(key, (5, 2)))


def test_jax_settings():
    key = jax.random.key(1)
    with jax.enable_x64(True):
        drawn = _noise.normal(key, (3, 2))
        assert drawn.dtype == jnp.float64
        assert np.array_equal(drawn, jax.random.normal(key, (3, 2)))
    with jax.threefry_partitionable(False):
        assert np.array_equal(_noise.normal(key, (3, 2)), jax.random.normal(key, (3, 2)))


def test_noise_lowers_for_every_platform():
    platforms = ["cpu", "cuda", "tpu"]
    draw = jax.jit(lambda key: _noise.normal(key, (3, 2)))
    exported = jax.export.export(draw, platforms=platforms)(jax.random.key(0))
    assert "while" not in exported.mlir_module()  # no loop over the rounds


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), number=st.integers(1, 5))
def test_split_equals_jax(seed, number):
    key = jax.random.key(seed)
    expected = jax.random.key_data(jax.random.split(key, number))
    for split in (_noise.split, jax.jit(_noise.split, static_argnums=1)):
        children = [jax.random.key_data(child) for child in split(key, number)]
        assert np.array_equal(children, expected)


@pytest.mark.parametrize("shape", [(), (0, 3), (3, 5), (64, 64), (17, 500)])
def test_scaled_draws_of_known_keys(shape):
    """Full and partial chunks equal the draws of one program per shape."""
    key, stddev = jax.random.key(5), np.float32(0.3)
    drawn = _noise.scaled(key, shape, jnp.float32, stddev)
    assert drawn.dtype == jnp.float32 and drawn.shape == shape
    assert np.array_equal(drawn, jax.random.normal(key, shape) * stddev)


@pytest.mark.parametrize("kind", ["rbg", "unsafe_rbg"])
def test_other_keys_are_left_to_jax(kind):
    key = jax.random.key(0, impl=kind)
    keys = list(_noise.split(key, 2))
    assert (jax.random.split(key) == jnp.stack(keys)).all()
    drawn = _noise.scaled(key, (2,), jnp.float32, np.float32(2.0))
    assert np.array_equal(drawn, 2.0 * jax.random.normal(key, (2,)))
