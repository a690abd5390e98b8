"""Estimators under scikit-learn's own checks; labels, files and searches of the classifier."""

import dataclasses
import functools
import json
import math
import multiprocessing.pool
import os
import pickle
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_classifiers_classes, parametrize_with_checks

from experiments import configs
from ladder_jax import data, estimators, loop, population
from ladder_jax.config import Config
from ladder_jax.errors import ConfigError, NotFiniteError
from ladder_jax.estimators import LadderClassifier, LadderRegressor, base, classifier

# Nearly all tests fit these settings to rows of one shape, and so share a compiled program.
TINY = LadderClassifier(units=(5,), epochs=3, learning_rate=0.02, batch_labeled=8, random_state=0)
NAMES = np.array(["ape", "bee", "cat"])
TEXT = np.dtypes.StringDType


def examples(rows=40, labeled=12, seed=0):
    rng = np.random.default_rng(seed)
    classes = np.arange(rows) % 3
    x = rng.normal(size=(rows, 4)) + 3 * np.eye(4)[classes]
    return x, np.where(np.arange(rows) < labeled, classes, -1), classes


@pytest.fixture(scope="module")
def fitted():
    return clone(TINY).fit(*examples()[:2])


STANDARDIZED = clone(TINY).set_params(preprocess="standardize")


@pytest.fixture(scope="module")
def standardized():
    return clone(STANDARDIZED).fit(*examples()[:2])


# For scikit-learn's checks. A net without a decoder compiles in half the time, and the
# estimator treats it in the same way.
CHECKED = LadderClassifier(units=(5,), epochs=60, learning_rate=0.05)
WITHOUT_DECODER = {"combinators": "none", "denoising_cost": 0.0, "consistency": 0.0}
PLAIN = clone(CHECKED).set_params(**WITHOUT_DECODER)
NUMBERS = LadderRegressor(units=(5,), epochs=60, learning_rate=0.05, **WITHOUT_DECODER)
EXPECTED = {
    "check_classifiers_classes": "it takes -1 for a class, which here means no label; scikit-learn "
    "makes an exception for its own semi-supervised classifiers, by their names",
    "check_sample_weight_equivalence_on_dense_data": "a row of weight 0 is still one without a "
    "label, and batches are drawn of rows, not of weights",
}
EXPECTED["check_sample_weight_equivalence_on_sparse_data"] = EXPECTED[
    "check_sample_weight_equivalence_on_dense_data"
]
COMPILES = {
    "check_class_weight_classifiers",
    "check_classifier_data_not_an_array",
    "check_classifier_multioutput",
    "check_classifiers_classes",
    "check_classifiers_multilabel_output_format_predict",
    "check_classifiers_multilabel_output_format_predict_proba",
    "check_classifiers_multilabel_representation_invariance",
    "check_classifiers_train",
    "check_dtype_object",
    "check_estimator_sparse_array",
    "check_estimator_sparse_matrix",
    "check_estimator_sparse_tag",
    "check_estimators_dtypes",
    "check_estimators_fit_returns_self",
    "check_estimators_overwrite_params",
    "check_estimators_pickle",
    "check_fit2d_1feature",
    "check_fit_check_is_fitted",
    "check_fit_idempotent",
    "check_fit_score_takes_y",
    "check_n_features_in",
    "check_n_features_in_after_fitting",
    "check_pipeline_consistency",
    "check_positive_only_tag_during_fit",
    "check_readonly_memmap_input",
    "check_regressors_int",
    "check_regressors_no_decision_function",
    "check_sample_weight_equivalence_on_dense_data",
    "check_sample_weight_equivalence_on_sparse_data",
    "check_sample_weights_list",
    "check_sample_weights_not_an_array",
    "check_sample_weights_not_overwritten",
    "check_sample_weights_pandas_series",
    "check_sample_weights_shape",
    "check_transformer_data_not_an_array",
}
"""Checks that compile a program, as they fit data of their own shape."""


