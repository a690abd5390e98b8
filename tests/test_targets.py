"""Targets: costs and measures against NumPy and scikit-learn, and ladders with each target."""

import itertools
import json
import math
import os
import pathlib
import subprocess
import sys

import drawn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import export as jax_export
from scipy import special
from sklearn import metrics as sk
from sklearn.utils.class_weight import compute_class_weight

from ladder_jax import Batch, Consistency, Target, conv, dense, ladder, targets, training
from ladder_jax.adversarial import adversarial_noise, divergence, virtual_adversarial

N, K = 30, 3
NAMES = ["classes:3", "pixels:3", "numbers:2", "numbers:2:variance", "several:3"]
NEW = ["pixels:3", "numbers:2:variance", "several:3"]  # other tests cover classes in more depth
EVERY = pytest.mark.parametrize("name", NAMES)


def test_every_registered_target_is_tested():
    assert {name.split(":")[0] for name in NAMES} == set(targets.TARGETS)


def draw(name, rows=N, seed=0):
    """Returns a target, and outputs and labels as NumPy arrays; some labels are missing."""
    target, rng = targets.from_name(name), np.random.default_rng(seed)
    places = (2, 4) if target.positions else ()
    outputs = 2 * rng.normal(size=(rows, *places, target.size))
    if name.startswith("numbers"):
        labels = rng.normal(size=(rows, 2))
        labels[rng.random(labels.shape) < 0.3] = np.nan
    elif name.startswith("several"):
        labels = rng.integers(-1, 2, (rows, K))
    else:
        labels = rng.integers(-1, K, (rows, *places))
        if target.positions:
            labels[rng.random(labels.shape) < 0.2] = 255
    return target, outputs, labels


def losses(name, outputs, labels):
    """Yields the loss, row and label of each labelled entry, computed one by one in NumPy."""
    for index in np.ndindex(labels.shape):
        y, out = labels[index], outputs[index]
        if name.startswith("numbers"):
            if not np.isnan(y):
                log_var = 0.0
                if "variance" in name:
                    log_var = 6 * np.tanh(outputs[index[0], 2 + index[1]] / 6)
                loss = (y - out) ** 2 / np.exp(log_var) / 2
                if "variance" in name:
                    loss += np.log(2 * np.pi * np.exp(log_var)) / 2
                yield loss, index[0], 0
        elif name.startswith("several"):
            if y >= 0:
                p = 1 / (1 + np.exp(-out))
                yield -np.log(p if y else 1 - p), index[0], 0
        elif 0 <= y < K:
            yield np.log(np.exp(out).sum()) - out[y], index[0], y


def expected_cost(name, outputs, labels, weight=None, class_weight=None):
    found = [
        (loss, (1 if weight is None else weight[row]) * (class_weight[y] if class_weight else 1))
        for loss, row, y in losses(name, outputs, labels)
    ]
    return sum(loss * w for loss, w in found) / sum(w for _, w in found)


def expected_measures(name, outputs, labels):
    """Computes the measures of the labelled entries with scikit-learn."""
    if name.startswith("numbers"):
        mean, known = outputs[:, :2], ~np.isnan(labels)
        r2 = [sk.r2_score(labels[k, i], mean[k, i]) for i, k in enumerate(known.T)]
        rmse = sk.root_mean_squared_error(labels[known], mean[known])
        mae = sk.mean_absolute_error(labels[known], mean[known])
        return {"error": rmse, "rmse": rmse, "mae": mae, "r2": np.mean(r2)}
    if name.startswith("several"):
        known, found = labels >= 0, outputs > 0
        f1 = [sk.f1_score(labels[k, i], found[k, i]) for i, k in enumerate(known.T)]
        rows = [(labels[i, k] == found[i, k]).all() for i, k in enumerate(known) if k.any()]
        wrong = 100 * np.mean(labels[known] != found[known])
        return {"error": wrong, "macro_f1": 100 * np.mean(f1), "exact_match": 100 * np.mean(rows)}
    known = (labels >= 0) & (labels < K)
    y, found = labels[known], outputs.argmax(-1)[known]
    accuracy = 100 * sk.accuracy_score(y, found)
    if name.startswith("pixels"):
        iou = 100 * sk.jaccard_score(y, found, average="macro")
        return {"error": 100 - iou, "mean_iou": iou, "pixel_accuracy": accuracy}
    return {
        "error": 100 - accuracy,
        "balanced_error": 100 - 100 * sk.balanced_accuracy_score(y, found),
        "macro_f1": 100 * sk.f1_score(y, found, average="macro"),
    }


