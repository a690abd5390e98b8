"""The user's own arrays, up to a trained ladder; which rows are labelled and held out."""

import dataclasses
import re
import tracemalloc
import types

import numpy as np
import pytest
from tiny_predictors import tiny

from experiments import evaluate, settings
from ladder_jax import data, errors, loop, population, predictor, targets
from ladder_jax.config import Config
from ladder_jax.data import preprocessing
from ladder_jax.errors import ConfigError
from ladder_jax.run import files, inputs, workfolder

RNG = np.random.default_rng(0)
CENTRES = np.array([[0.0, 900.0, 1e-3], [5.0, 100.0, 3e-3]])
Y = np.arange(80) % 2
X = CENTRES[Y] * RNG.normal(1, 0.05, (80, 3))
Y_KNOWN = np.where(np.arange(80) < 20, Y, data.NO_LABEL)
TINY = Config(
    labels=-1, units=(6,), batch_unlabeled=20, epochs=60, eval_every=60, preprocess="standardize"
)


def test_arrays_are_kept_unchanged():
    dataset = data.from_arrays(X.reshape(80, 1, 3), Y_KNOWN, X.reshape(80, 1, 3), Y)
    np.testing.assert_array_equal(dataset.x_train, X.reshape(80, 1, 3))  # no digit is lost
    assert dataset.x_train.dtype == np.float64 and dataset.scale == "numbers"
    assert dataset.y_train.dtype == np.int32 and dataset.class_names == ("0", "1")
    pixels = data.from_arrays(np.full((2, 2), 255, np.uint8), [0, 1])
    assert pixels.x_train.max() == 1 and pixels.x_train.dtype == np.float32
    assert pixels.scale == "bytes"


def test_npz_equals_arrays(tmp_path):
    path = tmp_path / "mine.npz"
    for save in (np.savez, np.savez_compressed):
        save(path, x=np.asfortranarray(X), y=Y_KNOWN, x_test=X, y_test=Y, class_names=["a", "é"])
        loaded = data.load(str(path))
        expected = data.from_arrays(X, Y_KNOWN, X, Y, class_names=["a", "é"], name="mine")
        assert loaded.name == "mine" and loaded.class_names == ("a", "é")
        for a, b in zip(loaded[1:5], expected[1:5], strict=True):
            assert np.array_equal(a, b)