@parametrize_with_checks(
    [PLAIN, NUMBERS, CHECKED], expected_failed_checks=lambda estimator: EXPECTED
)
def test_scikit_learn_checks(estimator, check, request):
    while isinstance(check, functools.partial) and isinstance(check.func, functools.partial):
        check = check.func
    slow = estimator.combinators != "none" or check.func.__name__ in COMPILES
    if slow and not request.config.getoption("--slow"):
        pytest.skip("takes minutes; run with --slow")
    check(estimator)


@pytest.mark.slow
def test_class_check_for_semi_supervised_classifiers():
    check_classifiers_classes("LabelSpreading", PLAIN)


def test_defaults_match_the_configs():
    estimator_settings = ("random_state", "class_weight", "verbose", "preprocess", "epochs")
    tuned = ("units", "denoising_cost", "learning_rate", "joint_norm", "consistency")
    consistency_settings = ("consistency_from", "consistency_threshold")
    for name, value in LadderClassifier().get_params().items():
        if name not in (*estimator_settings, *tuned, *consistency_settings):
            default = getattr(Config, name)
            assert value == (default[0] if isinstance(default, tuple) else default)
    assert configs.load("table").consistency == classifier.usual_consistency(5)
    for config, ladder in (("table", LadderClassifier()), ("table_numbers", LadderRegressor())):
        table = configs.load(config)
        assert table.preprocess == "tabular" and ladder.preprocess == "auto"
        for name in (*tuned[:-1], *consistency_settings):
            assert np.all(np.array(getattr(table, name)) == getattr(ladder, name)), name


@pytest.mark.parametrize(("rows", "given", "used"), [(9, None, 3.0), (60, None, 0.75), (60, 2, 2)])
def test_default_consistency_falls_with_the_labels(rows, given, used, tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(80, 2)), np.where(np.arange(80) < rows, np.arange(80) % 6, -1)
    ladder = LadderClassifier(units=(2,), epochs=1, consistency=given).fit(x, y)
    assert ladder.config_.consistency == used
    ladder.save(tmp_path / "ladder.npz")
    loaded = LadderClassifier.load(tmp_path / "ladder.npz")
    assert loaded.consistency == given and loaded.config_.consistency == used


@pytest.mark.parametrize(("rows", "epochs"), [(7, 5), (30, 2)])
def test_default_epochs_amount_to_enough_updates(rows, epochs, monkeypatch):
    monkeypatch.setattr(base, "EPOCHS", 2)
    monkeypatch.setattr(base, "UPDATES", 5)
    x, y, _ = examples()
    fitted = clone(PLAIN).set_params(epochs=None, batch_unlabeled=7, batch_labeled=2)
    fitted.fit(x[:rows], y[:rows])
    assert fitted.n_iter_ == fitted.config_.epochs == epochs
    assert clone(fitted).epochs is None


def test_verbose(capsys):
    x, y, _ = examples()
    metrics_per_epoch = []
    clone(PLAIN).set_params(epochs=12, verbose=1).fit(x, y, progress=metrics_per_epoch.append)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(metrics_per_epoch) == 12
    assert re.fullmatch(
        r"\[LadderClassifier\] epoch 12 of 12: loss [\d.e-]+, error [\d.e-]+", lines[-1]
    )
    clone(PLAIN).fit(x, y)
    assert not capsys.readouterr().out


def test_fit_equals_a_run(fitted, tmp_path):
    x, y, _ = examples()
    assert fitted.n_iter_ == 3 and fitted.classes_.tolist() == [0, 1, 2]
    config = dataclasses.replace(fitted.config_, eval_every=9)
    run = loop.train_and_evaluate(config, tmp_path / "run", dataset=data.from_arrays(x, y))
    for fitted_leaf, run_leaf in zip(
        jax.tree.leaves(fitted.predictor_.trained), jax.tree.leaves(run[:3]), strict=True
    ):
        np.testing.assert_allclose(fitted_leaf, run_leaf, rtol=1e-5, atol=1e-6)


