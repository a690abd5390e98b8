"""Tables as people have them: text, categories, missing and skewed numbers, sparse matrices."""

import datetime
import decimal
import json
import pickle

import jax
import numpy as np
import pytest
from jax import export as jax_export
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import cross_val_score
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from ladder_jax import LadderClassifier, LadderRegressor, LadderSegmenter, data, exporting
from ladder_jax.errors import ConfigError
from ladder_jax.estimators import TableEncoder, columns
from ladder_jax.estimators.classifier import fill_missing

TINY = LadderClassifier(units=(4,), epochs=2, random_state=0)
ROWS = 40
Y = np.where(np.arange(ROWS) < 12, np.arange(ROWS) % 2, -1)
NUMBERS = ["income", "age", "count"]
WORDS = ["color", "size", "flag"]
NAMES = [
    *(*NUMBERS, "missingindicator_age", "color_blue", "color_red", "color_None"),
    *("size_L", "size_M", "size_S", "flag_False", "flag_True"),
]


def table():
    """Columns by name, with None where a value is missing."""
    rng = np.random.default_rng(0)
    age = [None if i % 7 == 3 else v for i, v in enumerate(rng.normal(40, 9, ROWS).tolist())]
    return {
        "color": [("red", "blue", None)[i] for i in rng.integers(0, 3, ROWS)],
        "income": rng.lognormal(9, 2, ROWS).tolist(),
        "age": age,
        "size": ["SML"[i] for i in rng.integers(0, 3, ROWS)],
        "flag": (rng.random(ROWS) < 0.5).tolist(),
        "count": rng.integers(0, 9, ROWS).tolist(),
    }


def as_pandas(of_columns):
    pandas = pytest.importorskip("pandas", reason="pandas is optional, and is not installed")
    return pandas.DataFrame(of_columns).astype({"size": "category"} if "size" in of_columns else {})


def as_polars(of_columns):
    polars = pytest.importorskip("polars", reason="polars is optional, and is not installed")
    frame = polars.DataFrame(of_columns)
    sizes = polars.Enum(["S", "M", "L"])
    return frame.cast({"size": sizes}) if "size" in of_columns else frame


def as_array(of_columns):
    return np.array(list(zip(*of_columns.values(), strict=True)), object)


@pytest.fixture(params=[as_pandas, as_polars])
def frame_of(request):
    return request.param


@pytest.fixture(scope="module")
def fitted():
    """Of an array of objects, which needs neither pandas nor polars."""
    return clone(TINY).fit(as_array(table()), Y)


def written_out():
    """What ``TableEncoder`` should be for a frame of pandas, by scikit-learn's own means."""
    numbers = SimpleImputer(strategy="median", add_indicator=True)
    words = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return ColumnTransformer([("numbers", numbers, NUMBERS), ("words", words, WORDS)])


@parametrize_with_checks([TableEncoder()])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def test_a_frame_against_a_column_transformer():
    frame, new = as_pandas(table()), table()
    for name in ("color", "age"):
        new[name][:3] = [None] * 3
    new["color"][3:5] = ["green", "red"]  # of which one is not known
    ours, theirs = TableEncoder().fit(frame), written_out().fit(frame)
    for each in (frame, as_pandas(new)):
        np.testing.assert_array_equal(ours.transform(each), theirs.transform(each))
    assert not ours.transform(as_pandas(new))[3, 4:7].any()
    assert ours.get_feature_names_out().tolist() == NAMES
    assert ours.set_output(transform="pandas").transform(frame).columns.tolist() == NAMES


def test_frames_of_both_kinds(frame_of):
    frame, old = frame_of(table()), as_pandas(table())
    ours = TableEncoder().fit(frame)
    assert ours.state() == TableEncoder().fit(old).state()
    np.testing.assert_array_equal(ours.transform(frame), written_out().fit_transform(old))
    ladder = clone(TINY).fit(frame, Y)
    assert ladder.n_features_in_ == 6 and ladder.feature_names_in_.tolist() == list(table())
    plain = clone(TINY).set_params(preprocess="tabular").fit(ours.transform(frame), Y)
    np.testing.assert_array_equal(
        ladder.predict_proba(frame), plain.predict_proba(ours.transform(frame))
    )
    assert ladder.columns_.get_feature_names_out().tolist() == NAMES
    for wrong, message in ((table(), "same order"), (table(), "should match")):
        first = wrong.pop("color")
        changed = wrong | {"color" if message == "same order" else "colour": first}
        with pytest.raises(ValueError, match=message):
            ladder.predict(frame_of(changed))


