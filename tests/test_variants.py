"""Extensions of the paper: unit-norm weights, averages, adversarial noise, bfloat16."""

import functools
import json
import re

import drawn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ladder_jax import Batch, dense, ladder, loop, presets, targets, training
from ladder_jax.adversarial import adversarial_noise, divergence, virtual_adversarial
from ladder_jax.config import Config
from ladder_jax.layers import compute_in
from ladder_jax.run import program
from ladder_jax.transforms import (
    average_params,
    averaged,
    constant_then_linear,
    project_weights,
    unit_norm_weights,
)

NET = presets.mlp(6, [5, 3])


def make_batch(rows=8, labeled=4):
    x = jax.random.normal(jax.random.key(1), (rows + labeled, 6))
    return Batch(x[:labeled], jnp.arange(labeled) % 3, x[labeled:])


def test_unit_norm_and_average_after_several_steps():
    optimizer = optax.chain(optax.adam(0.05), unit_norm_weights(), average_params(0.8))
    state = training.create_train_state(NET, optimizer, jax.random.key(0))
    step = training.make_train_step(NET, optimizer)
    seen = []
    for _ in range(4):
        state, _ = step(state, make_batch())
        seen.append(state.params)
    for level in state.params[1:]:
        norms = jnp.linalg.norm(level.up["kernel"], axis=0)
        np.testing.assert_allclose(norms, 1.0, rtol=1e-5)
        assert not np.allclose(jnp.linalg.norm(level.down["kernel"], axis=0), 1.0, rtol=1e-2)
    weights = 0.8 ** np.arange(4)[::-1]
    mean = jax.tree.map(lambda *ps: np.tensordot(weights / weights.sum(), np.stack(ps), 1), *seen)
    average = averaged(state.opt_state)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), average, mean)


def test_projection_keeps_clean_predictions():
    params = NET.init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (9, 6))
    before, after = (NET.encode(p, x).logits for p in (params, project_weights(params)))
    np.testing.assert_allclose(before, after, rtol=1e-3, atol=1e-4)


def test_unit_norm_of_a_ladder_within_other_parameters():
    nested = {"ladder": NET.init(jax.random.key(0)), "head": {"kernel": jnp.full((3, 2), 5.0)}}
    projected = project_weights(nested)
    for level in projected["ladder"][1:]:
        np.testing.assert_allclose(jnp.linalg.norm(level.up["kernel"], axis=0), 1, rtol=1e-5)
    assert (projected["head"]["kernel"] == 5).all()


def test_unit_norm_keeps_other_updates():
    params = NET.init(jax.random.key(0))
    updates = jax.tree.map(jnp.ones_like, params)
    optimizer = unit_norm_weights()
    changed, _ = optimizer.update(updates, optimizer.init(params), params)
    for level in (1, 2):
        assert (changed[level].down["kernel"] == 1).all()
        assert (changed[level].up["kernel"] != 1).any()


def test_average_keeps_the_dtype_of_the_parameters():
    with jax.enable_x64(True):
        params, optimizer = {"w": jnp.ones(2, jnp.float32)}, average_params(0.9)
        _, state = optimizer.update(params, optimizer.init(params), params)
    assert averaged(state)["w"].dtype == jnp.float32 and (averaged(state)["w"] == 2).all()


@pytest.mark.parametrize("decay", [0.9, 0.9999, 0.999999])
def test_average_begins_with_the_first_step(decay):
    """The initial parameters have no weight, however large they are."""
    optimizer, params = average_params(decay), jnp.array(1e6)
    _, state = optimizer.update(jnp.array(1 - 1e6), optimizer.init(params), params)
    assert float(averaged(state)) == 1.0
    _, state = optimizer.update(jnp.array(1.0), state, jnp.array(1.0))
    assert float(averaged(state)) == pytest.approx((decay + 2) / (decay + 1), rel=1e-6)


def test_average_decay_may_be_traced():
    optimizer = optax.inject_hyperparams(average_params)(decay=0.8)
    params = jnp.array(1.0)
    state = jax.jit(optimizer.init)(params)
    for _ in range(2):
        updates, state = jax.jit(optimizer.update)(jnp.array(1.0), state, params)
        params = optax.apply_updates(params, updates)
    assert float(averaged(state)) == pytest.approx((0.8 * 2 + 3) / 1.8, rel=1e-6)


