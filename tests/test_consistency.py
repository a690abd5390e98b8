"""Consistency cost: noisy predictions of unlabelled rows follow confident clean ones."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ladder_jax import Batch, dense, ladder, targets
from ladder_jax.adversarial import virtual_adversarial
from ladder_jax.config import Config
from ladder_jax.errors import ConfigError
from ladder_jax.run.inputs import Spec
from ladder_jax.run.program import compile_program
from ladder_jax.targets import consistency_cost
from ladder_jax.transforms import later_consistency
from ladder_jax.types import Consistency

CONSISTENCY = Consistency(cost=3.0, threshold=0.5, temperature=0.7)
COST = jax.jit(consistency_cost, static_argnums=0)
PLAIN = ladder((6,), [dense(5), dense(3)])
NET = ladder((6,), [dense(5), dense(3)], consistency=CONSISTENCY)


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def expected(consistency, clean, noisy):
    """Computes the cost row by row in NumPy."""
    total = 0.0
    for c, n in zip(clean, noisy, strict=True):
        if softmax(c).max() >= consistency.threshold:
            total -= softmax(c / consistency.temperature) @ np.log(softmax(n))
    return total / len(clean)


def make_batch(dtype=jnp.float32):
    x = jax.random.normal(jax.random.key(1), (12, 6), dtype)
    return Batch(x[:4], jnp.arange(4) % 3, x[4:])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31 - 1), st.sampled_from([0.1, 1.0, 4.0]))
def test_equals_numpy(seed, scale):
    clean, noisy = scale * np.random.default_rng(seed).normal(size=(2, 7, 4))
    cost = COST(CONSISTENCY, jnp.asarray(clean, jnp.float32), jnp.asarray(noisy, jnp.float32))
    np.testing.assert_allclose(cost, expected(CONSISTENCY, clean, noisy), rtol=1e-4, atol=1e-6)


def test_unconfident_rows_do_not_count():
    uniform = jnp.zeros((5, 3))
    noisy = jax.random.normal(jax.random.key(0), (5, 3))
    assert float(COST(Consistency(threshold=0.5), uniform, noisy)) == 0.0
    assert float(COST(Consistency(threshold=0.0), uniform, noisy)) > 1.0


def test_only_the_noisy_pass_has_a_gradient():
    with jax.enable_x64():
        rng = np.random.default_rng(0)
        clean, noisy = rng.normal(size=(2, 7, 4))
        clean_grad, noisy_grad = jax.grad(consistency_cost, argnums=(1, 2))(
            CONSISTENCY, clean, noisy
        )
        assert not clean_grad.any()
        direction, step = rng.normal(size=noisy.shape), 1e-6
        up, down = (expected(CONSISTENCY, clean, noisy + s * direction) for s in (step, -step))
        slope = (up - down) / (2 * step)
        np.testing.assert_allclose((noisy_grad * direction).sum(), slope, rtol=1e-7)


def test_is_part_of_the_loss():
    batch, key, params = make_batch(), jax.random.key(3), NET.init(jax.random.key(0))
    total, metrics = jax.jit(NET.loss)(params, batch, key)
    plain_loss, plain_metrics = jax.jit(PLAIN.loss)(params, batch, key)
    noise = PLAIN.draw_noise(key, 4, 8)
    passes = (PLAIN.encode(params, batch.unlabeled, n) for n in (None, noise.unlabeled))
    clean, noisy = (outputs.logits for outputs in passes)
    wanted = expected(CONSISTENCY, np.asarray(clean), np.asarray(noisy))
    assert wanted > 0
    np.testing.assert_allclose(metrics["consistency"], wanted, rtol=1e-4)
    np.testing.assert_allclose(total, plain_loss + 3.0 * wanted, rtol=1e-5)
    assert metrics["loss"] == total and "consistency" not in plain_metrics


def test_without_decoder_and_with_adversarial_noise():
    net = ladder((6,), [dense(5), dense(3)], combinators=None, consistency=CONSISTENCY)
    batch, params = make_batch(), net.init(jax.random.key(0))
    for variant in (net, virtual_adversarial(net)):
        loss, metrics = jax.jit(variant.loss)(params, batch, jax.random.key(3))
        assert float(metrics["consistency"]) > 0 and not metrics["denoising"].any()
        np.testing.assert_allclose(
            loss, metrics["cross_entropy"] + 3.0 * metrics["consistency"], rtol=1e-5
        )
    with pytest.raises(ValueError, match=r"batch.unlabeled has 0 row"):
        net.loss(params, batch._replace(unlabeled=batch.unlabeled[:0]), jax.random.key(3))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"cost": -1.0}, "cost is -1.0; give a finite number, 0 or more"),
        ({"cost": float("nan")}, "cost is nan"),
        ({"threshold": 1.5}, "threshold is 1.5; give 0 to 1"),
        ({"temperature": 0.0}, "temperature is 0.0; give a finite number above 0"),
    ],
)
def test_bad_settings(wrong, message):
    with pytest.raises(ValueError, match=message):
        ladder((6,), [dense(3)], consistency=Consistency(**wrong))


@pytest.mark.parametrize("kind", ["classes:3", "several:3", "pixels:3"])
@pytest.mark.parametrize("wide", [False, True])
def test_strict_promotion_of_dtypes(kind, wide):
    target = targets.from_name(kind)
    outputs = jnp.ones((2, 4, 3) if target.positions else (2, 3))
    labels = jnp.zeros(outputs.shape if kind == "several:3" else outputs.shape[:-1], jnp.int32)
    with jax.numpy_dtype_promotion("strict"), jax.enable_x64(wide):
        assert target.consistency(CONSISTENCY, outputs, outputs).dtype == jnp.float32
        assert target.cost(outputs, labels)[1].dtype == jnp.float32
        assert target.measures(outputs, labels)["correct"].shape == (3,)
        schedule = later_consistency(NET.hyper, 10, start=0.5)
        assert [float(schedule(step).consistency) for step in jnp.array([4, 5])] == [0.0, 1.0]


@pytest.mark.parametrize("start", [-0.1, 150, float("nan")])
def test_start_is_a_fraction(start):
    """A number of steps in its place would leave the cost off."""
    with pytest.raises(ValueError, match=r"start is .*; give a fraction of training, 0 to 1"):
        later_consistency(NET.hyper, 300, start)


def test_config_settings():
    with pytest.raises(ConfigError, match="threshold is 2"):
        Config(consistency=1.0, consistency_threshold=2.0)
    config = Config(units=(4,), consistency=1.0, consistency_temperature=1.0)
    assert config.consistency_settings == Consistency(1.0, 0.95, 1.0)
    assert config.supervised().consistency == 0.0


def test_begins_at_consistency_from():
    """Compares steps before and after ``consistency_from`` with those without and with the cost."""
    config = Config(
        units=(5,), consistency=3.0, consistency_threshold=0.0, consistency_from=0.5, epochs=1
    )
    always = dataclasses.replace(config, consistency_from=0.0)
    never = dataclasses.replace(config, consistency=0.0)
    batch, spec = make_batch(), Spec((6,), targets.classes(3), steps=4)
    programs = [compile_program(setting, spec) for setting in (config, always, never)]
    steps, state = [program.step for program in programs], programs[0].init(jax.random.key(0))
    matches = []
    for number in range(4):
        at_step = state._replace(step=jnp.asarray(number))
        leaves = [jax.tree.leaves(step(at_step, batch)[0].params) for step in steps]
        matches.append([all(map(np.allclose, leaves[0], other)) for other in leaves[1:]])
    assert matches == [[False, True], [False, True], [True, False], [True, False]]
    with pytest.raises(ConfigError, match=r"consistency_from is 1.0; give 0 or more, below 1"):
        Config(consistency=1.0, consistency_from=1.0)
