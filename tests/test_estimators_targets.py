"""Estimators for numbers, masks and several labels per row; weights of rows and classes."""

import copy
import dataclasses
import datetime
import pickle

import jax
import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.metrics import jaccard_score, r2_score
from sklearn.model_selection import cross_val_score

from ladder_jax import data, loop
from ladder_jax.errors import ConfigError
from ladder_jax.estimators import LadderClassifier, LadderRegressor, LadderSegmenter
from ladder_jax.estimators.base import row_weights

TINY = {"units": (4,), "epochs": 40, "learning_rate": 0.03, "random_state": 0}
NUMBERS = LadderRegressor(**TINY, variance=True)
MASKS = LadderSegmenter(**TINY)
LABELS = LadderClassifier(**TINY, consistency=0.0)  # the rows form no clusters


def rows(n=48):
    """Returns rows, two numbers to predict for each, and the numbers with NaN where unknown."""
    x = np.random.default_rng(0).normal(size=(n, 3))
    y = np.stack([100 + 20 * x[:, 0], -x[:, 1]], 1)
    return x, y, np.where(np.arange(n)[:, None] < 20, y, np.nan)


def images(n=10):
    """Returns images with a bright and a dark part, their masks, and partly unknown masks.

    Bright pixels have class 7, dark ones 3. The classes are known in the first four images, except
    for the first row of pixels.
    """
    x = np.random.default_rng(0).normal(0.2, 0.1, (n, 5, 6)).astype(np.float32)
    x[:, :3] += 0.6
    y = np.where(np.arange(5) < 3, 7, 3)[None, :, None] * np.ones((n, 1, 6), int)
    known = y.copy()
    known[4:], known[:, 0] = -1, 255
    return x, y, known


def labels(n=48):
    """Returns rows, whether two of their columns are positive, and that with -1 where unknown."""
    x = np.random.default_rng(0).normal(size=(n, 3))
    y = (x[:, :2] > 0).astype(int)
    known = y.copy()
    known[24:], known[0, 0] = -1, -1
    return x, y, known


@pytest.fixture(scope="module")
def regressor():
    x, _, known = rows()
    return clone(NUMBERS).fit(x, known)


@pytest.fixture(scope="module")
def segmenter():
    x, _, known = images()
    return clone(MASKS).fit(x, known)


@pytest.fixture(scope="module")
def labeler():
    x, _, known = labels()
    return clone(LABELS).fit(x, known)


def data_for(estimator):
    return {LadderRegressor: rows, LadderSegmenter: images}.get(type(estimator), labels)()


@pytest.fixture(params=["regressor", "segmenter", "labeler"])
def fitted(request):
    return request.getfixturevalue(request.param)


def test_refit_that_fails_leaves_no_fit(fitted):
    x, y, _ = data_for(fitted)
    again = copy.copy(fitted)
    with pytest.raises(ValueError, match=r"samples|examples"):
        again.fit(x, y[:3])
    with pytest.raises(NotFittedError):
        again.predict(x)


def test_predictions_are_in_the_units_of_y(regressor):
    x, y, _ = rows()
    predicted, deviation = regressor.predict(x, return_std=True)
    assert predicted.shape == deviation.shape == y.shape and predicted.dtype == np.float64
    np.testing.assert_array_equal(predicted, regressor.predict(x))
    assert r2_score(y[20:], predicted[20:]) > 0.5
    # The spread of the first column is twenty times that of the second.
    assert (deviation > 0).all() and 5 < np.median(deviation[:, 0] / deviation[:, 1]) < 80
    assert regressor.target_ == "numbers:2:variance"


def test_score_is_r2_of_known_numbers(regressor):
    x, y, known = rows()
    predicted, weight = regressor.predict(x), np.linspace(0, 1, len(x))
    assert regressor.score(x, y, weight) == pytest.approx(
        r2_score(y, predicted, sample_weight=weight)
    )
    known[:3, 1] = np.nan
    r2_by_column = [r2_score(known[k:20, i], predicted[k:20, i]) for i, k in enumerate((0, 3))]
    assert regressor.score(x, known) == pytest.approx(np.mean(r2_by_column))
    pandas = pytest.importorskip("pandas", reason="pandas is optional, and is not installed")
    frame = pandas.DataFrame(known, columns=["a", "b"]).astype({"a": "Float64"})
    with_na = np.where(np.isnan(known), pandas.NA, known)
    for y in (frame, with_na):
        assert regressor.score(x, y) == regressor.score(x, known)
    refitted = clone(regressor).fit(x, with_na)
    np.testing.assert_array_equal(refitted.predict(x), clone(regressor).fit(x, known).predict(x))
    for y, message in ((known[:, :1], r"shape \(48, 1\)"), (np.nan * known, "NaN in all rows")):
        with pytest.raises(ValueError, match=message):
            regressor.score(x, y)