LAYOUTS = {
    "keras": (("x_train", "y_train", "x_test", "y_test"), ()),
    "medmnist": (
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("val_images", "val_labels"),
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_npz_layouts_of_other_projects(tmp_path, layout):
    images = np.random.default_rng(0).integers(256, size=(6, 4, 4, 3)).astype(np.uint8)
    classes = np.array([[0], [1], [2], [0], [1], [2]], np.uint8)  # a column, as in both layouts
    names, other_names = LAYOUTS[layout]
    arrays = dict(zip(names, (images, classes) * 2, strict=True))
    np.savez(tmp_path / "a.npz", **arrays | dict.fromkeys(other_names, np.zeros(3)))
    loaded = data.load(str(tmp_path / "a.npz"))
    expected = data.from_arrays(images, classes[:, 0], images, classes[:, 0])
    for a, b in zip(expected[1:], loaded[1:], strict=True):
        assert np.array_equal(a, b)
    x, y, _ = data.load_test_npz(tmp_path / "a.npz", classes="012")
    assert np.array_equal(x, images) and y.tolist() == [0, 1, 2, 0, 1, 2]


MISSING = [np.array(["", "-1"]), np.array([None, np.nan], object)]


@pytest.mark.parametrize("none", MISSING, ids=["text", "missing"])
def test_text_labels(tmp_path, none):
    words = np.array(["dog", "cat", "eel", "dog"])
    y = np.concatenate([words, none])
    built = data.from_arrays(X[:6], y, X[:4], words[:, None])
    assert built.class_names == ("cat", "dog", "eel") and built.kind == "classes"
    assert built.y_train.tolist() == [1, 0, 2, 1, -1, -1] and built.y_test.tolist() == [1, 0, 2, 1]
    assert data.from_arrays(X[:6], y.tolist()).y_train.tolist() == built.y_train.tolist()
    ordered = data.from_arrays(X[:6], y, class_names=["eel", "dog", "cat"])
    assert ordered.y_train.tolist() == [1, 2, 0, 1, -1, -1]
    with pytest.raises(errors.DataError, match="y: label 'cat' in row 1; the classes are dog, eel"):
        data.from_arrays(X[:6], y, class_names=["dog", "eel"])
    if none.dtype != object:
        np.savez(tmp_path / "own.npz", x=X[:6], y=y, x_test=X[:1], y_test=words[:1])
        assert data.load(str(tmp_path / "own.npz")).class_names == built.class_names
        _, y_test, _ = data.load_test_npz(tmp_path / "own.npz", built.class_names)
        assert y_test.tolist() == [1]
        with pytest.raises(errors.DataError, match="'dog' in row 0; the classes are cat, eel"):
            data.load_test_npz(tmp_path / "own.npz", ("cat", "eel"))


def test_text_that_may_mean_no_label(tmp_path):
    y = np.array(["cat", None, np.nan, "dog"], object).astype(str)  # as pandas writes them, too
    np.savez(tmp_path / "own.npz", x=X[:4], y=y)
    for load in (lambda: data.from_arrays(X[:4], y), lambda: data.load(str(tmp_path / "own.npz"))):
        with pytest.raises(errors.DataError, match="y: label 'None' may mean that there is none"):
            load()
    named = data.from_arrays(X[:4], y, class_names=["None", "cat", "dog", "nan"])
    assert named.y_train.tolist() == [1, 0, 3, 2]


def test_minus_one_among_text_objects_means_no_label():
    y = np.array(["dog", -1, "cat", -1.0, np.int64(-1)], object)
    assert data.from_arrays(X[:5], y).y_train.tolist() == [1, -1, 0, -1, -1]
    cells = np.array(["dog", np.zeros(2)], object)
    with pytest.raises(errors.DataError, match="y: dtype object; give class numbers"):
        data.from_arrays(X[:2], cells)


def test_no_class_is_called_minus_one():
    y = ["", "-1", "a", "b"]
    with pytest.raises(errors.DataError, match="no example of class 0, though there are 3"):
        data.from_arrays(X[:4], y, class_names=["-1", "a", "b"])


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda rows: data.from_arrays(rows, [0, 1]), "arrays, x"),
        (lambda rows: data.from_arrays(X[:2], rows), "arrays, y"),
        (lambda rows: data.from_arrays(X[:2], [0, 1], rows, [0, 1]), "arrays, x_test"),
        (lambda rows: data.from_arrays(X[:2], [0, 1], X[:2], rows), "arrays, y_test"),
        (lambda rows: data.new_rows("new", rows, (2,)), "new"),
        (lambda rows: tiny((3,)).predict(rows), "x"),
    ],
)
@pytest.mark.parametrize("rows", [[[1, 2], [3]], [np.zeros((2, 3)), np.zeros((3, 3))]])
def test_rows_of_different_shapes(call, name, rows):
    with pytest.raises(errors.DataError, match=f"^{name}: rows of different shapes; give each"):
        call(rows)


def test_masked_entries():
    mask = np.arange(6) == 1
    for y, missing in ((np.arange(6) % 3, -1), (np.linspace(0, 1, 6), np.nan)):
        built = data.from_arrays(X[:6], np.ma.array(y, mask=mask))
        np.testing.assert_array_equal(built.y_train.ravel(), np.where(mask, missing, y))
    with pytest.raises(errors.DataError, match="x and y: NaN or infinite values in 1 row"):
        data.from_arrays(np.ma.array(X[:6], mask=X[:6] == X[1]), np.arange(6) % 3)


@pytest.mark.parametrize(
    ("y", "wanted"),
    [
        (np.array(["", "-1", ""]), "all labels are -1"),
        (np.array([["a", "b"]] * 3), "dtype <U1; give"),
        (np.array(["a", 1, "b"], object), "dtype object; give"),
    ],
)
def test_invalid_text_labels(y, wanted):
    with pytest.raises(errors.DataError, match=wanted):
        data.from_arrays(X[:3], y)


@pytest.mark.parametrize(
    ("shape", "size", "config", "told"),
    [
        (
            (4, 4),
            60,
            {},
            "own is 60, for which .* give pixels as bytes .uint8., which become 0 to 1",
        ),
        ((4, 4), 60.3, {}, "is 60.3, .* large; --config.preprocess=standardize makes it 1"),
        ((4, 4), 60, {"preprocess": "standardize"}, ""),
        ((4, 4), 1.5, {"epochs": 3}, "^only 3 updates in all; --config.epochs=1000 makes 1000"),
        ((16,), 60, {}, "^own has rows of features, for which --config=table has settings\n$"),
    ],
)
def test_unsuitable_settings_are_reported(tmp_path, monkeypatch, capsys, shape, size, config, told):
    x = size * (1 - (-1) ** np.arange(100)).reshape(100, *[1] * len(shape)) * np.ones(shape)
    np.savez(tmp_path / "own.npz", x=x.astype(int) if size == 60 else x, y=np.arange(100) % 2)
    settings_given = Config(**{"dataset": str(tmp_path / "own.npz"), "epochs": 1000} | config)
    dataset = data.load(settings_given.dataset)
    task = inputs.prepare(dataclasses.replace(settings_given, labels=0), dataset)
    monkeypatch.setattr(settings, "_config_file", lambda: "digits")
    settings.tell_unsuited(settings_given, dataset, task)
    lines = capsys.readouterr().out
    assert re.search(told, lines) if told else not lines


