"""Properties of conv ladders: order of rows, zero costs, omitted parts."""

import drawn
import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ladder_jax import Batch, combinators, conv, dense, global_mean_pool, ladder, max_pool

LAYERS = [conv(3, 2, padding="full"), max_pool(2), conv(4, 2), global_mean_pool(), dense(3)]
FULL = ladder((4, 4, 1), LAYERS, denoising_cost=[5, 1, 0.5, 0.2, 0.1, 0.1])
TOP_ONLY = ladder((4, 4, 1), LAYERS, denoising_cost=[0, 0, 0, 0, 0, 0.1])
GAMMA = ladder(
    (4, 4, 1),
    LAYERS,
    combinators=[None] * 5 + [combinators.gaussian()],
    denoising_cost=[0, 0, 0, 0, 0, 0.1],
)
N, M = 4, 6
full_loss = jax.jit(FULL.loss_given)
top_only_gradient, gamma_gradient = (
    jax.jit(jax.grad(net.loss_given, has_aux=True)) for net in (TOP_ONLY, GAMMA)
)


def case(seed):
    """Returns parameters away from their initial values, a batch and noise."""
    params = drawn.moved(FULL.init(jax.random.key(seed)), 0.2, seed=[seed, 1])
    x = drawn.normal([seed, 2], (N + M, 4, 4, 1))
    noise = drawn.noise(FULL, N, M, seed=[seed, 3])
    return params, Batch(x[:N], np.arange(N) % 3, x[N:]), noise


def assert_same(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-3, atol=1e-4), a, b)


seeds = st.integers(0, 2**31 - 1)


@settings(max_examples=10, deadline=None)
@given(seeds, st.permutations(range(N)), st.permutations(range(M)))
def test_order_of_rows_does_not_matter(seed, labeled, unlabeled):
    params, batch, noise = case(seed)
    labeled, unlabeled = np.array(labeled), np.array(unlabeled)
    mixed = Batch(batch.labeled[labeled], batch.labels[labeled], batch.unlabeled[unlabeled])
    mixed_noise = noise._replace(
        labeled=tuple(n[labeled] for n in noise.labeled),
        unlabeled=tuple(n[unlabeled] for n in noise.unlabeled),
    )
    assert_same(full_loss(params, batch, noise)[1], full_loss(params, mixed, mixed_noise)[1])


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_gamma_equals_the_full_ladder_with_other_costs_0(seed):
    params, batch, noise = case(seed)
    gamma_params = tuple(level._replace(down=None, combinator=None) for level in params[:5])
    gamma_params += (params[5]._replace(down=None),)
    assert jax.tree.structure(gamma_params) == jax.tree.structure(GAMMA.init(jax.random.key(0)))
    full, metrics = top_only_gradient(params, batch, noise)
    gamma, gamma_metrics = gamma_gradient(gamma_params, batch, noise)
    for name in ("loss", "cross_entropy", "error"):
        assert_same(metrics[name], gamma_metrics[name])
    for level in range(1, 6):
        assert_same(full[level].up, gamma[level].up)
        assert_same(full[level].activation, gamma[level].activation)


def test_constant_images_give_finite_metrics():
    params, batch, noise = case(0)
    batch = Batch(jnp.ones((N, 4, 4, 1)), batch.labels, jnp.ones((M, 4, 4, 1)))
    metrics = full_loss(params, batch, noise)[1]
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(metrics))
