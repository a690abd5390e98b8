"""Benchmark on tables: files, splits, methods, ranks, resumption and refused flags."""

import dataclasses
import doctest
import json
import re

import documented
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from scipy import stats
from sklearn.base import clone

from benchmarks import (
    calibration,
    ranks,
    tables,
    tables_data,
    tables_report,
    tables_sets,
    tables_tasks,
)
from benchmarks.tables_report import Fit, Key
from benchmarks.tables_sets import CLASSES, IMBALANCED, NUMBERS
from benchmarks.tables_tasks import TASKS, settings_of
from experiments import baselines, cli
from ladder_jax.config import Config
from ladder_jax.errors import ConfigError, DataError
from ladder_jax.estimators import LadderClassifier, LadderRegressor

DAT = """@relation tiny
@attribute width real
@data
1.5, red, ?, yes, b
-2, green, 4, no, a

 3 ,blue, 6, yes,b
0, red, <null>, no, a
"""


@pytest.fixture(autouse=True)
def parsed_flags():
    flags.FLAGS.mark_as_parsed()


@pytest.fixture(autouse=True)
def no_installed_sets(monkeypatch):
    """Hides installed packages of sets, so that tests are the same with and without them."""
    monkeypatch.setattr(tables_sets.importlib.util, "find_spec", lambda name: None)


@pytest.mark.parametrize(
    "module",
    [calibration, tables_data, tables_report, tables_sets, tables_tasks, ranks],
    ids=lambda module: module.__name__,
)
def test_examples(module):
    results = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert results.attempted and not results.failed


def test_read_dat(tmp_path):
    path = tmp_path / "tiny.dat"
    path.write_text(DAT)
    x, y = tables_data.read_dat(path)
    assert y.tolist() == [1, 0, 1, 0]
    blue_green_red = [[0, 0, 1], [0, 1, 0], [1, 0, 0], [0, 0, 1]]
    np.testing.assert_array_equal(x[:, 1:4], blue_green_red)
    np.testing.assert_array_equal(x[:, [0, 4, 5]], [[1.5, 5, 1], [-2, 4, 0], [3, 6, 1], [0, 5, 0]])


@pytest.mark.parametrize("text", ["1,2,a\n1,b\n", "@data\n", "a\nb\n"])
def test_malformed_dat(tmp_path, text):
    path = tmp_path / "wrong.dat"
    path.write_text(text)
    with pytest.raises(DataError, match=r"wrong\.dat: its rows have .* values; give rows"):
        tables_data.read_dat(path)


def write_numbered(folder, name, rows, classes):
    """Writes a set whose only column is the row number; returns its folder."""
    lines = [f"{row},{row % classes}" for row in range(rows)]
    (folder / f"{name}.dat").write_text("\n".join(lines))
    return folder


def test_split(tmp_path):
    keel = write_numbered(tmp_path, "tae", 90, 3)
    part, other_part = (tables_data.load_split("tae", CLASSES, keel, 5, seed) for seed in (0, 1))
    assert np.bincount(part.y + 1).tolist() == [30, 5, 5, 5]
    # A row is identified by its value, which standardisation only shifts and scales.
    np.testing.assert_allclose([part.x.mean(), part.x.std()], [0, 1], atol=1e-12)
    values = np.sort(np.concatenate([part.x, part.x_test]).ravel())
    np.testing.assert_allclose(np.diff(values), np.diff(values)[0])
    assert len(values) == 90 and len(part.y_test) == 45
    row_numbers = np.searchsorted(values, part.x.ravel() - 1e-9)
    known = part.y >= 0
    np.testing.assert_array_equal(part.y[known], row_numbers[known] % 3)
    np.testing.assert_array_equal(part.labeled, np.flatnonzero(known))
    row_numbers = np.searchsorted(values, part.x_test.ravel() - 1e-9)
    np.testing.assert_array_equal(part.y_test, row_numbers % 3)
    assert not np.array_equal(part.x, other_part.x)
    with pytest.raises(DataError, match=r"tae has a class of 30 rows.* labels=16; give fewer"):
        tables_data.load_split("tae", CLASSES, keel, 16, 0)