@EVERY
@pytest.mark.parametrize("seed", [0, 1])
def test_cost_matches_numpy(name, seed):
    target, outputs, labels = draw(name, seed=seed)
    weight = np.random.default_rng(seed).random(N)
    with jax.enable_x64(True):
        for w in (None, weight):
            cost, error = jax.jit(target.cost)(outputs, labels, w)
            np.testing.assert_allclose(cost, expected_cost(name, outputs, labels, w), rtol=1e-9)
            measured = expected_measures(name, outputs, labels)["error"]
            assert float(error) * (100 if target.percent else 1) == pytest.approx(measured)


@pytest.mark.parametrize("make", [targets.classes, targets.pixels])
def test_class_weights(make):
    target, outputs, labels = draw(make(K).name)
    weights, rows = (0.5, 0.0, 3.0), np.arange(N) / 4
    with jax.enable_x64(True):
        weighted = make(K, class_weight=weights)
        for row in (None, rows):
            cost, error = jax.jit(weighted.cost)(outputs, labels, row)
            wanted = expected_cost(target.name, outputs, labels, row, weights)
            np.testing.assert_allclose(cost, wanted, rtol=1e-9)
            assert error == jax.jit(target.cost)(outputs, labels)[1]
        nothing = jax.jit(weighted.cost)(outputs, np.where(labels == 1, 1, -1))[0]
        assert nothing == 0.0


@EVERY
def test_measures_match_scikit_learn(name):
    target, outputs, labels = draw(name, rows=40)
    found = target.summary(jax.jit(target.measures)(outputs, labels))
    wanted = expected_measures(name, outputs, labels)
    assert list(found) == list(wanted)
    np.testing.assert_allclose(list(found.values()), list(wanted.values()), rtol=1e-5)
    assert all(type(value) is float for value in found.values())


def test_measures_in_original_units():
    target, outputs, labels = draw("numbers:2", rows=40)
    scale = np.array([10.0, 0.2])
    found = target.summary(jax.jit(target.measures)(outputs, labels), scale)
    wanted = expected_measures("numbers:2", outputs * scale, labels * scale)
    np.testing.assert_allclose(list(found.values()), list(wanted.values()), rtol=1e-5)


@EVERY
def test_measures_by_class(name):
    target, outputs, labels = draw(name, rows=40)
    if name.startswith("numbers"):
        return
    found = targets.by_class(jax.jit(target.measures)(outputs, labels))
    known = (labels >= 0) & (labels < K)
    predicted = outputs > 0
    if not name.startswith("several"):
        predicted = outputs.argmax(-1)[..., None] == np.arange(K)
        known, labels = known[..., None], labels[..., None] == np.arange(K)
    known = np.broadcast_to(known, labels.shape).reshape(-1, K)
    parts = zip(labels.reshape(-1, K).T, predicted.reshape(-1, K).T, known.T, strict=True)
    names = {"iou": sk.jaccard_score, "precision": sk.precision_score}
    names |= {"recall": sk.recall_score, "f1": sk.f1_score}
    for i, (y, p, k) in enumerate(parts):
        for measure, reference in names.items():
            np.testing.assert_allclose(found[measure][i], reference(y[k] == 1, p[k]), rtol=1e-9)


