"""Class-balance cost: the mean prediction of unlabelled rows is pulled to equal frequencies."""

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
from ladder_jax.run.program import build_ladder
from ladder_jax.targets import class_balance_cost

COST = jax.jit(class_balance_cost)
PLAIN = ladder((6,), [dense(5), dense(3)])
NET = ladder((6,), [dense(5), dense(3)], class_balance=2.0)


def expected(logits):
    """Computes the divergence from equal frequencies in NumPy."""
    e = np.exp(logits - logits.max(-1, keepdims=True)).reshape(-1, logits.shape[-1])
    mean = (e / e.sum(-1, keepdims=True)).mean(0)
    return (mean * np.log(mean * len(mean))).sum()


def make_batch():
    x = jax.random.normal(jax.random.key(1), (12, 6))
    return Batch(x[:4], jnp.arange(4) % 3, x[4:])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31 - 1), st.sampled_from([0.1, 1.0, 20.0]))
def test_equals_numpy_and_ignores_the_order_of_classes(seed, scale):
    logits = scale * np.random.default_rng(seed).normal(size=(7, 4)).astype(np.float32)
    cost = COST(logits)
    np.testing.assert_allclose(cost, expected(logits), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(COST(logits[:, ::-1]), cost, rtol=1e-4, atol=1e-6)


def test_is_finite_if_a_class_is_never_predicted():
    logits = jnp.array([[0.0, -1e4], [0.0, -1e5]])
    value, gradient = jax.value_and_grad(class_balance_cost)(logits)
    assert float(value) == pytest.approx(np.log(2)) and np.isfinite(gradient).all()


def test_gradient_against_finite_differences():
    with jax.enable_x64():
        rng = np.random.default_rng(0)
        logits, direction = rng.normal(size=(2, 7, 4))
        gradient, step = jax.grad(class_balance_cost)(logits), 1e-6
        up, down = (expected(logits + s * direction) for s in (step, -step))
        np.testing.assert_allclose(
            (gradient * direction).sum(), (up - down) / (2 * step), rtol=1e-7
        )


def test_is_part_of_the_loss():
    """It counts the noisy pass of the unlabelled rows, with its weight."""
    batch, key, params = make_batch(), jax.random.key(3), NET.init(jax.random.key(0))
    total, metrics = jax.jit(NET.loss)(params, batch, key)
    plain_loss, plain_metrics = jax.jit(PLAIN.loss)(params, batch, key)
    noise = PLAIN.draw_noise(key, 4, 8).unlabeled
    wanted = expected(np.asarray(PLAIN.encode(params, batch.unlabeled, noise).logits))
    np.testing.assert_allclose(metrics["class_balance"], wanted, rtol=1e-4)
    np.testing.assert_allclose(total, plain_loss + 2.0 * wanted, rtol=1e-5)
    assert metrics["loss"] == total and "class_balance" not in plain_metrics


def test_without_decoder_and_with_adversarial_noise():
    net = ladder((6,), [dense(5), dense(3)], combinators=None, class_balance=2.0)
    batch, params = make_batch(), net.init(jax.random.key(0))
    for variant in (net, virtual_adversarial(net)):
        loss, metrics = jax.jit(variant.loss)(params, batch, jax.random.key(3))
        wanted = metrics["cross_entropy"] + 2.0 * metrics["class_balance"]
        assert float(metrics["class_balance"]) > 0
        np.testing.assert_allclose(loss, wanted, rtol=1e-5)
    with pytest.raises(ValueError, match=r"batch.unlabeled has 0 row"):
        net.loss(params, batch._replace(unlabeled=batch.unlabeled[:0]), jax.random.key(3))


def test_classes_of_positions():
    outputs = jax.random.normal(jax.random.key(0), (2, 4, 5, 3))
    cost = targets.pixels(3).class_balance(outputs)
    np.testing.assert_allclose(cost, expected(np.asarray(outputs)), rtol=1e-5)


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf"), "1", None])
def test_bad_weight(weight):
    with pytest.raises(ValueError, match=r"class_balance is .*; give a finite number, 0 or more"):
        ladder((6,), [dense(3)], class_balance=weight)


@pytest.mark.parametrize("target", [targets.numbers(3), targets.several(3)])
def test_targets_that_are_not_classes(target):
    with pytest.raises(ValueError, match=f"class_balance is 1.0, but target {target} is not one"):
        ladder((6,), [dense(3)], target=target, class_balance=1.0)
    with pytest.raises(ConfigError, match=f"but target {target} is not one of classes; give 0"):
        build_ladder(Config(units=(4,), class_balance=1.0), (6,), target)


def test_config_settings():
    assert Config(class_balance=1.0).supervised().class_balance == 0.0
    net = build_ladder(Config(units=(4,), class_balance=1.5), (6,), targets.classes(3))
    assert net.structure.class_balance == 1.5
    with pytest.raises(ConfigError, match=r"class_balance is -1.0; give 0 or more"):
        Config(class_balance=-1.0)
