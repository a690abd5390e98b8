"""The ladder's functions: transformations, gradients, properties and invalid settings."""

import functools

import drawn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ladder_jax
from ladder_jax import (
    Batch,
    Hyper,
    _checks,
    activations,
    combinators,
    dense,
    ladder,
    normalization,
    presets,
)
from ladder_jax.adversarial import virtual_adversarial
from ladder_jax.types import Noise, Trained

COSTS = (10.0, 1.0, 0.5, 0.1)
FULL = ladder((6,), [dense(5), dense(4), dense(3)], denoising_cost=COSTS)
GAMMA = ladder(
    (6,),
    [dense(5), dense(4), dense(3)],
    combinators=[None, None, None, combinators.gaussian()],
    denoising_cost=(0, 0, 0, 0.1),
)
SUPERVISED = ladder((6,), [dense(5), dense(4), dense(3)], combinators=None)


def make_batch(rows=8, labeled=4, dtype=jnp.float32):
    x = jax.device_put(drawn.normal(1, (rows + labeled, 6), dtype))
    return Batch(x[:labeled], jnp.arange(labeled) % 3, x[labeled:])


def perturbed(net, scale=0.3, dtype=jnp.float32):
    return drawn.moved(net.init(jax.random.key(0)), scale, dtype)


def assert_same(a, b, rtol=1e-5):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=1e-6), a, b)


def test_loss_equals_loss_given_with_drawn_noise():
    params, batch, key = perturbed(FULL), make_batch(), jax.random.key(3)
    noise = FULL.draw_noise(key, 4, 8)
    loss, loss_given = jax.jit(FULL.loss), jax.jit(FULL.loss_given)
    assert_same(loss(params, batch, key), loss_given(params, batch, noise))


def test_eager_loss_checks_its_batch_once(monkeypatch):
    calls, as_batch = [], _checks.as_batch
    monkeypatch.setattr(_checks, "as_batch", lambda *args: calls.append(0) or as_batch(*args))
    FULL.loss(perturbed(FULL), make_batch(), jax.random.key(3))
    assert len(calls) == 1


def test_total_is_cross_entropy_plus_weighted_costs():
    loss, metrics = FULL.loss(perturbed(FULL), make_batch(), jax.random.key(3))
    weighted = metrics["cross_entropy"] + np.dot(COSTS, metrics["denoising"])
    np.testing.assert_allclose(loss, weighted, rtol=1e-5)
    assert float(loss) == float(metrics["loss"])


def test_jit_equals_plain():
    args = perturbed(FULL), make_batch(), jax.random.key(3)
    assert_same(jax.jit(FULL.loss)(*args), FULL.loss(*args))


def test_one_program_serves_a_sweep():
    params, batch, key = perturbed(FULL), make_batch(), jax.random.key(3)
    noise = jnp.array([[0.1] * 4, [0.3] * 4, [0.5, 0.1, 0.0, 0.2]])
    costs = jnp.array([COSTS, [0.0] * 4, [1.0] * 4])
    sweep = jax.jit(jax.vmap(FULL.loss, in_axes=(None, None, None, 0)))
    losses = sweep(params, batch, key, Hyper(noise, costs))[0]
    for i in range(3):
        net = ladder(
            (6,),
            [dense(5), dense(4), dense(3)],
            noise_std=noise[i].tolist(),
            denoising_cost=costs[i].tolist(),
        )
        np.testing.assert_allclose(losses[i], net.loss(params, batch, key)[0], rtol=1e-5)
    assert sweep._cache_size() == 1


@pytest.mark.parametrize("values", [0.3, [0.3, 0.1], [0.3] * 5])
def test_hyper_of_other_levels_is_refused(values):
    params, batch, key = FULL.init(jax.random.key(0)), make_batch(), jax.random.key(1)
    for name in ("noise_std", "denoising_cost"):
        hyper = FULL.hyper._replace(**{name: jnp.asarray(values)})
        with pytest.raises(ValueError, match=rf"hyper.{name} has shape .* each of the 4 levels"):
            FULL.loss(params, batch, key, hyper)


def test_vmap_over_seeds():
    keys = jax.random.split(jax.random.key(0), 3)
    params = jax.vmap(FULL.init)(keys)
    losses = jax.jit(jax.vmap(FULL.loss, in_axes=(0, None, 0)))(params, make_batch(), keys)[0]
    loss = jax.jit(FULL.loss)
    for i in range(3):
        member = jax.tree.map(lambda leaf, i=i: leaf[i], params)
        np.testing.assert_allclose(losses[i], loss(member, make_batch(), keys[i])[0], rtol=1e-5)


