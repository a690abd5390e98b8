"""Labels spread to neighbours: the function against NumPy, and the stages of a run."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from experiments import compare
from ladder_jax import data, loop, population
from ladder_jax.config import Config
from ladder_jax.data.arrays import read_npz
from ladder_jax.errors import ConfigError, DataError, Interrupted, NotFiniteError, WriteError
from ladder_jax.run import inputs, nan_search, workfolder
from ladder_jax.run.evaluation import Evaluator
from ladder_jax.run.program import compile_program

CONFIG = Config(
    units=(8, 6, 5),
    labels=20,
    epochs=4,
    eval_every=4,
    batch_labeled=50,
    checkpoint_seconds=0,
    spread_labels="0.25:0.1,0.5:0.4",
)


def clusters(seed, rows=30, classes=3):
    """Draws clusters of rows that lie far apart, and their classes in random order."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(rows) % classes)
    return 10 * y[:, None] + rng.uniform(size=(rows, 2)), y


def expected(features, labels, share, neighbors):
    """Spreads labels with dense matrices, row by row; also returns how sure each row is."""
    n, k = len(features), labels.max() + 1
    joined = np.zeros((n, n))
    for i, row in enumerate(features):
        distances = ((features - row) ** 2).sum(1)
        distances[i] = np.inf
        nearest = np.argsort(distances)[:neighbors]
        joined[i, nearest] = joined[nearest, i] = 1
    degree = joined.sum(1)
    taken = joined / np.sqrt(degree[:, None] * degree)
    given_parts = (labels[:, None] == np.arange(k)).astype(float)
    parts = given_parts
    for _ in range(100):
        parts = 0.99 * taken @ parts + 0.01 * given_parts
    reached = parts.sum(1) > 0
    parts[reached] /= parts[reached].sum(1, keepdims=True)
    margin = np.sort(parts, 1)[:, -1] - np.sort(parts, 1)[:, -2]
    out = labels.copy()
    for of_class in range(k):
        rows = [i for i in range(n) if reached[i] and parts[i].argmax() == of_class]
        rows.sort(key=lambda i: -margin[i])
        for i in rows[: round(share * len(rows))]:
            out[i] = of_class if labels[i] == -1 else labels[i]
    return out, margin


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31 - 1), st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from([3, 6]))
def test_equals_numpy(seed, share, neighbors):
    rng = np.random.default_rng(seed)
    features, labels = rng.normal(size=(20, 3)), np.full(20, -1)
    labels[:3] = [0, 1, 2]
    wanted, margin = expected(features, labels, share, neighbors)
    assume(np.diff(np.sort(margin)).min() > 1e-9)  # ties may be decided either way
    assert_array_equal(data.spread_labels(features, labels, share, neighbors), wanted)


def test_labels_whole_clusters_and_keeps_given_labels():
    features, y = clusters(0)
    labels = np.full(30, -1)
    for of_class in range(3):
        labels[np.flatnonzero(y == of_class)[0]] = of_class
    assert_array_equal(data.spread_labels(features, labels, 1.0, neighbors=4), y)
    assert_array_equal(data.spread_labels(features, labels, 0.0, neighbors=4), labels)
    half = data.spread_labels(features.astype(np.float32), labels, 0.5, neighbors=4)
    assert_array_equal(half[half >= 0], y[half >= 0])
    assert np.bincount(half[half >= 0]).min() >= 5
    assert_array_equal(data.spread_labels(features, y.astype(np.uint8), 0.5, neighbors=4), y)
    large = np.where(labels == 2, 10**12, labels)  # takes no more memory
    wanted = np.where(y == 2, 10**12, y)
    assert_array_equal(data.spread_labels(features, large, 1.0, neighbors=4), wanted)
    wrong = np.where(labels == 2, 1, labels)  # two classes in three clusters
    assert set(data.spread_labels(features, wrong, 1.0, neighbors=4)) == {0, 1}


def test_rows_that_no_label_reaches_keep_none():
    features, y = clusters(1)
    labels = np.where(np.arange(30) == np.flatnonzero(y == 0)[0], 0, -1)
    spread = data.spread_labels(features, labels, 1.0, neighbors=4)
    assert_array_equal(spread, np.where(y == 0, 0, -1))