def test_an_array_of_objects(fitted):
    cells = as_array(table())
    found = fitted.columns_.transform(cells)
    names = [f"x{list(table()).index(name)}" for name in NUMBERS]
    assert fitted.columns_.get_feature_names_out()[:3].tolist() == names
    np.testing.assert_array_equal(found[:, 0], table()["income"])
    text = np.where(cells == None, np.nan, cells)[:, [1, 2]].astype(str)  # noqa: E711
    np.testing.assert_array_equal(TableEncoder().fit_transform(text), found[:, [0, 1, 3]])
    assert fitted.n_features_in_ == 6 and not hasattr(fitted, "feature_names_in_")
    assert fitted.predictor_.example_shape == (12,) == found.shape[1:]
    np.testing.assert_allclose(
        fitted.predictor_(found).probabilities, fitted.predict_proba(cells), rtol=1e-6
    )
    np.testing.assert_array_equal(fitted.predict(cells.tolist()), fitted.predict(cells))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int16, np.uint8, bool])
def test_a_plain_array_goes_through_tabular_alone(dtype):
    x = np.random.default_rng(1).normal(0, 3, (ROWS, 12))
    x = x.round() if np.issubdtype(dtype, np.integer) else x
    x = abs(x).astype(dtype)
    ours, theirs = (clone(TINY).set_params(preprocess=name) for name in ("auto", "tabular"))
    found = [each.fit(x, Y).predict_proba(x) for each in (ours, theirs)]
    np.testing.assert_array_equal(*found)
    assert ours.config_ == theirs.config_ and ours.config_.preprocess == "tabular"
    assert LadderClassifier().preprocess == LadderRegressor().preprocess == "auto"


def test_missing_numbers_of_a_plain_array():
    x = np.random.default_rng(1).normal(size=(ROWS, 11))
    x[::5, 3] = np.nan
    ours = clone(TINY).fit(x, Y)
    filled = SimpleImputer(strategy="median", add_indicator=True).fit_transform(x)
    plain = clone(TINY).set_params(preprocess="tabular").fit(filled, Y)
    np.testing.assert_array_equal(ours.predict_proba(x), plain.predict_proba(filled))
    with pytest.raises(ValueError, match=r"^X: column x3 is missing \(NaN\) in row 0, and no"):
        clone(TINY).fit(filled, Y).predict(np.hstack([x, filled[:, -1:]]))


@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.coo_matrix])
def test_sparse_is_as_dense(kind):
    x = np.random.default_rng(1).normal(size=(ROWS, 12)).clip(0)
    ours, theirs = clone(TINY).fit(kind(x), Y), clone(TINY).fit(x, Y)
    np.testing.assert_array_equal(ours.predict_proba(kind(x)), theirs.predict_proba(x))


def test_pickle_save_and_load(fitted, tmp_path):
    cells = as_array(table())
    fitted.save(tmp_path / "ladder.npz")
    loaded = LadderClassifier.load(tmp_path / "ladder.npz")
    assert loaded.preprocess == "auto" and loaded.n_features_in_ == 6
    cells[:2, 0], cells[2:4, 2] = ["green", None], None
    for again in (loaded, pickle.loads(pickle.dumps(fitted))):
        np.testing.assert_array_equal(again.predict_proba(cells), fitted.predict_proba(cells))
        assert again.columns_.state() == fitted.columns_.state()
    assert not hasattr(clone(fitted), "columns_")


def test_exported_it_takes_the_numbers_that_columns_become(fitted):
    exported = jax_export.deserialize(bytearray(exporting.export(fitted.predictor_)))
    cells = as_array(table())
    numbers = fitted.columns_.transform(cells).astype(np.float32)
    found = jax.jit(exported.call)(numbers)
    np.testing.assert_allclose(found, fitted.predict_proba(cells), atol=1e-4)


def test_the_state_is_all_that_was_fitted(frame_of):
    frame = frame_of(table())
    ours = TableEncoder().fit(frame)
    again = TableEncoder.from_state(json.loads(json.dumps(ours.state())))
    np.testing.assert_array_equal(again.transform(frame), ours.transform(frame))
    assert again.get_feature_names_out().tolist() == NAMES


def test_columns_made_normal_by_an_earlier_version_are_refused():
    with pytest.raises(ValueError, match="made normal in another way"):
        TableEncoder.from_state({"quantiles": [[0.0], [1.0]]})


@pytest.mark.parametrize("labels", [[4, None, 2], ["no", None, "yes"], [True, None, False]])
def test_labels_of_a_column_that_misses_some(frame_of, labels):
    column = frame_of({"y": labels})["y"]
    marked = fill_missing(column)
    assert marked.tolist() == [-1 if label is None else label for label in labels]
    if frame_of is as_pandas:
        for given in (column.convert_dtypes(), column.astype("category")):
            assert fill_missing(given).tolist() == marked.tolist()
        if isinstance(labels[0], str):
            own = data.from_arrays(np.eye(3), np.array(column.astype("string"), object))
            assert own.y_train.tolist() == [0, -1, 1]


@pytest.mark.parametrize("some", [["x"], [1.0, None], [1.0]])
def test_the_state_of_one_kind_of_column(some):
    cells = np.array([[some[i % len(some)]] for i in range(4)], object)
    ours = TableEncoder().fit(cells)
    again = TableEncoder.from_state(json.loads(json.dumps(ours.state())))
    np.testing.assert_array_equal(again.transform(cells), ours.transform(cells))


