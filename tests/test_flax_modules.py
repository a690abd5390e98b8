"""The Linen and NNX modules equal the ladder's functions; the Flax example learns."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from examples import flax_block
from ladder_jax import Batch, conv, dense, from_flax, ladder, max_pool
from ladder_jax.flax_modules import LinenLadder, NNXLadder

NET = ladder(
    (4, 4, 1),
    [
        conv(3, 3, padding="same"),
        from_flax(nn.Dense(2), lambda in_shape: nn.Dense(in_shape[-1])),
        max_pool(2),
        dense(3),
    ],
    denoising_cost=[5.0, 1.0, 0.5, 0.2, 0.1],
)
X = jax.random.normal(jax.random.key(1), (14, 4, 4, 1))
value_and_grad = jax.jit(jax.value_and_grad(NET.loss, has_aux=True))
BATCH = Batch(X[:6], jnp.arange(6) % 3, X[6:])


def assert_same(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), a, b)


class Probe(nn.Module):
    """Linen module that returns the key of its ``make_rng``."""

    @nn.compact
    def __call__(self):
        return self.make_rng("noise")


def test_linen_module():
    model = LinenLadder(NET)
    variables = model.init(jax.random.key(0), X)
    params = variables["params"]["ladder"]
    assert jax.tree.structure(params) == jax.tree.structure(NET.init(jax.random.key(0)))
    _, updated = model.apply(variables, X, method="collect", mutable=["statistics"])
    logits = jax.jit(model.apply)(variables | updated, X)
    assert_same(logits, NET.predict(params, NET.statistics(params, X), X))

    def loss(trained):
        all_variables = variables | {"params": trained}
        rngs = {"noise": jax.random.key(5)}
        return model.apply(all_variables, BATCH, method="loss", rngs=rngs)

    key = Probe().apply({}, rngs={"noise": jax.random.key(5)})
    assert_same(jax.jit(loss)(variables["params"]), value_and_grad(params, BATCH, key)[0])


def test_nnx_module():
    model = NNXLadder(NET, rngs=nnx.Rngs(0))
    params = NET.init(nnx.Rngs(0).params())
    model.collect(X)
    assert_same(nnx.jit(lambda m: m(X))(model), NET.predict(params, NET.statistics(params, X), X))

    def loss(model):
        return model.loss(BATCH, nnx.Rngs(noise=5))

    (value, metrics), grads = nnx.jit(nnx.value_and_grad(loss, has_aux=True))(model)
    expected, by_level = value_and_grad(params, BATCH, nnx.Rngs(noise=5).noise())
    assert_same((value, metrics), expected)
    by_name = [{k: v for k, v in level._asdict().items() if v is not None} for level in by_level]
    assert_same(jax.tree.leaves(nnx.to_pure_dict(grads)), jax.tree.leaves(by_name))


def test_example_with_a_residual_block(capsys):
    error = flax_block.main(epochs=2, channels=2)
    losses = [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()[:-1]]
    assert losses[-1] < losses[0] and error < 90


@pytest.mark.slow
def test_example_learns():
    assert flax_block.main(epochs=20) < 15