@pytest.mark.parametrize("g", [combinators.gaussian, combinators.sigmoid])
def test_gradients_against_finite_differences(g):
    with jax.enable_x64(True):
        net = ladder(
            (6,),
            [dense(5), dense(4), dense(3)],
            combinators=g(),
            denoising_cost=COSTS,
            activation=[activations.softplus(), activations.sigmoid()],
        )
        params, batch = perturbed(net, dtype=jnp.float64), make_batch(dtype=jnp.float64)
        noise = net.draw_noise(jax.random.key(4), 4, 8)
        loss = jax.jit(lambda p: net.loss_given(p, batch, noise)[0])
        grads = jax.jit(jax.grad(loss))(params)
        for seed in range(3):
            zeros = jax.tree.map(np.zeros_like, params)
            direction = drawn.moved(zeros, 1.0, np.float64, seed)
            step = 1e-6
            losses = [
                loss(jax.tree.map(lambda p, d, s=s: p + s * d, params, direction))
                for s in (step, -step)
            ]
            expected = sum(
                jax.tree.leaves(jax.tree.map(lambda a, b: jnp.sum(a * b), grads, direction))
            )
            np.testing.assert_allclose((losses[0] - losses[1]) / (2 * step), expected, rtol=1e-6)


def test_gradient_flows_through_the_clean_targets():
    """The original program stops no gradient: without that of the targets, the result differs."""
    params, batch = perturbed(FULL), make_batch()
    noise = FULL.draw_noise(jax.random.key(4), 4, 8)

    def denoising(params, stop):
        clean = FULL.encode(params, batch.unlabeled)
        clean = jax.lax.stop_gradient(clean) if stop else clean
        noisy = FULL.encode(params, batch.unlabeled, noise.unlabeled)
        return sum(FULL.decode(params, noisy, clean).cost)

    def total_denoising(params):
        metrics = FULL.loss_given(params, batch, noise)[1]
        return metrics["denoising"].sum()

    def kernel_grad(f):
        return jax.jit(jax.grad(f))(params)[1].up["kernel"]

    grads = [kernel_grad(f) for f in (total_denoising, lambda p: denoising(p, False))]
    np.testing.assert_allclose(grads[0], grads[1], rtol=1e-4, atol=1e-6)
    stopped = kernel_grad(lambda p: denoising(p, True))
    assert np.abs(stopped - grads[0]).max() > 0.1 * np.abs(grads[0]).max()


def test_gamma_equals_the_full_model_with_other_costs_0():
    key, batch = jax.random.key(3), make_batch()
    hyper = Hyper(jnp.full(4, 0.3), jnp.array([0, 0, 0, 0.1]))
    full, gamma = FULL.init(jax.random.key(0)), GAMMA.init(jax.random.key(0))
    grads_full = jax.jit(jax.grad(lambda p: FULL.loss(p, batch, key, hyper)[0]))(full)
    grads_gamma = jax.jit(jax.grad(lambda p: GAMMA.loss(p, batch, key)[0]))(gamma)
    for level in range(1, 4):
        for part in ("up", "activation"):
            assert_same(
                getattr(grads_full[level], part), getattr(grads_gamma[level], part), rtol=1e-4
            )
        assert grads_gamma[level].down is None
    assert_same(grads_full[3].combinator, grads_gamma[3].combinator)


def test_undecoded_levels_cost_nothing():
    """They add no parameters or operations: the supervised net ignores unlabelled rows."""
    flops = {}
    for name, net in (("full", FULL), ("gamma", GAMMA), ("supervised", SUPERVISED)):
        params = net.init(jax.random.key(0))
        cost = jax.jit(net.loss).lower(params, make_batch(64), jax.random.key(0)).compile()
        flops[name] = cost.cost_analysis()["flops"]
    assert flops["supervised"] < flops["gamma"] < flops["full"]
    batch, key = make_batch(), jax.random.key(0)
    params = SUPERVISED.init(key)
    no_unlabeled = batch._replace(unlabeled=batch.unlabeled[:0])
    assert_same(SUPERVISED.loss(params, batch, key), SUPERVISED.loss(params, no_unlabeled, key))


