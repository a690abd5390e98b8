"""The commands and the report for masks, numbers and several labels, on one tiny run of each."""

import base64
import csv
import io
import itertools
import json
import pathlib
import runpy
import shutil
import sys

import numpy as np
import pytest
from absl.testing import flagsaver
from pages import Page, assert_stands_alone
from PIL import Image

from experiments import cli, evaluate, export, predict, settings
from ladder_jax import data, errors, exporting, loop, predictor, report
from ladder_jax.config import Config
from ladder_jax.data import masks
from ladder_jax.data.images import read_mask
from ladder_jax.errors import ConfigError
from ladder_jax.report import figures, numbers, pixels, several
from ladder_jax.run.inputs import prepare

NAMES = {
    "pixels": ("<ground>", "thing"),
    "numbers": ("a & b", "length"),
    "several": ("x", "y", "z"),
}
SIZE = 10
LOADER = pathlib.Path(__file__).parent.parent / "examples" / "load_exported.py"


def run(main, *flags):
    """Runs a command in this process with the given flags and no others."""
    with flagsaver.flagsaver():
        cli._parse(["command", *flags], None)
        main()


def images(count, seed=0):
    """Draws byte images, each with a bright square of class 1; a corner pixel has no label."""
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 90, (count, SIZE, SIZE)), np.zeros((count, SIZE, SIZE), np.int32)
    for image, mask, (top, left) in zip(x, y, rng.integers(1, 5, (count, 2)), strict=True):
        image[top : top + 4, left : left + 4] += 150
        mask[top : top + 4, left : left + 4] = 1
    y[:, 0, 0] = data.NO_LABEL
    return x.astype(np.uint8)[..., None], y


def rows(kind, count, seed=0):
    """Draws features and labels of a kind; some labels are missing."""
    if kind == "pixels":
        return images(count, seed)
    x = np.random.default_rng(seed).normal(size=(count, 5))
    y = np.stack([1e6 + 100 * x[:, 0], x[:, 1] - x[:, 2], x[:, 3] + x[:, 4]], 1)
    if kind == "numbers":
        y[1::7, 1] = np.nan
        return x, y[:, :2]
    y = (y > [1e6, 0, 0]).astype(np.int32)
    y[1::7, 1] = data.NO_LABEL
    return x, y


