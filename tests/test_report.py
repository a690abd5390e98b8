"""The report of a run: one self-contained file, its sections, and failures that lose nothing."""

import base64
import io
import itertools
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import types
import xml.etree.ElementTree

import numpy as np
import pytest
from pages import Page, assert_stands_alone

from experiments import progress
from experiments import report as command
from ladder_jax import data, loop, predictor, report
from ladder_jax.combinators import COMBINATORS
from ladder_jax.config import Config
from ladder_jax.errors import ConfigError
from ladder_jax.report import comparison, figures, measures
from ladder_jax.run import workfolder

SMALL = Config(units=(8,), epochs=2, labels=12, batch_labeled=6, batch_unlabeled=20, eval_every=1)
NAMES = ("<b>zero</b>", "$1_", "猫 & co")


def examples(rows, shape, seed):
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % 3
    x = rng.random((rows, *shape)).astype(np.float32)
    return x + y.reshape(-1, *[1] * len(shape)) / 4, y


@pytest.fixture(scope="module")
def pictures():
    x, y = examples(60, (8, 8), 0)
    partial = np.where(np.arange(60) < 50, y, -1)
    own = examples(30, (8, 8), 1)
    return data.from_arrays(x, partial, *own, class_names=NAMES, name="<i>mine</i>")


@pytest.fixture(scope="module")
def run(tmp_path_factory, pictures):
    """Returns the folder of a tiny run on pictures, with its report."""
    folder = tmp_path_factory.mktemp("command") / "ladder-0"
    loop.train_and_evaluate(SMALL, folder, dataset=pictures)
    assert report.write(folder, pictures) == folder / "report.html"
    return folder


def test_page_of_a_run(run):
    page = Page(run / "report.html")
    assert_stands_alone(page)
    wanted = ["curves", "confusion", "classes", "mistakes", "denoised", "combinations", "map"]
    assert page.sections == [*wanted, "settings", "origin"]
    result = json.loads((run / "result.json").read_text())
    wrong = round(result["test_error"] * 30 / 100)
    low, high = measures.Score("all", wrong, 30).interval
    text = page.text.replace("\N{NO-BREAK SPACE}", " ")
    assert result["dataset"] == "<i>mine</i>" in text  # though the config names another
    assert f"{result['test_error']:.2f} %" in text
    assert f"{low:.2f} to {high:.2f} %" in text
    for name, value in (
        ("balanced accuracy", 100 - result["test_balanced_error"]),
        ("macro F1", result["test_macro_f1"]),
    ):
        assert f"{name}{value:.2f} %" in text
    pngs = [i for i in page.all("img") if "image/png" in i["src"]]
    assert len(pngs) == min(wrong, 24) + 3 * 10
    svgs = [i["src"].partition(",")[2] for i in page.all("img") if "image/svg" in i["src"]]
    assert len(svgs) == 3 + 2 + 3 + 1  # curves, confusion and calibration, levels, map
    files = [a["href"] for a in page.all("a") if a["href"].startswith("figures/")]
    assert [base64.b64decode(svg) for svg in svgs] == [(run / f).read_bytes() for f in files]
    assert len(set(files)) == len(files) == len(list((run / "figures").iterdir()))
    assert result["date"] in page.text and not any(
        a["href"].startswith("..") for a in page.all("a")
    )


def test_unlabelled_training_error_uses_hidden_labels(run, pictures, monkeypatch):
    labeled = json.loads((run / "labels.json").read_text())
    rows = np.setdiff1d(np.arange(50), labeled)  # the last ten have no label
    wrong = predictor.load(run)(pictures.x_train[rows]).classes != pictures.y_train[rows]
    text = Page(run / "report.html").text.replace("\N{NO-BREAK SPACE}", " ")
    assert f"unlabelled training error{100 * wrong.mean():.2f} %" in text
    assert "of 38 unlabelled training examples, by labels" in text
    monkeypatch.setattr(measures, "_UNLABELED", 20)
    partial = measures.find(run, pictures).unlabeled
    assert (partial.n, partial.name) == (20, "unlabelled training examples, drawn from 38")