def test_batch_of_one_equals_batch_of_a_thousand(fitted):
    x = examples(1000)[0]
    for method in (fitted.predict, fitted.predict_proba, fitted.transform):
        np.testing.assert_array_equal(method(x)[700:701], method(x[700:701]))
    assert fitted.transform(x).shape == (1000, 5)
    assert fitted.get_feature_names_out()[-1] == "ladderclassifier4"
    np.testing.assert_allclose(fitted.predict_proba(x).sum(1), 1, rtol=1e-12)
    np.testing.assert_array_equal(fitted.predict_proba(x).argmax(1), fitted.predict(x))


def test_seed_determines_the_fit(fitted):
    x, y, _ = examples()
    same_seed, other_seed = (clone(TINY).set_params(random_state=seed).fit(x, y) for seed in (0, 1))
    np.testing.assert_array_equal(same_seed.predict_proba(x), fitted.predict_proba(x))
    assert not np.array_equal(other_seed.predict_proba(x), fitted.predict_proba(x))
    seeded = [clone(TINY).set_params(random_state=np.random.RandomState(5)) for _ in "ab"]
    assert seeded[0].fit(x, y).config_.seed == seeded[1].fit(x, y).config_.seed != 0


@pytest.mark.parametrize("dtype", [object, str])
def test_string_labels(fitted, dtype):
    x, y, classes = examples()
    words = np.where(y >= 0, NAMES[y].astype(object), -1).astype(dtype)
    ladder = clone(TINY).fit(x, words)
    assert ladder.classes_.tolist() == NAMES.tolist()
    np.testing.assert_array_equal(ladder.predict(x), NAMES[fitted.predict(x)])
    assert ladder.score(x, words) == fitted.score(x, y)
    assert ladder.score(x, NAMES[classes]) == fitted.score(x, classes)


def test_score_counts_only_labelled_rows(fitted):
    x, y, classes = examples()
    assert fitted.score(x, y) == np.mean(fitted.predict(x)[:12] == classes[:12])
    weight = np.where(np.arange(40) == 3, 1.0, 0.0)
    assert fitted.score(x, y, weight) == (fitted.predict(x)[3] == classes[3])
    with pytest.raises(ValueError, match="no label but -1"):
        fitted.score(x, np.full(40, -1))


def test_progress(capfd):
    metrics_per_epoch = []
    clone(TINY).fit(*examples()[:2], progress=metrics_per_epoch.append)
    assert [metrics["epoch"] for metrics in metrics_per_epoch] == [1, 2, 3]
    assert {"loss", "cross_entropy", "denoising", "error"} < set(metrics_per_epoch[0])
    assert capfd.readouterr() == ("", "")


def test_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clone(TINY).fit(*examples()[:2])
    assert not list(tmp_path.iterdir())


def test_pickle(fitted):
    x = examples(seed=1)[0]
    state = fitted.__getstate__()
    leaves = jax.tree.leaves({k: v for k, v in state.items() if k != "config_"})
    assert not any(callable(leaf) or isinstance(leaf, jax.Array) for leaf in leaves)
    restored = pickle.loads(pickle.dumps(fitted))
    for method in ("predict", "predict_proba", "transform"):
        np.testing.assert_array_equal(getattr(restored, method)(x), getattr(fitted, method)(x))
    assert pickle.loads(pickle.dumps(TINY)).get_params() == TINY.get_params()