def test_large_sets_are_subsampled(tmp_path, monkeypatch):
    monkeypatch.setattr(tables_data, "ROWS", 20)
    keel = write_numbered(tmp_path, "letter", 200, 2)
    drawn = [tables_data.load("letter", CLASSES, keel, seed) for seed in (0, 0, 1)]
    assert all(len(np.unique(table.x)) == len(table.y) == 20 for table in drawn)
    np.testing.assert_array_equal(drawn[0].x, drawn[1].x)
    assert not np.array_equal(drawn[0].x, drawn[2].x)
    np.testing.assert_array_equal(drawn[0].y, drawn[0].x[:, 0] % 2)


def test_only_development_sets_are_read_by_default(tmp_path):
    for name in ("tae", "other", "wdbc"):
        write_numbered(tmp_path, name, 20, 2)
    choose = tables_sets.choose_sets
    for name in ("other", "breast_cancer", "digits"):
        with pytest.raises(ConfigError, match=f"--sets={name} is not among the sets .* --final"):
            choose(["iris", name], CLASSES, tmp_path, final=False)
        assert choose([name], CLASSES, tmp_path, final=True) == [name]
    assert choose([], CLASSES, tmp_path, final=True) == ["other", "breast_cancer"]
    assert choose(["tae", "tae"], CLASSES, tmp_path, final=False) == ["tae"]
    with pytest.raises(ConfigError, match=f"--sets=breast: no such set in {tmp_path}"):
        choose([], CLASSES, tmp_path, final=False)
    with pytest.raises(ConfigError, match=r"--sets=vowel: no such set without pip install"):
        choose(["vowel"], CLASSES, None, final=False)
    with pytest.raises(ConfigError, match=r"--keel=.*: no \.dat file is there"):
        tables_sets.find_folder(CLASSES.source, str(tmp_path / "none"))
    for names in ([], ["other"]):  # not among the shown sets
        with pytest.raises(ConfigError, match=f"no such set in {tmp_path}"):
            choose(names, IMBALANCED, tmp_path, final=True)
    with pytest.raises(ConfigError, match="no set is there without pip install"):
        choose([], IMBALANCED, None, final=True)
    assert choose([], NUMBERS, None, final=True) == ["diabetes", "friedman1"]


def test_shown_sets_are_not_development_sets():
    for task in TASKS.values():
        assert not set(task.sets.shown) & set(task.sets.development)
    sources = [re.split(r"[-\d]", name)[0] for name in IMBALANCED.shown]
    assert len(set(sources)) == 10 and not set(sources) & set(CLASSES.development)


def test_installed_sets_are_found(tmp_path, monkeypatch):
    spec = type("Spec", (), {"submodule_search_locations": [str(tmp_path)]})
    monkeypatch.setattr(tables_sets.importlib.util, "find_spec", lambda name: spec)
    for sets, folder in ((CLASSES, "balanced"), (IMBALANCED, "imbalanced")):
        assert tables_sets.find_folder(sets.source, None) == tmp_path / "data" / folder / "raw"
    assert tables_sets.find_folder(NUMBERS.source, None) == tmp_path / "data"


@pytest.mark.parametrize(
    ("methods", "quantile"),  # Demšar 2006, table 5a
    [(2, 1.960), (3, 2.343), (5, 2.728), (8, 3.031), (10, 3.164)],
)
def test_critical_distance(methods, quantile):
    distance = ranks.critical_distance(methods, 10)
    expected = quantile * np.sqrt(methods * (methods + 1) / 60)
    assert distance == pytest.approx(expected, abs=1e-3)


def test_friedman():
    errors = np.random.default_rng(0).normal([0, 0, 1, 2], size=(12, 4))
    assert ranks.friedman(errors) == pytest.approx(stats.friedmanchisquare(*errors.T).pvalue)
    assert ranks.friedman(np.ones((5, 3))) == 1.0
    assert ranks.friedman(errors[:, :2]) is ranks.friedman(errors[:1]) is None


def test_alike():
    assert ranks.alike([1.0, 2.0, 3.0], 2.0) == [(0, 2)]
    assert ranks.alike([1.0, 2.5, 3.0, 5.5], 1.0) == [(1, 2)]
    assert ranks.alike([1.0, 2.0], 0.5) == []


def test_diagram():
    picture = ranks.diagram({"5 labels": {"one": 1.25, "two": 1.75}}, {"5 labels": 0.4})
    text = picture.content.decode()
    assert all(words in text for words in ("one 1.25", "two 1.75", "critical distance 0.40"))


CSV = """"Hits","Salary","League","CRuns"
1,,A,5
2,475.5,N,6
4,70,A,?
"""