def test_names_are_escaped(run):
    page = Page(run / "report.html")
    assert not page.all("b") and not page.all("i")
    assert "<b>zero</b>" in page.text and "<i>mine</i>" in page.text and "猫 & co" in page.text


def test_same_page_when_rebuilt_from_the_folder(run, pictures, tmp_path):
    shutil.copytree(run, tmp_path / "again")
    (tmp_path / "again" / "report.html").unlink()
    report.write(tmp_path / "again", pictures)
    assert (tmp_path / "again" / "report.html").read_bytes() == (run / "report.html").read_bytes()
    assert len(list((tmp_path / "again" / "tensorboard").iterdir())) == 1
    assert not list((tmp_path / "again").glob(".new-*"))


def test_inapplicable_sections_are_omitted(tmp_path):
    """A supervised net on a table without a test set."""
    x, y = examples(60, (5,), 0)
    table = data.from_arrays(x, np.where(np.arange(60) < 30, y, -1))
    values = vars(SMALL) | {"combinators": ("none",), "denoising_cost": (0.0,)}
    values |= {"labels": -1, "validation": 12}
    loop.train_and_evaluate(Config.create(values), tmp_path / "run", dataset=table)
    page = Page(report.write(tmp_path / "run", table))
    assert_stands_alone(page)
    assert page.sections == [
        "curves",
        "confusion",
        "classes",
        "mistakes",
        "map",
        "settings",
        "origin",
    ]
    assert "unlabelled training" not in page.text
    assert not [i for i in page.all("img") if "image/png" in i["src"]]
    assert "of 12 validation examples" in page.text
    assert not [i for i in page.all("img") if "denoising" in i["alt"]]


def test_events_hold_the_metrics(run):
    from tensorboardX.proto.event_pb2 import Event

    (path,) = (run / "tensorboard").iterdir()
    content, found = path.read_bytes(), {}
    while content:  # length, its checksum, an event, its checksum
        (length,) = struct.unpack("<Q", content[:8])
        event = Event.FromString(content[12 : 12 + length])
        for value in event.summary.value:
            found[value.tag, event.step] = value.simple_value
        content = content[16 + length :]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    names = ("loss", "cross_entropy", "error", "test_error")
    expected = {(name, line["epoch"]): line[name] for line in lines for name in names}
    expected |= {
        (f"denoising/level_{level}", line["epoch"]): cost
        for line in lines
        for level, cost in enumerate(line["denoising"])
    }
    assert found == pytest.approx(expected, rel=1e-6)


def copy_run(run, folder, **settings):
    """Copies a run as runs of other seeds and settings; the errors are 10 times the seeds."""
    for seed, values in enumerate(settings.pop("each")):
        copy = shutil.copytree(run, folder / f"ladder-{seed}")
        config = json.loads((copy / "config.json").read_text()) | {"seed": seed} | values
        result = json.loads((copy / "result.json").read_text())
        result |= {"test_error": 10.0 * seed, "labels": config["labels"]}
        (copy / "config.json").write_text(json.dumps(config))
        (copy / "result.json").write_text(json.dumps(result))


def test_comparison_of_runs(run, pictures, tmp_path):
    copy_run(run, tmp_path, each=[{}, {}])
    (tmp_path / "ladder-1" / "report.html").unlink()
    models = {"ladder": ["ladder-0", "ladder-1"], "<b>other": [50.0, 62.0]}
    page = Page(report.write_comparison(tmp_path, models))
    assert_stands_alone(page)
    assert page.sections == ["spread", "paired", "runs", "origin"]
    text = page.text.replace("\N{NO-BREAK SPACE}", " ")
    # Runs without a folder are counted, and listed with their seeds.
    assert "4 runs compared" in text and text.count("<b>other") == 4
    for shown in ("56.00", "8.49", "50.00", "62.00", "minmax", "50.00 %", "62.00 %"):
        assert shown in text
    # Student's t of one degree of freedom: 12.706 at 97.5 %.
    assert f"{56 - 12.7062 * 6:.2f} to {56 + 12.7062 * 6:.2f} %" in text
    assert f"-51.00{-51 - 12.7062:+.2f} to {-51 + 12.7062:+.2f}" in text and "n" in text
    links = [a["href"] for a in page.all("a") if not a["href"].startswith("#")]
    assert links == ["ladder-0/report.html", "figures/spread.svg", "figures/error_by_epoch.svg"]
    assert all((tmp_path / link).exists() for link in links)
    back = Page(report.write(tmp_path / "ladder-0", pictures))
    (link,) = {a["href"] for a in back.all("a") if a["href"].startswith("..")}
    assert (tmp_path / "ladder-0" / link).resolve() == (tmp_path / "report.html").resolve()
    single = Page(report.write_comparison(tmp_path))
    assert "means: ladder 5.00 %" in single.all("img")[0]["alt"] and "paired" not in single.sections
    with pytest.raises(ConfigError, match="holds no finished run"):
        report.write_comparison(tmp_path / "ladder-0")