def test_halves_are_normalised_separately():
    params, batch = perturbed(FULL), make_batch()
    noise = FULL.draw_noise(jax.random.key(4), 4, 8)
    moved = batch._replace(unlabeled=5 * batch.unlabeled + 3)
    costs = [FULL.loss_given(params, b, noise)[1]["cross_entropy"] for b in (batch, moved)]
    assert float(costs[0]) == pytest.approx(float(costs[1]), rel=1e-6)


def test_prediction_of_one_row_equals_that_in_a_batch():
    params, x = perturbed(FULL), make_batch().unlabeled
    statistics = jax.jit(FULL.statistics)(params, x)
    predict = jax.jit(FULL.predict)
    logits, encoded = predict(params, statistics, x), jax.jit(FULL.encode)(params, x)
    np.testing.assert_allclose(logits, encoded.logits, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(logits[:1], predict(params, statistics, x[:1]), rtol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(4)), st.permutations(range(8)))
def test_order_of_rows_does_not_matter(labeled, unlabeled):
    params, batch = perturbed(FULL), make_batch()
    noise = FULL.draw_noise(jax.random.key(4), 4, 8)
    labeled, unlabeled = jnp.array(labeled), jnp.array(unlabeled)
    shuffled = Batch(batch.labeled[labeled], batch.labels[labeled], batch.unlabeled[unlabeled])
    moved = Noise(
        tuple(n[labeled] for n in noise.labeled), tuple(n[unlabeled] for n in noise.unlabeled)
    )
    loss = jax.jit(FULL.loss_given)
    assert float(loss(params, batch, noise)[0]) == pytest.approx(
        float(loss(params, shuffled, moved)[0]), rel=1e-4
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 100), st.floats(-100, 100))
def test_normalisation_undoes_scale_and_shift(seed, scale, shift):
    x = np.random.default_rng(seed).normal(size=(16, 3)).astype(np.float32)
    batch_normalize = lambda x: normalization.batch_normalize(jnp.asarray(x))[0]
    normalized = batch_normalize(x)
    np.testing.assert_allclose(batch_normalize(scale * x + shift), normalized, atol=2e-2)
    np.testing.assert_allclose(normalized.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(normalized.var(0), 1, atol=1e-4)


@pytest.mark.parametrize("per_unit", [False, True])
def test_normalisation_has_the_derivatives_of_its_formula(per_unit):
    shape, axes = (4, 3, 2), (0,) if per_unit else (0, 1)

    def formula(x):
        mean = x.mean(axes)
        var = jnp.square(x - mean).mean(axes)
        return (x - mean) / jnp.sqrt(var + 1e-10), mean, var

    @functools.partial(jax.jit, static_argnums=0)
    def derivatives(normalize, x, dx):
        def scalar(x):
            z, mean, var = normalize(x)
            return (jnp.sin(z) * jnp.cos(x)).sum() + jnp.sin(mean).sum() + (var**2).sum()

        twice = jax.grad(lambda x: (jax.grad(scalar)(x) * dx).sum())
        gradients = jax.vmap(jax.grad(scalar))(jnp.stack([x, dx]))
        return jax.jvp(normalize, (x,), (dx,)), gradients, twice(x), jax.hessian(scalar)(x)

    with jax.enable_x64(True):
        x, dx = np.random.default_rng(0).normal(size=(2, *shape))
        batch_normalize = functools.partial(normalization.batch_normalize, per_unit=per_unit)
        actual, expected = (
            jax.tree.leaves(derivatives(f, x, dx)) for f in (batch_normalize, formula)
        )
        for a, b in zip(actual, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_narrow_rows_are_normalised_in_float32(dtype):
    """In float16, the 1e-10 that is added to a variance is 0, and 1 / sqrt(1e-10) infinite."""
    x = jnp.asarray(drawn.normal(0, (50, 3)) + np.float32(100.0), dtype).at[:, 0].set(7)
    z, mean, var = normalization.batch_normalize(x)
    wide = normalization.batch_normalize(x.astype(jnp.float32))
    assert z.dtype == dtype and mean.dtype == var.dtype == jnp.float32
    for narrow, expected in zip((z, mean, var), wide, strict=True):
        np.testing.assert_allclose(narrow.astype(jnp.float32), expected, rtol=1e-2)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_narrow_parameters_and_rows_have_finite_gradients(dtype):
    """At the start u is 0 below the top, as the gaussian's estimate is."""
    arrays = (FULL.init(jax.random.key(0)), make_batch())
    params, batch = jax.tree.map(
        lambda leaf: leaf if leaf.dtype == jnp.int32 else leaf.astype(dtype), arrays
    )
    loss = jax.jit(jax.value_and_grad(FULL.loss, has_aux=True))
    result = loss(params, batch, jax.random.key(3))
    assert {leaf.dtype for leaf in jax.tree.leaves(result)} == {jnp.dtype(dtype)}
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(result))
    np.testing.assert_allclose(result[0][0], loss(*arrays, jax.random.key(3))[0][0], rtol=2e-2)


def test_constant_units_give_no_nan():
    batch = make_batch()
    batch = batch._replace(labeled=batch.labeled.at[:, 0].set(0), unlabeled=0 * batch.unlabeled)
    grad = jax.jit(jax.grad(lambda p: FULL.loss(p, batch, jax.random.key(0))[0]))
    grads = grad(perturbed(FULL))
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(grads))