def test_settings_known_in_a_compiled_function():
    """Comparing an array is traced there, even if its value is known."""
    decay = jnp.float32(0.5)

    @jax.jit
    def rate(params):
        average_params(decay).init(params)
        return constant_then_linear(decay, 10)(0)

    assert rate(jnp.zeros(2)) == 0.5


def test_average_of_a_parameter_of_that_name():
    params = {"average": jnp.array(3.0)}
    adam = optax.adam(0.1)
    assert averaged(adam.init(params)) is None
    state = optax.chain(adam, average_params(0.5)).init(params)
    assert averaged(state) == params


@pytest.mark.parametrize("transformation", [unit_norm_weights(), average_params(0.5)])
def test_transformations_need_the_parameters(transformation):
    params = NET.init(jax.random.key(0))
    with pytest.raises(ValueError, match="params is None; call update"):
        transformation.update(params, transformation.init(params))


def test_bad_decay():
    with pytest.raises(ValueError, match="decay is 1"):
        average_params(1.0)


WIDE = presets.mlp(20, [15, 10])


@functools.partial(jax.jit, static_argnames="levels")
def divergences(seed, levels):
    """Computes the divergences of adversarial noise and of random noise of the same norm."""
    keys = jax.random.split(jax.random.key(seed), 3)
    params, x = WIDE.init(keys[0]), jax.random.normal(keys[1], (40, 20))
    noise = WIDE.draw_noise(keys[2], 2, 40).unlabeled
    norm = lambda n: n * jnp.sqrt(n.shape[1] / jnp.square(n).sum(1, keepdims=True))
    count = 1 if levels == "input" else len(noise)
    quiet = [jnp.zeros_like(n) for n in noise[count:]]
    adversarial = adversarial_noise(WIDE, params, x, noise, levels=levels)[:count]
    lengths = [jnp.linalg.norm(n, axis=1) / jnp.sqrt(n.shape[1]) for n in adversarial]
    random = [norm(n) for n in noise[:count]]
    divergence_of = lambda n: divergence(WIDE, params, x, (*n, *quiet))
    return divergence_of(adversarial), divergence_of(random), jnp.concatenate(lengths)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31 - 1), st.sampled_from(["input", "all"]))
@example(158229, "all")  # in one row no unit of a level is active: its gradient is 0
def test_adversarial_noise_beats_random_noise_of_its_norm(seed, levels):
    adversarial, random, lengths = divergences(seed, levels)
    assert adversarial > random
    np.testing.assert_allclose(lengths, 1.0, rtol=1e-4)


def test_adversarial_noise_keeps_its_length_where_predictions_are_confident():
    net = presets.mlp(4, [3, 2], noise_std=0.01)
    keys = jax.random.split(jax.random.key(1), 3)
    *lower, top = net.init(keys[0])
    clusters = jnp.where(jnp.arange(6) < 3, 3.0, -3.0)[:, None]  # so that no row is doubtful
    x = clusters + 0.1 * jax.random.normal(keys[1], (6, 4))
    noise = net.draw_noise(keys[2], 2, 6).unlabeled

    @jax.jit
    def lengths(gain):
        confident = top._replace(activation=top.activation | {"gain": jnp.full(2, gain)})
        direction, *_ = adversarial_noise(net, (*lower, confident), x, noise)
        return jnp.linalg.norm(direction, axis=1)

    for gain in (5.0, 20.0, 40.0):  # the squares of the gradients of the last two are 0
        np.testing.assert_allclose(lengths(gain), 2.0, rtol=1e-4)