def test_comparison_leaves_out_runs_of_an_earlier_command(run, tmp_path):
    """A stopped command with more seeds, resumed with fewer."""
    copy_run(run, tmp_path, each=[{}, {}, {}])
    names = ["ladder-0", "ladder-1", "ladder-2"]
    page = Page(report.write_comparison(tmp_path, {"ladder": names[:2], "other": [5.0, 6.0]}))
    assert "4 runs compared" in page.text and "ladder-2" not in page.text
    page = Page(report.write_comparison(tmp_path, {"a": names, "b": [1, 2]}))
    assert "5 runs compared" in page.text
    for models, message in (
        ({"a": ["ladder-3"]}, "holds no finished run ladder-3; models may name ladder-0, ladder-1"),
        ({"a": [1.0]}, "is compared with no run; models may name ladder-0"),
    ):
        with pytest.raises(ConfigError, match=message):
            report.write_comparison(tmp_path, models)


def test_comparison_after_equal_errors(run, tmp_path):
    """Runs are known by name: several may have the same error."""
    copy_run(run, tmp_path, each=[{}, {}, {"units": [7]}])
    for folder in tmp_path.glob("ladder-*"):
        result = json.loads((folder / "result.json").read_text()) | {"test_error": 10.0}
        (folder / "result.json").write_text(json.dumps(result | {"validation_error": 30.0}))
    page = Page(report.write_comparison(tmp_path, {"a": ["ladder-2"], "b": ["ladder-0"]}))
    assert "2 runs compared" in page.text and "ladder-1" not in page.text
    assert "a 10.00 %, b 10.00 %" in page.all("img")[0]["alt"]
    page = Page(report.write_comparison(tmp_path, {"a": ["ladder-2"]}, "validation"))
    assert "30.00" in page.text and "10.00" not in page.text
    with pytest.raises(ConfigError, match="no train error is known for all runs"):
        report.write_comparison(tmp_path, measured="train")


def test_progress_that_nobody_reads_stops_nothing(monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", buffering=1) as closed:
        monkeypatch.setattr(progress.sys, "stderr", closed)
        with progress.shown("a", 2) as show:
            show({"epoch": 2})
        monkeypatch.undo()
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)


def test_curves_of_a_comparison(run, tmp_path, monkeypatch):
    """Curves have the names of the rows; a single error per run, as in the other plot, is none."""
    copy_run(run, tmp_path, each=[{}, {}])
    _, axes = captured(
        monkeypatch,
        lambda: report.write_comparison(
            tmp_path, {"net": [5.0], "ladder lr=1": ["ladder-0", "ladder-1"]}
        ),
        "error_by_epoch",
    )
    assert axes.get_legend_handles_labels()[1] == ["ladder lr=1"]
    assert [line.get_color() for line in axes.lines] == ["C1", "C1"]  # as in the other plot
    for folder in tmp_path.glob("ladder-*"):
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        first = json.loads(lines[0])
        del first["test_error"]
        (folder / "metrics.jsonl").write_text("\n".join([json.dumps(first), *lines[1:]]) + "\n")
    page = Page(report.write_comparison(tmp_path))
    assert [a["href"] for a in page.all("a")][-1] == "figures/spread.svg"


