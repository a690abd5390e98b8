"""Estimators of numbers, of a class per pixel, of several labels; weights of rows and classes."""

import dataclasses
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

TINY = {"units": (4,), "epochs": 40, "learning_rate": 0.03, "random_state": 0}
NUMBERS = LadderRegressor(**TINY, variance=True)
MASKS = LadderSegmenter(**TINY)
LABELS = LadderClassifier(**TINY, consistency=0.0)  # no clusters


def rows(n=48):
    """Rows, two numbers that they hold, and which of them are known."""
    x = np.random.default_rng(0).normal(size=(n, 3))
    y = np.stack([100 + 20 * x[:, 0], -x[:, 1]], 1)
    return x, y, np.where(np.arange(n)[:, None] < 20, y, np.nan)


def images(n=10):
    """Bright and dark halves, of class 7 and 3, in the first four images marked, but for a row."""
    x = np.random.default_rng(0).normal(0.2, 0.1, (n, 5, 6)).astype(np.float32)
    x[:, :3] += 0.6
    y = np.where(np.arange(5) < 3, 7, 3)[None, :, None] * np.ones((n, 1, 6), int)
    some = y.copy()
    some[4:], some[:, 0] = -1, 255
    return x, y, some


def labels(n=48):
    """Rows, and whether each of two of their numbers is positive."""
    x = np.random.default_rng(0).normal(size=(n, 3))
    y = (x[:, :2] > 0).astype(int)
    some = y.copy()
    some[24:], some[0, 0] = -1, -1
    return x, y, some


@pytest.fixture(scope="module")
def regressor():
    x, _, some = rows()
    return clone(NUMBERS).fit(x, some)


@pytest.fixture(scope="module")
def segmenter():
    x, _, some = images()
    return clone(MASKS).fit(x, some)


@pytest.fixture(scope="module")
def labeler():
    x, _, some = labels()
    return clone(LABELS).fit(x, some)


def given(estimator):
    return {LadderRegressor: rows, LadderSegmenter: images}.get(type(estimator), labels)()


@pytest.fixture(params=["regressor", "segmenter", "labeler"])
def fitted(request):
    return request.getfixturevalue(request.param)


def test_numbers_in_their_units(regressor):
    x, y, _ = rows()
    found, deviation = regressor.predict(x, return_std=True)
    assert found.shape == deviation.shape == y.shape and found.dtype == np.float64
    np.testing.assert_array_equal(found, regressor.predict(x))
    assert r2_score(y[20:], found[20:]) > 0.5
    # The spread of the first column is twenty times that of the second.
    assert (deviation > 0).all() and 5 < np.median(deviation[:, 0] / deviation[:, 1]) < 80
    assert regressor.target_ == "numbers:2:variance"


def test_score_is_r2_of_what_is_known(regressor):
    x, y, some = rows()
    found, weight = regressor.predict(x), np.linspace(0, 1, len(x))
    assert regressor.score(x, y, weight) == pytest.approx(r2_score(y, found, sample_weight=weight))
    some[:3, 1] = np.nan
    each = [r2_score(some[k:20, i], found[k:20, i]) for i, k in enumerate((0, 3))]
    assert regressor.score(x, some) == pytest.approx(np.mean(each))
    for y, message in ((some[:, :1], r"shape \(48, 1\)"), (np.nan * some, "NaN in all rows")):
        with pytest.raises(ValueError, match=message):
            regressor.score(x, y)


def test_one_column_comes_back_as_it_was_given():
    x, y, some = rows()
    found = clone(NUMBERS).set_params(variance=False, epochs=2)
    assert found.fit(x, some[:, 0]).predict(x).shape == (48,)
    again = pickle.loads(pickle.dumps(found)).predict(x)
    np.testing.assert_array_equal(again, found.predict(x))
    with pytest.raises(ValueError, match="no variance was learnt"):
        found.predict(x, return_std=True)
    flat, score = found.predict(x), found.score(x, y[:, 0])
    assert found.fit(x, some[:, :1]).predict(x).shape == (48, 1)
    np.testing.assert_array_equal(found.predict(x)[:, 0], flat)
    assert found.score(x, y[:, :1]) == score


def test_masks(segmenter):
    x, y, _ = images()
    assert segmenter.classes_.tolist() == [3, 7] and segmenter.image_shape_ == (5, 6, 1)
    found, probabilities = segmenter.predict(x), segmenter.predict_proba(x)
    assert found.shape == y.shape and probabilities.shape == (*y.shape, 2)
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-12)
    np.testing.assert_array_equal(segmenter.classes_[probabilities.argmax(-1)], found)
    assert np.mean(found == y) > 0.9
    np.testing.assert_array_equal(segmenter.predict(x[..., None]), found)


