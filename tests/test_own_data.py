"""Your own arrays, through to a trained ladder; which rows are labelled and held out."""

import numpy as np
import pytest

from ladder_jax import data, loop, tasks
from ladder_jax.config import Config, ConfigError
from ladder_jax.data import preprocessing

RNG = np.random.default_rng(0)
CENTRES = np.array([[0.0, 900.0, 1e-3], [5.0, 100.0, 3e-3]])
Y = np.arange(80) % 2
X = CENTRES[Y] * RNG.normal(1, 0.05, (80, 3))
Y_SOME = np.where(np.arange(80) < 20, Y, data.NO_LABEL)
TINY = Config(
    labels=-1, units=(6,), batch_unlabeled=20, epochs=60, eval_every=60, preprocess="standardize"
)


def test_arrays_as_they_are():
    own = data.from_arrays(X.reshape(80, 1, 3), Y_SOME, X.reshape(80, 1, 3), Y)
    np.testing.assert_array_equal(own.x_train, X.reshape(80, 1, 3))  # no digit is lost
    assert own.x_train.dtype == np.float64 and own.scale == "numbers"
    assert own.y_train.dtype == np.int32 and own.class_names == ("0", "1")
    pixels = data.from_arrays(np.full((2, 2), 255, np.uint8), [0, 1])
    assert pixels.x_train.max() == 1 and pixels.x_train.dtype == np.float32
    assert pixels.scale == "bytes"


def test_npz_equals_arrays(tmp_path):
    path = tmp_path / "mine.npz"
    for save in (np.savez, np.savez_compressed):
        save(path, x=np.asfortranarray(X), y=Y_SOME, x_test=X, y_test=Y, class_names=["a", "é"])
        ours = data.load(str(path))
        theirs = data.from_arrays(X, Y_SOME, X, Y, class_names=["a", "é"], name="mine")
        assert ours.name == "mine" and ours.class_names == ("a", "é")
        for a, b in zip(ours[1:5], theirs[1:5], strict=True):
            assert np.array_equal(a, b)


def test_labels_of_the_file_or_fewer():
    own = data.from_arrays(X, Y_SOME)
    labeled, kept, held_out = tasks.choose_rows(TINY, own)
    assert labeled.tolist() == list(range(20)) and len(kept) == 80 and not len(held_out)
    fewer, _, _ = tasks.choose_rows(Config(labels=6), own)
    assert len(fewer) == 6 and set(fewer) < set(range(20)) and Y[fewer].sum() == 3
    every, _, _ = tasks.choose_rows(Config(labels=0), own)
    assert every.tolist() == list(range(20))


def test_validation_takes_labelled_rows_alone():
    own = data.from_arrays(X, Y_SOME)
    labeled, kept, held_out = tasks.choose_rows(Config(labels=-1, validation=8), own)
    assert len(held_out) == 8 and held_out.max() < 20
    assert not set(held_out) & set(kept) and set(labeled) | set(held_out) == set(range(20))
    with pytest.raises(data.DataError, match="validation=20 of 20"):
        tasks.choose_rows(Config(labels=-1, validation=20), own)


def test_train_on_arrays(tmp_path):
    own = data.from_arrays(X, Y_SOME, X, Y, class_names=["low", "high"])
    result = loop.train_and_evaluate(TINY, tmp_path / "run", dataset=own)
    assert result.summary["test_error"] < 5
    assert result.summary["class_names"] == ("low", "high")
    stored = preprocessing.load(tmp_path / "run" / "preprocess.npz")
    again = preprocessing.apply(stored, own.x_train)
    assert np.allclose(again, tasks.prepare(TINY, own).train.unlabeled, atol=1e-6)
    assert np.allclose(again.mean(0), 0, atol=1e-5) and np.allclose(again.std(0), 1, atol=1e-4)


def test_no_test_set_no_test_error(tmp_path):
    own = data.from_arrays(X, Y_SOME)
    summary = loop.train_and_evaluate(TINY, tmp_path / "run", dataset=own).summary
    assert "test_error" not in summary and "validation_error" not in summary


def test_fitted_on_training_rows_alone():
    own = data.from_arrays(X, Y)
    config = Config(labels=4, validation=30, preprocess="standardize", batch_unlabeled=20)
    task = tasks.prepare(config, own)
    _, kept, _ = tasks.choose_rows(config, own)
    assert np.allclose(task.preprocessing.fitted["standardize/mean"], X[kept].mean(0))


@pytest.mark.parametrize("chain", ["standardize", "zca", "contrast+zca", "standardize+zca"])
@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_large_mean_and_small_spread(chain, dtype):
    """Unix seconds: as if the mean had been taken off in float64 beforehand."""
    x = (60 * Y[:, None] + RNG.integers(-30, 30, (80, 3))).astype(dtype)
    config = Config(labels=-1, batch_unlabeled=20, preprocess=chain, validation=5)
    far, near = (
        tasks.prepare(config, data.from_arrays(rows, Y_SOME, rows, Y))
        for rows in (x + 1_700_000_000, x)
    )
    for ours, theirs in zip((*far.train, *far.test), (*near.train, *near.test), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(
    ("x", "x_test", "chain", "wanted"),
    [
        (X, np.where(np.arange(80)[:, None] == 7, -3.4e38, X), "standardize", "test .* row 7"),
        (X, np.where(np.arange(240).reshape(80, 3) == 22, 1e39, X), "none", "row 7, column 1"),
        (np.where(np.arange(240).reshape(80, 3) == 22, 1e39, X), X, "none", "training .* row 7"),
        (X * [1, 1e300, 1], X, "standardize", "column 1 .* another unit"),
        (X * [1, 1, 1e-60], X, "standardize", "column 2 .* another unit"),
        (X * [1, 1e200, 1], X, "zca", "column 1 .* another unit"),
    ],
)
def test_not_finite_after_preprocessing(x, x_test, chain, wanted):
    config = Config(labels=-1, batch_unlabeled=20, preprocess=chain)
    with pytest.raises(data.DataError, match=wanted) as raised:
        tasks.prepare(config, data.from_arrays(x, Y_SOME, x_test, Y))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"preprocess": "whiten"}, "contrast"),
        ({"preprocess": "zca+zca"}, "once"),
        ({"split": "mnist"}, "dataset.SEED@LABELS"),
        ({"label_choice": "any"}, "balanced"),
        ({"labels": -2}, "-1 or more"),
        ({"resident": 1}, "bool"),
        ({"epochs": True}, "int"),
    ],
)
def test_wrong_settings(settings, wanted):
    with pytest.raises(ConfigError, match=wanted):
        Config(**settings)
