"""Runs whose folder is in a bucket: their files equal those of runs on a disk."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time

import commands
import fake_bucket
import jax
import numpy as np
import pytest
from fake_bucket import ForbiddenError
from stops import StopError, stop_at

from ladder_jax import checkpoints, data, errors, exporting, loop, population, predictor, report
from ladder_jax.config import Config
from ladder_jax.errors import ConfigError, WriteError
from ladder_jax.estimators import LadderClassifier
from ladder_jax.run import files, workfolder
from ladder_jax.run.files import Log
from ladder_jax.run.workfolder import METRICS, lines_in, read_lines

ROOT = pathlib.Path(__file__).parent.parent
# Differs from test_checkpoints.py only in the preprocessing: compiled once for both.
OWN = Config(
    dataset="own",
    labels=8,
    units=(3,),
    batch_unlabeled=10,
    batch_labeled=4,
    validation=10,
    epochs=8,
    eval_every=1,
    checkpoint_seconds=0.0,
    ema_decay=0.5,
    preprocess="standardize",
)
OUTPUTS = ("params.npz", "best.npz", "metrics.jsonl", "labels.json", "config.json")


def own_data(rows=40):
    x = np.random.default_rng(0).normal(size=(rows, 4)).astype(np.float32)
    return data.from_arrays(x, (x[:, 0] > 0).astype(int), x, (x[:, 0] > 0).astype(int))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Changes to an empty folder, which must stay empty; the bucket is in another."""
    objects, here = tmp_path / "objects", tmp_path / "here"
    objects.mkdir(), here.mkdir()
    monkeypatch.setenv("FAKE_BUCKET", str(objects))
    monkeypatch.setenv("EPATH_USE_TF", "false")
    monkeypatch.chdir(here)
    fake_bucket.register()
    fake_bucket.WRITTEN.clear()
    yield here
    assert not any(here.iterdir())


def command(module, *flags, cwd):
    """Starts a command in its own process, with the fake bucket."""
    environment = {"FAKE_BUCKET": os.environ["FAKE_BUCKET"]}
    return commands.begin("fake_bucket", module, *flags, folder=cwd, **environment)


def output_of(process):
    """Returns what a process printed, and checks that it succeeded."""
    printed, errors = process.communicate()
    assert process.returncode == 0, errors
    return printed


def test_bucket_paths_of_windows():
    assert files.is_bucket(pathlib.PureWindowsPath("gs://bucket/run"))
    assert not files.is_bucket(pathlib.PureWindowsPath("g:/bucket/run"))


def test_resume_with_a_corrupt_checkpoint(here, tmp_path, caplog):
    uninterrupted = loop.train_and_evaluate(OWN, tmp_path / "whole", dataset=own_data())
    run = files.as_path("gs://bucket/some/run")
    for epoch in (2, 5):
        with pytest.raises(StopError):
            loop.train_and_evaluate(OWN, run, dataset=own_data(), progress=stop_at(epoch))
    # The last two and the best exist; which they are depends on how fast one is written.
    *best, before, newest = checkpoints.epochs_in(run / "checkpoints")
    assert len(best) <= 1 and newest < 5
    corrupt = run / "checkpoints" / str(newest)
    corrupt.write_bytes(corrupt.read_bytes()[:-5])
    epochs = []
    result = loop.train_and_evaluate(
        OWN, str(run), dataset=own_data(), progress=lambda line: epochs.append(line["epoch"])
    )
    assert epochs == list(range(before + 1, 9))
    (warning,) = [r.getMessage() for r in caplog.records if r.name == "ladder_jax"]
    assert "checksum is wrong" in warning
    moved = f"unreadable-{newest}"
    assert f"gs://bucket/some/run/{moved}" in warning
    for name in OUTPUTS:
        assert (tmp_path / "whole" / name).read_bytes() == (run / name).read_bytes(), name
    assert result.summary["best_epoch"] == uninterrupted.summary["best_epoch"]
    best = f"checkpoints/{result.summary['best_epoch']}"
    expected = {*OUTPUTS, "examples.json", "preprocess.npz", "result.json", moved, best}
    assert fake_bucket.names() == sorted(f"bucket/some/run/{name}" for name in expected)
    repeated = loop.train_and_evaluate(OWN, run, dataset=own_data(), progress=stop_at(1))
    assert repeated.summary == json.loads(json.dumps(result.summary))
    with pytest.raises(ConfigError, match="seed: 0 -> 3"):
        loop.train_and_evaluate(dataclasses.replace(OWN, seed=3), run, dataset=own_data())

    x = own_data().x_test
    local = predictor.load(tmp_path / "whole")(x)
    for folder in (run, run.parent / "run", pathlib.Path("gs://bucket/some/run")):
        remote = predictor.load(folder)(x)
        assert np.array_equal(remote.logits, local.logits)
    with pytest.raises(StopError):
        loop.train_and_evaluate(OWN, run, dataset=own_data(), progress=stop_at(1), overwrite=True)
    assert fake_bucket.names() == [
        f"bucket/some/run/{name}"
        for name in (
            "config.json",
            "examples.json",
            "labels.json",
            "metrics.jsonl",
            "preprocess.npz",
            moved,
        )
    ]


