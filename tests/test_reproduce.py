"""Tables of results, filled only from files, one per run."""

import dataclasses
import json
import pathlib
import re
import statistics

import jax
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from experiments import (
    compare_sklearn,
    configs,
    published,
    record,
    relative_time,
    reproduce,
    tables,
)
from experiments.configs import mnist
from ladder_jax import data
from ladder_jax.config import Config, current_names
from ladder_jax.errors import ConfigError, DataError, WriteError
from ladder_jax.report.measures import over_seeds
from ladder_jax.run import inputs, workfolder
from ladder_jax.training import BatchSizes

ROOT = pathlib.Path(__file__).parent.parent
RESULTS = ROOT / "experiments" / "results"


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Returns the command, which trains tiny ladders on digits instead of the paper's."""
    small = Config(units=(4,), epochs=1)
    settings = lambda row, seed: Config.create(vars(small) | {"seed": seed})
    monkeypatch.setattr(tables.Row, "settings", settings)
    flags.FLAGS.mark_as_parsed()

    def run(**given):
        folders = {"workdir": str(tmp_path / "runs"), "results": str(tmp_path / "results")} | given
        with flagsaver.flagsaver(**folders, page=str(tmp_path / "RESULTS.md")):
            reproduce.main()

    return run


def test_missing_runs_are_filled_in(command, tmp_path, capsys):
    chosen = {"rows": ["full", "label_spreading"], "labels": "100", "table": "fashion_mnist"}
    command(**chosen, seeds=2, compute_dtype="bfloat16")
    files = sorted((tmp_path / "results" / "fashion_mnist").glob("*.json"))
    assert [f.stem for f in files] == [
        f"{row}-100-{k}" for row in ("full", "label_spreading") for k in (0, 1)
    ]
    run = json.loads(files[1].read_text())
    assert {"dataset", "row", "labels", "seed", "test_error", "wall_time", "device"} <= {
        *run,
        *run["versions"],
    }
    assert run["config"]["compute_dtype"] == "bfloat16"
    assert run["seed"] == 1 and len(run["split"]) == 100 and run["operations"] > 1e4
    # Nothing is trained twice, and the file counts, not the run behind it.
    files[0].write_text(json.dumps(run | {"seed": 0, "test_error": 12.5}))
    capsys.readouterr()
    command(**chosen, seeds=2)
    assert "seed 0" not in capsys.readouterr().out
    page = (tmp_path / "RESULTS.md").read_text()
    mean = statistics.fmean([12.5, run["test_error"]])
    assert f"| full | 100 | {mean:.2f} |" in page and (
        tmp_path / "results" / "fashion_mnist.svg"
    ).read_text().startswith("<?xml")
    command(check=True)
    files[0].write_text(json.dumps(run | {"seed": 0, "test_error": 13.5}))
    with pytest.raises(SystemExit, match=r"is not what .* says"):
        command(check=True)


def test_an_accelerator_trains_alike_rows_as_one_population(monkeypatch, command, tmp_path):
    costs = {"full": (1000.0, 10.0, 0.1), "bottom": (1000.0, 0.0, 0.0)}
    small = Config(units=(4,), epochs=1)
    settings = lambda row, seed: dataclasses.replace(
        small, labels=int(row.labels), denoising_cost=costs[row.row], seed=seed
    )
    monkeypatch.setattr(tables.Row, "settings", settings)
    command(rows=["bottom"], labels="100", seeds=1)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    more = {"results": str(tmp_path / "more"), "workdir": str(tmp_path / "together")}
    chosen = {"rows": ["full", "bottom"], "seeds": 1} | more
    command(**chosen, labels="100")
    (alone,), together = (record.read(tmp_path / name, "mnist") for name in ("results", "more"))
    errors = {run["row"]: run["test_error"] for run in together}
    assert alone["members"] == 1 and [run["members"] for run in together] == [2, 2]
    assert errors["bottom"] == pytest.approx(alone["test_error"], abs=1)  # rounding
    assert errors["full"] != errors["bottom"]
    groups = []
    record_group = lambda runs, dataset: groups.append([run.row[:2] for run in runs])
    monkeypatch.setattr(reproduce, "run_ladders", record_group)
    command(**chosen, labels="50,1000")
    assert groups == [[(row, labels) for row in costs] for labels in ("50", "1000")]


