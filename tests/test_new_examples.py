"""The commands that read a finished run: evaluate, predict, export."""

import csv
import errno
import json
import os
import pathlib
import re
import shutil

import numpy as np
import pytest
from absl.testing import flagsaver
from PIL import Image
from tiny_predictors import NAMES, rows, tiny, write_run

from experiments import cli, evaluate, export, new_examples, predict
from ladder_jax import errors, exporting, predictor
from ladder_jax.config import Config
from ladder_jax.errors import ConfigError
from ladder_jax.run import files

SHAPE = (2, 3)


def run(main, *flags):
    """Runs a command in this process with only these flags."""
    with flagsaver.flagsaver():
        cli._parse(["command", *flags], None)
        main()


def read_table(path):
    with path.open(newline="") as file:
        heading, *lines = csv.reader(file)
    return heading, lines


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Returns the folder of a run and the file that it was trained on."""
    folder = tmp_path_factory.mktemp("run")
    x, y = rows(SHAPE, 60), np.arange(60) % 3
    path = folder / "mine.npz"
    np.savez(path, x=x, y=y, x_test=x[:31], y_test=y[:31], class_names=NAMES)
    settings = {"preprocess": "standardize", "dataset": str(path)}
    write_run(folder / "work" / "ladder-0", tiny(SHAPE, **settings), **settings)
    return folder / "work", path


def test_batch_of_one_equals_batch_of_a_thousand(tmp_path):
    ladder, x = tiny(preprocess="standardize"), rows(SHAPE, 1000)
    outputs = []
    for name, examples in (("all", x), ("one", x[[700]])):
        np.savez(tmp_path / f"{name}.npz", x=examples)
        path, estimates = tmp_path / f"{name}.csv", tmp_path / f"{name}.denoised.npz"
        assert predict.denoised_path(path) == estimates
        parts = new_examples.read(tmp_path / f"{name}.npz", SHAPE)
        assert predict.predict(ladder, parts, path, estimates) == len(examples)
        with np.load(estimates) as arrays:
            outputs.append((*read_table(path), arrays["denoised"]))
    (heading, lines, denoised), (_, single, denoised_single) = outputs
    assert heading == ["row", "class", "probability", *(f"p_{name}" for name in NAMES)]
    assert lines[700][1:] == single[0][1:] and (lines[700][0], single[0][0]) == ("700", "0")
    np.testing.assert_array_equal(denoised[[700]], denoised_single)
    predicted = ladder(x)
    written = np.array([line[3:] for line in lines], np.float32)
    np.testing.assert_array_equal(written, predicted.probabilities.astype(np.float32))
    assert [line[1] for line in lines] == [NAMES[i] for i in predicted.classes]
    assert all(line[2] == max(line[3:], key=float) for line in lines)
    np.testing.assert_array_equal(denoised, predicted.denoised.reshape(x.shape))


def test_errors_leave_no_files(tmp_path):
    decoding, without_decoder = tiny(), tiny(combinators=("none",), denoising_cost=(0.0,))
    text = "a,b,c,d,e,f\n" + "1,2,3,4,5,6\n" * 300 + "1,2,3\n"
    (tmp_path / "ragged.csv").write_text(text)
    np.savez(tmp_path / "good.npz", x=rows(SHAPE))
    before = sorted(tmp_path.iterdir())
    out, estimates = tmp_path / "out.csv", tmp_path / "out.npz"
    for ladder, name, message in (
        (decoding, "ragged.csv", "line 302: 3 values"),
        (decoding, "nowhere.npz", "No such file"),
        (without_decoder, "good.npz", "does not decode its input; leave --denoised out"),
    ):
        with pytest.raises((errors.DataError, ConfigError), match=message):
            predict.predict(ladder, new_examples.read(tmp_path / name, SHAPE), out, estimates)
        assert sorted(tmp_path.iterdir()) == before


def test_full_disk(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    parts = [new_examples.Part(["0"], rows(SHAPE, 1))]
    with pytest.raises(errors.WriteError, match=r"^cannot write \S+denoised.npz: No space"):
        predict.predict(tiny(), parts, tmp_path / "a.csv", tmp_path / "a.denoised.npz")
    assert not any(tmp_path.iterdir())


def test_advice_matches_the_cause(tmp_path):
    (tmp_path / "file").touch()
    for path, advice in (
        (tmp_path / "nowhere" / "a.json", "make its folder first"),
        (tmp_path / "file" / "a.json", "that has no file among its folders"),
        (tmp_path, "give the name of a file"),
        (tmp_path / ("a" * 252), "give a shorter name"),
    ):
        with pytest.raises(errors.WriteError, match=f"^cannot write {path}: .*{advice}"):
            files.write_json(path, 1)
    for code, advice in (
        (errno.EROFS, "give a folder that may be written"),
        (errno.EACCES, "give a folder that may be written"),
        (errno.EDQUOT, "make room"),
        (errno.EIO, "fix that, or give another path"),
    ):
        assert advice in files.advice(OSError(code, os.strerror(code)), tmp_path)
        assert advice in files.advice(
            ValueError(f"INTERNAL: {os.strerror(code)} [write]"), tmp_path
        )
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_probe_of_a_folder_may_be_removed_by_another_process(tmp_path, monkeypatch):
    monkeypatch.setattr(pathlib.Path, "touch", lambda path: None)
    files.make_writable(tmp_path / "new")
    assert not any((tmp_path / "new").iterdir())


def test_predict_command(trained, tmp_path, capsys, monkeypatch):
    work, path = trained
    monkeypatch.chdir(tmp_path)
    flags = [f"--workdir={work}", f"--input={path}"]
    run(predict.main, *flags, "--denoised")
    printed = capsys.readouterr().out
    assert "60 example(s) are in predictions.csv" in printed and "units of standardize" in printed
    first = (tmp_path / "predictions.csv").read_bytes()
    with pytest.raises(ConfigError, match=r"predictions\.csv is there already"):
        run(predict.main, *flags)
    (tmp_path / "predictions.csv").write_text("old")
    run(predict.main, *flags, "--overwrite_output")
    assert (tmp_path / "predictions.csv").read_bytes() == first


def scaled_run(folder, scale):
    """Writes a run whose training rows had this scale, and returns its folder."""
    write_run(folder, tiny(SHAPE, preprocess="standardize"), preprocess="standardize")
    summary = json.loads((folder / "result.json").read_text())
    files.write_json(folder / "result.json", summary | {"scale": scale})
    return folder


def test_meaning_of_the_first_line_is_printed(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "new.csv").write_text("1,2,3,4,5,6\n1,1,0,1,1,1\n")
    flags = [f"--workdir={trained[0]}", "--input=new.csv", "--overwrite_output"]
    for header, meaning, count in (("yes", "names", 1), ("no", "an example", 2)):
        run(predict.main, *flags, f"--header={header}")
        lines = capsys.readouterr().out
        assert f"first line of new.csv taken as {meaning}\n" in lines and f"of {count} ex" in lines
        assert len(read_table(tmp_path / "predictions.csv")[1]) == count
    with pytest.raises(errors.DataError, match="or column names; say --header=yes or --header=no"):
        run(predict.main, *flags)


def test_predictions_agree_across_forms(tmp_path, monkeypatch):
    """A run on bytes: the same images as PNG, bytes, other integers, floats and text."""
    monkeypatch.chdir(tmp_path)
    work, x = scaled_run(tmp_path / "run", "bytes"), (255 * rows(SHAPE, 5)).astype(np.uint8)
    (tmp_path / "png").mkdir()
    for i, image in enumerate(x):
        Image.fromarray(image).save(tmp_path / "png" / f"{i}.png")
    np.savetxt(tmp_path / "whole.csv", x.reshape(5, 6), "%d", delimiter=",")
    np.savetxt(tmp_path / "scaled.csv", x.reshape(5, 6) / 255, delimiter=",")
    for name, array in (("u1", x), ("i8", x.astype(int)), ("f8", x / 255)):
        np.savez(tmp_path / f"{name}.npz", x=array, y=np.arange(5) % 3)
    probabilities = []
    for source in ("u1.npz", "i8.npz", "f8.npz", "png", "whole.csv", "scaled.csv"):
        run(predict.main, f"--workdir={work}", f"--input={source}", f"--output={source}.out")
        table = read_table(tmp_path / f"{source}.out")[1]
        probabilities.append(np.array([line[3:] for line in table], float))
        np.testing.assert_allclose(probabilities[-1], probabilities[0], rtol=1e-5)
    assert len({tuple(row) for row in probabilities[0].round(6).tolist()}) > 1
    run(predict.main, f"--workdir={work}", "--input=png/3.png", "--output=one.csv")
    (line,) = read_table(tmp_path / "one.csv")[1]
    assert line[0] == "3.png"
    np.testing.assert_allclose(np.array(line[3:], float), probabilities[0][3], rtol=1e-5)
    np.savez(tmp_path / "wrong.npz", x=x.astype(float), y=np.arange(5) % 3)
    with pytest.raises(
        errors.DataError, match=r"wrong\.npz, x: float64 from .* divide them by 255"
    ):
        run(predict.main, f"--workdir={work}", "--input=wrong.npz")
    with pytest.raises(errors.DataError, match=r"wrong\.npz: float64 from .* divide them by 255"):
        run(evaluate.main, f"--workdir={work}", "--dataset=wrong.npz")


def test_images_of_any_size(tmp_path, monkeypatch, capsys):
    """A run that scaled its images scales new and test images too; other runs refuse them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "new" / NAMES[1]).mkdir(parents=True)
    image = np.full((5, 7), 51, np.uint8)
    Image.fromarray(image).save(tmp_path / "new" / NAMES[1] / "a.png")
    for name, size in (("scaled", 4), ("as_it_is", 0)):
        write_run(tmp_path / name, tiny((4, 4)), image_size=size)
    flags = ["--workdir=scaled", f"--input=new/{NAMES[1]}"]
    run(predict.main, *flags)
    line = read_table(tmp_path / "predictions.csv")[1][0]
    expected = tiny((4, 4))(np.full((1, 4, 4), 51, np.uint8)).probabilities[0]
    np.testing.assert_allclose(np.array(line[3:], float), expected, rtol=1e-5)
    run(evaluate.main, "--workdir=scaled", "--dataset=new")
    assert " of 1 example" in capsys.readouterr().out
    for main, *arguments in ((predict.main, *flags[1:]), (evaluate.main, "--dataset=new")):
        with pytest.raises(errors.DataError, match="5 x 7 pixels; wanted 4 x 4, as in training"):
            run(main, "--workdir=as_it_is", "--overwrite_output", *arguments)