@pytest.mark.parametrize(
    "change, words",
    [
        ({"features": np.zeros(4)}, r"features has shape \(4,\)"),
        ({"features": np.full((4, 2), np.nan)}, "finite"),
        ({"features": np.full((4, 2), "a")}, "dtype <U1"),
        ({"labels": np.array([0, 1, -1])}, "labels has shape"),
        ({"labels": np.array([0.0, 1, -1, -1])}, "float64"),
        ({"labels": np.array([0, 1, -2, -1])}, "labels are from -2 to 1"),
        ({"labels": np.full(4, -1)}, "labels are from -1 to -1"),
        ({"share": 1.5}, "share is 1.5"),
        ({"share": float("nan")}, "share is nan"),
        ({"neighbors": 0}, "neighbors is 0"),
    ],
)
def test_refuses_bad_input(change, words):
    values = {"features": np.eye(4), "labels": np.array([0, 1, -1, -1]), "share": 0.5} | change
    with pytest.raises(ValueError, match=words):
        data.spread_labels(**values)


def trained(workdir, config=CONFIG, **settings):
    result = loop.train_and_evaluate(config, workdir, **settings)
    return result, workfolder.read_lines(workdir)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, *trained(folder)


def test_a_run_spreads_labels_in_stages(whole, tmp_path):
    folder, result, lines = whole
    assert result.summary["labels"] == 20
    assert len(json.loads((folder / "labels.json").read_text())) == 20
    stages = {path.stem: read_npz(path) for path in (folder / workfolder.SPREAD).iterdir()}
    assert stages.keys() == {"1", "2"}
    first, second = ((stages[name]["labels"] >= 0).mean() for name in "12")
    assert 0.1 <= first < 0.2 and 0.38 <= second < 0.45
    _, plain = trained(tmp_path, dataclasses.replace(CONFIG, spread_labels=""))
    assert lines[0] == plain[0] and lines[1] != plain[1]


def test_a_stopped_run_resumes_with_the_labels_of_its_stage(whole, tmp_path):
    def stop(line):
        if line["epoch"] == 4:
            raise Interrupted(15, "stopped")

    _, result, lines = whole
    with pytest.raises(Interrupted):
        trained(tmp_path, progress=stop)
    stage = tmp_path / workfolder.SPREAD / "2.npz"
    kept = stage.read_bytes()
    stage.unlink()
    with pytest.raises(ConfigError, match=r"2\.npz is missing"):
        trained(tmp_path)
    stage.write_bytes(kept[:100])
    with pytest.raises(ConfigError, match=r"2\.npz is missing or corrupt"):
        trained(tmp_path)
    stage.write_bytes(kept)
    resumed, repeated = trained(tmp_path)
    assert repeated == lines and resumed.summary["test_error"] == result.summary["test_error"]


def test_the_origin_of_nan_is_searched_with_the_labels_of_the_stage(tmp_path, monkeypatch):
    metrics_line, searched = loop.metrics_line, []

    def broken(epoch, metrics):
        return metrics_line(epoch, metrics) | ({"loss": np.nan} if epoch == 4 else {})

    def find_origin(net, step, state, train, sizes, learnt):
        searched.append((int(state.step), len(train.labeled), sizes.labeled))
        return nan_search.Origin(None, None, "nothing")

    monkeypatch.setattr(loop, "metrics_line", broken)
    monkeypatch.setattr(nan_search, "find_origin", find_origin)
    with pytest.raises(NotFiniteError, match="epoch 4"):
        trained(tmp_path)
    labels = read_npz(tmp_path / workfolder.SPREAD / "2.npz")["labels"]
    steps = inputs.prepare(CONFIG).spec.steps
    assert searched == [(3 * steps, (labels >= 0).sum(), 50)]


@pytest.fixture
def untrained(monkeypatch):
    """Has runs train no epochs; returns their stages as pairs (start, labels), as they begin.

    The loss of epoch 4 is NaN.
    """
    begun = []

    def epochs(program, state, train, *, start, stop):
        begun.append((start, np.asarray(train.labels).tolist()))
        for epoch in range(start + 1, stop + 1):
            yield epoch, state, {"loss": np.float32(np.nan if epoch == 4 else 1)}

    monkeypatch.setattr(loop, "epochs", epochs)
    rows = lambda evaluator, _: np.asarray(evaluator.task.train.unlabeled)
    monkeypatch.setattr(Evaluator, "features", rows)
    return begun


UNTRAINED = dataclasses.replace(
    CONFIG, epochs=8, eval_every=8, checkpoint_seconds=1000.0, spread_labels="0.125:0.1,0.25:0.4"
)
"""Labels are spread after epochs 1 and 2; nothing is saved or evaluated up to epoch 4."""