def test_log_shorter_than_the_checkpoints(here):
    run = files.as_path("s3://bucket/run")
    with pytest.raises(StopError):
        loop.train_and_evaluate(OWN, run, dataset=own_data(), progress=stop_at(5))
    (run / "metrics.jsonl").unlink()
    epochs = []
    loop.train_and_evaluate(
        OWN, run, dataset=own_data(), progress=lambda line: epochs.append(line["epoch"])
    )
    assert epochs == list(range(1, 9)) and lines_in(run) == 8


def test_log_is_written_on_sync(here):
    folder = files.as_path("gs://bucket/run")
    with Log(folder / METRICS, 0) as log:
        log.append({"epoch": 1})
        log.append({"epoch": 2})
        assert lines_in(folder) == 0 and not fake_bucket.WRITTEN
        log.sync()
        assert lines_in(folder) == 2
        log.append({"epoch": 3})
        log.sync()
        log.sync()
        assert len(fake_bucket.WRITTEN) == 2
        log.append({"epoch": 4})
    assert [line["epoch"] for line in read_lines(folder)] == [1, 2, 3, 4]
    with Log(folder / METRICS, 2) as log:
        log.append({"epoch": "three"})
    assert [line["epoch"] for line in read_lines(folder)] == [1, 2, "three"]


def test_failed_write_keeps_the_old_file(here):
    path = files.as_path("gs://bucket/value.json")
    files.write_json(path, 1)
    with pytest.raises(ForbiddenError), files.replacing(path) as temporary:
        temporary.write_text("2")
        raise ForbiddenError  # raised by the content, not by writing
    assert path.read_text() == "1\n" and fake_bucket.names() == ["bucket/value.json"]
    with pytest.raises(WriteError, match=r"cannot write gs://b/forbidden: 403.*; check your acc"):
        files.write_json(files.as_path("gs://b/forbidden"), 1)


def test_population(here, tmp_path):
    config = dataclasses.replace(OWN, epochs=3, preprocess="none")
    members = {f"ladder-{seed}": dataclasses.replace(config, seed=seed) for seed in (0, 1)}
    population.train_population(members, tmp_path / "whole", dataset=own_data())
    with pytest.raises(StopError):
        population.train_population(
            members, "gs://bucket/all", dataset=own_data(), progress=stop_at(2)
        )
    assert any("/checkpoints-" in name for name in fake_bucket.names())
    population.train_population(members, "gs://bucket/all", dataset=own_data())
    for member in members:
        for name in OUTPUTS:
            path = files.as_path(f"gs://bucket/all/{member}/{name}")
            assert path.read_bytes() == (tmp_path / "whole" / member / name).read_bytes(), name


def test_estimator_and_export(here, tmp_path):
    x = own_data().x_train
    y = (x[:, 0] > 0).astype(int)
    model = LadderClassifier(units=(3,), epochs=1, batch_labeled=10, batch_unlabeled=10).fit(x, y)
    model.save("gs://bucket/model.npz")
    loaded = LadderClassifier.load("gs://bucket/model.npz")
    assert np.array_equal(loaded.predict_proba(x), model.predict_proba(x))
    exporting.write("gs://bucket/m.stablehlo", model.predictor_)
    written = files.as_path("gs://bucket/m.stablehlo").read_bytes()
    exported = jax.export.deserialize(bytearray(written))
    np.testing.assert_allclose(exported.call(x), model.predict_proba(x), rtol=1e-5)
    assert fake_bucket.names() == [
        f"bucket/{name}" for name in ("m.stablehlo", "m.stablehlo.json", "model.npz")
    ]


# The settings of test_stopping.py: compiled once for both.
SMALL = {"units": (8,), "denoising_cost": (1.0,), "batch_unlabeled": 400, "epochs": 60}
SMALL["eval_every"] = 20


