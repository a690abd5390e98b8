"""Runs of every target: training, resuming, populations, streams, prediction, export, bad input."""

import dataclasses
import functools
import json

import jax
import numpy as np
import pytest
from jax import export as jax_export
from stops import StopError, stop_at

from ladder_jax import data, exporting, loop, population, predictor, presets, targets
from ladder_jax.config import ADDED, Config
from ladder_jax.data import Dataset
from ladder_jax.errors import ConfigError, DataError
from ladder_jax.run import evaluation, inputs, program

RNG = np.random.default_rng(0)
X, X_TEST = RNG.normal(size=(80, 4)), RNG.normal(size=(50, 4))
IMAGES, IMAGES_TEST = RNG.uniform(size=(40, 5, 6)), RNG.uniform(size=(20, 5, 6))
LINE = np.array([1.0, -0.5, 0.3, 0.0])


def labels_of(kind, x):
    """Computes labels that a ladder can learn; numbers are far from mean 0 and variance 1."""
    if kind == "pixels":
        return (x > 0.5).astype(int)
    if kind == "several":
        return np.stack([x[:, 0] > 0, x[:, 1] < 0, x @ LINE > 0], 1).astype(int)
    if kind == "classes":
        return (x @ LINE > 0).astype(int)
    line = 50 * x @ LINE + 1000
    return np.stack([line, 0.01 * line - x[:, 1]], 1) if kind == "variance" else line


@functools.cache
def own(kind):
    x, x_test = (IMAGES, IMAGES_TEST) if kind == "pixels" else (X, X_TEST)
    names = {"variance": ("far", "near"), "several": ("a", "b", "c"), "pixels": ("dark", "light")}
    y, y_test = labels_of(kind, x), labels_of(kind, x_test)
    return data.from_arrays(x, y, x_test, y_test, class_names=names.get(kind, ()), name="own")