def test_absent_classes_do_not_count():
    target = targets.pixels(5)
    labels, found = np.array([[[0, 1], [1, -1]]]), np.array([[[0, 1], [1, 4]]])
    sums = jax.jit(target.measures)(10 * np.eye(5)[found], labels)
    assert target.summary(sums)["mean_iou"] == 100.0
    assert np.isnan(targets.by_class(sums)["iou"][2:]).all()


def test_constant_column_has_no_r2():
    target, outputs, labels = draw("numbers:2")
    labels[:, 1] = 0.1
    found = target.summary(jax.jit(target.measures)(outputs, labels))
    known = ~np.isnan(labels[:, 0])
    wanted = sk.r2_score(labels[known, 0], outputs[known, 0])
    assert found["r2"] == pytest.approx(wanted, rel=1e-5)


@EVERY
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), cut=st.sampled_from([1, 11]))
def test_sums_of_chunks_add_up(name, seed, cut):
    target, outputs, labels = draw(name, seed=seed)
    measures = jax.jit(target.measures)
    full = measures(outputs, labels)
    parts = (measures(outputs[s], labels[s]) for s in (slice(cut), slice(cut, None)))
    added = jax.tree.map(np.add, *parts)
    for key, value in full.items():
        exact = jnp.issubdtype(value.dtype, jnp.integer)
        np.testing.assert_allclose(added[key], value, rtol=0 if exact else 1e-4, atol=1e-4)
    if any(True for _ in losses(name, outputs, labels)):
        a, b = target.summary(added), target.summary(full)
        np.testing.assert_allclose(list(a.values()), list(b.values()), rtol=1e-3, atol=1e-3)


@EVERY
def test_unlabelled_rows_have_no_effect(name):
    target, outputs, labels = draw(name)
    rows = np.array([1, 4])
    labels = labels.copy()
    labels[rows] = np.nan if name.startswith("numbers") else -1
    rest = np.setdiff1d(np.arange(N), rows)
    with jax.enable_x64(True):
        cost = jax.jit(target.cost)
        full, without = (cost(jnp.asarray(outputs[r]), labels[r]) for r in (np.arange(N), rest))
        np.testing.assert_allclose(full, without, rtol=1e-12)
        np.testing.assert_allclose(full, cost(outputs, labels, np.ones(N)), rtol=1e-12)
        gradient = jax.jit(jax.grad(lambda out: target.cost(out, labels)[0]))(outputs)
    assert np.isfinite(gradient).all() and not gradient[rows].any() and gradient.any()
    nothing = labels[rows[:1].repeat(N)]
    assert [float(x) for x in cost(outputs, nothing)] == [0.0, 0.0]
    assert math.isnan(target.summary(jax.jit(target.measures)(outputs, nothing))["error"])


@EVERY
def test_traced_labels_out_of_range_count_as_missing(name):
    target, outputs, labels = draw(name)
    wrong, none = (math.inf, math.nan) if name.startswith("numbers") else (77, -1)
    found, wanted = labels.copy(), labels.copy()
    found[2], wanted[2] = wrong, none
    for function in (target.cost, target.measures):
        actual, expected = (jax.jit(function)(outputs, y) for y in (found, wanted))
        jax.tree.map(np.testing.assert_array_equal, actual, expected)


@pytest.mark.parametrize("name", ["classes:3", "pixels:3", "several:3"])
def test_nan_outputs_count_as_wrong(name):
    target, outputs, labels = draw(name)
    labels = np.where((labels >= 0) & (labels < K), labels, 0)  # every entry has a label
    outputs = np.full_like(outputs, np.nan)
    assert target.summary(jax.jit(target.measures)(outputs, labels))["error"] == 100.0
    assert jax.jit(target.cost)(outputs, labels)[1] == 1.0