def test_images_are_flattened_and_restored():
    net = ladder((2, 3, 1), [dense(4), dense(3)])
    assert net.shapes == ((2, 3, 1), (4,), (3,))
    x = drawn.normal(1, (5, 2, 3, 1))

    @jax.jit
    def z_hat(params, noise):
        noisy = net.encode(params, x, noise)
        return net.decode(params, noisy, net.encode(params, x)).z_hat[0]

    assert z_hat(net.init(jax.random.key(0)), drawn.noise(net, 5, 5).labeled).shape == x.shape


def test_parameters_are_strongly_typed():
    """JAX would compile the first steps twice for a weakly typed parameter."""
    for g in (combinators.gaussian(), combinators.sigmoid()):
        net = ladder((6,), [dense(3)], combinators=g)
        assert not any(leaf.weak_type for leaf in jax.tree.leaves(net.init(jax.random.key(0))))


LAYERS = [dense(5), dense(3)]
G = combinators.gaussian()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": []}, "at least one layer"),
        ({"layers": [dense(1)]}, "at least 2 classes"),
        ({"noise_std": [0.3, 0.3]}, "noise_std is a list of 2; give one value, or 3"),
        ({"noise_std": [0.3, -1, 0.3]}, r"noise_std\[1\] is -1"),
        ({"noise_std": float("nan")}, r"noise_std\[0\] is nan"),
        ({"denoising_cost": [1.0] * 4}, "denoising_cost is a list of 4; give one value, or 3"),
        ({"combinators": [G, G]}, "combinators is a list of 2; give one value, or 3"),
        (
            {"activation": [activations.relu()] * 2},
            "list of 2; give one value, or 1",
        ),
        ({"combinators": [G, None, G]}, r"combinators\[0\] needs the signal from level 1"),
        (
            {"combinators": [None, G, G], "denoising_cost": [1.0, 1, 1]},
            r"denoising_cost\[0\] is 1.0, but level 0 is not decoded",
        ),
        ({"activation": "rel"}, "activation is 'rel'; give one of relu"),
        ({"combinators": ["gauss", None, None]}, r"combinators\[0\] is 'gauss'; give one of"),
        ({"activation": jnp.tanh}, "activation is .*; give a Activation, e.g. relu"),
        ({"combinators": 3}, r"combinators\[0\] is 3; give a Combinator, e.g. gaussian"),
        ({"layers": [5, 3]}, r"layers\[0\] is 5; give a Layer"),
        ({"layers": None}, r"layers\[0\] is None; give a Layer"),
        ({"layers": iter([])}, "at least one layer"),
        ({"noise_std": None}, r"noise_std\[0\] is None; give a finite number"),
        ({"noise_std": [0.3, "0.3", 0.3]}, r"noise_std\[1\] is '0.3'; give a finite number"),
        ({"noise_std": np.ones((3, 2))}, r"noise_std\[0\] is array.*; give a finite number"),
        ({"denoising_cost": {0: 1.0}}, r"denoising_cost\[0\] is {0: 1.0}; give a finite number"),
        ({"consistency": 0.5}, r"consistency is 0.5; give Consistency\(cost=1.0\) or None"),
        ({"top": "softmax"}, r"top is 'softmax'; give an Activation, e.g. activations.softmax"),
        ({"input_shape": ()}, "input_shape is ()"),
        ({"input_shape": 4.5}, "input_shape is 4.5; give whole numbers"),
        ({"input_shape": (4, 0)}, "input_shape is .4, 0."),
    ],
)
def test_invalid_settings(settings, message):
    layers = settings.pop("layers", LAYERS)
    with pytest.raises((ValueError, TypeError), match=message):
        ladder(settings.pop("input_shape", (4,)), layers, **settings)