def test_adversarial_ladder_replaces_the_noise_it_draws():
    batch, key, params = make_batch(), jax.random.key(3), NET.init(jax.random.key(0))
    adversarial_net = virtual_adversarial(NET, levels="all")
    drawn = NET.draw_noise(key, 4, 8)
    make_adversarial = jax.jit(functools.partial(adversarial_noise, NET, levels="all"))
    adversarial = drawn._replace(
        labeled=make_adversarial(params, batch.labeled, drawn.labeled),
        unlabeled=make_adversarial(params, batch.unlabeled, drawn.unlabeled),
    )
    cost = jax.jit(adversarial_net.loss)(params, batch, key)[0]
    np.testing.assert_allclose(
        cost, jax.jit(NET.loss_given)(params, batch, adversarial)[0], rtol=1e-3
    )
    assert float(cost) != float(jax.jit(NET.loss)(params, batch, key)[0])


@pytest.mark.parametrize("wrong", [{"levels": "top"}, {"steps": 0}, {"xi": 0.0}])
def test_bad_adversarial_settings(wrong):
    noise = NET.draw_noise(jax.random.key(0), 2, 4).unlabeled
    with pytest.raises(ValueError, match=next(iter(wrong))):
        adversarial_noise(NET, NET.init(jax.random.key(0)), jnp.ones((4, 6)), noise, **wrong)


def test_bfloat16_keeps_parameters_statistics_and_gradients_in_float32():
    net = ladder((6,), [compute_in(jnp.bfloat16, dense(n)) for n in (5, 3)])
    params = net.init(jax.random.key(0))
    batch = make_batch()
    # Constant pixels: variance 0 at the input, and at the signal that leads to it.
    batch = batch._replace(unlabeled=batch.unlabeled.at[:, :3].set(0.7))
    (loss, metrics), grads = jax.jit(jax.value_and_grad(net.loss, has_aux=True))(
        params, batch, jax.random.key(3)
    )
    for leaf in jax.tree.leaves(
        (params, loss, metrics, grads, net.statistics(params, batch.labeled))
    ):
        assert leaf.dtype == jnp.float32 and bool(jnp.isfinite(leaf).all())
    lowered = jax.jit(net.loss).lower(params, batch, jax.random.key(3)).as_text()
    products = re.findall(
        r"dot_general.*\(tensor<[^>]*x(\w+)>, .*->\s*tensor<[^>]*x(\w+)>", lowered
    )
    assert products.count(("bf16", "f32")) >= 3


def test_config_enables_every_variant(tmp_path):
    config = Config(
        units=(8,),
        epochs=2,
        unit_norm=True,
        ema_decay=0.9,
        adversarial="input",
        compute_dtype="bfloat16",
        class_balance=1.0,
    )
    result = loop.train_and_evaluate(config, tmp_path)
    assert 0 <= result.summary["test_error"] <= 100
    metrics = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert all(0 <= json.loads(line)["class_balance"] < np.log(10) for line in metrics)
    # The average of unit vectors that moved a little.
    norms = jnp.linalg.norm(result.params[1].up["kernel"], axis=0)
    assert ((norms > 0.9) & (norms <= 1.0)).all()


def test_conv_ladder_from_a_config(tmp_path):
    config = Config(
        encoder="convv:4:3:1:1-maxpool:2:2-globalmeanpool:0-fc:10",
        combinators=("none", "none", "none", "none", "gaussian"),
        denoising_cost=(0.0, 0.0, 0.0, 0.0, 1.0),
        epochs=1,
    )
    result = loop.train_and_evaluate(config, tmp_path)
    assert 0 <= result.summary["test_error"] < 100
    with pytest.raises(ValueError, match="10 classes"):
        program.build_ladder(Config(encoder="20-9"), (64,), targets.classes(10))
    with pytest.raises(ValueError, match="not known"):
        Config(encoder="20-what:9")


@pytest.mark.slow
def test_bfloat16_matches_float32_on_digits(tmp_path):
    """Mean test error over three seeds, 150 epochs: within half a point."""
    errors = {}
    for dtype in ("float32", "bfloat16"):
        runs = [
            Config(denoising_cost=(100.0, 10.0, 0.1, 0.1), labels=0, compute_dtype=dtype, seed=seed)
            for seed in range(3)
        ]
        errors[dtype] = np.mean(
            [
                loop.train_and_evaluate(config, tmp_path / f"{dtype}{config.seed}").summary[
                    "test_error"
                ]
                for config in runs
            ]
        )
    print(errors)
    assert abs(errors["float32"] - errors["bfloat16"]) <= 0.5