def test_score_is_the_mean_iou_of_labelled_pixels(segmenter):
    x, y, some = images()
    found, known = segmenter.predict(x), (some != -1) & (some != 255)
    wanted = jaccard_score(some[known], found[known], average="macro")
    assert segmenter.score(x, some) == pytest.approx(wanted)
    y = np.where(np.arange(10)[:, None, None] < 5, 9, y)  # a class that fit had none of
    wanted = jaccard_score(y.ravel(), found.ravel(), average="macro", zero_division=0)
    assert segmenter.score(x, y) == pytest.approx(wanted)
    one = np.arange(10) == 7
    assert segmenter.score(x, y, one) == pytest.approx(segmenter.score(x[one], y[one]))
    void = np.full_like(y, 255)
    for wrong, message in ((y[:, 1:], "give masks of shape"), (void, "no labelled pixel")):
        with pytest.raises(ValueError, match=message):
            segmenter.score(x, wrong)


def test_bytes_are_divided_as_everywhere(segmenter):
    x, _, some = images()
    whole = np.rint(np.clip(x, 0, 1) * 255).astype(np.uint8)
    found = clone(MASKS).fit(whole, some)
    np.testing.assert_array_equal(found.predict(whole), found.predict(whole / np.float32(255)))
    with pytest.raises(ValueError, match="in training bytes"):
        found.predict(whole.astype(float))


def test_several_labels(labeler):
    x, y, some = labels()
    found, probabilities = labeler.predict(x), labeler.predict_proba(x)
    assert found.dtype == y.dtype and np.mean(found == y) > 0.8
    np.testing.assert_array_equal(probabilities > 0.5, found == 1)
    assert labeler.score(x, y) == np.mean((found == y).all(1))
    right = ((found == some) | (some == -1)).all(1)[:24]
    assert labeler.score(x, some) == np.mean(right)
    weight = np.where(np.arange(48) == 3, 2.0, 0.0)
    assert labeler.score(x, some, weight) == right[3]
    assert labeler.transform(x).shape == (48, 4) and labeler.classes_.tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"y has shape \(48, 3\)"):
        labeler.score(x, np.ones((48, 3), int))