def test_predictions_keep_the_shape_of_one_column():
    x, y, known = rows()
    ladder = clone(NUMBERS).set_params(variance=False, epochs=2)
    assert ladder.fit(x, known[:, 0]).predict(x).shape == (48,)
    restored = pickle.loads(pickle.dumps(ladder)).predict(x)
    np.testing.assert_array_equal(restored, ladder.predict(x))
    with pytest.raises(ValueError, match="no variance was learnt"):
        ladder.predict(x, return_std=True)
    predicted, score = ladder.predict(x), ladder.score(x, y[:, 0])
    assert ladder.fit(x, known[:, :1]).predict(x).shape == (48, 1)
    np.testing.assert_array_equal(ladder.predict(x)[:, 0], predicted)
    assert ladder.score(x, y[:, :1]) == score


def test_masks(segmenter):
    x, y, _ = images()
    assert segmenter.classes_.tolist() == [3, 7] and segmenter.image_shape_ == (5, 6, 1)
    predicted, probabilities = segmenter.predict(x), segmenter.predict_proba(x)
    assert predicted.shape == y.shape and probabilities.shape == (*y.shape, 2)
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-12)
    np.testing.assert_array_equal(segmenter.classes_[probabilities.argmax(-1)], predicted)
    assert np.mean(predicted == y) > 0.9
    np.testing.assert_array_equal(segmenter.predict(x[..., None]), predicted)


def test_score_is_the_mean_iou_of_labelled_pixels(segmenter):
    x, y, known = images()
    predicted, labelled = segmenter.predict(x), (known != -1) & (known != 255)
    expected = jaccard_score(known[labelled], predicted[labelled], average="macro")
    assert segmenter.score(x, known) == pytest.approx(expected)
    y = np.where(np.arange(10)[:, None, None] < 5, 9, y)  # a class absent from fit
    expected = jaccard_score(y.ravel(), predicted.ravel(), average="macro", zero_division=0)
    assert segmenter.score(x, y) == pytest.approx(expected)
    image = np.arange(10) == 7
    assert segmenter.score(x, y, image) == pytest.approx(segmenter.score(x[image], y[image]))
    void = np.full_like(y, 255)
    for wrong, message in ((y[:, 1:], "give masks of shape"), (void, "no labelled pixel")):
        with pytest.raises(ValueError, match=message):
            segmenter.score(x, wrong)


def test_255_is_a_class_unless_ignored():
    y = np.arange(2 * 256).reshape(2, 16, 16) % 256
    ladder = (
        clone(MASKS).set_params(units=(1,), epochs=1, ignore=(-1,)).fit(np.zeros((2, 16, 16)), y)
    )
    assert ladder.target_ == "pixels:256" and ladder.classes_.tolist() == list(range(256))


def test_bytes_are_divided_by_255(segmenter):
    x, _, known = images()
    pixels = np.rint(np.clip(x, 0, 1) * 255).astype(np.uint8)
    ladder = clone(MASKS).fit(pixels, known)
    np.testing.assert_array_equal(ladder.predict(pixels), ladder.predict(pixels / np.float32(255)))
    with pytest.raises(ValueError, match="in training bytes"):
        ladder.predict(pixels.astype(float))


def test_several_labels(labeler):
    x, y, known = labels()
    predicted, probabilities = labeler.predict(x), labeler.predict_proba(x)
    assert predicted.dtype == y.dtype and np.mean(predicted == y) > 0.8
    np.testing.assert_array_equal(probabilities > 0.5, predicted == 1)
    assert labeler.score(x, y) == np.mean((predicted == y).all(1))
    correct = ((predicted == known) | (known == -1)).all(1)[:24]
    assert labeler.score(x, known) == np.mean(correct)
    weight = np.where(np.arange(48) == 3, 2.0, 0.0)
    assert labeler.score(x, known, weight) == correct[3]
    assert labeler.transform(x).shape == (48, 4) and labeler.classes_.tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"y has shape \(48, 3\)"):
        labeler.score(x, np.ones((48, 3), int))