def test_error_over_numbers_of_labels(run, tmp_path):
    copy_run(run, tmp_path, each=[{}, {}, {"labels": 30, "seed": 0}, {"labels": 30, "seed": 1}])
    page = Page(report.write_comparison(tmp_path))
    assert "over the number of labelled examples, 12, 30" in page.all("img")[-1]["alt"]
    assert (tmp_path / "figures" / "labels.svg").exists()
    assert "paired" not in page.sections  # the same seeds, but other labelled examples


def test_paired_differences_by_hand():
    errors_a, errors_b = np.array([3.0, 1.5, 4.0, 2.0, 2.5]), np.array([3.5, 3.0, 4.0, 4.5, 3.0])
    config = dict.fromkeys(comparison._OF_A_SPLIT, 1)

    def row(name, errors, first):
        runs = [
            comparison.Run(name, config | {"seed": first + i}, error, {}, [], False)
            for i, error in enumerate(errors)
        ]
        return comparison.Row(name, runs, list(errors))

    rows = [
        row("a", errors_a, 0),
        row("b", errors_b, 0),
        row("c", errors_a[1:] + 1, 1),
        row("d", errors_a, 9),
    ]
    first, second = comparison.paired(rows)
    differences = errors_a - errors_b
    error = differences.std(ddof=1) / np.sqrt(5)
    assert (first.name, len(first.errors)) == ("a \N{MINUS SIGN} b", 5)
    assert first.spread.mean == pytest.approx(differences.mean())
    half = 2.7764451 * error  # Student's t of four degrees of freedom
    assert first.interval == pytest.approx((differences.mean() - half, differences.mean() + half))
    t = abs(differences.mean() / error)  # its distribution has a closed form
    inside = t / np.sqrt(4 + t**2)
    assert first.p == pytest.approx(1 - 1.5 * (inside - inside**3 / 3))
    assert (second.name, len(second.errors)) == ("a \N{MINUS SIGN} c", 4)
    assert second.p is None  # all differ by 1
    assert second.interval == pytest.approx((-1, -1))


def test_other_data_are_refused(run, pictures):
    x, y = examples(60, (4, 4), 0)
    with pytest.raises(ConfigError, match=r"of shape \(8, 8\) and 3 classes, but own has \(4, 4\)"):
        report.write(run, data.from_arrays(x, y, name="own"))
    other = pictures._replace(y_train=np.roll(pictures.y_train, 1))
    with pytest.raises(ConfigError, match="have changed; give the data that it was trained on"):
        report.write(run, other)


def test_failed_report_is_one_warning(run, tmp_path, capsys, pictures):
    shutil.copytree(run, tmp_path / "run")
    for name in ("report.html", "params.npz"):
        (tmp_path / "run" / name).unlink()
    command.of_run(tmp_path / "run", pictures)
    command.of_command(tmp_path / "none", {})
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(line.startswith("warning: no report in") for line in lines)
    assert "params.npz" in lines[0]
    assert not (tmp_path / "run" / "report.html").exists()


@pytest.mark.parametrize(("wrong", "n"), [(0, 10), (3, 10), (10, 10), (93, 10_000)])
def test_wilson(wrong, n):
    z, p = 1.959963984540054, wrong / n
    middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    ends = 100 * np.array([middle - half, middle + half]) / (1 + z**2 / n)
    np.testing.assert_allclose(measures.Score("all", wrong, n).interval, ends, atol=1e-12)
    assert measures.Score("all", 0, 0).interval == (0, 100)


