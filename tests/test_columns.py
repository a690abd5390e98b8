"""Tables of text, categories, missing and skewed numbers, and sparse matrices."""

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
    """Returns columns by name; None marks a missing value."""
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


def as_pandas(by_name):
    pandas = pytest.importorskip("pandas", reason="pandas is optional, and is not installed")
    return pandas.DataFrame(by_name).astype({"size": "category"} if "size" in by_name else {})


def as_polars(by_name):
    polars = pytest.importorskip("polars", reason="polars is optional, and is not installed")
    frame = polars.DataFrame(by_name)
    sizes = polars.Enum(["S", "M", "L"])
    return frame.cast({"size": sizes}) if "size" in by_name else frame


def as_array(by_name):
    return np.array(list(zip(*by_name.values(), strict=True)), object)


@pytest.fixture(params=[as_pandas, as_polars])
def frame_of(request):
    return request.param


@pytest.fixture(scope="module")
def fitted():
    """Returns a ladder fitted to an array of objects, which needs neither pandas nor polars."""
    return clone(TINY).fit(as_array(table()), Y)


def reference_encoder():
    """Returns scikit-learn's equivalent of ``TableEncoder`` for the pandas frame."""
    numbers = SimpleImputer(strategy="median", add_indicator=True)
    words = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return ColumnTransformer([("numbers", numbers, NUMBERS), ("words", words, WORDS)])


@parametrize_with_checks([TableEncoder()])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def test_frame_equals_column_transformer():
    frame, new = as_pandas(table()), table()
    for name in ("color", "age"):
        new[name][:3] = [None] * 3
    new["color"][3:5] = ["green", "red"]  # "green" is unknown
    encoder, reference = TableEncoder().fit(frame), reference_encoder().fit(frame)
    for rows in (frame, as_pandas(new)):
        np.testing.assert_array_equal(encoder.transform(rows), reference.transform(rows))
    assert not encoder.transform(as_pandas(new))[3, 4:7].any()
    assert encoder.get_feature_names_out().tolist() == NAMES
    assert encoder.set_output(transform="pandas").transform(frame).columns.tolist() == NAMES


def test_pandas_and_polars_frames(frame_of):
    frame, pandas_frame = frame_of(table()), as_pandas(table())
    encoder = TableEncoder().fit(frame)
    assert encoder.state() == TableEncoder().fit(pandas_frame).state()
    np.testing.assert_array_equal(
        encoder.transform(frame), reference_encoder().fit_transform(pandas_frame)
    )
    ladder = clone(TINY).fit(frame, Y)
    assert ladder.n_features_in_ == 6 and ladder.feature_names_in_.tolist() == list(table())
    plain = clone(TINY).set_params(preprocess="tabular").fit(encoder.transform(frame), Y)
    np.testing.assert_array_equal(
        ladder.predict_proba(frame), plain.predict_proba(encoder.transform(frame))
    )
    assert ladder.columns_.get_feature_names_out().tolist() == NAMES
    for wrong, message in ((table(), "same order"), (table(), "should match")):
        first = wrong.pop("color")
        changed = wrong | {"color" if message == "same order" else "colour": first}
        with pytest.raises(ValueError, match=message):
            ladder.predict(frame_of(changed))


def test_array_of_objects(fitted):
    cells = as_array(table())
    encoded = fitted.columns_.transform(cells)
    names = [f"x{list(table()).index(name)}" for name in NUMBERS]
    assert fitted.columns_.get_feature_names_out()[:3].tolist() == names
    np.testing.assert_array_equal(encoded[:, 0], table()["income"])
    text = np.where(cells == None, np.nan, cells)[:, [1, 2]].astype(str)  # noqa: E711
    np.testing.assert_array_equal(TableEncoder().fit_transform(text), encoded[:, [0, 1, 3]])
    assert fitted.n_features_in_ == 6 and not hasattr(fitted, "feature_names_in_")
    assert fitted.predictor_.example_shape == (12,) == encoded.shape[1:]
    np.testing.assert_allclose(
        fitted.predictor_(encoded).probabilities, fitted.predict_proba(cells), rtol=1e-6
    )
    np.testing.assert_array_equal(fitted.predict(cells.tolist()), fitted.predict(cells))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int16, np.uint8, bool])
def test_plain_array_is_only_preprocessed_as_tabular(dtype):
    x = np.random.default_rng(1).normal(0, 3, (ROWS, 12))
    x = x.round() if np.issubdtype(dtype, np.integer) else x
    x = abs(x).astype(dtype)
    auto, tabular = (clone(TINY).set_params(preprocess=name) for name in ("auto", "tabular"))
    probabilities = [ladder.fit(x, Y).predict_proba(x) for ladder in (auto, tabular)]
    np.testing.assert_array_equal(*probabilities)
    assert auto.config_ == tabular.config_ and auto.config_.preprocess == "tabular"
    assert LadderClassifier().preprocess == LadderRegressor().preprocess == "auto"