BASE = Config(
    dataset="own",
    labels=16,
    units=(4,),
    validation=8,
    batch_labeled=8,
    batch_unlabeled=8,
    learning_rate=0.02,
    epochs=12,
    eval_every=4,
    checkpoint_seconds=0.0,
)
KINDS = {
    "classes": dataclasses.replace(BASE, class_weight="1:2"),
    "pixels": dataclasses.replace(
        BASE, class_weight="balanced", labels=4, batch_labeled=4, noise_std=(0.05,)
    ),
    "numbers": dataclasses.replace(BASE, ema_decay=0.5),
    "variance": dataclasses.replace(BASE, variance=True),
    "several": dataclasses.replace(
        BASE,
        labels=40,
        noise_std=(0.1,),
        adversarial="input",
        consistency=1.0,
        consistency_threshold=0.9,
    ),
}
NAMES = {
    "classes": "classes:2",
    "pixels": "pixels:2",
    "numbers": "numbers:1",
    "variance": "numbers:2:variance",
    "several": "several:3",
}
each = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Returns a function that trains a run of a kind once and returns its folder and its result."""

    @functools.cache
    def run(kind):
        folder = tmp_path_factory.mktemp(kind) / "run"
        return folder, loop.train_and_evaluate(KINDS[kind], folder, dataset=own(kind))

    return run


def measured(kind, found, y):
    """Computes the error and another measure of predictions in NumPy."""
    if kind == "pixels":
        pairs = [(found == k, y == k) for k in (0, 1)]
        iou = np.mean([(a & b).sum() / (a | b).sum() for a, b in pairs])
        return 100 * (1 - iou), "pixel_accuracy", 100 * np.mean(found == y)
    if kind == "several":
        return 100 * np.mean(found != y), "exact_match", 100 * np.mean((found == y).all(1))
    if kind == "classes":
        recall = [np.mean(found[y == k] == k) for k in (0, 1)]
        return 100 * np.mean(found != y), "balanced_error", 100 * (1 - np.mean(recall))
    return np.sqrt(np.mean(np.square(found - y))), "mae", np.mean(abs(found - y))


@each
def test_run_learns_and_reports_the_measures_of_its_predictions(trained, kind):
    folder, result = trained(kind)
    assert result.summary["target"] == NAMES[kind]
    ours, dataset = predictor.load(folder), own(kind)
    assert ours.class_names == dataset.class_names and repr(ours.target) == NAMES[kind]
    found, y = ours.predict(dataset.x_test), dataset.y_test
    assert found.shape == y.shape
    error, name, value = measured(kind, found, y)
    assert result.summary["test_error"] == pytest.approx(error, rel=1e-5)
    assert result.summary[f"test_{name}"] == pytest.approx(value, rel=1e-5)
    chance = {"numbers": y.std(), "variance": np.sqrt(y.var(0).mean())}.get(kind, 50)
    assert error < 0.8 * chance
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    errors = {line["epoch"]: line["validation_error"] for line in lines if line["epoch"] % 4 == 0}
    assert not any("test_error" in line or "validation_mae" in line for line in lines)
    best = min(errors, key=errors.get)
    assert result.summary["best_epoch"] == best and (folder / "best.npz").exists()
    assert result.summary["validation_error"] == errors[12]
    assert json.loads((folder / "result.json").read_text())["target"] == NAMES[kind]


@each
def test_resumed_run_is_bit_identical(trained, tmp_path, kind):
    folder, _ = trained(kind)
    with pytest.raises(StopError):
        loop.train_and_evaluate(KINDS[kind], tmp_path, dataset=own(kind), progress=stop_at(6))
    loop.train_and_evaluate(KINDS[kind], tmp_path, dataset=own(kind))
    for file in ("metrics.jsonl", "params.npz", "best.npz"):
        assert (tmp_path / file).read_bytes() == (folder / file).read_bytes()


@pytest.mark.parametrize("kind", ["pixels", "variance"])
def test_member_matches_a_separate_run(trained, tmp_path, kind):
    """Numbers are standardised by each member's own labelled rows."""
    config = dataclasses.replace(KINDS[kind], class_weight="")
    members = {"a": config, "b": dataclasses.replace(config, seed=5, validation=8)}
    results = population.train_population(members, tmp_path / "all", dataset=own(kind))
    single = loop.train_and_evaluate(members["b"], tmp_path / "b", dataset=own(kind))
    together = results["b"]
    assert together.summary.keys() == single.summary.keys()
    assert together.summary.get("scaling") == single.summary.get("scaling")
    scalings = [result.summary.get("scaling") for result in results.values()]
    assert (scalings[0] != scalings[1]) == (kind == "variance")
    for name, value in single.summary.items():
        if name.startswith(("test_", "validation_")):
            assert together.summary[name] == pytest.approx(value, rel=0.02), name
    x = own(kind).x_test
    ours, theirs = (
        predictor.load(folder)(x).logits for folder in (tmp_path / "all" / "b", tmp_path / "b")
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=1e-2)