def test_all_labels_of_a_file_or_fewer():
    dataset = data.from_arrays(X, Y_KNOWN)
    labeled, training, held_out = inputs.choose_rows(TINY, dataset)
    assert labeled.tolist() == list(range(20)) and len(training) == 80 and not len(held_out)
    fewer, _, _ = inputs.choose_rows(Config(labels=6), dataset)
    assert len(fewer) == 6 and set(fewer) < set(range(20)) and Y[fewer].sum() == 3
    all_labeled, _, _ = inputs.choose_rows(Config(labels=0), dataset)
    assert all_labeled.tolist() == list(range(20))


def test_validation_takes_only_labelled_rows():
    dataset = data.from_arrays(X, Y_KNOWN)
    labeled, training, held_out = inputs.choose_rows(Config(labels=-1, validation=8), dataset)
    assert len(held_out) == 8 and held_out.max() < 20
    assert not set(held_out) & set(training) and set(labeled) | set(held_out) == set(range(20))
    with pytest.raises(errors.DataError, match="validation=20 of 20"):
        inputs.choose_rows(Config(labels=-1, validation=20), dataset)


def test_train_on_arrays(tmp_path):
    dataset = data.from_arrays(X, Y_KNOWN, X, Y, class_names=["low", "high"])
    result = loop.train_and_evaluate(TINY, tmp_path / "run", dataset=dataset)
    assert result.summary["test_error"] < 5
    assert result.summary["class_names"] == ("low", "high")
    stored = preprocessing.load(tmp_path / "run" / "preprocess.npz")
    applied = preprocessing.apply(stored, dataset.x_train)
    assert np.allclose(applied, inputs.prepare(TINY, dataset).train.unlabeled, atol=1e-6)
    assert np.allclose(applied.mean(0), 0, atol=1e-5) and np.allclose(applied.std(0), 1, atol=1e-4)


def test_columns_of_data_frames(tmp_path):
    pandas = pytest.importorskip("pandas", reason="pandas is optional, and is not installed")
    frame = pandas.DataFrame(X, columns=["a", "b", "c"])
    dataset = data.from_arrays(frame, Y_KNOWN, frame, Y)
    assert dataset.feature_names == ("a", "b", "c")
    for other in (frame.to_numpy(), frame.set_axis([0, 1, 2], axis=1)):
        assert data.from_arrays(other, Y_KNOWN, frame, Y).feature_names == ()
        assert len(data.from_arrays(frame, Y_KNOWN, other, Y).x_test) == len(X)
    config = dataclasses.replace(TINY, epochs=1)
    loop.train_and_evaluate(config, tmp_path / "run", dataset=dataset)
    ladder = predictor.load(tmp_path / "run")
    expected = ladder.predict_proba(X)
    np.testing.assert_array_equal(ladder.predict_proba(frame), expected)
    np.testing.assert_array_equal(next(ladder.parts(frame)).probabilities, expected)
    for other, message in (
        (frame[["b", "a", "c"]], "the columns of training in another order; give the columns of"),
        (frame.rename(columns={"a": "z"}), "no column 'a'; give .* in order: a, b, c"),
        (frame.assign(z=1.0), "a column 'z', which the training data had not; give"),
    ):
        for call in (ladder, ladder.predict, ladder.prepared, lambda x: next(ladder.parts(x))):
            with pytest.raises(errors.DataError, match=f"^x has {message}"):
                call(other)
        with pytest.raises(errors.DataError, match=f"^arrays, x_test has {message}"):
            data.from_arrays(frame, Y_KNOWN, other, Y)


def test_no_test_set_no_test_error(tmp_path):
    dataset = data.from_arrays(X, Y_KNOWN)
    summary = loop.train_and_evaluate(TINY, tmp_path / "run", dataset=dataset).summary
    assert "test_error" not in summary and "validation_error" not in summary