def deep_net(levels):
    costs = (10.0, 1.0) + (0.1,) * (levels - 1)
    return presets.mlp(64, [20] * (levels - 1) + [10], denoising_cost=costs)


def test_cost_of_a_step_grows_linearly_in_depth():
    x = jnp.zeros((200, 64))
    batch = Batch(x[:100], jnp.arange(100) % 10, x[100:])

    def flops(levels):
        net = deep_net(levels)
        params = jax.eval_shape(net.init, jax.random.key(0))
        noise = jax.eval_shape(lambda: net.draw_noise(jax.random.key(0), 100, 100))
        step = jax.jit(jax.grad(net.loss_given, has_aux=True))
        return step.lower(params, batch, noise).cost_analysis()["flops"]

    five, ten, fifteen = map(flops, (5, 10, 15))
    np.testing.assert_allclose(fifteen - ten, ten - five, rtol=0.01)


@pytest.mark.slow
def test_thirty_layers_train_on_digits(tmp_path):
    config = Config(
        units=(50,) * 29,
        denoising_cost=(100.0, 10.0) + (0.1,) * 29,
        noise_std=(0.03,),  # noise of thirty levels adds up
        epochs=40,
        eval_every=40,
        labels=0,
    )
    lines = []
    result = loop.train_and_evaluate(config, tmp_path, progress=lines.append)
    losses = [line["loss"] for line in lines]
    print(losses[0], losses[-1], result.summary["test_error"])
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    assert result.summary["test_error"] < 50


def test_joint_norm_is_one_noisy_pass_over_both_halves():
    given = {"noise_std": 0.3, "denoising_cost": [10.0, 1.0, 0.1]}
    joint, separate = (
        ladder(4, [dense(5), dense(3)], joint_norm=on, **given) for on in (True, False)
    )
    x = drawn.normal(0, (11, 4))
    batch = Batch(x[:3], np.array([0, 2, 1]), x[3:])
    params, noise = joint.init(jax.random.key(1)), drawn.noise(joint, 3, 8)

    def reference_loss(params):
        both = tuple(map(jnp.concatenate, zip(*noise, strict=True)))
        noisy, clean = separate.encode(params, x, both), separate.encode(params, batch.unlabeled)
        cost, _ = separate.structure.target.cost(noisy.logits[:3], batch.labels, None)
        unlabeled = noisy._replace(z=[z[3:] for z in noisy.z], h=[h[3:] for h in noisy.h])
        costs = separate.decode(params, unlabeled, clean).cost
        return cost + jnp.array([10.0, 1.0, 0.1]) @ jnp.stack(costs)

    loss = lambda params, net=joint: net.loss_given(params, batch, noise)[0]
    found, wanted = (jax.jit(jax.value_and_grad(f))(params) for f in (loss, reference_loss))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), found, wanted)
    assert abs(wanted[0] - jax.jit(loss, static_argnums=1)(params, separate)) > 0.01


def test_joint_norm_takes_one_labeled_row():
    """Its noisy pass has the statistics of all rows, which one row alone has not."""
    joint, separate = (ladder(4, [dense(5), dense(3)], joint_norm=on) for on in (True, False))
    x = drawn.normal(0, (9, 4))
    batch, params = Batch(x[:1], np.array([2]), x[1:]), joint.init(jax.random.key(1))
    loss, metrics = joint.loss(params, batch, jax.random.key(2))
    assert np.isfinite(loss) and metrics["cross_entropy"] > 0
    with pytest.raises(ValueError, match=r"batch.labeled has 1 row\(s\); give at least 2"):
        separate.loss(params, batch, jax.random.key(2))


def test_joint_norm_needs_unlabeled_rows():
    nets = [ladder(4, [dense(3)], combinators=None, joint_norm=on) for on in (True, False)]
    x = jax.random.normal(jax.random.key(0), (6, 4))
    params, batch = nets[0].init(jax.random.key(1)), Batch(x, jnp.arange(6) % 3, x[:0])
    on, off = (net.loss(params, batch, jax.random.key(2))[0] for net in nets)
    assert on == off