def test_missing_numbers_in_a_plain_array():
    x = np.random.default_rng(1).normal(size=(ROWS, 11))
    x[::5, 3] = np.nan
    ladder = clone(TINY).fit(x, Y)
    filled = SimpleImputer(strategy="median", add_indicator=True).fit_transform(x)
    plain = clone(TINY).set_params(preprocess="tabular").fit(filled, Y)
    np.testing.assert_array_equal(ladder.predict_proba(x), plain.predict_proba(filled))
    with pytest.raises(ValueError, match=r"^X: column x3 is missing \(NaN\) in row 0, and no"):
        clone(TINY).fit(filled, Y).predict(np.hstack([x, filled[:, -1:]]))


def test_categories_that_are_intervals():
    pandas = pytest.importorskip("pandas", reason="pandas is optional, and is not installed")
    frame = pandas.DataFrame({"c": pandas.cut([0.1, 0.6, 0.7, np.nan], [0, 0.5, 1])})
    encoder = TableEncoder().fit(frame)
    names = ["c_(0.0, 0.5]", "c_(0.5, 1.0]", "c_None"]
    assert encoder.get_feature_names_out().tolist() == names
    np.testing.assert_array_equal(encoder.transform(frame), np.eye(3)[[0, 1, 1, 2]])


def test_text_with_underscores_is_no_number():
    codes = np.array([["1_1"], ["1_2"], ["2_1"]] * 4, object)
    assert TableEncoder().fit(codes).get_feature_names_out().tolist() == [
        "x0_1_1",
        "x0_1_2",
        "x0_2_1",
    ]


def test_numpy_strings():
    cells = np.array([["a", "1"], ["b", "2"], [None, "1"]], object)
    text = cells.astype(np.dtypes.StringDType(na_object=None))
    np.testing.assert_array_equal(
        TableEncoder().fit_transform(text), TableEncoder().fit_transform(cells)
    )


def test_masked_entries_are_missing():
    rng = np.random.default_rng(0)
    for values in (rng.normal(size=(20, 3)), rng.integers(9, size=(20, 3)), as_array(table())):
        mask = np.arange(values.size).reshape(values.shape) % 7 == 1
        gaps = np.where(mask, None if values.dtype == object else np.nan, values)
        encoder, expected = (TableEncoder().fit(x) for x in (np.ma.array(values, mask=mask), gaps))
        assert encoder.state() == expected.state()
        np.testing.assert_array_equal(
            encoder.transform(np.ma.array(values, mask=mask)), expected.transform(gaps)
        )


@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.coo_matrix])
def test_sparse_equals_dense(kind):
    x = np.random.default_rng(1).normal(size=(ROWS, 12)).clip(0)
    from_sparse, from_dense = clone(TINY).fit(kind(x), Y), clone(TINY).fit(x, Y)
    np.testing.assert_array_equal(from_sparse.predict_proba(kind(x)), from_dense.predict_proba(x))


def test_pickle_save_and_load(fitted, tmp_path):
    cells = as_array(table())
    fitted.save(tmp_path / "ladder.npz")
    loaded = LadderClassifier.load(tmp_path / "ladder.npz")
    assert loaded.preprocess == "auto" and loaded.n_features_in_ == 6
    cells[:2, 0], cells[2:4, 2] = ["green", None], None
    for restored in (loaded, pickle.loads(pickle.dumps(fitted))):
        np.testing.assert_array_equal(restored.predict_proba(cells), fitted.predict_proba(cells))
        assert restored.columns_.state() == fitted.columns_.state()
    assert not hasattr(clone(fitted), "columns_")


def test_exported_ladder_takes_encoded_columns(fitted):
    exported = jax_export.deserialize(bytearray(exporting.export(fitted.predictor_)))
    cells = as_array(table())
    numbers = fitted.columns_.transform(cells).astype(np.float32)
    probabilities = jax.jit(exported.call)(numbers)
    np.testing.assert_allclose(probabilities, fitted.predict_proba(cells), atol=1e-4)


def test_state_round_trips(frame_of):
    frame = frame_of(table())
    encoder = TableEncoder().fit(frame)
    restored = TableEncoder.from_state(json.loads(json.dumps(encoder.state())))
    np.testing.assert_array_equal(restored.transform(frame), encoder.transform(frame))
    assert restored.get_feature_names_out().tolist() == NAMES


def test_quantiles_of_earlier_versions_are_refused():
    with pytest.raises(ValueError, match="made normal in another way"):
        TableEncoder.from_state({"quantiles": [[0.0], [1.0]]})