def test_members_with_the_same_examples_and_other_labels():
    """Members that train on the same rows still have their own labels."""
    dataset = own("numbers")
    first, second = (dataclasses.replace(BASE, validation=0, seed=seed) for seed in (0, 1))
    found = population.gather([first, second], dataset).tasks[1]
    wanted = inputs.prepare(second, dataset)
    assert found.scaling == wanted.scaling and found.target is wanted.target
    for ours, theirs in zip(found.train[:3], wanted.train[:3], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(found.test[1], wanted.test[1])


def test_balanced_weights_in_a_population():
    balanced = dataclasses.replace(KINDS["pixels"], validation=0)
    members = [balanced, dataclasses.replace(balanced, seed=1)]
    with pytest.raises(ConfigError, match=r"class_weight='balanced' .* one after another"):
        population.gather(members, own("pixels"))
    # For classes they become weights of rows, which may differ between members.
    classes = dataclasses.replace(BASE, class_weight="balanced", label_choice="uniform")
    members = [dataclasses.replace(classes, seed=seed) for seed in range(4)]
    crew = population.gather(members, own("classes"))
    for member, task, weight in zip(members, crew.tasks, crew.data.train.weight, strict=True):
        single = inputs.prepare(member, own("classes")).train
        np.testing.assert_array_equal(task.train.weight, single.weight)
        np.testing.assert_array_equal(weight, single.weight)
        known = targets.class_weights("balanced", np.asarray(single.labels), 2)
        np.testing.assert_allclose(weight, np.array(known)[single.labels], rtol=1e-6)
    assert len(np.unique(crew.data.train.weight)) > 2


@pytest.mark.parametrize("kind", ["pixels", "numbers"])
def test_streamed_matches_resident(tmp_path, kind):
    pytest.importorskip("grain", reason="needs the extra stream: pip install 'ladder_jax[stream]'")
    config = dataclasses.replace(KINDS[kind], epochs=2, consistency=1.0, consistency_threshold=0.5)
    results = [
        loop.train_and_evaluate(
            dataclasses.replace(config, resident=resident),
            tmp_path / str(resident),
            dataset=own(kind),
        )
        for resident in (True, False)
    ]
    for a, b in zip(*(jax.tree.leaves(result.params) for result in results), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    errors = [result.summary["test_error"] for result in results]
    assert errors[0] == pytest.approx(errors[1], rel=0.02)


@each
def test_export(trained, kind):
    ours, x = predictor.load(trained(kind)[0]), own(kind).x_test[:7].copy()
    exported = jax_export.deserialize(bytearray(exporting.export(ours)))
    assert exported.platforms == exporting.PLATFORMS
    found, about = np.asarray(exported.call(x.astype(np.float32))), exporting.description(ours)
    assert about["target"] == NAMES[kind] and about["class_names"] == list(ours.class_names)
    outputs = ours(x)
    if kind == "numbers":
        wanted = outputs.predictions
        assert "[batch, numbers]" in about["output"] and outputs.uncertainty is None
    elif kind == "variance":
        wanted = np.concatenate([outputs.predictions, outputs.uncertainty], 1)
        assert "2 numbers" in about["output"] and (outputs.uncertainty > 0).all()
    else:
        wanted = ours.predict_proba(x)
        np.testing.assert_allclose(ours.uncertainty(x), outputs.uncertainty)
    np.testing.assert_allclose(found, wanted, rtol=1e-4)
    x[2].flat[0] = np.nan
    found = np.asarray(exported.call(x.astype(np.float32)))
    assert np.isnan(found[2]).all() and np.isfinite(np.delete(found, 2, 0)).all()


def test_numbers_have_no_probabilities(trained):
    with pytest.raises(ValueError, match="predicts numbers, which have no probabilities"):
        predictor.load(trained("numbers")[0]).predict_proba(X_TEST)


def test_predictions_do_not_depend_on_the_chunk(trained, monkeypatch):
    for kind in ("pixels", "variance"):
        ours, x = predictor.load(trained(kind)[0]), own(kind).x_test
        full = ours.predict(x)
        ours.rows = 7
        np.testing.assert_allclose(ours.predict(x), full, rtol=1e-5)
        assert len(ours.predict(x[:0])) == 0


def test_larger_images_are_evaluated_in_smaller_chunks():
    config = dataclasses.replace(BASE, units=(32, 32))
    net = program.build_ladder(config, (512, 512, 3), targets.pixels(2))
    rows = evaluation.rows_at_once(net, 1000)
    assert 2 <= rows <= 4
    assert evaluation.rows_at_once(presets.mlp(4, [3, 2]), 1000) == 1000


def test_measures_do_not_depend_on_the_chunk(trained):
    """Sums are float64, as thousands of rows add up."""
    _, result = trained("variance")
    task = inputs.prepare(KINDS["variance"], own("variance"))
    compiled = program.compile_program(KINDS["variance"], task.spec)
    known = result.params, result.statistics, *task.test
    full = compiled.evaluate.measures(*known)
    parts = evaluation.make_measures(compiled.net, compiled.mesh, rows=9)(*known)
    assert all(value.dtype == np.float64 for value in parts.values())
    for name, value in full.items():
        np.testing.assert_allclose(parts[name], value, rtol=1e-5)


def test_earlier_runs_load_as_classes(trained, tmp_path):
    """Their files name no target; training again finds the finished run."""
    config = dataclasses.replace(BASE, epochs=2)
    result = loop.train_and_evaluate(config, tmp_path, dataset=own("classes"))
    wanted = predictor.load(tmp_path).predict(X_TEST)
    settings, summary = (
        json.loads((tmp_path / name).read_text()) for name in ("config.json", "result.json")
    )
    old = {name: value for name, value in settings.items() if name not in ADDED}
    (tmp_path / "config.json").write_text(json.dumps(old))
    del summary["target"]
    (tmp_path / "result.json").write_text(json.dumps(summary))
    np.testing.assert_array_equal(predictor.load(tmp_path).predict(X_TEST), wanted)
    again = loop.train_and_evaluate(config, tmp_path, dataset=own("classes"))
    assert again.summary["test_error"] == result.summary["test_error"]


def test_result_of_an_unknown_target_is_refused(trained, tmp_path):
    folder, result = trained("several")
    for file in ("config.json", "params.npz"):
        (tmp_path / file).write_bytes((folder / file).read_bytes())
    for target in ("several:x", "segments:3"):
        (tmp_path / "result.json").write_text(json.dumps(result.summary | {"target": target}))
        with pytest.raises(ConfigError, match=r"another version .* train again") as raised:
            predictor.load(tmp_path)
        assert "\n" not in str(raised.value)


def partly_labelled(kind, count):
    """Returns a data set in which only the first rows have labels."""
    dataset = own(kind)
    y = dataset.y_train.copy()
    y[count:] = np.nan if y.dtype.kind == "f" else -1
    return dataset._replace(y_train=y)


@pytest.mark.parametrize("kind", ["pixels", "numbers", "several"])
def test_choice_of_rows_for_every_kind(kind):
    config = dataclasses.replace(BASE, labels=-1, validation=3)
    labeled, training, held_out = inputs.choose_rows(config, partly_labelled(kind, 12))
    assert len(labeled) == 9 and len(held_out) == 3 and max(*labeled, *held_out) < 12
    assert set(training) == set(range(len(own(kind).y_train))) - set(held_out)
    with pytest.raises(DataError, match="no example is marked as unlabelled"):
        inputs.choose_rows(config, own(kind))
    named = dataclasses.replace(BASE, split="own.3@6", validation=4)
    chosen = [inputs.choose_rows(dataclasses.replace(named, seed=s), own(kind)) for s in (0, 1)]
    assert np.array_equal(chosen[0][0], chosen[1][0]) and len(chosen[0][0]) == 6
    assert not set(chosen[0][0]) & set(chosen[0][2])


def test_numbers_are_standardised_by_the_labelled_rows():
    dataset = own("variance")
    task = inputs.prepare(KINDS["variance"], dataset)
    known = dataset.y_train[task.labeled]
    np.testing.assert_allclose(task.scaling.mean, known.mean(0))
    np.testing.assert_allclose(task.scaling.scale, known.std(0))
    np.testing.assert_allclose(task.train.labels.mean(0), 0, atol=1e-6)
    y = np.array(task.test[1]) * np.array(task.scaling.scale) + task.scaling.mean
    np.testing.assert_allclose(y, dataset.y_test, rtol=1e-4)


def test_row_and_class_weights():
    weight = np.arange(80.0)
    task = inputs.prepare(KINDS["classes"], own("classes"), weight=weight)
    class_weights = np.array([1.0, 2.0])[task.train.labels]
    np.testing.assert_array_equal(task.train.weight, weight[task.labeled] * class_weights)
    assert task.target is targets.classes(2)
    balanced = inputs.prepare(KINDS["pixels"], own("pixels"))
    masks = own("pixels").y_train[balanced.labeled]
    wanted = targets.class_weights("balanced", masks, 2)
    assert balanced.target is targets.pixels(2, (-1,), class_weight=wanted)
    assert program.compile_program(KINDS["classes"], task.spec) is program.compile_program(
        dataclasses.replace(KINDS["classes"], class_weight=""), task.spec
    )


def test_units_are_channels_for_pixels():
    config = dataclasses.replace(BASE, units=(8, 4, 4, 4, 4))
    net = program.build_ladder(config, (9, 7, 3), targets.pixels(5))
    names = [level.layer.name for level in net.structure.levels[1:]]
    assert names[:3] == ["conv:8:3:1:same", "conv:4:3:1:same:2", "conv:4:3:1:same:4"]
    assert names[3:] == ["conv:4:3:1:same:8", "conv:4:3:1:same:8", "conv:5:1"]
    assert net.shapes[-1] == (9, 7, 5) and len(net.shapes) == config.levels
    single = dataclasses.replace(BASE, units=())
    assert program.build_ladder(single, (9, 7, 3), targets.pixels(5)).shapes[1:] == ((9, 7, 5),)


def numbers_of(y):
    return own("numbers")._replace(y_train=np.asarray(y, np.float32))


SHORT = Dataset("own", IMAGES[..., None], labels_of("pixels", IMAGES)[:, 1:], *own("pixels")[3:])
BAD = {
    "an encoder of other units": ("several", {"encoder": "4-2"}, "ends with 2 units, .* 3 labels"),
    "no variances": ("variance", {"encoder": "4-2"}, "2 numbers per row, each with .* dense:4"),
    "dense for pixels": ("pixels", {"encoder": "8-2"}, r"\(2,\), but the masks are 5 x 6"),
    "another size": (
        *("pixels", {"encoder": "conv:4:3-conv:2:1"}),
        r"\(3, 4, 2\), but .* upsample:2:5:6, and end with conv:2:1",
    ),
    "other classes": ("pixels", {"encoder": "conv:4:3:1:same-conv:3:1"}, "end with conv:2:1"),
    "weights of numbers": ("numbers", {"class_weight": "balanced"}, "class_weight .* are numbers"),
    "a class unknown": ("pixels", {"class_weight": "sea:2"}, "class_weight has 'sea'; .*'dark'"),
    "all weights 0": ("pixels", {"class_weight": "dark:0,light:0"}, "class_weight is 0 for every"),
    "variance of classes": ("classes", {"variance": True}, "variance is True, .* are classes"),
    "no gain": ("numbers", {"top_gain": False}, "top_gain is False, .* no softmax"),
    "too many labels": ("pixels", {"labels": 50}, "labels=50, but 32 examples have one"),
    "too large a split": ("several", {"validation": 80}, "validation=80 of 80"),
    "a constant": (numbers_of(np.full((80, 1), 3.0)), {}, "always 3"),
    "infinity": (numbers_of([[np.inf]] + [[1.0], [2.0]] * 39 + [[0.0]]), {}, "is inf; give finite"),
    "nothing": (numbers_of(np.full((80, 1), np.nan)), {"labels": 0, "validation": 0}, "NaN|given"),
    "masks of another size": (SHORT, {}, r"shape \(40, 4, 6\).* give masks \(40, 5, 6\)"),
    "a class outside": (
        own("pixels")._replace(y_train=3 * own("pixels").y_train),
        {},
        r"is 3; give classes from 0 to 1, or -1",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_before_any_training(tmp_path, case):
    dataset, settings, wanted = BAD[case]
    if isinstance(dataset, str):
        kind, dataset = dataset, own(dataset)
    else:
        kind = dataset.kind
    called = []
    with pytest.raises((ConfigError, DataError), match=wanted) as raised:
        config = dataclasses.replace(KINDS[kind], **settings)
        loop.train_and_evaluate(config, tmp_path / "run", dataset=dataset, progress=called.append)
    assert "\n" not in str(raised.value) and not called and not (tmp_path / "run").exists()


@pytest.mark.parametrize("text", ["even", "a:x", "a:-1", "a:nan", "a:1,a:2", "a:inf"])
def test_bad_class_weights(text):
    with pytest.raises(ConfigError, match=r"class_weight is .*; give 'balanced', or a number"):
        Config(class_weight=text)