def dataset_of(kind):
    x, y = rows(kind, 24)
    y[12:] = np.nan if kind == "numbers" else data.NO_LABEL
    options = {"class_names": NAMES[kind], "kind": kind, "name": "mine"}
    return data.from_arrays(x, y, *rows(kind, 9, 1), **options)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Returns the folder of a tiny run and its data, by kind."""
    made = {}
    for kind in NAMES:
        folder = tmp_path_factory.mktemp(kind) / "ladder-0"
        settings = {"units": (4,), "eval_every": 1, "labels": -1, "epochs": 2}
        settings |= {"batch_labeled": 6, "batch_unlabeled": 12, "combinators": ("linear",)}
        if kind == "numbers":
            settings |= {"variance": True, "combinators": ("none",), "denoising_cost": (0.0,)}
        made[kind] = folder, dataset_of(kind)
        loop.train_and_evaluate(Config.create(settings), folder, dataset=made[kind][1])
    return made


@pytest.fixture(params=NAMES)
def trained(request, runs):
    """Returns a kind, the folder of its run and its data."""
    return request.param, *runs[request.param]


def test_impossible_population_is_refused_before_files_are_replaced():
    x, y = images(12)
    y[:6] = 1
    dataset = data.from_arrays(x, y, class_names=NAMES["pixels"], kind="pixels")
    config = Config(
        units=(4,), labels=6, batch_unlabeled=12, label_choice="uniform", class_weight="balanced"
    )
    task = prepare(config, dataset)

    def check():
        settings.check_members([config], dataset, task)

    run(check, "--population=auto", "--seeds=9")
    run(check, "--population=on", "--seeds=1")
    with pytest.raises(ConfigError, match="class_weight='balanced' gives each member"):
        run(check, "--population=on", "--seeds=9")


SECTIONS = {
    "pixels": ["masks", "classes", "confusion", "denoised", "combinations"],
    "numbers": ["numbers", "scatter"],
    "several": ["labels", "calibration", "combinations"],
}
SHOWN = {
    "pixels": ("mean_iou", "pixel_accuracy"),
    "numbers": ("rmse", "mae", "r2"),
    "several": ("error", "exact_match", "macro_f1"),
}


def test_page_of_a_run(trained):
    kind, folder, dataset = trained
    page = Page(report.write(folder, dataset))
    assert_stands_alone(page)
    assert page.sections == ["curves", *SECTIONS[kind], "settings", "origin"]
    text = page.text.replace("\N{NO-BREAK SPACE}", " ")
    assert all(name in text for name in NAMES[kind])
    result = json.loads((folder / "result.json").read_text())
    for name in SHOWN[kind]:
        value = result[f"test_{name}"]
        shown = f"{value:.2f} %" if kind != "numbers" else f"{value:.4g}"
        assert shown in text, name
    svgs = [i["src"].partition(",")[2] for i in page.all("img") if "image/svg" in i["src"]]
    files = [a["href"] for a in page.all("a") if a["href"].startswith("figures/")]
    assert [base64.b64decode(svg) for svg in svgs] == [(folder / f).read_bytes() for f in files]
    assert "cross_entropy" not in text or kind != "numbers"


@pytest.mark.parametrize(
    ("kind", "shown"),
    [("pixels", "mean IoU75.00 %"), ("numbers", "RMSE25"), ("several", "error25")],
)
def test_held_out_error_has_the_measure_of_the_page(runs, tmp_path, kind, shown):
    folder, dataset = runs[kind]
    copy = shutil.copytree(folder, tmp_path / "ladder-0")
    result = json.loads((copy / "result.json").read_text()) | {"validation_error": 25.0}
    (copy / "result.json").write_text(json.dumps(result))
    text = Page(report.write(copy, dataset)).text.replace("\N{NO-BREAK SPACE}", " ")
    assert f"validation {shown}" in text
    assert text.strip().startswith("mine, seed 0: ")  # the data, as the config has no name


def test_pictures_of_masks(runs):
    folder, dataset = runs["pixels"]
    page, model = Page(report.write(folder, dataset)), predictor.load(folder)
    legend = [span["style"] for span in page.all("span") if "background" in span.get("style", "")]
    assert legend == [f"background: {masks.hex_color(number)}" for number in (0, 1, 255)]
    found = {}
    for picture in page.all("img"):
        if "image/png" in picture["src"]:
            content = base64.b64decode(picture["src"].partition(",")[2])
            found[picture["alt"]] = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    assert len(found) == 4 * 9 + 3 * 9  # those of each image, and the denoised ones
    predicted, doubt = model.predict(dataset.x_test), model.uncertainty(dataset.x_test)
    for row in range(9):
        title = f"test example {row}"
        truth = masks.PALETTE[np.where(dataset.y_test[row] < 0, 255, dataset.y_test[row])]
        np.testing.assert_array_equal(found[f"{title}: true mask"], truth)
        np.testing.assert_array_equal(
            found[f"{title}: predicted mask"], masks.PALETTE[predicted[row]]
        )
        grey = found[f"{title}: uncertainty"][..., 0]
        np.testing.assert_allclose(grey, 2 * 255 * doubt[row], atol=0.51)


def test_large_pictures_are_subsampled():
    assert [pixels._step(shape) for shape in ((256, 10), (10, 257), (1024, 10))] == [1, 2, 4]


def test_comparison_of_numbers_is_not_in_percent(runs, tmp_path):
    folder, dataset = runs["numbers"]
    report.write(folder, dataset)
    error = json.loads((folder / "result.json").read_text())["test_error"]
    page = Page(report.write_comparison(folder.parent, {"ladder": [folder.name], "net": [1234.5]}))
    text = page.text.partition("Spread over seeds")[2]
    assert (
        f"{error:.4g}" in text
        and "1234" in text
        and "test error (RMSE)" in text
        and "error in %" not in text
    )
    assert "net 1234" in page.all("img")[0]["alt"] and "%" not in page.all("img")[0]["alt"]


def test_report_refuses_labels_of_another_kind(runs):
    folder, _ = runs["several"]
    with pytest.raises(ConfigError, match="on labels that are several, but those of mine are num"):
        report.write(folder, runs["numbers"][1])


def test_confusion_matrix_of_long_counts_is_in_percent(monkeypatch):
    written = []
    plot = figures.plot
    monkeypatch.setattr(
        figures,
        "plot",
        lambda draw, *words, **kwargs: plot(
            lambda a: (draw(a), written.append(a)), *words, **kwargs
        ),
    )
    for most in (9999, 10_000):
        picture = figures.confusion(np.array([[most, 0], [1, 3]]), ("a", "b"), "pixels")
        assert f"{most + 3} of {most + 4} pixels" in picture.alt
    short, long = ([text.get_text() for text in axes.texts] for axes in written)
    assert (short, long) == (["9999", "1", "3"], ["100", "25", "75"])
    assert picture.caption.endswith("in % of the true class")


def test_scores_of_numbers_by_hand():
    rng = np.random.default_rng(0)
    y = 1e7 + rng.normal(0, [3, 500], (400, 2))
    predicted = y + rng.normal(0, [1, 200], (400, 2))
    y[::3, 1] = np.nan
    every, *each = numbers.scores(y, predicted, ("a", "b"))
    for column, score in enumerate(each):
        known = ~np.isnan(y[:, column])
        true, output = y[known, column], predicted[known, column]
        squared = np.mean((true - output) ** 2)
        assert score.n == known.sum()
        assert score.rmse == pytest.approx(np.sqrt(squared))
        assert score.mae == pytest.approx(np.abs(true - output).mean())
        assert score.r2 == pytest.approx(1 - squared / true.var())
        # Residuals are normal: 1.96 standard errors of RMSE to each side.
        half = 1.96 * score.rmse / np.sqrt(2 * score.n)
        wanted = score.rmse - half, score.rmse + half
        assert score.rmse_interval == pytest.approx(wanted, abs=0.3 * half)
        low, high = score.r2_interval
        assert low < score.r2 < high
    assert every.r2 == pytest.approx((each[0].r2 + each[1].r2) / 2)
    mean_square = np.nanmean(np.where(np.isnan(y), np.nan, (y - predicted) ** 2))
    assert (every.n, every.rmse) == (400 + 266, pytest.approx(np.sqrt(mean_square)))


def test_scores_of_few_numbers():
    (one,) = numbers.scores(np.array([[3.0]]), np.array([[1.0]]), ("a",))
    assert (one.rmse, one.rmse_interval) == (2.0, None) and np.isnan(one.r2)
    (same,) = numbers.scores(np.full((3, 1), 3.0), np.full((3, 1), 2.0), ("a",))
    assert same.rmse_interval == (1.0, 1.0) and same.r2_interval is None
    y = np.stack([np.arange(4.0), np.full(4, np.nan)], 1)
    every, first, empty = numbers.scores(y, np.zeros((4, 2)), ("all", "b"))
    assert (every.name, first.name, empty.name) == ("all", "all", "b")
    assert every[1:] == first[1:] and empty.n == 0 and np.isnan([empty.rmse, empty.r2]).all()
    judged = numbers.Judged(np.zeros((4, 1)), np.ones((4, 1)))
    near = numbers.within(np.array([[1.9], [-1.9], [2.0], [np.nan]]), judged)
    assert near == pytest.approx(200 / 3)


def test_scores_of_several_labels_by_counting():
    from sklearn.metrics import precision_recall_fscore_support

    rng = np.random.default_rng(0)
    y, output = rng.integers(-1, 2, (50, 3)), rng.integers(0, 2, (50, 3))
    exact, *each = several.scores(y, output, "abc")
    right = (y < 0) | (y == output)
    assert (exact.wrong, exact.n) == ((~right.all(1)).sum(), (y >= 0).any(1).sum())
    for label, score in enumerate(each):
        known = y[:, label] >= 0
        *wanted, _ = precision_recall_fscore_support(
            y[known, label], output[known, label], average="binary"
        )
        assert (score.wrong, score.n) == ((~right[:, label]).sum(), known.sum())
        np.testing.assert_allclose(score[3:], 100 * np.array(wanted))


def test_scores_of_masks_by_counting(runs):
    from sklearn.metrics import jaccard_score, precision_score, recall_score

    folder, dataset = runs["pixels"]
    model = predictor.load(folder)
    judged = pixels.judge(model, dataset.x_test, dataset.y_test)
    output, known = model.predict(dataset.x_test), dataset.y_test >= 0
    true, found = dataset.y_test[known], output[known]
    table = pixels.scores(judged.counts, NAMES["pixels"])
    for column, measure in (("iou", jaccard_score), ("precision", precision_score)):
        wanted = measure(true, found, average=None)
        np.testing.assert_allclose([getattr(row, column) for row in table], 100 * wanted)
    wanted = recall_score(true, found, average=None)
    np.testing.assert_allclose([row.recall for row in table], 100 * wanted)
    assert [row.n for row in table] == np.bincount(true).tolist()
    shares = [np.mean((output == dataset.y_test)[i][known[i]]) for i in range(9)]
    np.testing.assert_allclose(judged.accuracy, shares)


def save_images(folder, x):
    folder.mkdir(parents=True)
    for name, image in zip("hgfedcba", x, strict=False):
        Image.fromarray(image[..., 0]).save(folder / f"{name}.png")


def test_predicted_masks(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder, _ = runs["pixels"]
    x, _ = images(3, 5)
    save_images(tmp_path / "new", x)
    flags = [f"--workdir={folder}", "--input=new"]
    run(predict.main, *flags, "--overlay", "--denoised")
    output = capsys.readouterr().out
    assert (
        "masks of 3 example(s) are in predictions\n" in output and "predictions.overlay" in output
    )
    wanted = predictor.load(folder)(x)
    for name, image, mask in zip("hgf", x, wanted.predictions, strict=True):
        path = tmp_path / "predictions" / f"{name}.png"
        np.testing.assert_array_equal(read_mask(path, SIZE, SIZE), mask)
        with Image.open(path) as opened:
            assert opened.mode == "P" and path.read_bytes()[24] == 8  # bits
            np.testing.assert_array_equal(np.asarray(opened.convert("RGB")), masks.PALETTE[mask])
        blended = np.asarray(Image.open(tmp_path / "predictions.overlay" / f"{name}.png"))
        np.testing.assert_allclose(blended, (image + 1.0 * masks.PALETTE[mask]) / 2, atol=0.51)
    with np.load("predictions.denoised.npz") as found:
        np.testing.assert_array_equal(found["denoised"], wanted.denoised[[2, 1, 0]])
    with pytest.raises(ConfigError, match=r"predictions holds files; .*--overwrite_output"):
        run(predict.main, *flags)
    (tmp_path / "predictions" / ".DS_Store").touch()
    run(predict.main, *flags, "--overwrite_output")
    np.savez("new.npz", x=x[:2])
    run(predict.main, f"--workdir={folder}", "--input=new.npz", "--output=of_rows")
    assert sorted(path.name for path in (tmp_path / "of_rows").iterdir()) == ["0.png", "1.png"]


def test_predicted_numbers(runs, tmp_path):
    folder, _ = runs["numbers"]
    np.savez(tmp_path / "new.npz", x=rows("numbers", 5, 3)[0])
    flags = [f"--workdir={folder}", f"--input={tmp_path}/new.npz", f"--output={tmp_path}/a.csv"]
    run(predict.main, *flags)
    with (tmp_path / "a.csv").open(newline="") as file:
        heading, *lines = csv.reader(file)
    assert heading == ["row", "a & b", "length", "sd_a & b", "sd_length"]
    found, model = np.array(lines, float), predictor.load(folder)
    x = rows("numbers", 5, 3)[0]
    precision = 1e-7 * np.array([100, 1])
    for part, wanted in ((found[:, 1:3], model.predict(x)), (found[:, 3:], model.uncertainty(x))):
        assert (abs(part - wanted) <= precision).all()
    assert max(map(len, itertools.chain(*lines))) <= len("-1000000.123456")


def test_predicted_labels(runs, tmp_path):
    folder, _ = runs["several"]
    x = rows("several", 5, 3)[0]
    np.savetxt(tmp_path / "new.csv", x, delimiter=",")
    flags = [f"--workdir={folder}", f"--input={tmp_path}/new.csv", f"--output={tmp_path}/a.csv"]
    run(predict.main, *flags)
    with (tmp_path / "a.csv").open(newline="") as file:
        heading, *lines = csv.reader(file)
    assert heading == ["row", "x", "y", "z", "p_x", "p_y", "p_z"]
    found, model = np.array(lines, float), predictor.load(folder)
    np.testing.assert_array_equal(found[:, 1:4], model.predict(x))
    np.testing.assert_allclose(found[:, 4:], model.predict_proba(x), rtol=1e-5)


def test_evaluate(trained, tmp_path, capsys):
    kind, folder, dataset = trained
    x, y = rows(kind, 9, 1)
    np.savez(tmp_path / "new.npz", x=x, y=y, kind=kind)
    run(evaluate.main, f"--workdir={folder}", f"--dataset={tmp_path}/new.npz")
    output = capsys.readouterr().out
    result = json.loads((folder / "result.json").read_text())
    heading = {"pixels": "class ", "numbers": "number", "several": "label "}[kind]
    assert "9 examples" in output and f"\n{heading}" in output
    for name in set(SHOWN[kind]):
        value = result[f"test_{name}"]
        shown = f"{value:.2f} %" if kind != "numbers" else f"{value:.4g}"
        assert shown in output, name
    lines = {line.split("  ")[0] for line in output.splitlines()}
    assert lines >= set(NAMES[kind])
    if kind == "pixels":
        save_images(tmp_path / "set" / "images", x[:8])
        (tmp_path / "set" / "masks").mkdir()
        for name, mask in zip("hgfedcba", y, strict=False):
            masks.write_png(tmp_path / "set" / "masks" / f"{name}.png", masks.as_bytes(mask))
        run(evaluate.main, f"--workdir={folder}", f"--dataset={tmp_path}/set")
        counts = pixels.judge(predictor.load(folder), dataset.x_test[:8], dataset.y_test[:8]).counts
        output = capsys.readouterr().out
        assert f"{counts.trace()} of {8 * (SIZE**2 - 1)} labelled pixels" in output


def test_export(trained, tmp_path, capsys, monkeypatch):
    kind, folder, dataset = trained
    path = tmp_path / "model.stablehlo"
    run(export.main, f"--workdir={folder}", f"--output={path}")
    words = {"pixels": "class probabilities of each pixel", "numbers": "numbers"}
    assert f"{words.get(kind, 'label probabilities')} for cpu" in capsys.readouterr().out
    about = json.loads(exporting.description_path(path).read_text())
    assert about["target"] == predictor.load(folder).target.name
    np.savez(tmp_path / "new.npz", x=rows(kind, 2, 1)[0])
    monkeypatch.setattr(sys, "argv", ["", str(path), str(tmp_path / "new.npz")])
    runpy.run_path(str(LOADER))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and all(line.startswith(f"{NAMES[kind][0]}=") for line in lines)
    if kind == "numbers":
        value = float(lines[0].split("=")[1].split(" length")[0])
        assert value == pytest.approx(predictor.load(folder).predict(dataset.x_test)[0, 0])


@pytest.mark.parametrize(
    ("kind", "flags", "message"),
    [
        ("numbers", ["--overlay"], "--overlay, but the run was trained on numbers, not masks"),
        ("numbers", ["--denoised"], "does not decode its input"),
        ("pixels", ["--output=file"], "file is a file; masks go to a folder"),
        ("pixels", ["--output=a/b"], "a is not a folder; make it first"),
        ("pixels", ["--output=."], "give the name of a folder in it"),
        ("pixels", ["--output=held", "--overwrite_output"], r"held holds a\.txt, no PNG file"),
        ("pixels", ["--input=small"], r"a\.png: 4 x 4 pixels; wanted 10 x 10, as in training"),
        ("pixels", ["--input=small", "--output=small", "--overwrite_output"], "the examples"),
        ("pixels", ["--input=wrong.npz"], r"shape \(2, 7, 7\); wanted \[n, 10, 10, 1\]"),
        ("several", ["--input=small"], "no image"),
    ],
)
def test_bad_predictions(runs, tmp_path, monkeypatch, kind, flags, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "held").mkdir()
    (tmp_path / "held" / "a.txt").touch()
    (tmp_path / "small").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "small" / "a.png")
    np.savez("wrong.npz", x=np.zeros((2, 7, 7)))
    np.savez("new.npz", x=rows(kind, 2)[0])
    before = sorted(tmp_path.rglob("*"))
    inputs = [] if any(flag.startswith("--input") for flag in flags) else ["--input=new.npz"]
    with pytest.raises((ConfigError, errors.DataError), match=message) as raised:
        run(predict.main, f"--workdir={runs[kind][0]}", *inputs, *flags)
    assert "\n" not in str(raised.value) and sorted(tmp_path.rglob("*")) == before


MASKS = np.zeros((3, SIZE, SIZE), np.uint8)
ROWS = np.zeros((3, 5))


@pytest.mark.parametrize(
    ("kind", "arrays", "message"),
    [
        ("pixels", {"x": MASKS, "y": np.arange(3)}, r"shape \(3,\); give masks of class numbers"),
        ("pixels", {"x": MASKS, "y": MASKS[:, :4]}, "masks are 4 x 10, but examples are 10 x 10"),
        ("pixels", {"x": MASKS, "y": MASKS + 7}, "label 7 in row 0, .* labels run from 0 to 1"),
        ("pixels", {"x": MASKS[:, :4], "y": MASKS[:, :4]}, r"shape \(3, 4, 10\); wanted"),
        ("numbers", {"x": ROWS, "y": np.zeros((3, 3))}, "3 labels per row; wanted 2"),
        ("numbers", {"x": ROWS, "y": ROWS[:, :2], "kind": "classes"}, "kind is 'classes', but in"),
        ("several", {"x": ROWS, "y": ROWS[:, :3]}, "dtype float64; give a matrix of 0, 1"),
        ("several", {"x": ROWS, "y": np.full((3, 3), 2)}, "label 2 in row 0"),
        ("several", {"x": ROWS, "y": np.eye(3, dtype=int), "class_names": list("abc")}, "trained"),
    ],
)
def test_bad_test_sets(runs, tmp_path, kind, arrays, message):
    np.savez(tmp_path / "new.npz", **arrays)
    with pytest.raises(errors.DataError, match=message) as raised:
        run(evaluate.main, f"--workdir={runs[kind][0]}", f"--dataset={tmp_path}/new.npz")
    assert "\n" not in str(raised.value)


def test_test_sets_of_another_kind_are_refused(runs, tmp_path):
    folder, _ = runs["numbers"]
    with pytest.raises(errors.DataError, match="digits has labels that are classes, but the run"):
        run(evaluate.main, f"--workdir={folder}", "--dataset=digits")
    save_images(tmp_path / "images", images(2)[0])
    with pytest.raises(
        errors.DataError, match="a folder of images, but the run was trained on num"
    ):
        run(evaluate.main, f"--workdir={folder}", f"--dataset={tmp_path}")


def test_images_of_the_same_name_are_refused(runs, tmp_path):
    folder, _ = runs["pixels"]
    for name in ("cat.jpg", "cat.png"):
        (tmp_path / "new").mkdir(exist_ok=True)
        Image.new("L", (SIZE, SIZE)).save(tmp_path / "new" / name)
    flags = [f"--workdir={folder}", f"--input={tmp_path}/new", f"--output={tmp_path}/masks"]
    with pytest.raises(errors.DataError, match=r"cat\.png: two images are named so"):
        run(predict.main, *flags)
    (tmp_path / "new" / "cat.png").unlink()
    run(predict.main, *flags)
    assert [path.name for path in (tmp_path / "masks").iterdir()] == ["cat.png"]


def test_masks_hold_at_most_255_classes(tmp_path):
    with pytest.raises(errors.DataError, match="256 classes, but a PNG mask holds 255"):
        masks.check_classes(256)
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    masks.write_png(tmp_path / "mask.png", every)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png", 16, 16), every)
    assert len(np.unique(masks.PALETTE, axis=0)) == 256


SIGHTS = {  # for colours in linear light (Machado, Oliveira & Fernandes 2009, severity 1)
    "normal": np.eye(3),
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


@pytest.mark.parametrize("sight", SIGHTS)
def test_first_colours_and_that_of_no_label_differ_visibly(sight):
    """In CIELAB, a difference of about 2 is just noticeable."""
    share = masks.PALETTE[[*range(12), 255]] / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.transpose(SIGHTS[sight]), 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = seen @ np.transpose(to_xyz) / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    lab = np.stack(
        [116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1
    )
    for one, other in itertools.combinations(lab, 2):
        assert np.linalg.norm(one - other) > 25