def test_read_csv(tmp_path):
    path = tmp_path / "Hitters.csv"
    path.write_text(CSV)
    x, y = tables_data.read_csv(path)
    assert y.tolist() == [475.5, 70] and x.tolist() == [[2, 1, 6], [4, 0, 6]]
    path = tmp_path / "Auto.csv"
    for text in (CSV, "mpg,name\nfar,one\n"):
        path.write_text(text)
        with pytest.raises(DataError, match=r"Auto\.csv has no numbers named mpg; give ISLP's"):
            tables_data.read_csv(path)


def test_split_of_numbers():
    part = tables_data.load_split("friedman1", NUMBERS, None, 20, 3)
    assert np.flatnonzero(~np.isnan(part.y)).tolist() == part.labeled.tolist()
    assert len(part.labeled) == 20 and len(part.y) == len(part.y_test) == 500
    full_set = tables_data.load("friedman1", NUMBERS, None, 3)
    assert set(part.y[part.labeled]) | set(part.y_test) < set(full_set.y)
    with pytest.raises(DataError, match=r"diabetes has 442 rows.* labels=300; give fewer"):
        tables_data.load_split("diabetes", NUMBERS, None, 300, 0)


def test_split_of_a_rare_class(tmp_path):
    lines = [f"{row},{'rare' if row < 12 else 'usual'}" for row in range(400)]
    (tmp_path / "pima.dat").write_text("\n".join(lines))
    splits = [tables_data.load_split("pima", IMBALANCED, tmp_path, 50, s) for s in range(8)]
    counts = np.array([np.bincount(part.y[part.labeled]) for part in splits])
    assert (counts.sum(1) == 50).all() and counts[:, 0].min() == 2 and counts[:, 0].max() < 6
    assert all((part.y_test == 0).sum() == 6 for part in splits)
    (tmp_path / "vowel0.dat").write_text("\n".join(lines[9:]))
    with pytest.raises(DataError, match=r"vowel0 has a class of 3 rows.* too few for labels=50"):
        tables_data.load_split("vowel0", IMBALANCED, tmp_path, 50, 0)


def test_methods():
    for ladder in (LadderClassifier, LadderRegressor):
        config = Config.create(ladder()._settings())
        supervised = tables_tasks.without_decoder(ladder())
        assert Config.create(supervised._settings()) == config.supervised() != config
    for name, task in TASKS.items():
        checksums = {settings_of(method) for method in task.methods.values()}
        assert len(checksums) == len(task.methods), name
        repeated = {settings_of(method) for method in task.methods.values()}
        assert repeated == checksums, name


LADDERS = ("ladder", "ladder_balanced", "no_decoder")


@pytest.mark.parametrize(
    ("task", "name", "labels", "most"),  # chance: 67 %; the best constant: 100 %; chance: 50 %
    [("classes", "iris", 2, 60), ("numbers", "friedman1", 50, 90), ("imbalanced", "pima", 50, 30)],
)
def test_methods_learn(tmp_path, task, name, labels, most):
    points = np.random.default_rng(0).normal(size=(300, 2)) + np.array([2, 0])
    lines = [f"{a},{b},{'rare' if a < 0.5 else 'usual'}" for a, b in points]
    (tmp_path / "pima.dat").write_text("\n".join(lines))
    task = TASKS[task]
    part = tables_data.load_split(name, task.sets, tmp_path, labels, 0)
    for method in set(task.methods) - set(LADDERS):
        result = tables.fit(task, task.methods[method], part, 0, first=True)
        assert result.error < most and result.seconds > 0, method


def test_rows_passed_to_a_method():
    part = tables_data.load_split("iris", CLASSES, None, 2, 0)
    seen = []

    class Model:
        def get_params(self):
            return {"random_state": None}

        def set_params(self, random_state):
            seen.append(random_state)

        def fit(self, x, y):
            seen.append((len(x), np.bincount(y + 1).tolist()))

        def predict(self, x):
            return np.where(part.y_test == 2, 0, part.y_test)

    for labeled_only in (False, True):
        result = tables.fit(
            TASKS["classes"], tables_tasks.Method(Model, labeled_only), part, 3, False
        )
        assert result.error == pytest.approx(100 / 3) and result.unit == 1
    assert seen == [3, (75, [69, 2, 2, 2]), 3, (6, [0, 2, 2, 2])]


def flags_for(path, **overrides):
    values = {"sets": ["iris"], "labels": "2,3", "splits": 2, "output": str(path)}
    return flagsaver.flagsaver(
        **values | {"methods": ["k_nearest", "logistic_regression"]} | overrides
    )