def test_an_accelerator_trains_runs_that_spread_labels_one_by_one(monkeypatch, command):
    config, groups = Config(units=(4,), epochs=2, spread_labels="0.5:0.5"), []
    settings = lambda row, seed: dataclasses.replace(config, seed=seed)
    monkeypatch.setattr(tables.Row, "settings", settings)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(reproduce, "run_ladders", lambda runs, dataset: groups.append(len(runs)))
    monkeypatch.setattr(record, "plot", lambda *_: None)
    command(rows=["full"], labels="100", seeds=2)
    assert groups == [1, 1]


def test_damaged_files_are_named(command, tmp_path):
    folder = tmp_path / "results" / "mnist"
    folder.mkdir(parents=True)
    whole = (RESULTS / "mnist" / "full-100-0.json").read_text()
    (folder / ".new-full-100-0.json").write_text(whole)  # of a write that was killed
    assert record.read(tmp_path / "results", "mnist") == []
    for content, reason in (
        (whole[:99], "delimiter"),
        ("[]", "no row"),
        ('{"row": "full"}', "no labels"),
    ):
        (folder / "full-100-0.json").write_text(content)
        with pytest.raises(DataError, match=rf"full-100-0.json is not what .*{reason}"):
            command(check=True)
    (folder / "full-100-0.json").unlink()
    (folder.parent / relative_time.FILE).write_text("{}")
    with pytest.raises(DataError, match=r"step_times.json is not what .*no step_ms"):
        command(check=True)