def test_names_and_single_numbers_as_settings():
    named = ladder(
        4, LAYERS, combinators=["none", None, "gaussian"], activation="sigmoid", denoising_cost=2
    )
    explicit = ladder((4,), LAYERS, combinators=[None, None, G], activation=activations.sigmoid())
    assert repr(named) == repr(explicit).replace("0.3        1", "0.3        2")
    assert presets.mlp(4, 3).shapes == ((4,), (3,))
    assert ladder((4,), dense(3)).shapes == ((4,), (3,))
    assert ladder((4,), (dense(n) for n in (5, 3))).shapes == ((4,), (5,), (3,))


def test_settings_from_outside_a_compiled_function():
    """Comparing an array is traced there, even if its value is known."""
    noise, x = jnp.float32(0.2), make_batch().unlabeled

    @jax.jit
    def top(x):
        net = ladder(6, LAYERS[-1], noise_std=noise)
        return net.encode(net.init(jax.random.key(0)), x).h[-1]

    assert top(x).shape == (8, 3)


def test_key_from_outside_a_compiled_function():
    key = jax.random.key(0)
    drawn = jax.jit(lambda: FULL.init(key))()
    assert_same(drawn, FULL.init(key))


@pytest.mark.parametrize("sizes", [(1, 1), (8, 4), (4, 1)])
def test_noise_of_other_rows_is_refused(sizes):
    """JAX would broadcast the noise of one row to all rows."""
    params, batch = FULL.init(jax.random.key(0)), make_batch()
    noise = FULL.draw_noise(jax.random.key(1), *sizes)
    with pytest.raises(ValueError, match=r"noise\.(un)?labeled has the shapes .*; wanted"):
        FULL.loss_given(params, batch, noise)
    with pytest.raises(ValueError, match="noise has the shapes"):
        FULL.encode(params, batch.unlabeled, noise.unlabeled)


def test_noise_of_other_levels_is_refused():
    params, batch = FULL.init(jax.random.key(0)), make_batch()
    noise = FULL.draw_noise(jax.random.key(1), 4, 8)
    for wrong in (noise, noise.unlabeled[:3], noise.unlabeled * 2, (0.0,) * 4):
        with pytest.raises(ValueError, match=r"noise has the shapes .*one array per level"):
            FULL.encode(params, batch.unlabeled, wrong)


def test_passes_of_other_rows_are_refused():
    """JAX would compare the estimate of one row with each of the others."""
    params, x = FULL.init(jax.random.key(0)), make_batch().unlabeled
    clean = FULL.encode(params, x)
    with pytest.raises(ValueError, match=r"noisy has 1 row\(s\), clean 8; give passes over"):
        FULL.decode(params, FULL.encode(params, x[:1], statistics=clean.statistics), clean)


def test_statistics_of_another_ladder_are_refused():
    """JAX would broadcast the mean and variance of a single unit."""
    params, x = FULL.init(jax.random.key(0)), make_batch().unlabeled
    narrow = ladder(6, [dense(1), dense(4), dense(3)])
    other = narrow.statistics(narrow.init(jax.random.key(0)), x)
    with pytest.raises(ValueError, match=r"of level 1 have the shapes \(1,\) .* wanted \(5,\)"):
        FULL.predict(params, other, x)
    own = FULL.statistics(params, x)
    with pytest.raises(ValueError, match=r"statistics has none of level 0; give .* u"):
        FULL.denoise(Trained(params, own, own), x)


def test_parameters_of_another_depth_are_refused():
    """The first levels of a deeper ladder may fit."""
    x, deeper = make_batch().unlabeled, ladder(6, [dense(5), dense(4), dense(3), dense(3)])
    params = deeper.init(jax.random.key(0))
    with pytest.raises(ValueError, match=r"params has 5 levels; give the 4 LevelParams"):
        FULL.statistics(params, x)
    with pytest.raises(TypeError, match=r"params is a dict, not of a ladder; give the 4"):
        FULL.loss(dict(enumerate(params)), make_batch(), jax.random.key(0))


def first_unit(x):
    """Returns one column, which JAX would broadcast to a level's shape."""
    return x[:, :1]