def test_precision_recall_and_f1_by_counting():
    """Of five classes, one is never predicted and one does not occur."""
    rng = np.random.default_rng(0)
    y, found = rng.choice([0, 1, 2, 4], 200), rng.choice([0, 1, 2], 200)
    overall, *classes = measures.scores(y, found, "abcde")
    parts = []
    for number, score in enumerate(classes):
        hits, n_predicted, n_true = (
            np.sum((y == number) & (found == number)),
            *(np.sum(labels == number) for labels in (found, y)),
        )
        precision = 100 * hits / n_predicted if n_predicted else np.nan
        recall = 100 * hits / n_true if n_true else np.nan
        f1 = 200 * hits / (n_predicted + n_true) if n_predicted + n_true else np.nan
        wanted = (n_true - hits, n_true, precision, recall, f1)
        np.testing.assert_allclose(score[1:], wanted, err_msg=score.name)
        if n_predicted + n_true:
            parts.append(np.nan_to_num(wanted[2:]))
    np.testing.assert_allclose(overall[3:], np.mean(parts, axis=0))
    # A class that is predicted but does not occur has no recall, as in the balanced accuracy.
    assert measures.scores(np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1]), "abc")[0].recall == 75
    assert (overall.wrong, overall.n) == (np.sum(y != found), 200) and np.isnan(classes[3].error)


def test_calibration_by_counting():
    rng = np.random.default_rng(0)
    confidence = np.append(rng.uniform(0.2, 1, 300), 1.0)
    right = rng.random(301) < confidence**2
    found = measures.calibration(right, confidence)
    edges, gap = np.linspace(0, 1, measures.BINS + 1), 0.0
    for low, high in itertools.pairwise(edges):
        own = (confidence > low) & (confidence <= high)
        gap += abs(np.sum(right[own]) - np.sum(confidence[own]))
    assert found.error == pytest.approx(100 * gap / 301)
    assert found.n.sum() == 301 and len(found.n) == len(found.accuracy) == 12
    picture = figures.calibration(found)
    assert f"{found.error:.2f} %, 15 bins" in picture.caption
    assert measures.calibration(np.array([True]), np.ones(1)).error == 0