@pytest.mark.parametrize("dtype", [int, object])
def test_save_and_load(fitted, dtype, tmp_path):
    x, y, _ = examples()
    saved = clone(TINY).set_params(random_state=np.random.RandomState(0), units=[5])
    saved.set_params(class_weight=[1.0, 2.0, 1.5])
    y = y if dtype is int else np.where(y >= 0, NAMES[y].astype(object), -1)
    saved.fit(x, y).save(tmp_path / "ladder.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["ladder.npz"]
    loaded = LadderClassifier.load(tmp_path / "ladder.npz")
    for method in ("predict", "predict_proba", "transform"):
        np.testing.assert_array_equal(getattr(loaded, method)(x), getattr(saved, method)(x))
    assert (loaded.classes_ == saved.classes_).all() and loaded.n_iter_ == 3
    assert loaded.n_features_in_ == 4 and loaded.config_ == saved.config_
    refitted = clone(loaded).fit(x, y)  # its parameters are those of the fit, including the seed
    np.testing.assert_array_equal(refitted.predict_proba(x), saved.predict_proba(x))


def test_files_of_earlier_versions_load(fitted, tmp_path):
    """They hold no targets, shapes or class weights."""
    path, x = tmp_path / "ladder.npz", examples()[0]
    fitted.save(path)
    arrays = dict(np.load(path))
    about = json.loads(str(arrays["about"]))
    added = [about.pop(name) for name in ("target", "shape", "scale", "scaling", "one_column")]
    assert added[:2] == ["classes:3", [4]] and about["parameters"].pop("class_weight") is None
    assert about["config"].pop("class_weight") == "" and about["config"].pop("variance") is False
    np.savez(path, **arrays | {"about": json.dumps(about | {"n_features": 4})})
    loaded = LadderClassifier.load(path)
    np.testing.assert_array_equal(loaded.predict_proba(x), fitted.predict_proba(x))
    assert loaded.n_features_in_ == 4 and loaded.config_ == fitted.config_


def test_other_files_are_refused(fitted, tmp_path):
    path = tmp_path / "ladder.npz"
    with pytest.raises(ConfigError, match=r"not a LadderClassifier.*No such file"):
        LadderClassifier.load(path)
    fitted.save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ConfigError, match="not a LadderClassifier"):
        LadderClassifier.load(path)
    np.savez(path, about='{"format": 2}')
    with pytest.raises(ConfigError, match="format 2, not 1"):
        LadderClassifier.load(path)
    with pytest.raises(NotFittedError):
        LadderClassifier().save(path)


def test_grid_search():
    x, y, _ = examples(80, 24)
    # Each fold trains on 40 rows with 12 labels, as the other tests do.
    grid = {"preprocess": ["none", "standardize"], "noise_std": [np.float64(0.3)]}
    search = GridSearchCV(TINY, grid, cv=2, refit=False, error_score="raise").fit(x, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert set(search.best_params_) == set(grid)


def test_pipeline(fitted):
    x, y, _ = examples()
    lines = []
    pipeline = make_pipeline(StandardScaler(), TINY)
    pipeline.fit(x, y, ladderclassifier__progress=lines.append)
    assert len(lines) == 3 and pipeline.transform(x).shape == (40, 5)
    # Standardising twice equals standardising once.
    np.testing.assert_allclose(pipeline.predict_proba(x), fitted.predict_proba(x), atol=1e-3)
    scaler = pipeline.set_output(transform="default")[:-1]
    np.testing.assert_allclose(scaler.transform(x).std(0), 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"units": (0,)}, "units is .*1 or more"),
        ({"units": 5.0}, r"units is 5\.0; give a value of type int"),
        ({"epochs": 0}, "epochs is 0; give 1 or more"),
        ({"batch_labeled": 1}, "batch_labeled is 1; give 2 or more"),
        ({"noise_std": (0.1, 0.2)}, "noise_std is a list of 2"),
        ({"noise_std": -0.1}, r"noise_std\[0\] is -0\.1"),
        ({"combinators": "gauss"}, "combinators is 'gauss'; give one of"),
        ({"preprocess": "whiten"}, "preprocess='whiten'"),
        ({"random_state": -1}, "random_state is -1; give an int from 0 to 4294967295"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        clone(TINY).set_params(**settings).fit(*examples()[:2])


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.full(40, -1), "y has no class beside -1"),
        (np.where(np.arange(40) < 20, 1, -1), "y has only one class, 1, beside -1"),
        (np.linspace(0, 1, 40), "Unknown label type"),
        (np.array(["a", 1] * 20, object), "labels that are not of one kind"),
        (np.full(40, None), "y has no class beside -1"),
        (np.array([0, np.nan, np.inf, 1] * 10), "infinity"),
        (np.zeros(39, int), "inconsistent numbers of samples"),
        (np.zeros((40, 2), int), "label 0 is always 0"),
    ],
)
def test_bad_labels(y, message):
    with pytest.raises(ValueError, match=message):
        clone(TINY).fit(examples()[0], y)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (sparse.csr_array(examples()[0]), TypeError, "(?i)sparse"),
        (np.full((40, 4), np.nan), ValueError, "NaN"),
        (np.full((40, 4), 1e300), ValueError, "column 0 of the training|1e.300 in row 0, column 0"),
        (np.zeros((40, 4, 1)), ValueError, "dim 3"),
        (np.full((40, 4), "a"), ValueError, "could not convert"),
    ],
)
def test_bad_rows(standardized, x, error, message):
    for call in (
        lambda: clone(STANDARDIZED).fit(x, examples()[1]),
        lambda: standardized.predict(x),
    ):
        with pytest.raises(error, match=message):
            call()