def test_results_are_writable_before_anything_is_trained(command, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(reproduce, "run_ladders", pytest.fail)
    with pytest.raises(WriteError, match="cannot write"):
        command(rows=["full"], labels="100", results=str(tmp_path / "file"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rows": ["ful"]}, "--rows=ful: not in the table mnist; choose from baseline, bottom"),
        ({"labels": "99"}, "--labels=99"),
        ({"table": "cifar10", "rows": ["gamma"], "labels": "100"}, "--labels=100"),
    ],
)
def test_unknown_rows_are_refused(command, given, message):
    with pytest.raises(ConfigError, match=message):
        command(**given)


def test_committed_results_give_the_committed_page():
    assert record.text(RESULTS) == (ROOT / "RESULTS.md").read_text()


def test_comparison_with_published_results():
    """Our results are means per row and number of labels, with the number of runs."""
    runs = [
        {"row": row, "labels": labels, "test_error": error}
        for row, labels, error in [
            ("full", "100", 1.0),
            ("full", "100", 2.0),
            ("tuned", "all", 3.0),
        ]
    ]
    text = record.comparison(runs)
    assert "\n| ours: full | | | 1.50 ± 0.71 (2) | | |\n" in text
    assert "\n| ours: tuned | | | | | 3.00 (1) |\n" in text
    for method in published.PERMUTATION_INVARIANT:
        assert len(method.errors) == len(published.LABELS) and any(method.errors)
        assert re.fullmatch(r"https://arxiv\.org/abs/\d{4}\.\d{5}", method.source)


def test_plots_fit_a_dark_page():
    for folder in (RESULTS, ROOT / "docs", ROOT / "benchmarks" / "results"):
        for path in folder.glob("*.svg"):
            assert "prefers-color-scheme: dark" in path.read_text() or path.stem == "colab"


def test_paths_of_the_home_folder(command, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "results").mkdir()
    page = tmp_path / "page.md"
    page.write_text(record.text(tmp_path / "results"))
    with flagsaver.flagsaver(check=True, results="~/results", page="~/page.md"):
        reproduce.main()


def test_operations_of_convolutions_grow_with_the_batch():
    net = {"encoder": "conv:8:5:1:same-conv:11:1", "combinators": ("none",)}
    counts = []
    for rows in (4, 24):
        config = Config(dataset="textured_digits", labels=50, batch_labeled=rows, **net)
        counts.append(reproduce.operations(config, inputs.prepare(config)))
    assert counts[1] / counts[0] == pytest.approx(6, rel=0.01)


def test_operations_are_the_mean_over_the_stages_of_spread_labels(tmp_path):
    config = Config(units=(4,), labels=20, batch_labeled=60, epochs=4, spread_labels="0.75:0.5")
    task = inputs.prepare(config)
    labels = np.where(np.arange(len(task.train.unlabeled)) < 500, 0, -1)
    workfolder.write_spread(tmp_path, 3, labels)
    sizes = [BatchSizes(rows, 100) for rows in (20, 60)]
    few, many = (reproduce.operations(config, task._replace(sizes=size)) for size in sizes)
    mean = reproduce.mean_operations(config, task, tmp_path)
    assert few < mean < many and mean == pytest.approx((3 * few + many) / 4)
    plain = dataclasses.replace(config, spread_labels="")
    assert reproduce.mean_operations(plain, task, tmp_path) == few


def test_page_shows_every_plot():
    """One plot of all seeds per table with runs, and one over the labels if there are several."""
    page = (ROOT / "RESULTS.md").read_text()
    shown = set(re.findall(r"\]\(experiments/results/(\S+)\)", page))
    assert shown == {path.name for path in RESULTS.glob("*.svg")}
    for table in tables.TABLES:
        kinds = record.over_labels(table, record.read(RESULTS, table))
        assert (f"{table}_labels.svg" in shown) == bool(kinds)
        assert all(len(errors) > 1 for errors in kinds.values())


def test_operations_count_all_rows_of_a_step():
    dataset = data.from_arrays(np.zeros((60, 30)), np.arange(60) % 2, np.zeros((2, 30)), [0, 1])
    config = Config(
        units=(20,), labels=4, batch_labeled=4, batch_unlabeled=4, combinators=("none",)
    )
    few, ladder, many = (
        reproduce.operations(c, inputs.prepare(c, dataset))
        for c in (
            config,
            dataclasses.replace(config, combinators=("linear",)),
            dataclasses.replace(config, combinators=("linear",), batch_unlabeled=40),
        )
    )
    assert few < ladder < many / 5


def test_time_ratio_is_of_whole_runs():
    rows = tables.TABLES["mnist"]
    step_ms = relative_time.read(RESULTS)
    runs = record.read(RESULTS, "mnist")
    assert {row.config for row in rows if record.of_row(runs, row)} <= set(step_ms)
    (tuned,) = (row for row in rows if (row.row, row.labels) == ("tuned", "1000"))
    (supervised,) = (row for row in rows if (row.row, row.labels) == ("baseline", "1000"))
    # Batches three times as large: a third of the steps.
    ratio = step_ms[tuned.config] / step_ms[supervised.config] / 3
    assert relative_time.time_ratio(tuned, rows, step_ms) == pytest.approx(ratio)
    assert relative_time.time_ratio(tuned, rows, {}) is None
    fashion = tables.TABLES["fashion_mnist"]
    timed = {row.row for row in fashion if relative_time.time_ratio(row, fashion, step_ms)}
    assert timed == {"full", "gamma", "baseline"}  # only their steps were timed


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*/*-*-*.json")), ids=lambda p: p.stem)
def test_committed_runs_have_the_settings_of_their_rows(path):
    run = json.loads(path.read_text())
    (row,) = [
        r
        for r in tables.TABLES[path.parent.name]
        if (r.row, r.labels) == (configs.RENAMED.get(run["row"], run["row"]), run["labels"])
    ]
    assert isinstance(run["labels"], str) and isinstance(run["seed"], int)
    always = {"dataset", "row", "labels", "seed", "split", "config", "members", "versions"}
    assert always | {"commit", "test_error", "wall_time"} <= set(run)
    current = json.loads(json.dumps(vars(row.settings(run["seed"]))))
    recorded = current_names(run["config"])
    if row.row in mnist.OURS or current["compute_dtype"] == "auto":  # the paper's are float32
        current["compute_dtype"] = recorded["compute_dtype"]
    assert configs.load(recorded.pop("name")).name == current["name"]
    assert {k: current[k] for k in recorded} == recorded
    assert run["commit"] and not run["commit"].endswith("+")
    assert path == record.file_of(RESULTS, path.parent.name, row, run["seed"])


def test_every_config_is_in_a_table():
    rows = [row for rows in tables.TABLES.values() for row in rows]
    excluded = {"digits", "table", "table_numbers"}  # first example, and the user's own data
    assert {row.config for row in rows} == set(configs.every()) - excluded
    published = [row.published for row in rows if row.published]
    configured = [
        figure
        for file in ("mnist", "cifar10")
        for row in configs.module(file).TABLE.values()
        for figure in row.values()
        if figure
    ]
    assert sorted(published) == sorted(configured) and len(configured) == 18


def test_old_row_names_find_existing_files(command, tmp_path, capsys):
    folder = tmp_path / "results" / "mnist"
    folder.mkdir(parents=True)
    (run,) = (RESULTS / "mnist").glob("own-100-20.json")
    (folder / run.name).write_bytes(run.read_bytes())
    for name in ("own", "tuned"):
        command(rows=[name], labels="100", table="mnist", first_seed=20, seeds=1)
    assert [path.name for path in folder.iterdir()] == [run.name]
    error = json.loads(run.read_text())["test_error"]
    assert f"| tuned | 100 | {error:.2f} |" in (tmp_path / "RESULTS.md").read_text()
    assert "seed 20" not in capsys.readouterr().out


def test_readme_and_docs_match_the_results():
    readme = (ROOT / "README.md").read_text()
    page = (ROOT / "docs" / "reproducing.md").read_text()

    def spread(errors):
        return f"{statistics.fmean(errors):.2f} ± {statistics.stdev(errors):.2f}"

    def cell(table, row):
        errors = [r["test_error"] for r in record.of_row(record.read(RESULTS, table), row)]
        text = spread(errors) if len(errors) > 1 else "".join(f"{e:.2f}" for e in errors)
        return text, str(len(errors))

    names = {
        "": "full",
        ", our recipe": "tuned",
        ", our recipe, twice as wide": "wide",
        ", our recipe, [16 minutes](docs/reproducing.md) on one core": "quick",
        ", our recipe, shortened, [labels spread](docs/choosing.md#very-few-labels)": "quick",
    }
    lines = re.findall(r"^\| MNIST, (\w+)(.*?) \| (.*?) \| (?:.*? )?\| (\d+) \|", readme, re.M)
    listed = {(names[name], labels): found for labels, name, *found in lines}
    for row in (row for row in tables.TABLES["mnist"] if row.row in names.values()):
        assert listed.get((row.row, row.labels), ["", "0"]) == list(cell("mnist", row)), row
    fashion = tables.TABLES["fashion_mnist"]
    for name in dict.fromkeys(row.row for row in fashion):
        cells = [cell("fashion_mnist", row)[0] for row in fashion if row.row == name]
        assert " ".join(f"| {name} | {' | '.join(cells)} |".split()) in page
    shapes = tables.TABLES["textured_digits"]
    runs = record.read(RESULTS, "textured_digits")
    for labels in dict.fromkeys(row.labels for row in shapes):
        found = [record.of_row(runs, row) for row in shapes if row.labels == labels]
        if all(found):
            cells = [spread([100 - run["test_error"] for run in same]) for same in found]
            assert f"| {labels} | {' | '.join(cells)} |" in page
    digits = json.loads((RESULTS / "digits_100" / "summary.json").read_text())
    columns = ("ladder", "supervised", "label_spreading", "self_training")
    cells = [spread(digits[name]["errors"]) for name in columns]
    assert f"| {' | '.join(columns)} |\n|---|---|---|---|\n| {' | '.join(cells)} |" in page
    assert f"| digits, 100 | {cells[0]} | | {len(digits['ladder']['errors'])} |" in readme
    estimator = json.loads((RESULTS / "digits_estimator.json").read_text())
    for line in compare_sklearn.table(estimator["test_errors"]).splitlines():
        assert line in page


def test_mistakes_match_the_results():
    """The counts agree with the files of the same runs and with the page."""
    counted = json.loads((ROOT / "docs" / "mistakes.json").read_text())
    for name, error in zip(counted["ladders"], counted["error"], strict=True):
        run = json.loads((RESULTS / "mnist" / f"{name}.json").read_text())
        assert error == pytest.approx(run["test_error"], abs=1e-4)
    wrong = {int(times): images for times, images in counted["wrong_in"].items()}
    assert sum(k * n for k, n in wrong.items()) == pytest.approx(100 * sum(counted["error"]))
    most = sum(counted["wrong_in_most"].values())
    assert most == wrong[3] + wrong[4] + wrong[5]
    page = " ".join((ROOT / "docs" / "limits.md").read_text().split())
    mean = statistics.fmean(counted["error"])
    assert f"err on {mean:.2f} % of the test images" in page
    assert f"probabilities on {counted['error_together']:.2f} %" in page
    assert f"{wrong[5]} images are wrong in all" in page
    assert f"a further {wrong[3] + wrong[4]} in three or four, {wrong[1] + wrong[2]} in" in page
    assert f"Of the {most}, {counted['wrong_in_most']['1 as 2']} are ones with a foot" in page


def test_limits_page_quotes_the_papers_figures():
    page, runs = (ROOT / "docs" / "limits.md").read_text(), record.read(RESULTS, "mnist")
    for row in tables.TABLES["mnist"]:
        errors = [run["test_error"] for run in record.of_row(runs, row)]
        if row.published and len(errors) >= 3:
            paper = "{:.2f} ± {:.2f}".format(*row.published)
            here = over_seeds(errors).mean_and_sd()
            assert f"\n| {row.row}, {row.labels} | {paper} | {here} | {len(errors)} |\n" in page


def test_limits_page_quotes_the_times():
    page, rows = (ROOT / "docs" / "limits.md").read_text(), tables.TABLES["mnist"]
    step_ms = relative_time.read(RESULTS)
    full, gamma = (
        relative_time.time_ratio(row, rows, step_ms)
        for name in ("full", "gamma")
        for row in rows
        if (row.row, row.labels) == (name, "100")
    )
    assert f"ladder takes {full:.1f} times as long" in page
    assert f"the Γ-model {gamma:.1f} times" in page


def test_limits_page_matches_the_results():
    """Each line of its first table follows from the files of the runs."""
    page = (ROOT / "docs" / "limits.md").read_text()
    lines = {
        "MNIST, 50": ("mnist", "50"),
        "MNIST, 100": ("mnist", "100"),
        "MNIST, all": ("mnist", "all"),
        "MNIST, 1000": ("mnist", "1000"),
        "MNIST, 100, convolutional, the Γ-model": ("mnist_conv", "100", "gamma", "baseline"),
        "Fashion-MNIST, 100": ("fashion_mnist", "100"),
        "Fashion-MNIST, 100, both tuned": ("fashion_mnist", "100", "tuned", "tuned_baseline"),
        "Fashion-MNIST, 1000": ("fashion_mnist", "1000"),
        "Fashion-MNIST, 1000, both tuned": ("fashion_mnist", "1000", "tuned", "tuned_baseline"),
        "CIFAR-10, 4000, small, full": ("cifar10_small", "4000"),
        "CIFAR-10, 4000, small, the Γ-model": ("cifar10_small", "4000", "gamma", "baseline"),
        "textured digits, a class per pixel, 10 images": ("textured_digits", "10"),
        "textured digits, 20 images": ("textured_digits", "20"),
        "textured digits, 50 images": ("textured_digits", "50"),
        "textured digits, all": ("textured_digits", "all"),
    }

    def errors(table, labels, row):
        found = record.of_row(runs[table], tables.Row(row, labels, ""))
        return [run["test_error"] for run in found]

    runs = {table: record.read(RESULTS, table) for table in {entry[0] for entry in lines.values()}}
    for name, (table, labels, *rows) in lines.items():
        each = [errors(table, labels, row) for row in rows or ("full", "baseline")]
        means = [f"{statistics.fmean(row_errors):.2f}" for row_errors in each]
        counts = ", ".join(str(len(row_errors)) for row_errors in each)
        assert f"\n| {name} | {' | '.join(means)} | {counts} |\n" in page
    for labels in ("100", "1000"):
        assert f"{statistics.fmean(errors('fashion_mnist', labels, 'gamma')):.2f}" in page
