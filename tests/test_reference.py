"""Compares results with every number of the paper's own program, in float64.

Reads each .npz file in the folder that LADDER_REFERENCE_DIR names (default: the copies
next to this file). A file that needs a missing feature fails and names it.
"""

import functools
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from reference_format import Reference

from ladder_jax import Statistics
from ladder_jax.combinators import gaussian_moments

FOLDER = pathlib.Path(
    os.environ.get("LADDER_REFERENCE_DIR") or pathlib.Path(__file__).parent / "reference"
)
FILES = sorted(FOLDER.glob("*.npz"))


def is_trained(path: pathlib.Path) -> bool:
    with np.load(path) as file:
        return "adam_epsilon" in file.files


ids = lambda path: path.stem
SINGLE = pytest.mark.parametrize("path", [p for p in FILES if not is_trained(p)], ids=ids)
TRAINED = pytest.mark.parametrize("path", [p for p in FILES if is_trained(p)], ids=ids)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def assert_close(actual, expected, name, rtol=1e-9, scale=0.0):
    """Asserts max |actual - expected| <= rtol max(max |expected|, scale) over the array."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype == np.float64, name
    assert actual.shape == expected.shape, name
    bound = rtol * max(np.abs(expected).max(), scale)
    assert np.abs(actual - expected).max() <= bound, (name, np.abs(actual - expected).max(), bound)


def assert_trees_close(actual, expected, name, **kwargs):
    pairs = jax.tree.map(lambda a, b: (a, b), actual, expected)
    for path, (a, b) in jax.tree_util.tree_leaves_with_path(pairs, is_leaf=is_pair):
        assert_close(a, b, name + jax.tree_util.keystr(path), **kwargs)


def is_pair(node):
    return isinstance(node, tuple) and len(node) == 2 and hasattr(node[0], "dtype")


def test_folder_has_files():
    assert FILES, f"no .npz in {FOLDER}: set LADDER_REFERENCE_DIR"


@SINGLE
def test_one_pass(path):
    check_one_pass(Reference(path))


def check_one_pass(ref):
    params, batch, noise = ref.params(), ref.batch(), ref.noise()
    passes, encode = {}, jax.jit(ref.net.encode)
    for half, x, n in (
        ("labeled", batch.labeled, noise.labeled),
        ("unlabeled", batch.unlabeled, noise.unlabeled),
    ):
        passes["clean", half] = encode(params, x)
        passes["corr", half] = encode(params, x, n)
    up = jax.jit(lambda params, h: [None, *map(_up, ref.layers, params[1:], h)])
    for (kind, half), encoded in passes.items():
        recorded = any(key.startswith(f"rec_{kind}_zpre_{half[0]}_") for key in ref.arrays)
        check_encoder(ref, up(params, encoded.h[:-1]) if recorded else (), kind, half, encoded)
    check_decoder(ref, params, passes["corr", "unlabeled"], passes["clean", "unlabeled"])
    check_costs(ref, params, batch, noise, passes["clean", "labeled"])
    settings = {"noise_std_used", "denoising_cost_x", "lr"}
    assert ref.unread <= settings, f"not compared: {sorted(ref.unread - settings)}"


def _up(layer, params, h):
    return layer.up(params.up, h)


def check_encoder(ref, z_pre, kind, half, encoded):
    for level in ref.levels:
        for name, actual in (("z", encoded.z), ("h", encoded.h)):
            key = f"{kind}_{half}_{name}_{level}"
            if key in ref.arrays:
                assert_close(actual[level], ref.rows(key, level), key)
        if level == 0:
            continue
        # With inputs normalised below, the mean is 0 up to rounding.
        deviation = float(np.sqrt(np.asarray(encoded.statistics.var[level]).max()))
        for name, actual, scale in (
            ("m", encoded.statistics.mean, deviation),
            ("s", encoded.statistics.var, 0.0),
        ):
            for key in (f"{kind}_{half}_{name}_{level}", f"rec_{kind}_{name}_{half[0]}_{level}"):
                if key in ref.arrays:
                    expected = ref.read(key).reshape(actual[level].shape)
                    assert_close(actual[level], expected, key, scale=scale)
        key = f"rec_{kind}_zpre_{half[0]}_{level}"
        if key in ref.arrays:
            assert_close(z_pre[level], ref.rows(key, level), key)


def check_decoder(ref, params, noisy, clean):
    rec = jax.jit(ref.net.decode)(params, noisy, clean)
    signals = jax.jit(lambda *args: [compute_signal(ref, *args, k) for k in ref.levels])
    recorded = signals(params, rec, noisy)
    for level, combinator in enumerate(ref.combinators):
        if combinator is None:
            assert rec.cost[level] is None
            continue
        assert_close(rec.z_hat[level], ref.rows(f"est_z_{level}", level), "z_hat")
        key = f"rec_z_est_norm_{level}"
        assert_close(rec.z_hat_normalized[level], ref.rows(key, level), key)
        check_signal(ref, rec.u[level], *recorded[level], level)


def compute_signal(ref, params, rec, noisy, level):
    """Returns a level's signal before normalisation, and mu and v computed from the signal."""
    u, before = rec.u[level], noisy.h[ref.top]
    if u is not None and level < ref.top:
        layer, z_hat = ref.layers[level], rec.z_hat[level + 1]
        before = layer.down(params[level + 1].down, z_hat, ref.net.shapes[level])
    if f"rec_mu_{level}" not in ref.arrays or u is None:
        return before, None, None
    mu, v = gaussian_moments(params[level].combinator, u)
    return before, mu, jax.nn.sigmoid(v) if ref.decoder_words[level] == "gauss_stable_v" else v