def test_end_to_end_and_resume(tmp_path, monkeypatch, capsys):
    path, figure = tmp_path / "fits.jsonl", tmp_path / "ranks.svg"
    with flags_for(path, figure=str(figure)):
        tables.main()
        printed, content = capsys.readouterr().out, path.read_bytes()
    lines = [json.loads(line) for line in content.splitlines()]
    assert len(lines) == 1 + 2 * 2 * 2 and figure.read_text().startswith("<?xml")
    assert [line["first"] for line in lines[1:]] == [True, True, False, False] * 2
    mean = np.mean([line["error"] for line in lines[1:] if line["labels"] == 3][::2])
    assert f"\n| iris | {mean:.1f} |" in printed.partition("| 3 labels per class")[2]

    fitted = []
    methods = TASKS["classes"].methods
    fit = lambda task, method, *arguments: fitted.append(method) or Fit(1.0, 2.0, True)
    monkeypatch.setattr(tables, "fit", fit)
    with flags_for(path):
        tables.main()
        assert not fitted and path.read_bytes() == content
        assert capsys.readouterr().out == printed
        path.write_bytes(content[:-9])  # stopped while writing
        tables.main()
        assert fitted == [methods["logistic_regression"]]
        assert path.read_bytes().splitlines()[:-1] == content.splitlines()[:-1]
    with flags_for(path, splits=3):
        tables.main()
        assert len(fitted) == 1 + 2 * 2
    other = clone(methods["k_nearest"].build()).set_params(n_neighbors=1)
    changed = tables_tasks.Method(lambda: other, labeled_alone=True)
    monkeypatch.setitem(methods, "k_nearest", changed)
    with flags_for(path):
        tables.main()
        assert fitted[5:] == [changed] * 4
    with flags_for(path, overwrite_output=True, labels="2"):
        tables.main()
        assert len(fitted) == 9 + 4 and len(path.read_bytes().splitlines()) == 1 + 4


@pytest.fixture
def small_ladders(monkeypatch):
    """Gives ladders few units and epochs."""
    for task in TASKS.values():
        for name in set(LADDERS) & set(task.methods):
            build = task.methods[name].build
            build_small = lambda build=build: build().set_params(units=(4,), epochs=2)
            monkeypatch.setitem(task.methods, name, tables_tasks.Method(build_small))


def test_calibration(tmp_path, small_ladders, capsys):
    part = tables_data.load_split("iris", CLASSES, None, 6, 0)
    measured = calibration.compare(part, 3, 0)
    assert list(measured) == ["all labels", "fewer", "fewer, with a temperature"]
    _, fewer, calibrated = measured.values()
    assert fewer.error == calibrated.error and fewer.confidence != calibrated.confidence

    path = tmp_path / "calibration.json"
    values = {"sets": ["iris"], "splits": 1, "temperature_labels": 3, "output": str(path)}
    with flagsaver.flagsaver(**values, labels="6"):
        calibration.main()
    saved = json.loads(path.read_text())
    assert saved["fits"][0]["fewer"] == pytest.approx(fewer._asdict())
    assert f"| fewer | {fewer.error:.1f} | {fewer.confidence:.1f} |" in capsys.readouterr().out
    for labels, match in {"3": "leaves none to learn", "6,7": "give one number"}.items():
        with flagsaver.flagsaver(**values, labels=labels), pytest.raises(ConfigError, match=match):
            calibration.main()


def test_numbers_end_to_end(tmp_path, small_ladders, capsys):
    path = tmp_path / "fits.jsonl"
    values = {"task": "numbers", "sets": ["friedman2"], "splits": 1}
    with flags_for(path, **values, labels="20", methods=["ladder", "ridge"]):
        tables.main()
        printed = capsys.readouterr().out
    with flags_for(path, **values, labels=None, methods=["ridge"]):
        tables.main()
    header, *lines = map(json.loads, path.read_bytes().splitlines())
    assert header["task"] == "numbers" and [line["labels"] for line in lines] == [20, 20, 50]
    part = tables_data.load_split("friedman2", NUMBERS, None, 20, 0)
    model = TASKS["numbers"].methods["ridge"].build()
    model.fit(part.x[part.labeled], part.y[part.labeled])
    error = np.sqrt(np.mean((model.predict(part.x_test) - part.y_test) ** 2))
    assert lines[1]["error"] == pytest.approx(100 * error / part.y_test.std())
    relative, _, absolute = printed.split("\n\n")[:3]
    assert relative.startswith("| 20 targets, RMSE in % of")
    assert absolute.startswith("| 20 targets, RMSE in the")
    assert float(absolute.rpartition(" | ")[2].strip(" |")) == pytest.approx(error, rel=5e-3)
    with flags_for(path), pytest.raises(ConfigError, match="is of other task than these; give"):
        tables.main()