@pytest.mark.parametrize("method", ["predict", "predict_proba", "transform"])
def test_overflowing_outliers_are_refused(method):
    x, y, _ = examples()
    ladder = clone(STANDARDIZED).fit(x * [1, 0.01, 1, 1], y)
    x[3, 1] = -3.4e38  # finite, but infinite when divided by a spread below 1
    with pytest.raises(ValueError, match=r"^X: -3\.4e\+38 in row 3, column 1, is not finite"):
        getattr(ladder, method)(x)


def test_seconds_since_1970():
    """Mean and spread are computed in float64, which equals standardising beforehand."""
    classes = np.arange(40) % 2
    seconds = 1.7e9 + 60 * classes[:, None] + np.random.default_rng(0).normal(0, 5, (40, 4))
    y, probabilities = np.where(np.arange(40) < 12, classes, -1), []
    whole_seconds = np.rint(seconds).astype(np.int64)
    settings = {"denoising_cost": 0.1, "joint_norm": False, "consistency": 0.0}
    for x in (StandardScaler().fit_transform(seconds), seconds, whole_seconds):
        ladder = clone(STANDARDIZED).set_params(epochs=30, **settings).fit(x, y)
        assert ladder.score(x, classes) == 1
        probabilities.append(ladder.predict_proba(x))
    np.testing.assert_allclose(probabilities[1], probabilities[0], atol=1e-3)


def test_integer_dtypes_are_equivalent(tmp_path):
    x, y = np.random.default_rng(0).integers(0, 256, (40, 4)), examples()[1]
    ladders = [clone(TINY).fit(x.astype(dtype), y) for dtype in (np.uint8, np.int64)]
    ladders[0].save(tmp_path / "ladder.npz")
    ladders.append(LadderClassifier.load(tmp_path / "ladder.npz"))
    ladders.append(pickle.loads(pickle.dumps(ladders[0])))
    expected = ladders[0].predict_proba(x.astype(float))
    for ladder in ladders:
        for dtype in (np.uint8, np.int16, np.int64):
            integers = x.astype(dtype)
            np.testing.assert_array_equal(ladder.predict_proba(integers), expected)
            direct = ladder.predictor_(integers).probabilities
            np.testing.assert_allclose(direct, expected, atol=1e-6)


def test_diverging():
    x, y, _ = examples()
    with pytest.raises(NotFiniteError, match=r"epoch 1\. Try preprocess=\"standardize\""):
        clone(TINY).set_params(preprocess="none").fit(x * 1e30, y)