LATERAL = combinators.linear()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"layers": [dense(5), dense(3)._replace(up=lambda params, h: first_unit(h))]},
            r"layers\[1\] \(dense:3\): up returns shape \(20, 1\); wanted \(20, 3\)",
        ),
        (
            {"layers": [dense(5)._replace(down=lambda params, z, shape: first_unit(z)), dense(3)]},
            r"layers\[0\] \(dense:5\): down returns shape \(8, 1\); wanted \(8, 6\)",
        ),
        (
            {"combinators": LATERAL._replace(apply=lambda params, z, u: first_unit(z))},
            r"combinators\[2\] \(linear\): apply returns shape \(8, 1\); wanted \(8, 3\)",
        ),
        (
            {"activation": activations.activation(first_unit)},
            r"activation custom of level 1 returns shape \(20, 1\); wanted \(20, 5\)",
        ),
    ],
    ids=["up", "down", "combinator", "activation"],
)
def test_functions_that_return_another_shape_are_refused(settings, message):
    net = ladder((6,), settings.pop("layers", [dense(5), dense(3)]), **settings)
    with pytest.raises(ValueError, match=message):
        net.loss(net.init(jax.random.key(0)), make_batch(), jax.random.key(1))


class Table:
    """Rows with a shape that are no array, as data frames have them."""

    def __init__(self, rows):
        self.rows, self.shape = np.asarray(rows), np.shape(rows)

    def __array__(self, dtype=None, copy=None):
        return self.rows


def test_data_frames_as_rows():
    params, batch, key = FULL.init(jax.random.key(0)), make_batch(), jax.random.key(3)
    assert_same(FULL.loss(params, tuple(map(Table, batch[:3])), key), FULL.loss(params, batch, key))


def test_prediction_of_no_rows_is_refused():
    params, x = perturbed(FULL), make_batch().unlabeled
    with pytest.raises(ValueError, match=r"x has 0 row\(s\); give at least 1\.$"):
        FULL.predict(params, FULL.statistics(params, x), x[:0])


def test_ladder_is_a_static_argument_and_its_repr_lists_levels():
    @functools.partial(jax.jit, static_argnums=0)
    def loss(net, params, batch):
        return net.loss(params, batch, jax.random.key(0))[0]

    params, batch = perturbed(FULL), make_batch()
    expected = jax.jit(FULL.loss)(params, batch, jax.random.key(0))[0]
    assert_same(loss(FULL, params, batch), expected)
    assert loss._cache_size() == 1 and len({FULL, GAMMA, FULL}) == 2
    top = repr(GAMMA).splitlines()[-1].split()
    assert top == ["3", "(3,)", "dense:3", "softmax", "gaussian", "0.3", "0.1"]


def test_batches_as_dicts_tuples_and_lists():
    params, batch, key = perturbed(FULL), make_batch(), jax.random.key(3)
    expected = FULL.loss(params, batch, key)
    doubles = jax.tree.map(lambda part: np.asarray(part, np.float64), batch)._replace(
        labels=np.asarray(batch.labels)
    )
    lists = [np.asarray(part).tolist() for part in batch]
    for form in (batch._asdict(), tuple(batch), lists, doubles):
        assert_same(FULL.loss(params, form, key), expected)
    partial = {"labeled": batch.labeled, "labels": batch.labels, "unlabeled": None}
    emptied = batch._replace(unlabeled=batch.unlabeled[:0])
    one = batch._replace(unlabeled=batch.unlabeled[:1])  # more than the supervised net reads
    for net in (SUPERVISED, virtual_adversarial(SUPERVISED)):
        loss = jax.jit(net.loss)
        assert_same(loss(params, partial, key), loss(params, emptied, key))
        assert jnp.isfinite(loss(params, one, key)[0])


def _cross_entropy_of_labelled(logits, labels):
    """Returns the cross-entropy of the labelled rows, without the others."""
    rows = np.flatnonzero(np.asarray(labels) >= 0)
    log_p = jax.nn.log_softmax(logits[rows])
    return -log_p[np.arange(len(rows)), np.asarray(labels)[rows]].mean()