def test_imbalanced_end_to_end(tmp_path, small_ladders, capsys):
    lines = [f"{row % 7},{row % 5},{'rare' if row % 9 == 0 else 'usual'}" for row in range(120)]
    (tmp_path / "vowel0.dat").write_text("\n".join(lines))
    methods = ["ladder_balanced", "logistic_regression"]
    values = {"sets": [], "labels": "20", "splits": 1, "methods": methods}
    with flags_for(tmp_path / "fits.jsonl", task="imbalanced", keel=str(tmp_path), **values):
        with pytest.raises(ConfigError, match=r"--sets=pima: no such set in"):
            tables.main()
        with flagsaver.flagsaver(sets=["vowel0"]):
            tables.main()
    printed = capsys.readouterr().out
    assert f"| 20 labels, 100 - balanced accuracy in % | {' | '.join(methods)} |" in printed


def test_files_without_a_task_are_resumed(tmp_path, monkeypatch):
    path = tmp_path / "fits.jsonl"
    with flags_for(path, labels="2", splits=1):
        tables.main()
        header, *lines = map(json.loads, path.read_bytes().splitlines())
        del header["task"]
        for line in lines:
            del line["unit"]
        old = [json.dumps(line) + "\n" for line in (header, *lines)]
        path.write_text("".join(old))
        monkeypatch.setattr(tables, "fit", None)
        tables.main()
        assert path.read_text() == "".join(old)


def test_other_files_are_not_resumed(tmp_path, monkeypatch):
    path = tmp_path / "fits.jsonl"
    for text in ("{}\n", "a page\n", "no line", '{"rows": 2000}\n'):
        path.write_text(text)
        with (
            flags_for(path),
            pytest.raises(ConfigError, match="holds no fits of this command; give"),
        ):
            tables.main()
        assert path.read_text() == text
    path.write_text(json.dumps(tables.about() | {"jax": "0.1", "rows": 7}) + "\n")
    with (
        flags_for(path),
        pytest.raises(ConfigError, match="is of other rows, jax than these; give"),
    ):
        tables.main()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"methods": ["boosting"]}, "--methods=boosting: no such method; give some of ladder"),
        ({"labels": "1"}, "--labels=1; give numbers from 2 on, e.g. 2,5,10"),
        ({"labels": "2,many"}, "--labels=2,many; give numbers"),
        ({"figure": "ranks.png"}, "--figure=ranks.png; give a name ending in .svg"),
        ({"figure": "none/ranks.svg"}, "in a folder that is there"),
        ({"figure": "ranks.svg", "methods": ["ladder"]}, "give two or more --methods"),
        ({"sets": ["digits"]}, "--sets=digits is not among"),
        ({"labels": "2,30"}, "too few for labels=30; give fewer labels"),
        ({"task": "numbers"}, "--methods=k_nearest: no such method; give some of ladder, no_dec"),
        ({"islp": "."}, "--islp is not read with --task=classes; give --keel, or neither"),
        ({"task": "imbalanced", "methods": [], "labels": "3"}, "give numbers from 4 on"),
        ({"task": "numbers", "methods": [], "labels": None}, "--sets=iris is not among"),
        ({"output": "none/fits.jsonl"}, "none is not a folder; make it first"),
    ],
)
def test_bad_flags_are_refused_before_fitting(tmp_path, monkeypatch, given, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tables, "fit", None)
    with (
        flags_for(tmp_path / "fits.jsonl", **given),
        pytest.raises((ConfigError, DataError)) as error,
    ):
        tables.main()
    assert said in str(error.value) and "\n" not in str(error.value)
    assert not any(tmp_path.iterdir())