def test_labels_of_any_kind():
    y = np.array([2.0, -1.0, 5.0], np.float32)
    classes, numbers = estimators.number_classes(y)
    assert classes.tolist() == [2, 5] and numbers.tolist() == [0, -1, 1]
    assert estimators.has_label(np.array([1, 255], np.uint8)).all()
    assert estimators.has_label(np.array([True, False])).all()


@pytest.mark.parametrize(
    ("given", "classes"),
    [
        (lambda y: np.where(y < 0, np.nan, y), [0, 1, 2]),
        (lambda y: [None if i < 0 else NAMES[i].item() for i in y], NAMES.tolist()),
        (lambda y: np.array([math.nan if i < 0 else f"{i}" for i in y], object), list("012")),
        (lambda y: [None if i < 0 else bool(i) for i in y], [False, True]),
        (lambda y: [math.nan if i < 0 else NAMES[i].item() for i in y], NAMES.tolist()),
        (lambda y: np.where(y < 0, None, y), [0, 1, 2]),
        (lambda y: np.where(y < 0, -1.0, y).astype(object), [0.0, 1.0, 2.0]),
        (lambda y: np.where(y < 0, "-1", NAMES[y]).astype(TEXT()), NAMES.tolist()),
        (lambda y: np.where(y < 0, None, NAMES[y]).astype(TEXT(na_object=None)), NAMES.tolist()),
        (lambda y: np.ma.array(np.abs(y), mask=y < 0, dtype=np.uint8), [0, 1, 2]),
        (lambda y: np.where(y < 0, np.nan, y).astype(np.float16), [0, 1, 2]),
    ],
)
def test_missing_labels_mark_unlabelled_rows(given, classes):
    x, y, true_classes = examples()
    marked = classifier.fill_missing(given(y))
    np.testing.assert_array_equal(estimators.has_label(marked), y >= 0)
    unique, numbers = estimators.number_classes(marked)
    assert unique.tolist() == classes and [*map(type, unique.tolist())] == [*map(type, classes)]
    np.testing.assert_array_equal(numbers, np.minimum(y, len(classes) - 1))
    ladder, expected = (clone(TINY).fit(x, labels) for labels in (given(y), numbers))
    np.testing.assert_array_equal(ladder.predict_proba(x), expected.predict_proba(x))
    labels = given(np.where(np.arange(len(y)) % 2, true_classes, -1))
    assert ladder.score(x, labels) == np.mean(
        (expected.predict(x) == np.minimum(true_classes, len(classes) - 1))[1::2]
    )


@pytest.mark.parametrize("dtype", ["datetime64[D]", "timedelta64[D]"])
def test_dates_are_no_labels(fitted, dtype):
    x, y, _ = examples()
    for estimator in (TINY, LadderRegressor(), fitted):
        method = estimator.score if estimator is fitted else clone(estimator).fit
        with pytest.raises(ValueError, match=rf"y has dtype {re.escape(dtype)}; give"):
            method(x, y.astype(dtype))


@pytest.mark.parametrize("state", [2**32, 1.5, "a", np.random.default_rng(0)])
def test_bad_random_states(state):
    x, y, _ = examples()
    with pytest.raises(ValueError, match=r"^random_state is .*; give an int from 0 to 4294967295,"):
        clone(TINY).set_params(random_state=state).fit(x, y)


def test_global_random_state_serves():
    x, y, _ = examples()
    ladder = dataclasses.replace(TINY, random_state=np.random).fit(x, y)
    assert ladder.predict(x).shape == y.shape


@pytest.mark.parametrize("estimator", [TINY, LadderRegressor()])
def test_labels_are_required(estimator):
    with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
        clone(estimator).fit(examples()[0], None)