def test_the_search_for_nan_repeats_each_stage_with_its_labels(tmp_path, monkeypatch, untrained):
    nothing = nan_search.Origin(None, None, "nothing")
    monkeypatch.setattr(nan_search, "find_origin", lambda *_: nothing)
    with pytest.raises(NotFiniteError, match="epoch 4"):
        trained(tmp_path, UNTRAINED)
    assert [start for start, _ in untrained] == [0, 1, 2] * 2
    assert untrained[3:] == untrained[:3]


def test_a_stage_that_begins_again_replaces_its_file(tmp_path, untrained):
    """A run without a usable checkpoint starts again, whatever is left of its later stages."""

    def stop(line):
        if line["epoch"] == 3:
            raise Interrupted(15, "stopped")

    for _ in range(2):
        with pytest.raises(Interrupted):
            trained(tmp_path, UNTRAINED, progress=stop)
        path = tmp_path / workfolder.SPREAD / "2.npz"
        labels = read_npz(path)["labels"]
        assert_array_equal(labels[labels >= 0], untrained[-1][1])
        path.write_bytes(path.read_bytes()[:100])
    assert untrained[3:] == untrained[:3]


def test_a_stage_that_cannot_be_written_is_an_error_in_one_line(tmp_path):
    (tmp_path / workfolder.SPREAD).touch()
    with pytest.raises(WriteError, match=r"cannot write .*spread_labels"):
        workfolder.write_spread(tmp_path, 1, np.zeros(3, int))


def test_a_ladder_that_is_not_finite_spreads_no_labels(tmp_path, monkeypatch):
    monkeypatch.setattr(Evaluator, "features", lambda *_: np.full((100, 2), np.nan))
    with pytest.raises(NotFiniteError, match="after epoch 1, whose neighbours"):
        trained(tmp_path)
    assert not (tmp_path / workfolder.SPREAD).exists()


def test_overwriting_removes_the_labels_of_earlier_runs(whole, tmp_path):
    shutil.copytree(whole[0], tmp_path, dirs_exist_ok=True)
    with workfolder.open_run(tmp_path, CONFIG, overwrite=True):
        assert not (tmp_path / workfolder.SPREAD).exists()


def test_rows_are_weighted_by_their_class():
    config = dataclasses.replace(CONFIG, class_weight="3:2")
    task = inputs.prepare(config)
    labels = inputs.known_labels(task)
    assert_array_equal(labels[task.positions], task.train.labels)
    assert (labels >= 0).sum() == 20
    labels[:4] = 3
    more = inputs.with_labels(config, task, labels)
    assert_array_equal(more.train.weight, np.where(np.asarray(more.train.labels) == 3, 2, 1))
    assert_array_equal(more.train.labeled, task.train.unlabeled[np.flatnonzero(labels >= 0)])
    assert more.sizes.labeled == min(50, (labels >= 0).sum()) and more.sizes.unlabeled == 100


def test_programs_do_not_depend_on_it():
    spec = inputs.prepare(CONFIG).spec
    plain = dataclasses.replace(CONFIG, spread_labels="")
    assert compile_program(CONFIG, spec) is compile_program(plain, spec)


@pytest.mark.parametrize(
    "text",
    ["0.5", "a:b", "0:0.5", "0.5:0", "0.5:1.5", "1:0.5", "0.5:0.1,0.5:0.2", "0.5:0.1,", "nan:1"],
)
def test_settings_that_are_no_stages_are_refused(text):
    with pytest.raises(ConfigError, match="spread_labels is"):
        Config(spread_labels=text)


def test_refuses_what_it_cannot_serve(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="resident"):
        Config(spread_labels="0.5:0.5", resident=False)
    numbers = data.from_arrays(np.eye(300, 4), np.arange(300.0), kind="numbers")
    with pytest.raises(ConfigError, match=r"spread_labels is .* target is numbers"):
        loop.train_and_evaluate(CONFIG, tmp_path / "numbers", dataset=numbers)
    with pytest.raises(DataError, match="all training rows have a label"):
        loop.train_and_evaluate(dataclasses.replace(CONFIG, labels=0), tmp_path / "all")
    assert not any(tmp_path.iterdir())
    members = {str(seed): dataclasses.replace(CONFIG, seed=seed) for seed in (0, 1)}
    with pytest.raises(ConfigError, match="one after another"):
        population.train_population(members, tmp_path)
    assert not compare.is_population(members, "on")
    monkeypatch.setattr(loop.multiprocess, "is_multiprocess", lambda: True)
    with pytest.raises(ConfigError, match="several processes keep"):
        loop.check_processes(CONFIG)


def test_the_supervised_net_keeps_its_labels():
    assert CONFIG.supervised().spread_labels == ""