@EVERY
def test_predictions_agree_in_numpy_and_jax(name):
    target, outputs, _ = draw(name)
    for function in (target.predict, target.probabilities, target.uncertainty):
        actual, expected = function(outputs), jax.jit(function)(outputs)
        if actual is None:
            assert expected is None and name.startswith("numbers")
            continue
        assert isinstance(actual, np.ndarray) and isinstance(expected, jax.Array)
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    doubt = target.uncertainty(outputs)
    if target.probabilities(outputs) is not None:
        p = target.probabilities(outputs)
        p = np.maximum(p, 1 - p) if name.startswith("several") else p.max(-1)
        np.testing.assert_allclose(doubt, 1 - p, atol=1e-12)
    elif "variance" in name:
        np.testing.assert_allclose(doubt, np.exp(3 * np.tanh(outputs[:, 2:] / 6)))


def integral(log_density, log_other):
    """Computes the KL divergence of two densities by the trapezium rule."""
    grid = np.linspace(-60, 60, 40001)
    p, q = log_density(grid), log_other(grid)
    return np.trapezoid(np.exp(p) * (p - q), grid)


def expected_divergence(name, clean, noisy):
    if name.startswith("numbers"):

        def log_density(out, i):
            var = np.exp(6 * np.tanh(out[2 + i] / 6)) if "variance" in name else 1.0
            return lambda x: -((x - out[i]) ** 2) / var / 2 - np.log(2 * np.pi * var) / 2

        pairs = [(c, n, i) for c, n in zip(clean, noisy, strict=True) for i in range(2)]
        return np.mean([integral(log_density(c, i), log_density(n, i)) for c, n, i in pairs])
    p, q = (targets.from_name(name).probabilities(out) for out in (clean, noisy))
    each = p * np.log(p / q)
    if name.startswith("several"):
        return np.mean(each + (1 - p) * np.log((1 - p) / (1 - q)))
    return each.sum(-1).mean()


@EVERY
def test_divergence_and_consistency_match_numpy(name):
    target, clean, _ = draw(name)
    noisy, consistency = draw(name, seed=5)[1], Consistency(threshold=0.9, temperature=0.7)
    wanted = expected_divergence(name, clean, noisy)
    with jax.enable_x64(True):
        divergence_of = jax.jit(target.divergence)
        np.testing.assert_allclose(divergence_of(clean, noisy), wanted, rtol=1e-5)
        assert divergence_of(clean, clean) == pytest.approx(0.0, abs=1e-12)
        cost = jax.jit(jax.value_and_grad(target.consistency, argnums=(1, 2)), static_argnums=0)
        found, (clean_gradient, noisy_gradient) = cost(consistency, clean, noisy)
        if name.startswith("several"):
            p, sharp = (1 / (1 + np.exp(-clean / t)) for t in (1, 0.7))
            q = 1 / (1 + np.exp(-noisy))
            each = -sharp * np.log(q) - (1 - sharp) * np.log(1 - q)
            wanted = np.mean(each * (np.maximum(p, 1 - p) >= 0.9))
        elif not name.startswith("numbers"):
            p, sharp = (special.softmax(clean / t, -1) for t in (1, 0.7))
            each = -(sharp * special.log_softmax(noisy, -1)).sum(-1)
            wanted = np.mean(each * (p.max(-1) >= 0.9))
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert not clean_gradient.any() and noisy_gradient.any()


def net_of(name, **rest):
    """Builds a tiny ladder; smooth, so that finite differences apply."""
    target = targets.from_name(name)
    shape, layers = (4,), [dense(4), dense(target.size)]
    if target.positions:
        shape, layers = (3, 4, 1), [conv(2, 3, 1, "same"), conv(target.size, 1)]
    costs = [10.0, 1.0, 0.1]
    given = {"activation": "softplus", "denoising_cost": costs, "target": name, **rest}
    return ladder(shape, layers, **given)


def batch_of(name, dtype=jnp.float32, rows=8):
    """Builds a batch with labels of the tests above, resized to the positions of the top."""
    net = net_of(name)
    x = jax.device_put(drawn.normal(1, (3 * rows, *net.shapes[0]), dtype))
    labels = draw(name, rows=rows)[2]
    if net.structure.target.positions:
        labels = np.resize(labels, (rows, 3, 4))
    weight = jnp.linspace(0.5, 1.5, rows, dtype=dtype)
    return Batch(x[:rows], jnp.asarray(labels), x[rows:], weight)