def test_named_dataset_on_another_scale(tmp_path):
    ladder = tiny((8, 8, 1))
    ladder.class_names = tuple(map(str, range(10)))
    ladder.fitted = ladder.fitted._replace(scale="pixels")
    with pytest.raises(errors.DataError, match="digits holds numbers from 0 to 1, but in training"):
        evaluate.examples(ladder, Config(dataset="mine.npz"), "digits", "")
    ladder.fitted = ladder.fitted._replace(scale="bytes")
    assert len(evaluate.examples(ladder, Config(dataset="mine.npz"), "digits", "")[0]) == 500


def test_values_that_mark_missing_data_are_refused(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = rows(SHAPE, 300)
    x[270, 1, 2] = -3.4e38
    np.savez("new.npz", x=x, y=np.zeros(300, int))
    message = r"-3\.4e\+38 in row 270, position \(1, 2\), is not finite"
    for main, flag in ((predict.main, "--input"), (evaluate.main, "--dataset")):
        with pytest.raises(errors.DataError, match=message):
            run(main, f"--workdir={trained[0]}", f"{flag}=new.npz", "--denoised")
    assert [path.name for path in tmp_path.iterdir()] == ["new.npz"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--input=MINE"], "--workdir is not given"),
        (["--workdir=RUN"], "--input is not given"),
        (["--workdir=nowhere", "--input=MINE"], "no such folder"),
        (["--workdir=.", "--input=MINE"], "holds no finished run"),
        (["--workdir=RUN", "--input=nowhere.csv"], r"nowhere\.csv: No such file"),
        (["--workdir=RUN", "--input=MINE", "--output=a/b.csv"], "a is not a folder"),
        (["--workdir=RUN", "--input=MINE", "--output=.."], "is a folder; give the name"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_bad_flags(trained, tmp_path, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    named = {"RUN": str(trained[0]), "MINE": str(trained[1])}
    flags = ["=".join(named.get(word, word) for word in flag.split("=")) for flag in flags]
    with pytest.raises((ConfigError, errors.DataError), match=message):
        run(predict.main, *flags)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("config.json", lambda c: c | {"colour": 1}),
        ("config.json", lambda c: 3),
        ("config.json", lambda c: c | {"preprocess": "contrast"}),
        ("result.json", lambda r: {k: v for k, v in r.items() if k != "class_names"}),
        ("result.json", lambda r: r | {"example_shape": "wide"}),
        ("result.json", lambda r: r | {"example_shape": [3, 2]}),
        ("result.json", lambda r: []),
    ],
)
def test_runs_of_another_version(trained, tmp_path, name, change):
    copy = shutil.copytree(trained[0] / "ladder-0", tmp_path / "run")
    (copy / name).write_text(json.dumps(change(json.loads((copy / name).read_text()))))
    out = tmp_path / "out.csv"
    for main in (predict.main, evaluate.main, export.main):
        with pytest.raises(ConfigError, match=r"run") as raised:
            run(main, f"--workdir={copy}", f"--input={trained[1]}", f"--output={out}")
        assert "\n" not in str(raised.value)
    assert not out.exists()


def test_evaluate(trained, tmp_path, capsys):
    work, path = trained
    ladder = predictor.load(work)
    with np.load(path) as arrays:
        x, y = arrays["x_test"], arrays["y_test"]
    run(evaluate.main, f"--workdir={work}")
    printed = capsys.readouterr().out
    p = ladder(x).probabilities.astype(np.float64)
    wrong = p.argmax(1) != y
    assert f"error          {100 * wrong.mean():.2f} %" in printed and "31 examples" in printed
    assert f"cross-entropy  {-np.log(p[np.arange(31), y]).mean():.4f}" in printed
    for number, name in enumerate(NAMES):
        of_class = wrong[y == number]
        assert re.search(f"\n{name} +{len(of_class)} +{100 * of_class.mean():.2f} ", printed)
    predicted = p.argmax(1)[:, None] == np.arange(3)
    hits = np.sum(predicted & (y[:, None] == np.arange(3)), axis=0)
    precision = 100 * hits / np.maximum(predicted.sum(0), 1)
    recall, f1 = 100 * hits / np.bincount(y), 200 * hits / (predicted.sum(0) + np.bincount(y))
    assert (
        f"macro average  precision {precision.mean():.2f} %, recall {recall.mean():.2f} %, "
        f"F1 {f1.mean():.2f} %" in printed
    )
    gap = sum(
        abs(np.sum(~wrong[in_bin]) - np.sum(p.max(1)[in_bin]))
        for in_bin in (np.ceil(p.max(1) * 15) == k for k in range(1, 16))
    )
    assert f"calibration    {100 * gap / 31:.2f} %  expected calibration error (ECE)" in printed
    np.savez(tmp_path / "new.npz", x=x[y == 2], y=y[y == 2])  # a single class
    run(evaluate.main, f"--workdir={work}", f"--dataset={tmp_path / 'new.npz'}")
    assert f"{wrong[y == 2].sum()} of 10 examples" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": rows(SHAPE), "y": np.full(40, 3)}, "label 3 in row 0; labels run from 0 to 2"),
        ({"x": rows(SHAPE), "y": np.full(40, -1)}, "label -1 in row 0"),
        ({"x": rows(SHAPE)}, "no array 'y'"),
        ({"x_test": rows(SHAPE), "x": rows(SHAPE), "y": np.zeros(40, int)}, "no array 'y_test'"),
        ({"x": rows((7,)), "y": np.zeros(40, int)}, r"shape \(40, 7\); wanted \[n, 2, 3\]"),
        ({"x": rows(SHAPE), "y": np.zeros(40, int), "class_names": ["a", "b", "c"]}, "trained on"),
    ],
)
def test_bad_test_sets(trained, tmp_path, arrays, message):
    np.savez(tmp_path / "new.npz", **arrays)
    with pytest.raises(errors.DataError, match=message):
        run(evaluate.main, f"--workdir={trained[0]}", f"--dataset={tmp_path / 'new.npz'}")


def test_training_examples_are_not_a_test_set(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, x=rows(SHAPE), y=np.arange(40) % 3)
    for name in ("", str(path)):
        with pytest.raises(errors.DataError, match="has no test set"):
            evaluate.examples(tiny(), Config(dataset=str(path)), name, "")


def test_export_command(trained, tmp_path, capsys):
    path = tmp_path / "ours.bin"
    run(export.main, f"--workdir={trained[0]}", f"--output={path}")
    assert path.stat().st_size and exporting.description_path(path).exists()
    assert "cpu, cuda, tpu" in capsys.readouterr().out
    path.unlink()
    with pytest.raises(ConfigError, match=r"ours\.bin\.json is there already"):
        run(export.main, f"--workdir={trained[0]}", f"--output={path}")