def test_commands_after_a_kill(here, tmp_path):
    config = Config.create(SMALL)
    work = "gs://bucket/work"
    flags = [f"--config.{name}={value}" for name, value in SMALL.items()]
    flags += [f"--workdir={work}", "--compare=none", "--config.checkpoint_seconds=0.0"]
    run = files.as_path(work) / "ladder-0"
    process = command("experiments.train", *flags, cwd=here)
    while process.poll() is None and lines_in(run) < 3:
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert not (run / "result.json").exists()
    assert f"to look at: {work}/report.html" in output_of(
        command("experiments.train", *flags, cwd=here)
    )
    loop.train_and_evaluate(config, tmp_path / "whole")
    for name in ("params.npz", "metrics.jsonl", "labels.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (run / name).read_bytes(), name
    names = {name.removeprefix("bucket/work/") for name in fake_bucket.names()}
    figures = {name for name in names if "figures/" in name}
    assert {name.removeprefix("ladder-0/").split("/")[0] for name in figures} == {"figures"}
    names -= figures
    (events,) = {name for name in names if "/tensorboard/" in name}
    run_files = {"config.json", "labels.json", "examples.json", "metrics.jsonl"}
    run_files |= {"params.npz", "result.json"}
    run_paths = {f"ladder-0/{name}" for name in (*run_files, "report.html")}
    assert (
        names == {"config.json", "examples.json", "summary.json", "report.html", events} | run_paths
    )
    page = (run.parent / "report.html").read_text()
    assert 'href="ladder-0/report.html"' in page

    error = json.loads((run / "result.json").read_text())["test_error"]
    printed = output_of(command("experiments.evaluate", f"--workdir={work}", cwd=here))
    assert f"error          {error:.2f} %" in printed and f"{run} on digits" in printed
    np.savez(tmp_path / "new.npz", x=data.load("digits").x_test[:3])
    output = "gs://bucket/out/predictions.csv"
    predict_flags = [f"--workdir={work}", f"--input={tmp_path / 'new.npz'}", f"--output={output}"]
    output_of(command("experiments.predict", *predict_flags, "--denoised", cwd=here))
    rows = files.as_path(output).read_text().splitlines()
    classes = predictor.load(work)(data.load("digits").x_test[:3]).classes
    assert [row.split(",")[1] for row in rows[1:]] == [str(number) for number in classes]
    refused = command("experiments.predict", *predict_flags, cwd=here)
    assert "is there already" in refused.communicate()[1] and refused.returncode == 1
    output_of(
        command("experiments.export", f"--workdir={work}", "--output=gs://bucket/m", cwd=here)
    )
    report.write(run)  # replaces the first
    assert len([name for name in fake_bucket.names() if "/tensorboard/" in name]) == 1
    assert {"bucket/m", "bucket/m.json", "bucket/out/predictions.denoised.npz"} < {
        *fake_bucket.names()
    }


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("gs://unreachable/run", "cannot be reached \\(401: anonymous caller has no access\\)"),
        ("gs://bucket/forbidden", "workdir gs://bucket/forbidden: 403: you may not write here"),
        ("ftp://bucket/run", "ftp:// is not known; give gs:// or s3://"),
        ("gs://", "names no bucket"),
    ],
)
def test_unwritable_bucket(here, path, message):
    def never(line):
        raise AssertionError

    with pytest.raises(ConfigError, match=message) as caught:
        loop.train_and_evaluate(OWN, path, dataset=own_data(), progress=never)
    assert "\n" not in str(caught.value) and not fake_bucket.names()


@pytest.mark.parametrize("validation", [0, 10])
def test_bucket_that_fails_during_training(here, monkeypatch, validation):
    config = dataclasses.replace(OWN, validation=validation)

    def fail(line):
        if line["epoch"] == 2:
            monkeypatch.setattr(fake_bucket.FakeBucket, "open", forbid)
            monkeypatch.setattr(fake_bucket.FakeBucket, "ls", forbid)

    def forbid(*_, **__):
        raise ForbiddenError("503: come\nagain")

    with pytest.raises(WriteError) as caught:
        loop.train_and_evaluate(config, "gs://bucket/run", dataset=own_data(), progress=fail)
    message = str(caught.value)
    assert "come again; check your access to the bucket, then do the same again" in message
    assert "\n" not in message
    monkeypatch.undo()


def test_missing_library(here):
    program = (
        "import fsspec, sys; from experiments import train, cli, settings;"
        "fsspec.register_implementation('gcs', 'no_such_library.Bucket', clobber=True);"
        "cli.run(train.main, config='digits', shared=settings.SHARED)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    process = subprocess.run(
        [sys.executable, "-c", program, "--workdir=gs://bucket/run"],
        **{"cwd": here, "env": environment, "capture_output": True, "text": True},
    )
    (line,) = process.stderr.strip().splitlines()
    assert process.returncode == 1
    assert "gcsfs is not installed" in line and "pip install gcsfs, or 'ladder_jax[bucket]'" in line


def test_folders_that_must_be_on_a_disk(here):
    with pytest.raises(errors.DataError, match="read from a disk"):
        data.load("mnist", "gs://bucket/data")
    with pytest.raises(errors.DataError, match="read from a disk"):
        data.prepare("mnist", "gs://bucket/data")
    for module, flags in {
        "experiments.sweep": ["--validation=200", "--workdir=gs://bucket/sweep"],
        "experiments.make_splits": ["--dataset=digits", "--out=gs://bucket/digits.npz"],
    }.items():
        process = command(module, *flags, cwd=here)
        (line,) = process.communicate()[1].strip().splitlines()
        assert process.returncode == 1 and "cannot be in a bucket; give a path on a disk" in line
    assert not fake_bucket.names()


def test_paths_on_a_disk_are_unchanged(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files.as_path("~/run") == tmp_path / "run"
    for name in ("run", "C:/run", "a/gs:/b", pathlib.Path("x")):
        assert files.as_path(name) == pathlib.Path(name)
    with workfolder.open_run(tmp_path / "gs", Config()) as folder:
        assert isinstance(folder, pathlib.Path)