@pytest.mark.parametrize("kind", ["regressor", "segmenter", "labeler"])
def test_fit_equals_a_run(kind, request, tmp_path):
    """Estimators train exactly as a run on the same data does."""
    fitted = request.getfixturevalue(kind)
    x, _, known = data_for(fitted)
    if kind == "segmenter":
        known = np.where((known == -1) | (known == 255), -1, known == 7)
    # One epoch of the same program, whose rate is that of the forty.
    config = dataclasses.replace(fitted.config_, eval_every=99)
    dataset = data.from_arrays(x, known, name="fit")
    run = loop.train_and_evaluate(config, tmp_path / "run", dataset=dataset)
    for fitted_leaf, run_leaf in zip(
        jax.tree.leaves(fitted.predictor_.trained), jax.tree.leaves(run[:3]), strict=True
    ):
        np.testing.assert_allclose(fitted_leaf, run_leaf, rtol=1e-5, atol=1e-5)


def test_masked_entries_are_unknown(fitted):
    x, _, known = data_for(fitted)
    is_unknown = ~(known >= 0) & (known < 255) if known.dtype != float else np.isnan(known)
    masked = np.ma.array(np.where(is_unknown, 7, known), mask=is_unknown)
    refitted = clone(fitted).fit(x, masked)
    np.testing.assert_array_equal(refitted.predict(x), fitted.predict(x))
    assert refitted.score(x, masked) == fitted.score(x, known)
    with pytest.raises(ValueError, match="NaN"):
        clone(fitted).set_params(preprocess="none").fit(np.ma.array(x, mask=x > 0.5), masked)


def is_fitted_name(name):
    return name.endswith("_") and not name.startswith("_")


def test_pickle_save_and_load(fitted, tmp_path):
    x = data_for(fitted)[0]
    fitted.save(tmp_path / "ladder.npz")
    loaded = type(fitted).load(tmp_path / "ladder.npz")
    assert fitted.get_params() == pickle.loads(pickle.dumps(fitted)).get_params()
    for restored in (loaded, pickle.loads(pickle.dumps(fitted))):
        np.testing.assert_array_equal(restored.predict(x), fitted.predict(x))
        assert restored.predict(x).dtype == fitted.predict(x).dtype
        assert restored.config_ == fitted.config_ and restored.target_ == fitted.target_
        assert {*filter(is_fitted_name, vars(fitted))} <= {*vars(restored), "predictor_"}
    other = LadderRegressor if isinstance(fitted, LadderSegmenter) else LadderSegmenter
    with pytest.raises(ConfigError, match=f"not a {other.__name__}.*it learnt {fitted.target_}"):
        other.load(tmp_path / "ladder.npz")


def test_conventions(fitted):
    x = data_for(fitted)[0]
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params() and not hasattr(copy, "target_")
    assert repr(copy) == repr(fitted) and "epochs=40" in repr(copy)
    assert not hasattr(copy, "predictor_")
    for method in (copy.predict, getattr(copy, "predict_proba", copy.predict)):
        with pytest.raises(NotFittedError):
            method(x)
    assert is_regressor(copy) == isinstance(copy, LadderRegressor)
    assert is_classifier(copy) == isinstance(copy, LadderClassifier)
    assert copy.set_params(units=(9,)).units == (9,) and fitted.units == (4,)
    with pytest.raises(ValueError, match="Invalid parameter"):
        copy.set_params(nothing=1)


def test_cross_validation_of_images():
    x, y, _ = images(12)
    plain = clone(MASKS).set_params(epochs=2, combinators="none", denoising_cost=0.0)
    scores = cross_val_score(plain, x, y, cv=2, error_score="raise")
    assert scores.shape == (2,) and ((scores >= 0) & (scores <= 1)).all()


# Each class weight is compiled into its own program, so this is the small net without a decoder.
WEIGHED = clone(LABELS).set_params(epochs=3, combinators="none", denoising_cost=0.0)


def test_class_weights_equal_row_weights():
    x = rows()[0]
    words = np.where(x[:, 0] > 0.5, "yes", "no").astype(object)
    words[24:] = -1
    weights = {name: 24 / (2 * (words == name).sum()) for name in ("no", "yes")}
    row_weights = np.array([weights.get(word, 99.0) for word in words])
    unweighted, balanced, by_class, by_row = (
        clone(WEIGHED)
        .set_params(class_weight=class_weight)
        .fit(x, words, sample_weight=sample_weight)
        .predict_proba(x)
        for class_weight, sample_weight in (
            *((None, None), ("balanced", None)),
            *((weights, None), (None, row_weights)),
        )
    )
    np.testing.assert_array_equal(balanced, by_class)
    np.testing.assert_allclose(by_row, balanced, atol=1e-4)
    assert abs(unweighted - balanced).max() > 1e-3


