"""Augmentations beside NumPy, in a step, and in a run."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ladder_jax import augmentations, data, loop, presets, training
from ladder_jax.augmentations import AUGMENTATIONS, from_names, of_rows, shift
from ladder_jax.config import Config
from ladder_jax.errors import ConfigError
from ladder_jax.run import inputs, nan_search
from ladder_jax.types import Batch

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
DIGITS = Config(
    labels=20, units=(5,), epochs=2, eval_every=2, denoising_cost=(1.0,), augment="shift:1"
)


def moved(image, pixels):
    """All that ``shift`` may make of an image, by NumPy."""
    wide = np.pad(image, ((pixels, pixels), (pixels, pixels), (0, 0)), mode="reflect")
    height, width, _ = image.shape
    span = range(2 * pixels + 1)
    return {wide[i : i + height, j : j + width].tobytes() for i in span for j in span}


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 5), st.integers(2, 5), st.integers(1, 2), st.integers(0, 2**32 - 1))
def test_shift_is_numpys(height, width, channels, seed):
    pixels = min(height, width) - 1
    x = RNG.normal(size=(3, height, width, channels)).astype(np.float32)
    found = np.asarray(jax.jit(shift(pixels))(jax.random.key(seed), x))
    for image, changed in zip(x, found, strict=True):
        assert changed.tobytes() in moved(image, pixels)


def test_every_move_occurs_alike():
    image = RNG.normal(size=(4, 4, 1)).astype(np.float32)
    found = np.asarray(shift(1)(KEY, jnp.stack([image] * 900)))
    counts = np.unique(found.reshape(900, -1), axis=0, return_counts=True)[1]
    assert len(counts) == 9 and min(counts) > 60


def test_flip_turns_half_of_them():
    x = RNG.normal(size=(400, 2, 3, 2)).astype(np.float32)
    found = np.asarray(from_names("flip")(KEY, x))
    turned = (found == x[:, :, ::-1]).all((1, 2, 3))
    assert ((found == x).all((1, 2, 3)) ^ turned).all() and 150 < turned.sum() < 250


@pytest.mark.parametrize("name", ["flip", "shift:1", "flip+shift:2"])
def test_shapes_dtypes_and_transformations(name):
    change = from_names(name)
    for dtype in (np.float32, jnp.bfloat16):
        x = jnp.asarray(RNG.normal(size=(2, 3, 4, 1)), dtype)
        found = change(KEY, x)
        assert found.shape == x.shape and found.dtype == x.dtype
    keys = jax.random.split(KEY, 3)
    together = jax.vmap(change, (0, None))(keys, x)
    for key, one in zip(keys, together, strict=True):
        np.testing.assert_array_equal(one, change(key, x))
    rows = of_rows(change, (3, 4))(KEY, x.reshape(2, 12))
    np.testing.assert_array_equal(rows, change(KEY, x).reshape(2, 12))


def test_every_platform_has_them():
    given = jax.eval_shape(jax.random.key, 0), jax.ShapeDtypeStruct((4, 6, 6, 3), np.float32)
    change = jax.jit(from_names("flip+shift:2"))
    exported = jax.export.export(change, platforms=("cpu", "cuda", "tpu"))(*given)
    assert exported.out_avals[0].shape == (4, 6, 6, 3)


def test_parts_of_a_chain_have_keys_of_their_own():
    x = jnp.asarray(RNG.normal(size=(50, 5, 5, 1)))
    once, twice = (np.asarray(from_names(names)(KEY, x)) for names in ("flip", "flip+flip"))
    assert not np.array_equal(twice, x) and not np.array_equal(twice, once)


@pytest.mark.parametrize(
    "name", ["", "turn", "shift", "shift:0", "shift:-1", "flip:2", "flip+", "shift:a"]
)
def test_bad_names(name):
    with pytest.raises(ValueError, match=r"not known; give one of flip, shift|1 or more\."):
        from_names(name)
    with pytest.raises(ConfigError):
        Config(augment=name)


def test_a_step_learns_from_changed_rows():
    net, optimizer = presets.mlp(9, [4, 2]), optax.sgd(0.1)
    change = of_rows(shift(1), (3, 3))
    state = training.create_train_state(net, optimizer, KEY)
    batch = Batch(RNG.normal(size=(4, 9)), np.arange(4) % 2, RNG.normal(size=(6, 9)))
    learnt = training.augmented(change, state, batch)
    assert not np.array_equal(learnt.labeled, batch.labeled)
    assert not np.array_equal(learnt.unlabeled, batch.unlabeled)
    np.testing.assert_array_equal(learnt.labels, batch.labels)
    ours = training.make_train_step(net, optimizer, augmentation=change)(state, batch)
    theirs = training.make_train_step(net, optimizer)(state, learnt)
    for a, b in zip(jax.tree.leaves(ours[1]), jax.tree.leaves(theirs[1]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    later = training.augmented(change, state._replace(step=state.step + 1), batch)
    assert not np.array_equal(learnt.unlabeled, later.unlabeled)


def test_what_is_not_finite_is_looked_for_in_changed_rows():
    net, optimizer = presets.mlp(9, [4, 2]), optax.sgd(0.1)
    spoilt = lambda key, x: jnp.where(jnp.arange(9) == 3, jnp.nan, x)
    step = training.make_train_step(net, optimizer, augmentation=spoilt)
    state = training.create_train_state(net, optimizer, KEY)
    rows = training.TrainData(np.ones((4, 9)), np.arange(4) % 2, np.ones((6, 9)))
    changed = lambda state, batch: training.augmented(spoilt, state, batch)
    sizes = training.BatchSizes(4, 3)
    origin = nan_search.find_origin(net, step, state, rows, sizes, changed)
    assert (origin.step, origin.level, origin.quantity) == (0, 0, "examples")


def test_a_run_learns_from_changed_rows_streamed_or_not(tmp_path):
    losses = []
    for change in ({}, {"resident": False}, {"augment": "none"}):
        folder = tmp_path / str(len(losses))
        loop.train_and_evaluate(dataclasses.replace(DIGITS, **change), folder)
        last = (folder / "metrics.jsonl").read_text().splitlines()[-1]
        losses.append(json.loads(last)["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0] != pytest.approx(losses[2], rel=1e-4)


@pytest.mark.parametrize(
    ("x", "y", "augment", "wanted"),
    [
        (np.ones((6, 5)), np.arange(6) % 2, "flip", r"shape \(5,\), which is no image"),
        (np.ones((6, 3, 4)), np.arange(6) % 2, "shift:3", r"augment: shift\(3\): images are 3 x 4"),
        (np.ones((6, 2, 2)), np.arange(24).reshape(6, 2, 2) % 2, "flip", "masks, which would have"),
    ],
)
def test_what_cannot_be_augmented_is_refused(x, y, augment, wanted):
    own = data.from_arrays(x, y)
    with pytest.raises(ConfigError, match=wanted) as caught:
        inputs.prepare(Config(labels=0, batch_unlabeled=2, augment=augment), own)
    assert "\n" not in str(caught.value)


def test_all_are_documented():
    for make in AUGMENTATIONS.values():
        assert make.__doc__ and "Examples:" in make.__doc__
    assert augmentations.__doc__