def captured(monkeypatch, make, name=None):
    """Returns the result of a function and the axes of its first plot, or of that of a name."""
    axes, original = {}, figures.plot

    def plot(draw, of, *args, **kwargs):
        return original(lambda own: (axes.setdefault(of, own), draw(own))[1], of, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(figures, "plot", plot)
        made = make()
    return made, axes[name or next(iter(axes))]


def test_combination_is_drawn_as_quartiles_of_its_units(monkeypatch):
    units, u = 9, np.array(figures.SIGNALS)[:, None, None]
    rng = np.random.default_rng(0)
    function = COMBINATORS["gaussian"]()
    params = {
        name: np.float32(leaf + rng.normal(size=np.shape(leaf)))
        for name, leaf in function.init(None, (units,)).items()
    }
    make = lambda: figures.combination("gaussian", params, (units,), (-2, 2), 1, "level 1")
    _, axes = captured(monkeypatch, make)
    z = np.linspace(-2, 2, figures.POINTS)[:, None]
    whole = np.zeros((3, figures.POINTS, units), np.float32)
    z_hat = np.asarray(function.apply(params, z + whole, u + whole))
    for k, (line, band) in enumerate(zip(axes.lines[1:], axes.collections, strict=True)):
        low, middle, high = np.sort(z_hat[k], axis=1)[:, [2, 4, 6]].T  # quartiles of nine
        np.testing.assert_allclose(line.get_ydata(), middle, rtol=1e-4, atol=1e-5)
        corners = band.get_paths()[0].vertices
        for x, *ends in zip(z[:, 0], low, high, strict=True):
            heights = corners[np.isclose(corners[:, 0], x), 1]
            assert (heights.min(), heights.max()) == pytest.approx(ends, rel=1e-4, abs=1e-5)


def test_plots_of_odd_names_are_valid():
    names = ["x" * 200, "bell\x07", "\udce9", "_a", "\u0641\u0627"]
    pictures = [
        figures.confusion(np.eye(5, dtype=int), names),
        figures.feature_map(np.zeros((5, 2)), np.arange(5), np.ones(5, bool), names, "a map"),
    ]
    for picture in pictures:
        text = "".join(xml.etree.ElementTree.fromstring(picture.content).itertext())
        assert "x" * 15 in text and "x" * 40 not in text and "bell\ufffd" in text and "_a" in text


def test_thirty_curves_look_different():
    assert len({tuple(figures.look(index).values()) for index in range(30)}) == 30


def test_dots_are_whole_and_epochs_are_integers(monkeypatch):
    runs = {"ladder": [[{"epoch": 5, "test_error": 8.0}]], "net": [[{"epoch": 5, "test_error": 9}]]}
    _, axes = captured(monkeypatch, lambda: figures.error_curves(runs, "test"))
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [5]
    assert axes.get_ylim() == (0, pytest.approx(9.45))
    _, axes = captured(monkeypatch, lambda: figures.spread({"ladder": [8.0], "net": [9.0]}, "test"))
    assert axes.get_xlim() == (0, pytest.approx(9.45))
    _, axes = captured(monkeypatch, lambda: figures.spread({"ladder": [0.0]}, "test"))
    assert axes.get_xlim()[0] == 0


@pytest.mark.parametrize("names", [[f"level {k}" for k in range(7)], ["a" * 16] * 12, ["b" * 70]])
def test_legend_hides_nothing(monkeypatch, names):
    lines = [{"epoch": 1, "test_error": 5.0}, {"epoch": 2}]  # not every line has an error
    runs = {f"{name}{k}": [lines] for k, name in enumerate(names)}
    _, axes = captured(monkeypatch, lambda: figures.error_curves(runs, "test"))
    figure, (legend,) = axes.figure, axes.figure.legends
    assert axes.get_legend() is None and len(legend.get_texts()) == len(names)
    box, whole = legend.get_window_extent(), figure.bbox
    assert not box.overlaps(axes.get_tightbbox()) and box.y0 >= 0
    if len(names) > 1:
        assert box.x0 >= 0 and box.x1 <= whole.width
    assert axes.get_window_extent().height > 2 * figure.dpi  # the legend has its own room


def test_origin_of_a_result(monkeypatch, tmp_path):
    """The command of ``python -m``, and the commit only of a file that is in the checkout."""
    program = tmp_path / "program.py"
    program.touch()
    main = types.SimpleNamespace(
        __file__=str(program), __spec__=types.SimpleNamespace(name="my.run")
    )
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(sys, "argv", [str(program), "--units=(5, 3)"])
    monkeypatch.setattr(workfolder, "commit", workfolder.commit.__wrapped__)
    wanted = "python -m my.run '--units=(5, 3)'"
    assert workfolder.origin().keys() == {"date", "command"}
    if shutil.which("git") is None:
        pytest.skip("no git to make a checkout with")

    def git(*words):
        identity = ["-c", "user.name=me", "-c", "user.email=me@example.com"]
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    (tmp_path / "other.py").touch()
    git("add", "other.py")
    git("commit", "-m", "first")
    assert "commit" not in workfolder.origin()  # the program is not in the commit
    git("add", "program.py")
    git("commit", "-m", "second")
    found = workfolder.origin()
    assert found["command"] == wanted and re.fullmatch("[0-9a-f]{12}", found["commit"])
    program.write_text("changed")
    assert workfolder.origin()["commit"] == found["commit"] + "+"
    assert str(tmp_path) not in str(workfolder.origin())
    monkeypatch.setenv("PATH", "")
    assert "commit" not in workfolder.origin()
    monkeypatch.setattr(sys, "ps1", "In", raising=False)
    assert "command" not in workfolder.origin()


@pytest.mark.parametrize(("rows", "width"), [(3, 1), (40, 5), (60, 2), (60, 70)])
def test_map(rows, width):
    centres = np.repeat(np.eye(2, width) * 20, [rows - rows // 2, rows // 2], axis=0)
    features = centres + np.random.default_rng(0).normal(size=(rows, width))
    places, method = measures.flat_map(features)
    assert places.shape == (rows, 2) and np.isfinite(places).all()
    assert ("t-SNE" in method) == (rows >= 50 and width > 2)
    if rows > 3:
        first, second = places[: rows // 2], places[rows - rows // 2 :]
        apart = np.linalg.norm(first.mean(0) - second.mean(0))
        assert apart > first.std(0).mean() + second.std(0).mean()


@pytest.mark.parametrize(
    ("shape", "seen"),
    [
        ((28, 28, 1), (28, 28)),
        ((32, 32, 3), (32, 32, 3)),
        ((64,), (8, 8)),
        ((16,), None),
        ((65,), None),
        ((2, 300), None),
        ((8, 8, 2), None),
    ],
)
def test_picture_shape(shape, seen):
    assert figures.picture_shape(shape) == seen


def test_progress_lines_are_few():
    now, written = [0.0], []
    callback = progress.lines("run", 100, write=written.append, clock=lambda: now[0])
    for epoch in range(41, 101):  # a run that resumes
        now[0] += 1.0
        callback({"epoch": epoch} | ({"test_error": 3.0} if epoch == 45 else {}))
    assert len(written) == 7
    assert written[0] == "run: compiling ..."
    assert written[1] == "run: epoch 50 of 100, 1.00 epochs/s, 00:50 left, test error 3.00 %"
    assert written[-1].startswith("run: epoch 100 of 100")
    assert not any("\r" in line for line in written)


def test_time_left_appears_from_the_second_epoch_on():
    now, written = [0.0], []
    callback = progress.lines("run", 150, write=written.append, clock=lambda: now[0])
    for epoch, seconds in ((1, 17.0), (2, 0.5), (3, 12.5)):
        now[0] += seconds
        callback({"epoch": epoch})
    assert written[1] == "run: epoch 1 of 150"
    assert written[2] == "run: epoch 3 of 150, 0.15 epochs/s, 15:55 left"


def test_progress_bar_excludes_compilation():
    with progress.text_bar(total=100, file=io.StringIO(), mininterval=0) as bar:
        callback = progress._drawn(bar, percent=True)
        assert bar.postfix == progress.COMPILING
        bar.start_t -= 1000.0
        bar.last_print_t -= 1000.0
        callback({"epoch": 41, "test_error": 3.0})  # a run that resumes
        assert (bar.n, bar.postfix) == (41, "test_error=3.00 %")
        callback({"epoch": 42})
        assert bar.n == 42 and bar.format_dict["elapsed"] < 100
        assert bar.format_dict["initial"] == 41


def test_finished_run_shows_no_progress(capfd):
    with progress.shown("run", 3, done=True) as callback:
        callback({"epoch": 3})
    assert capfd.readouterr().err == ""


CHECK = """<script>addEventListener("load", () => {
  const broken = [...document.images].filter(image => !image.naturalWidth).length;
  document.body.style.width = "400px";  // windows of Chromium are wider
  const wide = document.body.scrollWidth > 400;
  const cut = [...document.querySelectorAll("table")].filter(table => {
    const around = table.parentElement;
    return table.scrollWidth > around.clientWidth;
  });
  const hinted = cut.every(table => {
    const style = getComputedStyle(table.parentElement);
    return style.overflowX == "auto" && style.backgroundImage.includes("gradient");
  });
  const told = [document.images.length, broken, wide, cut.length > 0, hinted];
  document.body.dataset.found = told.join(" ");
})</script>"""


def test_in_a_browser(run, tmp_path):
    """No errors in the console, every picture loads, and the page fits the width of a phone."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    browser = browser or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium, chromium-browser or google-chrome to open the page with")
    page = tmp_path / "report.html"
    page.write_text((run / "report.html").read_text(encoding="utf-8") + CHECK, encoding="utf-8")
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    flags += "--disable-background-networking --disable-component-update --enable-logging=stderr "
    flags += "--dump-dom"
    command = [browser, *flags.split(), f"--user-data-dir={tmp_path / 'user'}", page.as_uri()]
    completed = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert completed.returncode == 0, completed.stderr
    assert "CONSOLE" not in completed.stderr, completed.stderr
    found = re.search(r'data-found="(\d+) (\d+) (\w+) (\w+) (\w+)"', completed.stdout)
    assert found, completed.stdout[-500:]
    images, broken, wide, cut, hinted = found.groups()
    assert int(images) == len(Page(run / "report.html").all("img")) and broken == "0"
    assert (wide, cut, hinted) == ("false", "true", "true")