def test_table():
    fits = {
        Key(name, 5, split, method, ""): Fit(error + split, error, split == 0)
        for name, errors in {"a": (1.0, 5.0), "b": (3.0, 3.0)}.items()
        for method, error in zip(("x", "y"), errors, strict=True)
        for split in (0, 1)
    }
    sets, methods, errors = tables_report.mean_errors(fits)
    assert (sets, methods) == (["a", "b"], ["x", "y"])
    np.testing.assert_allclose(errors, [[1.5, 5.5], [3.5, 3.5]])
    lines = tables_report.table(fits, TASKS["classes"]).splitlines()
    assert lines[2:8] == [
        "| a | 1.5 | 5.5 |",
        "| b | 3.5 | 3.5 |",
        "| **mean error** | 2.5 | 4.5 |",
        "| **mean rank** | 1.25 | 1.75 |",
        "| **wins**, shared ones included | 2 | 1 |",
        "| **seconds per fit**, median | 2.000 | 4.000 |",
    ]
    not_first = {key: fit._replace(first=False) for key, fit in fits.items()}
    assert tables_report.table(not_first, TASKS["classes"]).splitlines()[-1].endswith("| - | - |")
    assert "differ significantly from 1.39 on (Nemenyi, 2 set(s))" in tables_report.remark(fits)


def test_helpers_of_the_other_commands():
    ladder = baselines.estimator_of(Config(units=(5,), epochs=3))
    assert (ladder.units, ladder.epochs, ladder.random_state) == ((5,), 3, None)
    assert ladder.class_weight is None
    assert baselines.estimator_of(Config(class_weight="balanced")).class_weight == "balanced"
    shared = set(ladder.get_params()) & {field.name for field in dataclasses.fields(Config)}
    for config in (Config(), Config(consistency=2.0, epochs=3, class_weight="balanced")):
        params = baselines.estimator_of(config).get_params()
        differ = {name for name in shared if params[name] != getattr(config, name)}
        assert differ <= {"class_weight"} and len(shared) > 15
    with flagsaver.flagsaver(labels="50,20,50"):
        assert cli.label_numbers("1") == [50, 20]
    with flagsaver.flagsaver(labels=None):
        assert cli.label_numbers("2,5") == [2, 5]


def test_fits_of_another_file_of_a_name_are_measured_again(tmp_path, monkeypatch):
    def fit(task, method, part, seed, first):
        return Fit(float(part.x.shape[1]), 0.1, first)

    task, path = TASKS["classes"], tmp_path / "fits.jsonl"
    monkeypatch.setattr(tables, "fit", fit)
    errors = []
    for columns in (1, 2, 1):
        folder = tmp_path / str(columns)
        folder.mkdir(exist_ok=True)
        lines = [", ".join([str(i)] * columns + ["ab"[i % 2]]) for i in range(40)]
        (folder / "mine.dat").write_text("\n".join(lines))
        key = Key("mine", 2, 0, "k_nearest", "")
        errors.append(tables.measure(task, [key], folder, path)[key].error)
    assert errors == [1.0, 2.0, 1.0]
    assert len(path.read_text().splitlines()) == 1 + 2  # the first was not measured again


def test_documented_errors():
    names = ("ladder", "random_forest", "no_decoder", "logistic_regression", "k_nearest")
    names += ("label_spreading", "label_spreading_rbf", "self_training")
    path = documented.ROOT / "benchmarks" / "results" / "tables_classes.jsonl"
    fits, lines = tables.read(path, {}, {})
    assert lines == 1 + 23 * 3 * 5 * len(names) == 1 + len(fits)
    page = (documented.ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
    for labels in (2, 5, 10):
        fits_of_labels = {key: fit for key, fit in fits.items() if key.labels == labels}
        _, methods, errors = tables_report.mean_errors(fits_of_labels)
        mean_ranks = ranks.ranks_of(errors).mean(0)
        cells = [
            f"{errors[:, column].mean():.1f} / {mean_ranks[column]:.2f}"
            for column in map(list(methods).index, names)
        ]
        assert f"\n| {labels} | {' | '.join(cells)} |\n" in page
        if labels == 5:
            ladder, forest, _, regression, *_ = (cell.split()[0] for cell in cells)
            sentence = f"{ladder}; random forest {forest}, logistic regression {regression}"
            assert sentence in (documented.ROOT / "README.md").read_text(encoding="utf-8")


def test_documented_calibration():
    path = documented.ROOT / "benchmarks" / "results" / "calibration.json"
    measured = [
        {name: calibration.Measured(**fit[name]) for name in fit if name not in ("set", "split")}
        for fit in json.loads(path.read_text())["fits"]
    ]
    page = (documented.ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
    assert calibration.table(measured) in page
    error, confidence, *_ = np.mean([row["all labels"] for row in measured], axis=0)
    assert f"class is {confidence:.1f} %, and {100 - error:.1f} % are right" in page