@EVERY
def test_loss_of_a_whole_ladder(name):
    """Its gradient matches finite differences, compiled matches eager, and vmap single calls."""
    with jax.enable_x64(True):
        net, batch = net_of(name), batch_of(name, jnp.float64)
        target = net.structure.target
        params = drawn.moved(net.init(jax.random.key(0)), dtype=np.float64)
        noise = drawn.noise(net, 8, 16, np.float64)
        loss = jax.jit(jax.value_and_grad(net.loss_given, has_aux=True))
        (value, metrics), grads = loss(params, batch, noise)
        assert set(metrics) == {target.cost_name, "denoising", "error", "loss"}
        outputs = jax.jit(net.encode)(params, batch.labeled, noise.labeled).logits
        wanted = expected_cost(name, np.asarray(outputs), np.asarray(batch.labels), batch.weight)
        np.testing.assert_allclose(metrics[target.cost_name], wanted, rtol=1e-9)
        if target.positions:  # only one target, as eager mode compiles each operation
            np.testing.assert_allclose(value, net.loss_given(params, batch, noise)[0], rtol=1e-9)
        direction, step = drawn.moved(jax.tree.map(np.zeros_like, params), dtype=np.float64), 1e-6
        shifted = [
            jax.tree.map(lambda p, d, s=s: p + s * d, params, direction) for s in (step, -step)
        ]
        up, down = (loss(p, batch, noise)[0][0] for p in shifted)
        slope = sum(jax.tree.leaves(jax.tree.map(lambda g, d: (g * d).sum(), grads, direction)))
        np.testing.assert_allclose((up - down) / (2 * step), slope, rtol=1e-6)
        both = jax.tree.map(lambda *leaves: jnp.stack(leaves), *shifted)
        together = jax.jit(jax.vmap(net.loss_given, (0, None, None)))(both, batch, noise)[0]
        np.testing.assert_allclose(together, [up, down], rtol=1e-9)


@pytest.mark.parametrize("name", ["classes:3", *NEW])
def test_loss_is_exported(name):
    net, batch = net_of(name), batch_of(name)
    given = net.init(jax.random.key(0)), batch, drawn.noise(net, 8, 16)
    function = jax.jit(net.loss_given)
    exported = jax_export.export(function, platforms=("cpu", "cuda", "tpu"))(*given)
    assert exported.platforms == ("cpu", "cuda", "tpu")
    np.testing.assert_allclose(exported.call(*given)[0], function(*given)[0], rtol=1e-5)


@EVERY
def test_shapes_of_the_top(name):
    net = net_of(name)
    x, target = batch_of(name).labeled, net.structure.target
    params = net.init(jax.random.key(0))
    result = jax.jit(net.encode)(params, x)
    predicted = jax.jit(net.predict)(params, result.statistics, x)
    assert predicted.shape == result.logits.shape == target.outputs(result.h[-1]).shape
    top = jax.tree.leaves(params[-1].combinator)[0].shape
    assert top == (target.size,)  # per channel where there are positions
    if target.positions:
        assert predicted.shape == (8, 3, 4, 3) and target.predict(predicted).shape == (8, 3, 4)
        np.testing.assert_allclose(result.h[-1].sum(-1), 1.0, rtol=1e-5)
    measures = training.make_measures(net)(params, result.statistics, x, batch_of(name).labels)
    error = training.make_error_rate(net)(params, result.statistics, x, batch_of(name).labels)
    wanted = target.summary(measures)["error"] / (100 if target.percent else 1)
    assert float(error) == pytest.approx(wanted, rel=1e-5)