def check_signal(ref, u, before, mu, v, level):
    """Checks the signal from above before and after normalisation, and the gaussian's mu and v."""
    raw, normal = f"rec_u_raw_{level}", f"rec_u_bn_{level}"
    if u is None:  # the file has a signal that nothing reads
        ref.unread -= {raw, normal}
        return
    assert_close(u, ref.rows(normal, level), normal)
    assert_close(before, ref.rows(raw, level), raw)
    if f"rec_mu_{level}" in ref.arrays:
        assert_close(mu, ref.rows(f"rec_mu_{level}", level), "mu")
        assert_close(v, ref.rows(f"rec_v_{level}", level), "v")


cross_entropy = jax.jit(optax.softmax_cross_entropy_with_integer_labels)


def check_costs(ref, params, batch, noise, clean_labeled, prefix=""):
    (total, metrics), grads = ref.value_and_grad(params, batch, noise)
    assert_close(total, ref.read(prefix + "cost_total"), "total")
    assert_close(metrics["cross_entropy"], ref.read(prefix + "cost_class_corr"), "noisy")
    logits = clean_labeled.logits
    clean = cross_entropy(logits, batch.labels).mean()
    assert_close(clean, ref.read(prefix + "cost_class_clean"), "clean cross-entropy")
    key = prefix + "error_rate_clean"
    if key in ref.arrays:
        error = np.mean(np.asarray(logits).argmax(-1) != np.asarray(batch.labels))
        expected = ref.read(key)
        assert any(abs(error * unit - expected) < 1e-9 for unit in (1, 100)), key
    for level in ref.levels:
        key = f"{prefix}cost_denois_{level}"
        if key in ref.arrays and ref.combinators[level] is not None:
            assert_close(metrics["denoising"][level], ref.read(key), key)
    if prefix == "" and any(key.startswith("grad_") for key in ref.arrays):
        golden = ref.params("grad_")
        scale = max(float(np.max(np.abs(leaf))) for leaf in jax.tree.leaves(golden))
        # An entry that is 0 up to rounding is compared with the largest of all.
        assert_trees_close(grads, golden, "grad", rtol=1e-7, scale=1e-6 * scale)
    return grads


def original_adam(ref):
    """Returns the Adam of the paper's program, after Blocks: ``(moments, grads, count) -> ...``.

    Its betas weight the new gradient (1 minus optax's), the weight in the mean grows
    slightly over time, and epsilon stands outside the bias correction.
    """
    names = ("beta1", "beta2", "epsilon", "decay_factor", "learning_rate")
    new1, new2, epsilon, decay, rate = (float(ref.read(f"adam_{name}")) for name in names)

    def update(moments, grads, count):
        now = 1 - (1 - new1) * decay ** (count - 1)
        mean = jax.tree.map(lambda m, g: now * g + (1 - now) * m, moments[0], grads)
        var = jax.tree.map(lambda v, g: new2 * g**2 + (1 - new2) * v, moments[1], grads)
        step = rate * jnp.sqrt(1 - (1 - new2) ** count) / (1 - (1 - new1) ** count)
        updates = jax.tree.map(lambda m, v: -step * m / (jnp.sqrt(v) + epsilon), mean, var)
        return (mean, var), updates

    return jax.jit(update)