def test_preprocessing_is_fitted_on_training_rows_only():
    dataset = data.from_arrays(X, Y)
    config = Config(labels=4, validation=30, preprocess="standardize", batch_unlabeled=20)
    task = inputs.prepare(config, dataset)
    _, training, _ = inputs.choose_rows(config, dataset)
    assert np.allclose(task.preprocessing.fitted["standardize/mean"], X[training].mean(0))


@pytest.mark.parametrize("chain", ["standardize", "zca", "contrast+zca", "standardize+zca"])
@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_large_mean_and_small_spread(chain, dtype):
    """Unix seconds give the same rows as subtracting the mean in float64 beforehand."""
    x = (60 * Y[:, None] + RNG.integers(-30, 30, (80, 3))).astype(dtype)
    config = Config(labels=-1, batch_unlabeled=20, preprocess=chain, validation=5)
    far, near = (
        inputs.prepare(config, data.from_arrays(rows, Y_KNOWN, rows, Y))
        for rows in (x + 1_700_000_000, x)
    )
    for far_rows, near_rows in zip(
        (*far.train[:3], *far.test), (*near.train[:3], *near.test), strict=True
    ):
        np.testing.assert_allclose(far_rows, near_rows, atol=1e-5)


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
        inputs.prepare(config, data.from_arrays(x, Y_KNOWN, x_test, Y))
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
        ({"units": [50, 20]}, r"units is \[50, 20\]; give a tuple, e\.g\. \(250, 100\)"),
        ({"noise_std": 0.3}, r"noise_std is 0\.3; give a tuple, e\.g\. \(0\.3,\)"),
    ],
)
def test_wrong_settings(settings, wanted):
    with pytest.raises(ConfigError, match=wanted):
        Config(**settings)


@pytest.mark.parametrize("dtype", [np.int32, np.uint64, np.int64])
def test_huge_label_needs_little_memory(tmp_path, dtype):
    """An array up to the label would take 800 MB."""
    y = np.where(Y_KNOWN < 0, 99_999_999, Y_KNOWN).astype(dtype)
    np.savez(tmp_path / "mine.npz", x=X, y=y)
    for load in (lambda: data.from_arrays(X, y), lambda: data.load(str(tmp_path / "mine.npz"))):
        tracemalloc.start()
        try:
            with pytest.raises(errors.DataError, match=r"no example of class 2, .* -1 where there"):
                load()
            assert tracemalloc.get_traced_memory()[1] < 1e6
        finally:
            tracemalloc.stop()


def test_missing_classes_are_named():
    for y, names, missing in (([0, 2, 3], (), 1), ([1, 2, 1], (), 0), ([0, 1, 0], "abc", 2)):
        with pytest.raises(errors.DataError, match=f"no example of class {missing}, "):
            data.from_arrays(np.zeros((3, 2)), y, class_names=names)


def test_duplicate_class_names(tmp_path):
    np.savez(tmp_path / "mine.npz", x=X, y=Y, class_names=["ape", "ape"])
    with pytest.raises(errors.DataError, match=r"class name 'ape' given twice"):
        data.load(str(tmp_path / "mine.npz"))


def begin_run(folder, config, dataset):
    """Writes a run that was stopped before its first epoch."""
    task = inputs.prepare(config, dataset)
    record = task.record
    with workfolder.open_run(folder, config, record):
        pass


CHANGED = {
    "training examples": data.from_arrays(X[:, ::-1] * 2, Y_KNOWN, X, Y),
    "test examples": data.from_arrays(X, Y_KNOWN, X * 2, Y),
    "labelled rows": data.from_arrays(X, Y_KNOWN[::-1], X, Y),
}


@pytest.mark.parametrize("what", CHANGED)
def test_changed_data_are_refused(tmp_path, what):
    dataset = data.from_arrays(X, Y_KNOWN, X, Y)
    for name in ("run", "a", "old"):
        begin_run(tmp_path / name, TINY, dataset)
    before = {path: path.read_bytes() for path in tmp_path.glob("*/*")}
    for call in (
        lambda: loop.train_and_evaluate(TINY, tmp_path / "run", dataset=CHANGED[what]),
        lambda: population.train_population({"a": TINY}, tmp_path, dataset=CHANGED[what]),
    ):
        with pytest.raises(ConfigError, match=f"{what}.* have changed; give another folder"):
            call()
    assert {path: path.read_bytes() for path in tmp_path.glob("*/*")} == before
    begin_run(tmp_path / "run", TINY, dataset)  # resumed
    (tmp_path / "old" / "examples.json").unlink()  # as in runs of earlier versions
    if what != "labelled rows":
        begin_run(tmp_path / "old", TINY, CHANGED[what])
        assert (tmp_path / "old" / "examples.json").exists()