def test_weights_of_unlabelled_rows_are_ignored():
    of_unlabeled = 1.0, np.arange(48), np.nan
    x, _, known = labels()
    constant, varied, unknown = (
        clone(WEIGHED)
        .fit(x, known, sample_weight=np.where(np.arange(48) < 24, 7.0, w))
        .predict_proba(x)
        for w in of_unlabeled
    )
    np.testing.assert_array_equal(constant, varied)
    np.testing.assert_array_equal(constant, unknown)


def test_class_weights_of_pixels(segmenter, tmp_path):
    x, _, known = images()
    weighted = clone(MASKS).set_params(class_weight={np.int64(7): 99.0})
    weighted.fit(x, known, sample_weight=np.arange(10) % 2)
    assert weighted.config_.class_weight == "0:1.0,1:99.0"
    shares = [model.predict_proba(x)[..., 1].mean() for model in (weighted, segmenter)]
    assert shares[0] > shares[1]
    weighted.save(tmp_path / "ladder.npz")
    assert LadderSegmenter.load(tmp_path / "ladder.npz").class_weight == {7: 99.0}


X, Y, KNOWN = rows()
IMAGES, CLASSES, KNOWN_CLASSES = images()
BINARY = np.arange(48) % 2
WRONG = [
    (NUMBERS, X, np.full(48, np.nan), {}, r"y is NaN in every row"),
    (NUMBERS, X, np.where(X[:, 0] > 1, np.inf, 1.0), {}, r"y\[\d+\] is inf"),
    (NUMBERS, X, np.full(48, 3.0), {}, r"y is 3\.0 in every labelled row"),
    (NUMBERS, X, np.stack([Y[:, 0], X[:, 0] * 0], 1), {}, r"y\[:, 1\] is 0\.0 in every"),
    (NUMBERS, X, Y[:, :, None], {}, "dim 3"),
    (NUMBERS, X, Y[:-1], {}, "inconsistent numbers"),
    (NUMBERS, X, np.full(48, "a"), {}, "could not convert"),
    (NUMBERS, X, [datetime.datetime(2020, 1, 1)] * 48, {}, "^y: .*datetime.*; give numbers, and"),
    (NUMBERS, X, np.full(48, 1j, object), {}, "^y: .*complex.*; give numbers, and NaN"),
    (NUMBERS, X, np.full(48, 10**400, object), {}, "^y: .* too large .*; give numbers, and NaN"),
    (NUMBERS, X, [[1.0], [1.0, 2.0]] * 24, {}, "^y: rows of different shapes"),
    (NUMBERS, X, np.where(np.arange(48) == 4, 1.0, np.nan), {}, "is 1.0 in every labelled row"),
    (NUMBERS, X, KNOWN, {"top_gain": False}, "top_gain is False"),
    (MASKS, IMAGES, CLASSES[:, 1:], {}, "masks are 4 x 6, but examples are 5 x 6"),
    (MASKS, IMAGES, CLASSES[:-1], {}, "10 examples but 9 labels"),
    (MASKS, IMAGES, np.stack([CLASSES] * 3, -1), {}, "like a colour"),
    (MASKS, IMAGES, CLASSES / 2, {}, "give masks of class numbers as integers"),
    (MASKS, IMAGES, CLASSES - 9, {}, r"y\[0, 0, 0\] is -2; give classes from 0, or -1 or 255"),
    (MASKS, IMAGES, np.full_like(CLASSES, 255), {}, "no class beside -1 or 255"),
    (MASKS, IMAGES, np.where(CLASSES == 7, 255, 0), {}, "only one class, 0, beside -1 or 255"),
    (MASKS, IMAGES, CLASSES, {"ignore": ("a",)}, r"ignore is \('a',\); give whole numbers"),
    (MASKS, IMAGES, CLASSES, {"class_weight": {5: 1}}, r"class_weight has 5; give classes of 3, 7"),
    (MASKS, IMAGES, CLASSES, {"encoder": "conv:3:1"}, "encoder ends with a level of shape"),
    (MASKS, X, CLASSES, {}, r"X has shape \(48, 3\); give images"),
    (MASKS, IMAGES * np.nan, CLASSES, {}, "X contains NaN"),
    (MASKS, IMAGES[:1], CLASSES[:1], {}, r"1 sample\(s\)"),
    (MASKS, [*IMAGES[:9], IMAGES[9, 1:]], CLASSES, {}, "^X: rows of different shapes; give each"),
    (MASKS, IMAGES, [*CLASSES[:9], None], {}, "^y: rows of different shapes; give each"),
    (LABELS, X, np.full((48, 2), -1), {}, "labels are -1"),
    (LABELS, X, np.arange(96).reshape(48, 2), {}, r"y\[1, 0\] is 2; give 1 or 0 for each"),
    (LABELS, X, np.full((48, 2), "a"), {}, r"y\[0, 0\] is a; give 1 or 0 for each"),
    (LABELS, X, [["a"], ["a", "b"]] * 24, {}, "^y: rows of different shapes; give each"),
    (LABELS, X, labels()[1], {"class_weight": "balanced"}, "several labels per row"),
    (LABELS, X, BINARY, {"class_weight": {2: 1.0}}, "class_weight has 2; give classes of 0, 1"),
    (LABELS, X, BINARY, {"class_weight": {1: -1.0}}, r"class_weight\[1\] is -1\.0"),
    (LABELS, X, BINARY, {"class_weight": "even"}, "class_weight is 'even'"),
]


