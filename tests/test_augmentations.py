"""Augmentations: compared with NumPy, in a training step and in a run."""

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


def possible_shifts(image, pixels):
    """Returns all images that ``shift`` may make of one, computed by NumPy."""
    padded = np.pad(image, ((pixels, pixels), (pixels, pixels), (0, 0)), mode="reflect")
    height, width, _ = image.shape
    offsets = range(2 * pixels + 1)
    return {padded[i : i + height, j : j + width].tobytes() for i in offsets for j in offsets}


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 5), st.integers(2, 5), st.integers(1, 2), st.integers(0, 2**32 - 1))
def test_shift_equals_numpy(height, width, channels, seed):
    pixels = min(height, width) - 1
    x = RNG.normal(size=(3, height, width, channels)).astype(np.float32)
    shifted = np.asarray(jax.jit(shift(pixels))(jax.random.key(seed), x))
    for image, result in zip(x, shifted, strict=True):
        assert result.tobytes() in possible_shifts(image, pixels)


def test_all_shifts_are_equally_likely():
    image = RNG.normal(size=(4, 4, 1)).astype(np.float32)
    shifted = np.asarray(shift(1)(KEY, jnp.stack([image] * 900)))
    counts = np.unique(shifted.reshape(900, -1), axis=0, return_counts=True)[1]
    assert len(counts) == 9 and min(counts) > 60


def test_flip_mirrors_half_of_the_images():
    x = RNG.normal(size=(400, 2, 3, 2)).astype(np.float32)
    augmented = np.asarray(from_names("flip")(KEY, x))
    flipped = (augmented == x[:, :, ::-1]).all((1, 2, 3))
    assert ((augmented == x).all((1, 2, 3)) ^ flipped).all() and 150 < flipped.sum() < 250


@pytest.mark.parametrize("name", ["flip", "shift:1", "flip+shift:2"])
def test_shapes_dtypes_and_transformations(name):
    augment = from_names(name)
    for dtype in (np.float32, jnp.bfloat16):
        x = jnp.asarray(RNG.normal(size=(2, 3, 4, 1)), dtype)
        augmented = augment(KEY, x)
        assert augmented.shape == x.shape and augmented.dtype == x.dtype
    keys = jax.random.split(KEY, 3)
    batched = jax.vmap(augment, (0, None))(keys, x)
    for key, result in zip(keys, batched, strict=True):
        np.testing.assert_array_equal(result, augment(key, x))
    rows = of_rows(augment, (3, 4))(KEY, x.reshape(2, 12))
    np.testing.assert_array_equal(rows, augment(KEY, x).reshape(2, 12))


def test_exports_for_every_platform():
    arguments = jax.eval_shape(jax.random.key, 0), jax.ShapeDtypeStruct((4, 6, 6, 3), np.float32)
    augment = jax.jit(from_names("flip+shift:2"))
    exported = jax.export.export(augment, platforms=("cpu", "cuda", "tpu"))(*arguments)
    assert exported.out_avals[0].shape == (4, 6, 6, 3)


def test_chained_augmentations_have_different_keys():
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


def test_step_trains_on_augmented_rows():
    net, optimizer = presets.mlp(9, [4, 2]), optax.sgd(0.1)
    augmentation = of_rows(shift(1), (3, 3))
    state = training.create_train_state(net, optimizer, KEY)
    batch = Batch(RNG.normal(size=(4, 9)), np.arange(4) % 2, RNG.normal(size=(6, 9)))
    augmented = training.augmented(augmentation, state, batch)
    assert not np.array_equal(augmented.labeled, batch.labeled)
    assert not np.array_equal(augmented.unlabeled, batch.unlabeled)
    np.testing.assert_array_equal(augmented.labels, batch.labels)
    result = training.make_train_step(net, optimizer, augmentation=augmentation)(state, batch)
    expected = training.make_train_step(net, optimizer)(state, augmented)
    for a, b in zip(jax.tree.leaves(result[1]), jax.tree.leaves(expected[1]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    later = training.augmented(augmentation, state._replace(step=state.step + 1), batch)
    assert not np.array_equal(augmented.unlabeled, later.unlabeled)


def test_nan_search_augments_rows():
    net, optimizer = presets.mlp(9, [4, 2]), optax.sgd(0.1)
    insert_nan = lambda key, x: jnp.where(jnp.arange(9) == 3, jnp.nan, x)
    step = training.make_train_step(net, optimizer, augmentation=insert_nan)
    state = training.create_train_state(net, optimizer, KEY)
    rows = training.TrainData(np.ones((4, 9)), np.arange(4) % 2, np.ones((6, 9)))
    augment = lambda state, batch: training.augmented(insert_nan, state, batch)
    sizes = training.BatchSizes(4, 3)
    origin = nan_search.find_origin(net, step, state, rows, sizes, augment)
    assert (origin.step, origin.level, origin.quantity) == (0, 0, "examples")


def test_run_augments_resident_and_streamed_rows(tmp_path):
    losses = []
    for overrides in ({}, {"resident": False}, {"augment": "none"}):
        folder = tmp_path / str(len(losses))
        loop.train_and_evaluate(dataclasses.replace(DIGITS, **overrides), folder)
        last_line = (folder / "metrics.jsonl").read_text().splitlines()[-1]
        losses.append(json.loads(last_line)["loss"])
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
def test_unsupported_examples_are_refused(x, y, augment, wanted):
    dataset = data.from_arrays(x, y)
    with pytest.raises(ConfigError, match=wanted) as caught:
        inputs.prepare(Config(labels=0, batch_unlabeled=2, augment=augment), dataset)
    assert "\n" not in str(caught.value)


def test_docstrings_have_examples():
    for make in AUGMENTATIONS.values():
        assert make.__doc__ and "Examples:" in make.__doc__
    assert augmentations.__doc__


def test_step_augments_batches_of_every_form():
    """A tuple, a dict, and a batch without unlabelled rows, as the loss takes them."""
    net, optimizer = presets.mlp(6, 3, combinators=None), optax.sgd(0.1)
    step = training.make_train_step(
        net, optimizer, augmentation=of_rows(from_names("flip"), (2, 3))
    )
    x, labels = np.arange(24, dtype=np.float32).reshape(4, 6), [0, 1, 2, 0]
    losses = set()
    for batch in ((x, labels, None), {"labeled": x, "labels": labels, "unlabeled": x[:0]}):
        state = training.create_train_state(net, optimizer, KEY)
        losses.add(float(step(state, batch)[1]["loss"]))
    assert len(losses) == 1