def test_categories_of_numbers_are_the_same_however_they_are_written():
    pandas = pytest.importorskip("pandas", reason="pandas is optional, and is not installed")
    frames = [
        pandas.DataFrame({"c": pandas.Categorical(values)})
        for values in ([1, 2, 1], [1.0, 2, None])
    ]
    ours = TableEncoder().fit(frames[0])
    assert ours.get_feature_names_out().tolist() == ["c_1", "c_2"]
    np.testing.assert_array_equal(ours.transform(frames[1]), [[1, 0], [0, 1], [0, 0]])
    numbers = pandas.DataFrame({"c": pandas.array([1, None, 4], "Int64")})
    np.testing.assert_array_equal(TableEncoder().fit_transform(numbers), [[1, 0], [2.5, 1], [4, 0]])


def test_cross_validation_and_other_estimators():
    cells, y = as_array(table()), np.arange(ROWS) % 2
    plain = {"units": (4,), "epochs": 2, "combinators": "none", "denoising_cost": 0.0}
    scores = cross_val_score(LadderClassifier(**plain), cells, y, cv=2, error_score="raise")
    assert scores.shape == (2,)
    numbers = LadderRegressor(**plain).fit(cells, y * 1.5)
    assert np.isfinite(numbers.predict(cells)).all()
    with pytest.raises(ConfigError, match="preprocess='auto'"):
        masks = np.arange(16).reshape(1, 4, 4).repeat(3, 0) % 2
        LadderSegmenter(preprocess="auto").fit(masks * 1.0, masks)


def test_tags_say_what_it_takes():
    names = ("sparse", "categorical", "string", "allow_nan")
    for each, wanted in ((TINY, True), (clone(TINY).set_params(preprocess="none"), False)):
        tags = get_tags(each).input_tags
        assert all(getattr(tags, name) is wanted for name in names)


CELLS = as_array(table())
WRONG = [
    ([datetime.date(2020, 1, 1)], r"column x2 has datetime\.date\(2020, 1, 1\) in row 0; give"),
    ([None, [1, 2]], r"column x2 has \[1, 2\] in row 1; give numbers"),
    ([{"a": 1}], "column x2 has {'a': 1} in row 0"),
    ([None, np.nan], "column x2 is missing .* in every row; leave it out"),
    ([1.0, np.inf], "column x2 is infinite in row 1"),
    ([1j], "column x2 has 1j in row 0"),
]


@pytest.mark.parametrize(("cells", "message"), WRONG)
def test_bad_columns_are_one_line_before_training(cells, message):
    x, lines = CELLS.copy(), []
    for row in range(ROWS):
        x[row, 2] = cells[row % len(cells)]
    with pytest.raises(ValueError, match=f"^X: {message}") as caught:
        clone(TINY).fit(x, Y, progress=lines.append)
    assert not lines and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (2, "old", "column x2 has 'old' in row 5; give numbers, which it had in fit"),
        (0, 3.0, r"column x0 has 3\.0 in row 5; give text, which it had in fit"),
        (4, 1, "column x4 has 1 in row 5; give truth values, which it had in fit"),
        (1, -np.inf, "column x1 is infinite in row 5"),
    ],
)
def test_new_rows_hold_what_those_of_fit_did(fitted, column, value, message):
    x = CELLS.copy()
    x[5, column] = value
    with pytest.raises(ValueError, match=f"^X: {message}") as caught:
        fitted.predict(x)
    assert "\n" not in str(caught.value)


def test_decimals_are_numbers():
    x = np.array([[decimal.Decimal("1.5")], [None]], object)
    np.testing.assert_array_equal(TableEncoder().fit_transform(x), [[1.5, 0], [1.5, 1]])


def test_bad_tables(fitted, monkeypatch, frame_of):
    large = sparse.csr_array((2**14, 2**14))
    for call in (lambda: clone(TINY).fit(large, np.zeros(2**14)), lambda: fitted.predict(large)):
        with pytest.raises(ValueError, match=r"sparse .* \(16384, 16384\).* at most 134217728"):
            call()
    with pytest.raises(ValueError, match="X has 5 features, but LadderClassifier is expecting 6"):
        fitted.predict(CELLS[:, 1:])
    for empty in ({}, {"a": []}):
        with pytest.raises(ValueError, match=r"X has shape \(0, [01]\); give at least one row"):
            TableEncoder().fit(frame_of(empty))
    monkeypatch.setattr(columns, "MAX_ENTRIES", 3 * ROWS - 1)
    with pytest.raises(ValueError, match=rf"^X: column x0 has 3 categories in {ROWS} rows"):
        TableEncoder().fit(CELLS)
    dates = frame_of({"a": [1.0], "when": [datetime.datetime(2020, 1, 1)]})
    with pytest.raises(ValueError, match=r"^X: column when is of type .*[Dd]atetime"):
        TableEncoder().fit(dates)
    if frame_of is as_pandas:
        with pytest.raises(ValueError, match="X has two columns named 'a'"):
            TableEncoder().fit(dates[["a", "a"]])