@pytest.mark.parametrize("labels", [[4, None, 2], ["no", None, "yes"], [True, None, False]])
def test_missing_labels_in_a_column(frame_of, labels):
    column = frame_of({"y": labels})["y"]
    marked = fill_missing(column)
    assert marked.tolist() == [-1 if label is None else label for label in labels]
    if frame_of is as_pandas:
        for converted in (column.convert_dtypes(), column.astype("category")):
            assert fill_missing(converted).tolist() == marked.tolist()
        # scikit-learn would convert nullable integers and Booleans to floats.
        known = fill_missing(column.convert_dtypes()[[0, 2]])
        assert isinstance(known, np.ndarray) and known.dtype.kind in "iOb"
        assert repr(known.tolist()) == repr([labels[0], labels[2]])
        if isinstance(labels[0], str):
            dataset = data.from_arrays(np.eye(3), np.array(column.astype("string"), object))
            assert dataset.y_train.tolist() == [0, -1, 1]


@pytest.mark.parametrize("some", [["x"], [1.0, None], [1.0]])
def test_state_of_one_column_round_trips(some):
    cells = np.array([[some[i % len(some)]] for i in range(4)], object)
    encoder = TableEncoder().fit(cells)
    restored = TableEncoder.from_state(json.loads(json.dumps(encoder.state())))
    np.testing.assert_array_equal(restored.transform(cells), encoder.transform(cells))


def test_integer_and_float_categories_match():
    pandas = pytest.importorskip("pandas", reason="pandas is optional, and is not installed")
    frames = [
        pandas.DataFrame({"c": pandas.Categorical(values)})
        for values in ([1, 2, 1], [1.0, 2, None])
    ]
    encoder = TableEncoder().fit(frames[0])
    assert encoder.get_feature_names_out().tolist() == ["c_1", "c_2"]
    np.testing.assert_array_equal(encoder.transform(frames[1]), [[1, 0], [0, 1], [0, 0]])
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


def test_tags_follow_preprocess():
    names = ("sparse", "categorical", "string", "allow_nan")
    for ladder, wanted in ((TINY, True), (clone(TINY).set_params(preprocess="none"), False)):
        tags = get_tags(ladder).input_tags
        assert all(getattr(tags, name) is wanted for name in names)


CELLS = as_array(table())
WRONG = [
    ([datetime.date(2020, 1, 1)], r"column x2 has datetime\.date\(2020, 1, 1\) in row 0; give"),
    ([None, [1, 2]], r"column x2 has \[1, 2\] in row 1; give numbers"),
    ([{"a": 1}], "column x2 has {'a': 1} in row 0"),
    ([None, np.nan], "column x2 is missing .* in every row; leave it out"),
    ([1.0, np.inf], "column x2 is infinite in row 1"),
    ([1j], "column x2 has 1j in row 0"),
    (["a", 1j], "column x2 has 1j in row 1"),
    ([10**400, 1], "column x2 has 10{39} in row 0; give numbers that float64 can hold"),
    ([decimal.Decimal("sNaN"), 1], "column x2 has .* in row 0; give numbers that float64 can hold"),
]


@pytest.mark.parametrize(("cells", "message"), WRONG)
def test_bad_columns_are_refused_before_training(cells, message):
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
def test_new_rows_of_another_type_are_refused(fitted, column, value, message):
    x = CELLS.copy()
    x[5, column] = value
    with pytest.raises(ValueError, match=f"^X: {message}") as caught:
        fitted.predict(x)
    assert "\n" not in str(caught.value)


def test_decimals_are_numbers():
    x = np.array([[decimal.Decimal("1.5")], [None]], object)
    np.testing.assert_array_equal(TableEncoder().fit_transform(x), [[1.5, 0], [1.5, 1]])


def test_huge_integers_are_categories():
    cells = np.array([[10**400], ["a"], [True]], object)
    names = TableEncoder().fit(cells).get_feature_names_out().tolist()
    assert names == [f"x0_{10**400}", "x0_True", "x0_a"]


@pytest.mark.skipif(np.finfo(np.longdouble).max <= np.finfo(float).max, reason="no long double")
def test_long_doubles_beyond_float64_are_infinite():
    huge = np.array([[1.0], [np.longdouble("1e400")]])
    frame = as_pandas({"x0": huge[:, 0]})
    for x in (huge, frame, huge.astype(object)):
        with pytest.raises(ValueError, match=r"^X: column x0 is infinite in row 1"):
            TableEncoder().fit(x)


def test_lazy_frames_are_refused():
    with pytest.raises(ValueError, match=r"X is a LazyFrame.*; give X.collect\(\)\."):
        clone(TINY).fit(as_polars({"a": np.arange(ROWS)}).lazy(), Y)


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