@pytest.mark.parametrize("jitted", [False, True])
def test_unlabelled_rows_do_not_count_in_the_cross_entropy(jitted):
    with jax.enable_x64(True):
        params = perturbed(SUPERVISED, dtype=jnp.float64)
        batch = make_batch(dtype=jnp.float64)
        batch = batch._replace(labels=jnp.array([2, -1, 0, -1]))
        noise = SUPERVISED.draw_noise(jax.random.key(4), 4, 8)

        def loss(params):
            return SUPERVISED.loss_given(params, batch, noise)

        def by_hand(params):
            logits = SUPERVISED.encode(params, batch.labeled, noise.labeled).logits
            wrong = logits.argmax(-1)[::2] != batch.labels[::2]
            return _cross_entropy_of_labelled(logits, batch.labels), wrong.mean()

        wrap = jax.jit if jitted else lambda f: f
        (value, metrics), grads = wrap(jax.value_and_grad(loss, has_aux=True))(params)
        (wanted, error), wanted_grads = jax.jit(jax.value_and_grad(by_hand, has_aux=True))(params)
        np.testing.assert_allclose(value, wanted, rtol=1e-12)
        assert float(metrics["error"]) == pytest.approx(float(error))
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12),
            *(grads, wanted_grads),
        )


_supervised_loss = jax.jit(jax.value_and_grad(SUPERVISED.loss, has_aux=True))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(-3, 5), min_size=4, max_size=4))
def test_labels_outside_the_classes_never_give_nan(labels):
    """Under jit, where values are not known, such a row counts as unlabelled."""
    batch, in_range = make_batch(), jnp.array([y if 0 <= y < 3 else -1 for y in labels])
    args = perturbed(SUPERVISED), batch._replace(labels=jnp.array(labels)), jax.random.key(0)
    result = _supervised_loss(*args)
    assert_same(result, _supervised_loss(args[0], batch._replace(labels=in_range), args[2]))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result))
    if set(labels) <= {-1, 0, 1, 2}:
        assert_same(SUPERVISED.loss(*args), result[0])
    else:
        with pytest.raises(ValueError, match=r"batch.labels\[\d\] is .*classes from 0 to 2, or -1"):
            SUPERVISED.loss(*args)


def test_units_must_be_positive():
    for units in (0, 3.0, True):
        with pytest.raises(ValueError, match=f"units is {units}"):
            dense(units)


GOOD = make_batch()


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        (GOOD._replace(labels=GOOD.labels.astype(float)), TypeError, "labels as integers|integers"),
        (GOOD._replace(labels=GOOD.labels[:2]), ValueError, "one label per row"),
        (GOOD._replace(labeled=GOOD.labeled[:, :5]), ValueError, r"shape \(4, 5\)"),
        (GOOD._replace(unlabeled=GOOD.unlabeled[:, :5]), ValueError, r"shape \(8, 5\)"),
        (GOOD._replace(unlabeled=GOOD.unlabeled[:1]), ValueError, "1 row"),
        (GOOD._replace(unlabeled=GOOD.unlabeled[:0]), ValueError, "0 row"),
        (Batch(GOOD.labeled[:1], GOOD.labels[:1], GOOD.unlabeled), ValueError, "1 row"),
        (GOOD._replace(labeled=GOOD.labeled.astype(int)), TypeError, "floating point"),
        (GOOD._replace(unlabeled=None), ValueError, "0 row"),
        (GOOD._replace(weight=GOOD.labels * 1j), TypeError, "batch.weight has dtype complex64"),
        ({"labeled": GOOD.labeled, "labels": GOOD.labels}, TypeError, "batch is a dict"),
        ((GOOD.labeled, GOOD.labels), TypeError, "batch is a tuple"),
    ],
)
def test_invalid_batches(batch, error, message):
    params = FULL.init(jax.random.key(0))
    with pytest.raises(error, match=message):
        jax.jit(FULL.loss)(params, batch, jax.random.key(0))


def test_presets_follow_the_paper():
    settings = ladder_jax.presets.mnist_settings(1000)
    assert settings.noise_std == (0.3,) + (0.2,) * 6
    assert settings.denoising_cost == (2000, 20, 0.1, 0.1, 0.1, 0.1, 0.1)
    for model in ("full", "bottom", "gamma", "supervised"):
        net = ladder_jax.presets.mnist_mlp(100, model)
        assert net.shapes[-1] == (10,)
    with pytest.raises(ValueError, match="labels is 7"):
        ladder_jax.presets.mnist_settings(7)
    with pytest.raises(ValueError, match="model is 'x'"):
        ladder_jax.presets.mnist_settings(100, "x")