@EVERY
def test_consistency_with_adversarial_noise(name):
    net = net_of(name, consistency=Consistency(cost=2.0, threshold=0.3), noise_std=1.0)
    batch, params = batch_of(name), drawn.moved(net.init(jax.random.key(0)))
    loss, metrics = jax.jit(virtual_adversarial(net).loss)(params, batch, jax.random.key(3))
    rest = metrics[net.structure.target.cost_name] + np.dot(net.hyper[1], metrics["denoising"])
    np.testing.assert_allclose(loss, rest + 2.0 * metrics["consistency"], rtol=1e-5)
    assert metrics["consistency"] > 0
    noise = net.draw_noise(jax.random.key(4), 8, 16).unlabeled

    @jax.jit
    def both(noise):
        adversarial = adversarial_noise(net, params, batch.unlabeled, noise)
        return [divergence(net, params, batch.unlabeled, n) for n in (noise, adversarial)]

    random, adversarial = both(noise)
    assert 0 < random < adversarial


def losses_by_devices():
    """Prints the loss, the error and the norm of the gradient on one device and on eight."""
    from ladder_jax import parallel

    found = {}
    for name, devices in itertools.product(NEW, (1, 8)):
        mesh = parallel.make_mesh(devices=jax.devices()[:devices])
        net, place = net_of(name), parallel.shard_batch(mesh)
        batch = parallel.replicate(mesh, batch_of(name))
        params = parallel.replicate(mesh, drawn.moved(net.init(jax.random.key(0))))
        step = jax.value_and_grad(lambda p, b, n=net: n.loss(p, b, jax.random.key(3)), has_aux=True)
        (loss, metrics), grads = jax.jit(lambda p, b, f=step, s=place: f(p, s(b)))(params, batch)
        norm = sum((leaf**2).sum() for leaf in jax.tree.leaves(grads)) ** 0.5
        found[f"{name} {devices}"] = [float(x) for x in (loss, metrics["error"], norm)]
    print(json.dumps([len(jax.devices()), found]))