@pytest.mark.parametrize("kind", ["regressor", "segmenter", "labeler"])
def test_the_ladder_of_a_run(kind, request, tmp_path):
    """A fit is a run on the same data: no other way to train."""
    fitted = request.getfixturevalue(kind)
    x, _, some = given(fitted)
    if kind == "segmenter":
        some = np.where((some == -1) | (some == 255), -1, some == 7)
    # One epoch of the same program, whose rate is that of the forty.
    config = dataclasses.replace(fitted.config_, eval_every=99)
    dataset = data.from_arrays(x, some, name="fit")
    run = loop.train_and_evaluate(config, tmp_path / "run", dataset=dataset)
    for ours, theirs in zip(
        jax.tree.leaves(fitted.predictor_.trained), jax.tree.leaves(run[:3]), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_pickle_save_and_load(fitted, tmp_path):
    x = given(fitted)[0]
    fitted.save(tmp_path / "ladder.npz")
    loaded = type(fitted).load(tmp_path / "ladder.npz")
    assert fitted.get_params() == pickle.loads(pickle.dumps(fitted)).get_params()
    for again in (loaded, pickle.loads(pickle.dumps(fitted))):
        np.testing.assert_array_equal(again.predict(x), fitted.predict(x))
        assert again.predict(x).dtype == fitted.predict(x).dtype
        assert again.config_ == fitted.config_ and again.target_ == fitted.target_
    other = LadderRegressor if isinstance(fitted, LadderSegmenter) else LadderSegmenter
    with pytest.raises(ConfigError, match=f"not a {other.__name__}.*it learnt {fitted.target_}"):
        other.load(tmp_path / "ladder.npz")


def test_conventions(fitted):
    x = given(fitted)[0]
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


# Each weight of a class is compiled into a program of its own: the net without a decoder is small.
WEIGHED = clone(LABELS).set_params(epochs=3, combinators="none", denoising_cost=0.0)


def test_weights_of_rows_and_of_classes_are_the_same_thing():
    x = rows()[0]
    words = np.where(x[:, 0] > 0.5, "yes", "no").astype(object)
    words[24:] = -1
    weights = {name: 24 / (2 * (words == name).sum()) for name in ("no", "yes")}
    of_rows = np.array([weights.get(word, 99.0) for word in words])
    none, balanced, by_name, by_row = (
        clone(WEIGHED)
        .set_params(class_weight=of_classes)
        .fit(x, words, sample_weight=weight)
        .predict_proba(x)
        for of_classes, weight in (
            *((None, None), ("balanced", None)),
            *((weights, None), (None, of_rows)),
        )
    )
    np.testing.assert_array_equal(balanced, by_name)
    np.testing.assert_allclose(by_row, balanced, atol=1e-4)
    assert abs(none - balanced).max() > 1e-3


def test_weights_of_rows_without_a_label_are_not_used():
    weights = np.ones(48), np.where(np.arange(48) < 24, 7.0, np.arange(48))
    x, _, some = labels()
    one, other = (clone(WEIGHED).fit(x, some, sample_weight=w).predict_proba(x) for w in weights)
    np.testing.assert_array_equal(one, other)


def test_weights_of_classes_of_pixels(segmenter, tmp_path):
    x, _, some = images()
    found = clone(MASKS).set_params(class_weight={np.int64(7): 99.0})
    found.fit(x, some, sample_weight=np.arange(10) % 2)
    assert found.config_.class_weight == "0:1.0,1:99.0"
    shares = [model.predict_proba(x)[..., 1].mean() for model in (found, segmenter)]
    assert shares[0] > shares[1]
    found.save(tmp_path / "ladder.npz")
    assert LadderSegmenter.load(tmp_path / "ladder.npz").class_weight == {7: 99.0}


X, Y, SOME = rows()
IMAGES, WHOLE, MARKED = images()
WORDS = np.arange(48) % 2
WRONG = [
    (NUMBERS, X, np.full(48, np.nan), {}, r"y is NaN in every row"),
    (NUMBERS, X, np.where(X[:, 0] > 1, np.inf, 1.0), {}, r"y\[\d+\] is inf"),
    (NUMBERS, X, np.full(48, 3.0), {}, r"y is 3\.0 in every labelled row"),
    (NUMBERS, X, np.stack([Y[:, 0], X[:, 0] * 0], 1), {}, r"y\[:, 1\] is 0\.0 in every"),
    (NUMBERS, X, Y[:, :, None], {}, "dim 3"),
    (NUMBERS, X, Y[:-1], {}, "inconsistent numbers"),
    (NUMBERS, X, np.full(48, "a"), {}, "could not convert"),
    (NUMBERS, X, np.where(np.arange(48) == 4, 1.0, np.nan), {}, "is 1.0 in every labelled row"),
    (NUMBERS, X, SOME, {"top_gain": False}, "top_gain is False"),
    (MASKS, IMAGES, WHOLE[:, 1:], {}, "masks are 4 x 6, but examples are 5 x 6"),
    (MASKS, IMAGES, WHOLE[:-1], {}, "10 examples but 9 labels"),
    (MASKS, IMAGES, np.stack([WHOLE] * 3, -1), {}, "as of colours"),
    (MASKS, IMAGES, WHOLE / 2, {}, "give masks of class numbers as integers"),
    (MASKS, IMAGES, WHOLE - 9, {}, r"y\[0, 0, 0\] is -2; give classes from 0, or -1 or 255"),
    (MASKS, IMAGES, np.full_like(WHOLE, 255), {}, "no class beside -1 or 255"),
    (MASKS, IMAGES, np.where(WHOLE == 7, 255, 0), {}, "one class alone, 0, beside -1 or 255"),
    (MASKS, IMAGES, WHOLE, {"ignore": ("a",)}, r"ignore is \('a',\); give whole numbers"),
    (MASKS, IMAGES, WHOLE, {"class_weight": {5: 1}}, r"class_weight has 5; give classes of 3, 7"),
    (MASKS, IMAGES, WHOLE, {"encoder": "conv:3:1"}, "encoder ends with a level of shape"),
    (MASKS, X, WHOLE, {}, r"X has shape \(48, 3\); give images"),
    (MASKS, IMAGES * np.nan, WHOLE, {}, "X contains NaN"),
    (MASKS, IMAGES[:1], WHOLE[:1], {}, r"1 sample\(s\)"),
    (LABELS, X, np.full((48, 2), -1), {}, "labels are -1"),
    (LABELS, X, np.arange(96).reshape(48, 2), {}, r"y\[1, 0\] is 2; give 1 or 0 for each"),
    (LABELS, X, np.full((48, 2), "a"), {}, r"y\[0, 0\] is a; give 1 or 0 for each"),
    (LABELS, X, labels()[1], {"class_weight": "balanced"}, "several labels per row"),
    (LABELS, X, WORDS, {"class_weight": {2: 1.0}}, "class_weight has 2; give classes of 0, 1"),
    (LABELS, X, WORDS, {"class_weight": {1: -1.0}}, r"class_weight\[1\] is -1\.0"),
    (LABELS, X, WORDS, {"class_weight": "even"}, "class_weight is 'even'"),
]


@pytest.mark.parametrize(("estimator", "x", "y", "settings", "message"), WRONG)
def test_bad_input_is_one_line_before_training(estimator, x, y, settings, message):
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
        (WORDS, "above 0 for one class alone, 1"),
    ],
)
def test_bad_weights(weight, message):
    with pytest.raises(ValueError, match=message):
        clone(LABELS).fit(X, WORDS, sample_weight=weight)


def test_images_of_other_kinds(segmenter):
    for x, message in (
        (IMAGES[:, 1:], "X has shape"),
        (np.zeros((3, 5, 6, 3)), "X has shape"),
        (np.zeros((3, 4)), "X has shape"),
    ):
        with pytest.raises(ValueError, match=message):
            segmenter.predict(x)
    with pytest.raises(TypeError, match=r"(?i)sparse"):
        segmenter.predict(sparse.csr_array(np.zeros((3, 30))))
