"""Your own arrays, through to a trained ladder; which rows are labelled and held out."""

import dataclasses
import re
import tracemalloc
import types

import numpy as np
import pytest

from experiments import evaluate, settings
from ladder_jax import data, errors, loop, population, targets
from ladder_jax.config import Config
from ladder_jax.data import preprocessing
from ladder_jax.errors import ConfigError
from ladder_jax.run import inputs, workfolder

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


LAYOUTS = {
    "keras": (("x_train", "y_train", "x_test", "y_test"), ()),
    "medmnist": (
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("val_images", "val_labels"),
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_npz_of_others(tmp_path, layout):
    images = np.random.default_rng(0).integers(256, size=(6, 4, 4, 3)).astype(np.uint8)
    classes = np.array([[0], [1], [2], [0], [1], [2]], np.uint8)  # a column, as both have it
    names, others = LAYOUTS[layout]
    arrays = dict(zip(names, (images, classes) * 2, strict=True))
    np.savez(tmp_path / "a.npz", **arrays | dict.fromkeys(others, np.zeros(3)))
    theirs = data.load(str(tmp_path / "a.npz"))
    ours = data.from_arrays(images, classes[:, 0], images, classes[:, 0])
    for a, b in zip(ours[1:], theirs[1:], strict=True):
        assert np.array_equal(a, b)
    x, y, _ = data.load_test_npz(tmp_path / "a.npz", classes="012")
    assert np.array_equal(x, images) and y.tolist() == [0, 1, 2, 0, 1, 2]


NOTHING = [np.array(["", "-1"]), np.array([None, np.nan], object)]


@pytest.mark.parametrize("none", NOTHING, ids=["text", "missing"])
def test_labels_that_are_text(tmp_path, none):
    words = np.array(["dog", "cat", "eel", "dog"])
    y = np.concatenate([words, none])
    own = data.from_arrays(X[:6], y, X[:4], words[:, None])
    assert own.class_names == ("cat", "dog", "eel") and own.kind == "classes"
    assert own.y_train.tolist() == [1, 0, 2, 1, -1, -1] and own.y_test.tolist() == [1, 0, 2, 1]
    ordered = data.from_arrays(X[:6], y, class_names=["eel", "dog", "cat"])
    assert ordered.y_train.tolist() == [1, 2, 0, 1, -1, -1]
    with pytest.raises(errors.DataError, match="y: label 'cat' in row 1; the classes are dog, eel"):
        data.from_arrays(X[:6], y, class_names=["dog", "eel"])
    if none.dtype != object:
        np.savez(tmp_path / "own.npz", x=X[:6], y=y, x_test=X[:1], y_test=words[:1])
        assert data.load(str(tmp_path / "own.npz")).class_names == own.class_names
        _, test, _ = data.load_test_npz(tmp_path / "own.npz", own.class_names)
        assert test.tolist() == [1]
        with pytest.raises(errors.DataError, match="'dog' in row 0; the classes are cat, eel"):
            data.load_test_npz(tmp_path / "own.npz", ("cat", "eel"))


@pytest.mark.parametrize(
    ("y", "wanted"),
    [
        (np.array(["", "-1", ""]), "all labels are -1"),
        (np.array([["a", "b"]] * 3), "dtype <U1; give"),
        (np.array(["a", 1, "b"], object), "dtype object; give"),
    ],
)
def test_text_that_is_no_label(y, wanted):
    with pytest.raises(errors.DataError, match=wanted):
        data.from_arrays(X[:3], y)


@pytest.mark.parametrize(
    ("shape", "size", "config", "told"),
    [
        ((4, 4), 60, {}, "own is 60, beside .* give pixels as bytes .uint8., which become 0 to 1"),
        ((4, 4), 60.3, {}, "is 60.3, .* large; --config.preprocess=standardize makes it 1"),
        ((4, 4), 60, {"preprocess": "standardize"}, ""),
        ((4, 4), 1.5, {"epochs": 3}, "^3 updates in all are few; --config.epochs=1000 makes 1000"),
        ((16,), 60, {}, "^own has rows of features, for which --config=table has settings\n$"),
    ],
)
def test_settings_that_do_not_suit_the_data(
    tmp_path, monkeypatch, capsys, shape, size, config, told
):
    x = size * (1 - (-1) ** np.arange(100)).reshape(100, *[1] * len(shape)) * np.ones(shape)
    np.savez(tmp_path / "own.npz", x=x.astype(int) if size == 60 else x, y=np.arange(100) % 2)
    settings_given = Config(**{"dataset": str(tmp_path / "own.npz"), "epochs": 1000} | config)
    own = data.load(settings_given.dataset)
    task = inputs.prepare(dataclasses.replace(settings_given, labels=0), own)
    monkeypatch.setattr(settings, "_config_file", lambda: "digits")
    settings.tell_unsuited(settings_given, own, task)
    lines = capsys.readouterr().out
    assert re.search(told, lines) if told else not lines


def test_labels_of_the_file_or_fewer():
    own = data.from_arrays(X, Y_SOME)
    labeled, kept, held_out = inputs.choose_rows(TINY, own)
    assert labeled.tolist() == list(range(20)) and len(kept) == 80 and not len(held_out)
    fewer, _, _ = inputs.choose_rows(Config(labels=6), own)
    assert len(fewer) == 6 and set(fewer) < set(range(20)) and Y[fewer].sum() == 3
    every, _, _ = inputs.choose_rows(Config(labels=0), own)
    assert every.tolist() == list(range(20))


def test_validation_takes_labelled_rows_alone():
    own = data.from_arrays(X, Y_SOME)
    labeled, kept, held_out = inputs.choose_rows(Config(labels=-1, validation=8), own)
    assert len(held_out) == 8 and held_out.max() < 20
    assert not set(held_out) & set(kept) and set(labeled) | set(held_out) == set(range(20))
    with pytest.raises(errors.DataError, match="validation=20 of 20"):
        inputs.choose_rows(Config(labels=-1, validation=20), own)


def test_train_on_arrays(tmp_path):
    own = data.from_arrays(X, Y_SOME, X, Y, class_names=["low", "high"])
    result = loop.train_and_evaluate(TINY, tmp_path / "run", dataset=own)
    assert result.summary["test_error"] < 5
    assert result.summary["class_names"] == ("low", "high")
    stored = preprocessing.load(tmp_path / "run" / "preprocess.npz")
    again = preprocessing.apply(stored, own.x_train)
    assert np.allclose(again, inputs.prepare(TINY, own).train.unlabeled, atol=1e-6)
    assert np.allclose(again.mean(0), 0, atol=1e-5) and np.allclose(again.std(0), 1, atol=1e-4)


def test_no_test_set_no_test_error(tmp_path):
    own = data.from_arrays(X, Y_SOME)
    summary = loop.train_and_evaluate(TINY, tmp_path / "run", dataset=own).summary
    assert "test_error" not in summary and "validation_error" not in summary


def test_fitted_on_training_rows_alone():
    own = data.from_arrays(X, Y)
    config = Config(labels=4, validation=30, preprocess="standardize", batch_unlabeled=20)
    task = inputs.prepare(config, own)
    _, kept, _ = inputs.choose_rows(config, own)
    assert np.allclose(task.preprocessing.fitted["standardize/mean"], X[kept].mean(0))


@pytest.mark.parametrize("chain", ["standardize", "zca", "contrast+zca", "standardize+zca"])
@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_large_mean_and_small_spread(chain, dtype):
    """Unix seconds: as if the mean had been taken off in float64 beforehand."""
    x = (60 * Y[:, None] + RNG.integers(-30, 30, (80, 3))).astype(dtype)
    config = Config(labels=-1, batch_unlabeled=20, preprocess=chain, validation=5)
    far, near = (
        inputs.prepare(config, data.from_arrays(rows, Y_SOME, rows, Y))
        for rows in (x + 1_700_000_000, x)
    )
    for ours, theirs in zip(
        (*far.train[:3], *far.test), (*near.train[:3], *near.test), strict=True
    ):
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
    with pytest.raises(errors.DataError, match=wanted) as raised:
        inputs.prepare(config, data.from_arrays(x, Y_SOME, x_test, Y))
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


@pytest.mark.parametrize("dtype", [np.int32, np.uint64, np.int64])
def test_a_huge_label_costs_nothing(tmp_path, dtype):
    """An array up to the label would take 800 MB."""
    y = np.where(Y_SOME < 0, 99_999_999, Y_SOME).astype(dtype)
    np.savez(tmp_path / "mine.npz", x=X, y=y)
    for load in (lambda: data.from_arrays(X, y), lambda: data.load(str(tmp_path / "mine.npz"))):
        tracemalloc.start()
        try:
            with pytest.raises(errors.DataError, match=r"no example of class 2, .* -1 where there"):
                load()
            assert tracemalloc.get_traced_memory()[1] < 1e6
        finally:
            tracemalloc.stop()


def test_a_gap_or_a_missing_class_is_named():
    for y, names, missing in (([0, 2, 3], (), 1), ([1, 2, 1], (), 0), ([0, 1, 0], "abc", 2)):
        with pytest.raises(errors.DataError, match=f"no example of class {missing}, "):
            data.from_arrays(np.zeros((3, 2)), y, class_names=names)


def test_a_class_name_twice(tmp_path):
    np.savez(tmp_path / "mine.npz", x=X, y=Y, class_names=["ape", "ape"])
    with pytest.raises(errors.DataError, match=r"class name 'ape' given twice"):
        data.load(str(tmp_path / "mine.npz"))


def begun(folder, config, dataset):
    """A run that was stopped before its first epoch."""
    task = inputs.prepare(config, dataset)
    record = task.record
    with workfolder.open_run(folder, config, record):
        pass


CHANGED = {
    "training examples": data.from_arrays(X[:, ::-1] * 2, Y_SOME, X, Y),
    "test examples": data.from_arrays(X, Y_SOME, X * 2, Y),
    "labelled rows": data.from_arrays(X, Y_SOME[::-1], X, Y),
}


@pytest.mark.parametrize("what", CHANGED)
def test_changed_data_are_refused(tmp_path, what):
    own = data.from_arrays(X, Y_SOME, X, Y)
    for name in ("run", "a", "old"):
        begun(tmp_path / name, TINY, own)
    before = {path: path.read_bytes() for path in tmp_path.glob("*/*")}
    for call in (
        lambda: loop.train_and_evaluate(TINY, tmp_path / "run", dataset=CHANGED[what]),
        lambda: population.train_population({"a": TINY}, tmp_path, dataset=CHANGED[what]),
    ):
        with pytest.raises(ConfigError, match=f"{what}.* have changed; give another folder"):
            call()
    assert {path: path.read_bytes() for path in tmp_path.glob("*/*")} == before
    begun(tmp_path / "run", TINY, own)  # resumed
    (tmp_path / "old" / "examples.json").unlink()  # by an earlier version
    if what != "labelled rows":
        begun(tmp_path / "old", TINY, CHANGED[what])
        assert (tmp_path / "old" / "examples.json").exists()


def test_a_checksum_reads_all_of_an_array_and_little_of_what_is_made():
    x = np.zeros((5000, 2000), np.float32)  # 40 MB
    own = data.from_arrays(x, np.arange(5000) % 2)
    whole = inputs.checksums(own)
    own.x_train[3001, 1] = 1
    assert inputs.checksums(own)["training examples"] != whole["training examples"]
    read = []

    def count(rows):
        read.append(len(rows))
        return rows

    made = own._replace(x_train=data.Rows(own.x_train, transform=count))
    read.clear()
    first = inputs.checksums(made)
    assert 1000 < sum(read) < 5000
    own.x_train[:] = own.x_train[:, ::-1] + 1
    assert inputs.checksums(made)["training examples"] != first["training examples"]


def test_a_path_is_what_it_leads_to(tmp_path, monkeypatch):
    (tmp_path / "d").mkdir()
    path = tmp_path / "d" / "x.npz"
    np.savez(path, x=X, y=Y_SOME, x_test=X[:30], y_test=Y[:30])
    monkeypatch.chdir(tmp_path / "d")
    config = dataclasses.replace(TINY, dataset="../d/x.npz", data_dir="../d")
    begun(tmp_path / "run", config, None)
    for same in ("x.npz", str(path), str(tmp_path / "d" / ".." / "d" / "x.npz")):
        begun(tmp_path / "run", dataclasses.replace(config, dataset=same), None)
    monkeypatch.chdir("/")
    kept = workfolder.read_config(tmp_path / "run")
    assert (kept.dataset, kept.data_dir) == (str(path.resolve()), str(path.parent.resolve()))
    ours = types.SimpleNamespace(class_names=("0", "1"), target=targets.classes(2))
    x, y = evaluate.examples(ours, kept, "", "")
    assert np.array_equal(x, X[:30]) and np.array_equal(y, Y[:30])
    # The folder may move: what is in a file of that name decides.
    moved, other = tmp_path / "moved", tmp_path / "other"
    for folder, scale in ((moved, 1), (other, 2)):
        folder.mkdir()
        np.savez(folder / "x.npz", x=X * scale, y=Y_SOME, x_test=X[:30], y_test=Y[:30])
    begun(tmp_path / "run", dataclasses.replace(kept, dataset=str(moved / "x.npz")), None)
    with pytest.raises(ConfigError, match="training examples have changed"):
        begun(tmp_path / "run", dataclasses.replace(kept, dataset=str(other / "x.npz")), None)
    with pytest.raises(ConfigError, match=r"other settings .*dataset: "):
        begun(tmp_path / "run", dataclasses.replace(kept, dataset="digits", labels=10), None)