def test_eight_devices_match_one():
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    here = pathlib.Path(__file__).parent
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, (here.parent, here)))
    command = [sys.executable, "-c", "import test_targets; test_targets.losses_by_devices()"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    devices, found = json.loads(result.stdout.splitlines()[-1])
    assert devices == 8
    for name in NEW:
        np.testing.assert_allclose(found[f"{name} 8"], found[f"{name} 1"], rtol=1e-4)


def test_row_weights_reach_the_step():
    x = jnp.arange(12.0).reshape(6, 2)
    data = training.TrainData(x, jnp.arange(6), x, jnp.arange(6) / 10)
    batch = data.batch(jnp.array([4, 1]), jnp.array([0, 5]))
    assert batch.labels.tolist() == [4, 1] and batch.unlabeled[:, 0].tolist() == [0, 10]
    np.testing.assert_allclose(batch.weight, [0.4, 0.1])
    assert data._replace(weight=None).batch(*jnp.arange(2)[:, None]).weight is None


def test_equal_arguments_give_the_same_object():
    assert targets.pixels(3, [-1, 255]) is targets.pixels(3) is targets.from_name("pixels:3")
    assert targets.classes(3, class_weight=[1, 2, 3]) is not targets.classes(3)
    assert hash(targets.numbers(1)) != hash(targets.numbers(1, variance=True))
    made = targets.from_name("classes:2", class_weight=(1.0, 2.0))
    assert (
        made is targets.classes(2, class_weight=np.array([1.0, 2.0])) and repr(made) == "classes:2"
    )
    for name in NAMES:
        assert isinstance(targets.from_name(name), Target) and repr(targets.from_name(name)) == name


def test_default_is_classes_of_the_last_layer():
    assert ladder((4,), dense(3)).structure.target is targets.classes(3)
    assert net_of("classes:3").structure.target.top.name == "softmax"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: targets.classes(1), "classes: k is 1; give a whole number, 2 or more"),
        (lambda: targets.pixels(2.0), "pixels: k is 2.0"),
        (lambda: targets.numbers(0), "numbers: d is 0"),
        (lambda: targets.several(0), "several: k is 0"),
        (lambda: targets.pixels(300), "ignore has 255, but the classes are 0 to 299"),
        (lambda: targets.pixels(3, (0.5,)), "ignore is .0.5,.; give whole numbers"),
        (lambda: targets.pixels(3, 255), "pixels: ignore is 255; give whole numbers, e.g."),
        (lambda: targets.class_weights(3, [0], 2), "class_weight is 3; give None, 'balanced', a"),
        (lambda: targets.pixels(3, class_weight=(1, 2)), "give a tuple of 3 numbers"),
        (lambda: targets.classes(2, class_weight=(1, -2)), r"class_weight\[1\] is -2; give a fin"),
        (lambda: targets.classes(2, class_weight=(0, 0)), "class_weight is 0 for every class"),
        (lambda: targets.classes(2, class_weight={0: 1}), "class_weight is {0: 1}; give a tuple"),
        (
            lambda: targets.from_name("pixel:3"),
            "target 'pixel:3' is not known; give one of classes, pix",
        ),
        (lambda: targets.from_name("numbers:1:var"), "target 'numbers:1:var' is not known"),
        (lambda: targets.from_name("several"), "target 'several' is not known"),
        (lambda: ladder((4,), dense(4), target="classes:3"), r"\(4,\); target classes:3 wants \(3"),
        (lambda: ladder((4,), dense(3), target="pixels:3"), r"end with conv\(3, 1\)"),
        (lambda: ladder((4, 4, 1), conv(3, 1), target="numbers:3"), r"end with dense\(3\)"),
        (lambda: ladder((4,), dense(3), target=3), "target is 3; give a Target"),
        (lambda: targets.class_weights("even", [0], 2), "class_weight is 'even'; give 'balanced'"),
        (lambda: targets.class_weights("balanced", [-1], 2), "no label is given"),
        (lambda: targets.class_weights({"c": 1}, [0], "ab"), "class_weight has 'c'; give classes"),
        (
            lambda: targets.class_weights({1: -1.0}, [0], 2),
            r"class_weight\[1\] is -1.0; give a fin",
        ),
        (lambda: targets.class_weights([1.0], [0], 2), "give a tuple of 2 numbers"),
        (lambda: targets.standardize([[1.0, 2], [np.inf, 3]], "y"), r"y\[1, 0\] is inf; give fin"),
        (lambda: targets.standardize([np.nan] * 2, "y"), "y is NaN in every row; give a number"),
        (lambda: targets.standardize([[1, 2], [3, 2]], "y"), r"y\[:, 1\] is 2.0 in every label"),
        (lambda: targets.standardize([1e200, -1e200], "y"), "y has a variance that float64 cannot"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises((ValueError, TypeError), match=message) as error:
        make()
    assert "\n" not in str(error.value)


MASKS = np.zeros((8, 3, 4), np.uint8)


@pytest.mark.parametrize(
    ("name", "labels", "message"),
    [
        ("classes:3", np.zeros(8), "dtype float64; give class numbers as integers"),
        ("classes:3", np.arange(8), r"batch.labels\[3\] is 3; give classes from 0 to 2, or -1"),
        ("pixels:3", MASKS[:, :2], r"shape \(8, 2, 4\) for 8 labelled rows; give masks \(8, 3, 4"),
        ("pixels:3", np.zeros((8, 3, 4, 3), int), "no colours"),
        ("pixels:3", MASKS + 1.0, "give class numbers as integers"),
        ("pixels:3", MASKS + 7, r"labels\[0, 0, 0\] is 7; give classes from 0 to 2, or -1 or 255"),
        ("numbers:2", np.zeros(8), r"shape \(8,\) .*; give numbers of shape \(8, 2\)"),
        ("numbers:2", np.full((8, 2), np.inf), r"labels\[0, 0\] is inf; give finite numbers, or N"),
        ("numbers:2", np.full((8, 2), "a"), "dtype <U1; give numbers"),
        ("several:3", np.full((8, 3), 2), r"labels\[0, 0\] is 2; give 0 or 1, or -1"),
        ("several:3", np.zeros(8, int), r"give 0 or 1 of shape \(8, 3\)"),
    ],
)
def test_bad_labels(name, labels, message):
    net = net_of(name)
    batch = batch_of(name)._replace(labels=labels)
    with pytest.raises((ValueError, TypeError), match=message) as error:
        net.loss(None, batch, None)  # before anything is computed
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones(7), r"batch.weight has shape \(7,\) for 8 labelled rows; give one number per row"),
        (np.full(8, -1.0), r"batch.weight\[0\] is -1.0; give finite numbers, 0 or more"),
        (np.full(8, np.nan), r"batch.weight\[0\] is nan"),
    ],
)
def test_bad_weights(weight, message):
    with pytest.raises(ValueError, match=message):
        net_of("several:3").loss(None, batch_of("several:3")._replace(weight=weight), None)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("pixels:3", np.full((8, 3, 4), 255, np.uint8)),
        ("several:3", np.ones((8, 3), bool)),
        ("numbers:2", np.arange(16).reshape(8, 2)),
        ("numbers:2", np.arange(16, dtype=np.int32).reshape(8, 2)),
        ("numbers:2", np.arange(16, dtype=np.uint8).reshape(8, 2)),
    ],
)
def test_labels_of_other_dtypes(name, labels):
    target = targets.from_name(name)
    target.check_labels("y", labels, 8, (3, 4, 3))
    outputs = draw(name, rows=8)[1] if not target.positions else np.zeros((8, 3, 4, 3))
    wide = labels.astype(float if name.startswith("numbers") else int)
    cost = jax.jit(target.cost)
    np.testing.assert_array_equal(cost(outputs, labels), cost(outputs, wide))