@TRAINED
def test_adam_steps(path):
    ref = Reference(path)
    update = original_adam(ref)
    plain = optax.adam(float(ref.arrays["adam_learning_rate"]))
    params = plain_params = ref.params("param_init_")
    zeros = jax.tree.map(np.zeros_like, params)
    moments, plain_state = (zeros, zeros), jax.jit(plain.init)(params)
    plain_update, apply = jax.jit(plain.update), jax.jit(optax.apply_updates)
    predict = jax.jit(lambda *args: jax.nn.softmax(ref.net.predict(*args)))
    statistics = Statistics(
        (None, *(ref.read(f"bn_init_shared_f_{i}_bn_mean_clean") for i in ref.levels[1:])),
        (None, *(ref.read(f"bn_init_shared_f_{i}_bn_var_clean") for i in ref.levels[1:])),
    )
    encode = jax.jit(ref.net.encode)
    steps = sorted({k.split("_")[0] for k in ref.arrays if k.startswith("step")}, key=step_number)
    assert steps
    for count, step in enumerate(steps, start=1):
        prefix = step + "_"
        batch, noise = ref.batch(prefix), ref.noise(prefix)
        clean = encode(params, batch.labeled)
        grads = check_costs(ref, params, batch, noise, clean, prefix)
        weight = 1 / min(count, 10)
        statistics = running_average(statistics, clean.statistics, weight, len(batch.labels))
        moments, updates = update(moments, grads, float(count))
        params = apply(params, updates)
        plain_grads = ref.value_and_grad(plain_params, batch, noise)[1]
        updates, plain_state = plain_update(plain_grads, plain_state)
        plain_params = apply(plain_params, updates)
        golden = ref.params(f"{prefix}param_")
        assert_trees_close(params, golden, prefix + "param", scale=1.0)
        # Training uses optax's Adam, which differs in where epsilon stands.
        assert_trees_close(plain_params, golden, prefix + "plain", rtol=1e-6, scale=1.0)
        mean, var = (ref.params(f"{prefix}adam_{name}_") for name in ("mean", "var"))
        scale = 1e-6 * max(float(np.max(np.abs(leaf))) for leaf in jax.tree.leaves(mean))
        assert_trees_close(moments[0], mean, "adam mean", rtol=1e-7, scale=scale)
        assert_trees_close(moments[1], var, "adam var", rtol=1e-7, scale=scale**2)
        check_prediction(
            ref, prefix, functools.partial(predict, params, statistics), statistics, batch
        )
    uncompared = {k for k in ref.unread if "counter" not in k}
    assert uncompared <= {"noise_std_used", "denoising_cost_x"}, (
        f"not compared: {sorted(uncompared)}"
    )


def step_number(step):
    return int(step.removeprefix("step"))


@jax.jit
def running_average(average, new, weight, rows):
    """Updates the original's average: weight 1 / min(count, 10), variance times n / (n - 1)."""
    mix = lambda old, value: old + weight * (value - old)
    return Statistics(
        (None, *map(mix, average.mean[1:], new.mean[1:])),
        (
            None,
            *(
                mix(o, v * rows / (rows - 1))
                for o, v in zip(average.var[1:], new.var[1:], strict=True)
            ),
        ),
    )


def check_prediction(ref, prefix, probabilities, statistics, batch):
    for level in ref.levels[1:]:
        for name, actual in (("mean", statistics.mean), ("var", statistics.var)):
            key = f"{prefix}bn_shared_f_{level}_bn_{name}_clean"
            # The original rounds n / (n - 1) to float32.
            assert_close(actual[level], ref.read(key), key, rtol=1e-7)
    x = np.concatenate([batch.labeled, batch.unlabeled])
    golden = ref.rows(f"{prefix}eval_h_top", ref.top)
    x = {len(batch.labeled): batch.labeled, len(batch.unlabeled): batch.unlabeled}.get(
        len(golden), x
    )
    assert_close(probabilities(x), golden, prefix + "eval", rtol=1e-7)
