"""The report of a run: all within one file, sections that apply, nothing lost where it fails."""

import io
import json
import re
import shutil
import struct
import subprocess

import numpy as np
import pytest
from pages import Page, assert_stands_alone

from experiments import progress
from experiments import report as command
from ladder_jax import data, loop, report
from ladder_jax.config import Config, ConfigError
from ladder_jax.report import drawing, measures

SMALL = Config(units=(8,), epochs=2, labels=-1, batch_labeled=6, batch_unlabeled=20, eval_every=1)
NAMES = ("<b>zero</b>", "$1_", "猫 & co")


def examples(rows, shape, seed):
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % 3
    x = rng.random((rows, *shape)).astype(np.float32)
    return x + y.reshape(-1, *[1] * len(shape)) / 4, y


@pytest.fixture(scope="module")
def pictures():
    x, y = examples(60, (8, 8), 0)
    some = np.where(np.arange(60) < 12, y, -1)
    own = examples(30, (8, 8), 1)
    return data.from_arrays(x, some, *own, class_names=NAMES, name="<i>mine</i>")


@pytest.fixture(scope="module")
def run(tmp_path_factory, pictures):
    """The folder of a tiny run on pictures, with its report."""
    folder = tmp_path_factory.mktemp("command") / "ladder-0"
    loop.train_and_evaluate(SMALL, folder, dataset=pictures)
    assert report.write(folder, pictures) == folder / "report.html"
    return folder


def test_the_page_of_a_run(run):
    page = Page(run / "report.html")
    assert_stands_alone(page)
    wanted = ["curves", "confusion", "mistakes", "denoised", "combinations", "map", "settings"]
    assert page.sections == wanted
    result = json.loads((run / "result.json").read_text())
    wrong = round(result["test_error"] * 30 / 100)
    low, high = measures.wilson(wrong, 30)
    text = page.text.replace("\N{NO-BREAK SPACE}", " ")
    assert f"{result['test_error']:.2f} %" in text
    assert f"{low:.2f} to {high:.2f} %" in text
    pngs = [i for i in page.all("img") if "image/png" in i["src"]]
    assert len(pngs) == min(wrong, 24) + 3 * 10
    assert len(page.all("img")) - len(pngs) == 3 + 1 + 3 + 1  # curves, confusion, levels, map


def test_names_are_escaped(run):
    page = Page(run / "report.html")
    assert not page.all("b") and not page.all("i")
    assert "<b>zero</b>" in page.text and "<i>mine</i>" in page.text and "猫 & co" in page.text


def test_same_page_again_from_the_folder_alone(run, pictures, tmp_path):
    shutil.copytree(run, tmp_path / "again")
    (tmp_path / "again" / "report.html").unlink()
    report.write(tmp_path / "again", pictures)
    assert (tmp_path / "again" / "report.html").read_bytes() == (run / "report.html").read_bytes()
    assert len(list((tmp_path / "again" / "tensorboard").iterdir())) == 1
    assert not list((tmp_path / "again").glob(".new-*"))


def test_sections_that_do_not_apply(tmp_path):
    """A supervised net on a table without a test set."""
    x, y = examples(60, (5,), 0)
    table = data.from_arrays(x, np.where(np.arange(60) < 30, y, -1))
    values = vars(SMALL) | {"combinators": ("none",), "denoising_cost": (0.0,), "validation": 12}
    loop.train_and_evaluate(Config.create(values), tmp_path / "run", dataset=table)
    page = Page(report.write(tmp_path / "run", table))
    assert_stands_alone(page)
    assert page.sections == ["curves", "confusion", "mistakes", "map", "settings"]
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


def test_comparison_of_runs(run, tmp_path):
    for seed in (0, 1):
        copy = shutil.copytree(run, tmp_path / f"ladder-{seed}")
        config = json.loads((copy / "config.json").read_text())
        (copy / "config.json").write_text(json.dumps(config | {"seed": seed}))
    (tmp_path / "ladder-1" / "report.html").unlink()
    error = json.loads((run / "result.json").read_text())["test_error"]
    errors = {"ladder": [error, error], "<b>other": [50.0, 60.0]}
    page = Page(report.write_comparison(tmp_path, errors))
    assert_stands_alone(page)
    assert "<b>other" in page.text and "55.00" in page.text and "7.07" in page.text
    links = [a["href"] for a in page.all("a") if not a["href"].startswith("#")]
    assert links == ["ladder-0/report.html"]
    alone = Page(report.write_comparison(tmp_path))
    assert f"means: ladder {error:.2f} %" in alone.all("img")[0]["alt"]
    with pytest.raises(ConfigError, match="holds no finished run"):
        report.write_comparison(tmp_path / "ladder-0")