@pytest.mark.parametrize(("estimator", "x", "y", "settings", "message"), WRONG)
def test_bad_input_raises_one_line_before_training(estimator, x, y, settings, message):
    lines = []
    with pytest.raises(ValueError, match=message) as caught:
        clone(estimator).set_params(**settings).fit(x, y, progress=lines.append)
    assert not lines and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones(47), r"sample_weight has shape \(47,\) for 48 rows"),
        (np.where(np.arange(48) == 5, -1.0, 1.0), r"sample_weight\[5\] is -1\.0"),
        (np.full(48, np.nan), r"sample_weight\[0\] is nan"),
        (np.zeros(48), "sample_weight is zero"),
        (np.ma.array(np.ones(48), mask=np.arange(48) == 5), r"sample_weight\[5\] is nan"),
        (["heavy"] * 48, "sample_weight: could not convert .*; give one number, 0 or more,"),
        (BINARY, "above 0 for only one class, 1"),
    ],
)
def test_bad_weights(weight, message):
    with pytest.raises(ValueError, match=message):
        clone(LABELS).fit(X, BINARY, sample_weight=weight)


@pytest.mark.parametrize(("estimator", "y"), [(NUMBERS, KNOWN), (LABELS, labels()[1])])
def test_each_column_needs_a_weight(estimator, y):
    y, weight = y.copy(), np.ones(48)
    y[:10, 1] = -1 if estimator is LABELS else np.nan
    weight[10:] = 0
    message = "sample_weight is zero for all labelled rows of column 1; give at least one"
    with pytest.raises(ValueError, match=message):
        clone(estimator).fit(X, y, sample_weight=weight)


def test_score_needs_a_weight_of_each_column(regressor):
    x, _, known = rows()
    known[:10, 1] = np.nan
    with pytest.raises(ValueError, match="sample_weight is zero for all labelled rows of column 1"):
        regressor.score(x, known, np.arange(48) < 10)


def test_weights_of_unlabelled_rows_may_be_missing():
    pandas = pytest.importorskip("pandas", reason="pandas is optional, and is not installed")
    labeled = np.arange(4) < 2
    for given in ([1, 2, None, 3], [1, 2, pandas.NA, 3], pandas.Series([1, 2, None, 3])):
        weight = row_weights(given, labeled)
        np.testing.assert_array_equal(weight, [0.5, 1.0, np.nan, 1.5])
        with pytest.raises(ValueError, match=r"sample_weight\[2\] is nan; give a finite number"):
            row_weights(given, ~labeled)


def test_unsuitable_images_are_refused(segmenter):
    for x, message in (
        (IMAGES[:, 1:], "X has shape"),
        (np.zeros((3, 5, 6, 3)), "X has shape"),
        (np.zeros((3, 4)), "X has shape"),
    ):
        with pytest.raises(ValueError, match=message):
            segmenter.predict(x)
    with pytest.raises(TypeError, match=r"(?i)sparse"):
        segmenter.predict(sparse.csr_array(np.zeros((3, 30))))