def test_score_checks_rows_and_weights(fitted):
    x, y, classes = examples()
    weight = np.arange(1.0, 41)
    expected = np.average(fitted.predict(x) == classes, weights=weight)
    assert fitted.score(x, classes, weight) == pytest.approx(expected, rel=1e-12)
    for labels, given, message in (
        (y[:5], None, r"inconsistent numbers of samples: \[40, 5\]"),
        (y, weight[:5], r"sample_weight has shape \(5,\) for 40 rows"),
        (y, -weight, r"sample_weight\[0\] is -1\.0"),
        (y, np.where(y < 0, 1, 0), "sample_weight is zero for all labelled rows"),
    ):
        with pytest.raises(ValueError, match=message):
            fitted.score(x, labels, given)


def test_loaded_parameters_are_those_given(tmp_path):
    x, y, _ = examples()
    names = np.where(y < 0, None, NAMES[y])
    ladder = clone(TINY).set_params(class_weight={"ape": 2.0}).fit(x, names)
    ladder.save(tmp_path / "ladder.npz")
    loaded = LadderClassifier.load(tmp_path / "ladder.npz")
    assert loaded.get_params() == ladder.get_params()
    assert loaded.classes_.dtype == loaded.predict(x).dtype == object


def test_several_labels_with_missing_ones():
    x, y, _ = examples()
    known = np.where(y[:, None] < 0, -1, np.eye(3, dtype=int)[y])
    missing = np.where(known < 0, np.nan, known)
    ladder, expected = (clone(TINY).fit(x, labels) for labels in (missing, known))
    np.testing.assert_array_equal(ladder.predict(x), expected.predict(x))
    assert ladder.score(x, missing) == expected.score(x, known)


def test_refit_that_is_stopped_leaves_no_fit():
    x, y, _ = examples()
    words = [
        np.array([[row[0], "xyz"[i % 2 + new]] for i, row in enumerate(x)], object)
        for new in (0, 1)
    ]
    ladder = clone(TINY).set_params(preprocess="auto").fit(words[0], y)

    def stop(line):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ladder.fit(words[1], y, progress=stop)
    for method in (ladder.predict, ladder.transform):
        with pytest.raises(NotFittedError):
            method(words[0])
    assert ladder.fit(words[0], y).predict(words[0]).shape == y.shape


def test_progress_is_checked_before_training(fitted, tmp_path):
    x, y, _ = examples()
    with pytest.raises(TypeError, match="takes 3 positional arguments but 4 were given"):
        clone(TINY).fit(x, y, np.ones(len(y)))
    for call in (
        lambda: clone(TINY).fit(x, y, progress=np.ones(len(y))),
        lambda: loop.train_and_evaluate(fitted.config_, tmp_path / "a", progress=np.ones(3)),
        lambda: population.train_population({}, tmp_path / "b", progress=np.ones(3)),
    ):
        with pytest.raises(TypeError, match="progress is of type ndarray; give a function"):
            call()
    assert not any(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork:")  # the test forks on purpose
def test_forked_processes_are_refused(fitted):
    """JAX would wait for threads that a fork does not copy; a thread predicts as usual."""
    x, y, _ = examples()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        for call, arguments in ((fitted.predict, (x,)), (clone(TINY).fit, (x, y))):
            with pytest.raises(RuntimeError, match="forked from one that has used JAX") as caught:
                pool.apply_async(call, arguments).get(timeout=60)
            assert "spawn" in str(caught.value) and "\n" not in str(caught.value)
    with multiprocessing.pool.ThreadPool(2) as pool:
        predicted = pool.apply_async(fitted.predict, (x,)).get(timeout=60)
    np.testing.assert_array_equal(predicted, fitted.predict(x))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_fork_before_jax_is_used_is_allowed():
    program = """
import os
from ladder_jax.run import multiprocess
for status in (0, 1):
    child = os.fork()
    if not child:
        try:
            multiprocess.check_fork()
        except RuntimeError:
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == status
    multiprocess.check_fork()
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, timeout=120)