def test_other_data_are_refused(run, pictures):
    x, y = examples(60, (4, 4), 0)
    with pytest.raises(ConfigError, match=r"of shape \(8, 8\) and 3 classes, but own has \(4, 4\)"):
        report.write(run, data.from_arrays(x, y, name="own"))
    other = pictures._replace(y_train=np.roll(pictures.y_train, 1))
    with pytest.raises(ConfigError, match="the data have changed"):
        report.write(run, other)


def test_a_report_that_fails_is_one_warning(run, tmp_path, capsys, pictures):
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
    from scipy.stats import binomtest

    theirs = binomtest(wrong, n).proportion_ci(method="wilson")
    assert measures.wilson(wrong, n) == pytest.approx((100 * theirs.low, 100 * theirs.high))
    assert measures.wilson(0, 0) == (0, 100)


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
def test_what_is_a_picture(shape, seen):
    assert drawing.picture_shape(shape) == seen


def test_lines_of_progress_are_few():
    now, written = [0.0], []
    told = progress.lines("run", 100, write=written.append, clock=lambda: now[0])
    for epoch in range(41, 101):  # a run that goes on
        now[0] += 1.0
        told({"epoch": epoch} | ({"test_error": 3.0} if epoch == 45 else {}))
    assert len(written) == 7
    assert written[0] == "run: compiling ..."
    assert written[1] == "run: epoch 50 of 100, 1.00 epochs/s, 00:50 left, test error 3.00 %"
    assert written[-1].startswith("run: epoch 100 of 100")
    assert not any("\r" in line for line in written)


def test_time_left_is_told_from_the_second_epoch_on():
    now, written = [0.0], []
    told = progress.lines("run", 150, write=written.append, clock=lambda: now[0])
    for epoch, seconds in ((1, 17.0), (2, 0.5), (3, 12.5)):
        now[0] += seconds
        told({"epoch": epoch})
    assert written[1] == "run: epoch 1 of 150"
    assert written[2] == "run: epoch 3 of 150, 0.15 epochs/s, 15:55 left"


def test_a_bar_does_not_count_what_compiles():
    with progress.text_bar(total=100, file=io.StringIO(), mininterval=0) as bar:
        told = progress._drawn(bar)
        assert bar.postfix == progress.COMPILING
        bar.start_t -= 1000.0
        bar.last_print_t -= 1000.0
        told({"epoch": 41, "test_error": 3.0})  # a run that goes on
        assert (bar.n, bar.postfix) == (41, "test_error=3.00 %")
        told({"epoch": 42})
        assert bar.n == 42 and bar.format_dict["elapsed"] < 100
        assert bar.format_dict["initial"] == 41


def test_nothing_is_shown_of_what_is_done(capfd):
    with progress.shown("run", 3, done=True) as told:
        told({"epoch": 3})
    assert capfd.readouterr().err == ""


CHECK = """<script>addEventListener("load", () => {
  const broken = [...document.images].filter(image => !image.naturalWidth).length;
  document.body.style.width = "400px";  // windows of Chromium are wider
  const wide = document.body.scrollWidth > 400;
  document.body.dataset.found = `${document.images.length} ${broken} ${wide}`;
})</script>"""


def test_in_a_browser(run, tmp_path):
    """No error, every picture there, and no wider than a telephone."""
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
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "CONSOLE" not in done.stderr, done.stderr
    found = re.search(r'data-found="(\d+) (\d+) (\w+)"', done.stdout)
    assert found, done.stdout[-500:]
    images, broken, wide = found.groups()
    assert int(images) == len(Page(run / "report.html").all("img")) and broken == "0"
    assert wide == "false"