def test_evaluation_refuses_other_test_examples(tmp_path):
    config = dataclasses.replace(TINY, dataset=str(tmp_path / "mine.npz"))
    names = tuple(str(number) for number in range(int(Y.max()) + 1))
    ladder = types.SimpleNamespace(
        target=targets.classes(len(names)),
        class_names=names,
        fitted=types.SimpleNamespace(scale="numbers"),
    )
    np.savez(config.dataset, x=X, y=Y_KNOWN, x_test=X, y_test=Y)
    begin_run(tmp_path / "run", config, None)
    files.write_json(tmp_path / "run" / "result.json", {"test_error": 0.0})
    x, _ = evaluate.examples(ladder, config, "", "", folder=tmp_path / "run")
    np.testing.assert_array_equal(x, X)
    np.savez(config.dataset, x=X, y=Y_KNOWN, x_test=X * 2, y_test=Y)
    with pytest.raises(ConfigError, match=r"test examples have changed; give the test examples"):
        evaluate.examples(ladder, config, "", "", folder=tmp_path / "run")


def test_integers_may_name_classes(tmp_path):
    np.savez(tmp_path / "new.npz", x=X[:3], y=[2, 1, 2])
    names = ("1", "2", "3")
    for by_name, numbers in ((True, [1, 0, 1]), (False, [2, 1, 2])):
        _, y, _ = data.load_test_npz(tmp_path / "new.npz", names, by_name=by_name)
        assert y.tolist() == numbers


def test_checksum_reads_all_of_an_array_and_few_computed_rows():
    x = np.zeros((5000, 2000), np.float32)  # 40 MB
    dataset = data.from_arrays(x, np.arange(5000) % 2)
    checksums = inputs.checksums(dataset)
    dataset.x_train[3001, 1] = 1
    assert inputs.checksums(dataset)["training examples"] != checksums["training examples"]
    rows_read = []

    def count(rows):
        rows_read.append(len(rows))
        return rows

    computed = dataset._replace(x_train=data.Rows(dataset.x_train, transform=count))
    rows_read.clear()
    first = inputs.checksums(computed)
    assert 1000 < sum(rows_read) < 5000
    dataset.x_train[:] = dataset.x_train[:, ::-1] + 1
    assert inputs.checksums(computed)["training examples"] != first["training examples"]


def test_paths_to_the_same_data_are_equivalent(tmp_path, monkeypatch):
    (tmp_path / "d").mkdir()
    path = tmp_path / "d" / "x.npz"
    np.savez(path, x=X, y=Y_KNOWN, x_test=X[:30], y_test=Y[:30])
    monkeypatch.chdir(tmp_path / "d")
    config = dataclasses.replace(TINY, dataset="../d/x.npz", data_dir="../d")
    begin_run(tmp_path / "run", config, None)
    for same in ("x.npz", str(path), str(tmp_path / "d" / ".." / "d" / "x.npz")):
        begin_run(tmp_path / "run", dataclasses.replace(config, dataset=same), None)
    monkeypatch.chdir("/")
    stored = workfolder.read_config(tmp_path / "run")
    assert (stored.dataset, stored.data_dir) == (str(path.resolve()), str(path.parent.resolve()))
    predictor = types.SimpleNamespace(class_names=("0", "1"), target=targets.classes(2))
    x, y = evaluate.examples(predictor, stored, "", "")
    assert np.array_equal(x, X[:30]) and np.array_equal(y, Y[:30])
    # The folder may move: the contents of a file of the same name decide.
    moved, other = tmp_path / "moved", tmp_path / "other"
    for folder, scale in ((moved, 1), (other, 2)):
        folder.mkdir()
        np.savez(folder / "x.npz", x=X * scale, y=Y_KNOWN, x_test=X[:30], y_test=Y[:30])
    begin_run(tmp_path / "run", dataclasses.replace(stored, dataset=str(moved / "x.npz")), None)
    with pytest.raises(ConfigError, match="training examples have changed"):
        begin_run(tmp_path / "run", dataclasses.replace(stored, dataset=str(other / "x.npz")), None)
    with pytest.raises(ConfigError, match=r"other settings .*dataset: "):
        begin_run(tmp_path / "run", dataclasses.replace(stored, dataset="digits", labels=10), None)