def test_255_is_a_class_unless_ignored():
    target, labels = targets.pixels(256, (-1,)), np.full((2, 3, 4), 255, np.uint8)
    cost, _ = jax.jit(target.cost)(np.zeros((2, 3, 4, 256)), labels)
    assert cost == pytest.approx(np.log(256))


def test_one_number_per_row_may_be_flat():
    target, outputs = targets.numbers(1), np.arange(4.0)[:, None]
    labels = np.array([0.0, 1.0, np.nan, 5.0])
    target.check_labels("y", labels, 4, (1,))
    cost = jax.jit(target.cost)
    np.testing.assert_array_equal(cost(outputs, labels), cost(outputs, labels[:, None]))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(-1, 3), min_size=3, max_size=30), st.booleans())
def test_balanced_weights_match_scikit_learn(labels, as_mask):
    labels = np.array(labels)
    known = labels[labels >= 0]
    if not len(known):
        return
    found = targets.class_weights("balanced", labels[None, :, None] if as_mask else labels, 4)
    present = np.unique(known)
    wanted = compute_class_weight("balanced", classes=present, y=known)
    np.testing.assert_allclose(np.array(found)[present], wanted)
    assert all(found[i] == 1.0 for i in set(range(4)) - set(present.tolist()))
    assert targets.class_weights(None, labels, 4) is None
    assert targets.class_weights({2: 5, 0: 0.5}, labels, 4) == (0.5, 1.0, 5.0, 1.0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31 - 1), st.sampled_from([1e-3, 1.0, 1e8]))
def test_standardized_numbers_round_trip(seed, size):
    rng = np.random.default_rng(seed)
    y = size * (rng.normal(size=(9, 2)) + 3)
    y[rng.random(9) < 0.3, 0] = np.nan
    found = targets.standardize(y)
    np.testing.assert_allclose(np.nanmean(found.labels, 0), 0, atol=1e-5)
    np.testing.assert_allclose(np.nanstd(found.labels, 0), 1, rtol=1e-5)
    np.testing.assert_allclose(found.labels * found.scale + found.mean, y, rtol=1e-4)
    assert found.labels.dtype == np.float32
