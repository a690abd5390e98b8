"""The training command as users run it, with good and with bad input."""

import ast
import gzip
import importlib.util
import json
import os
import pathlib
import re
import shlex
import struct
import subprocess
import sys
import types

import commands
import numpy as np
import pytest
from absl import flags as absl_flags
from absl.testing import flagsaver
from commands import a_job, run_jobs
from data_files import write_idx

from experiments import cli, compare, configs, members, settings
from experiments.configs import base
from ladder_jax import Batch, data, predictor, report, targets
from ladder_jax.config import Config
from ladder_jax.data.base import check_examples
from ladder_jax.data.idx import FILES
from ladder_jax.errors import ConfigError, DataError
from ladder_jax.run import inputs, program, workfolder

ROOT = pathlib.Path(__file__).parent.parent
LIBRARY = ROOT / "ladder_jax"
SMALL = ["--config.epochs=2", "--config.units=(8,)", "--config.denoising_cost=(1.0,)"]


def train_in_new_process(*flags, **variables):
    """Runs the command in a new process, without the report unless requested."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"} | variables
    command = [sys.executable, "-m", "experiments.train", "--noreport", *flags]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def train(*flags):
    """Runs the command in a fork, which saves the imports, without the report."""
    command = commands.begin("experiments.train", "--noreport", *flags)
    output, errors = command.communicate()
    return subprocess.CompletedProcess(flags, command.returncode, output, errors)


def write_small(folder, images=120, size=3):
    """Writes a small set in the four files; labels cycle through the ten classes."""
    x = np.random.default_rng(0).integers(0, 256, (2, images, size, size))
    y = np.arange(images) % 10
    write_idx(folder, (x[0], y, x[1], y))


def test_writes_everything_and_refuses_to_overwrite(tmp_path):
    work = tmp_path / "work"
    flags = [*SMALL, f"--workdir={work}", "--seeds=2", "--compare=label_spreading", "--report"]
    done = train_in_new_process(*flags)
    assert done.returncode == 0, done.stderr
    assert (
        "ladder " in done.stdout and "label_spreading" in done.stdout and str(work) in done.stdout
    )
    run = work / "ladder-1"
    names = {path.name for path in run.iterdir()}
    assert names == {"config.json", "labels.json", "metrics.jsonl", "params.npz", "result.json"} | {
        "examples.json",
        "report.html",
        "tensorboard",
        "figures",
    }
    assert "warning" not in done.stderr and f"to look at: {work}/report.html" in done.stdout
    page = (work / "report.html").read_text()
    assert 'href="ladder-1/report.html"' in page and "label_spreading" in page
    assert json.loads((run / "config.json").read_text())["seed"] == 1
    labels = json.loads((run / "labels.json").read_text())
    y = data.load("digits").y_train[labels]
    assert np.bincount(y).tolist() == [10] * 10
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2] and "test_error" in lines[-1]
    result = json.loads((run / "result.json").read_text())
    assert result["test_error"] == pytest.approx(lines[-1]["test_error"])
    assert {"jax", "device"} <= set(result["versions"])
    assert result["command"] == shlex.join(
        ["python", "-m", "experiments.train", "--noreport", *flags]
    )
    assert 'href="../report.html"' in (run / "report.html").read_text()
    with np.load(run / "params.npz") as params:
        assert params["params/1/up/kernel"].shape == (64, 8)
    before = (work / "summary.json").read_bytes()
    again = train(*flags)
    assert again.returncode != 0 and "--overwrite" in again.stderr
    assert len(again.stderr.strip().splitlines()) == 1
    assert (work / "summary.json").read_bytes() == before


def test_variations_in_one_program(tmp_path):
    flags = [*SMALL, "--seeds=2", "--vary=learning_rate=0.001,0.01", "--population=on"]
    done = train(*flags, "--validation=200", "--compare=none", f"--workdir={tmp_path / 'work'}")
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "work" / "summary.json").read_text())
    assert list(summary) == ["ladder learning_rate=0.001", "ladder learning_rate=0.01"]
    assert all(len(row["errors"]) == 2 and row["min"] <= row["median"] for row in summary.values())
    assert "validation error" in done.stdout and "median" in done.stdout
    config = json.loads((tmp_path / "work" / "ladder-1-1" / "config.json").read_text())
    assert (config["learning_rate"], config["seed"]) == (0.01, 1)


def test_idx_files_from_a_folder(tmp_path):
    write_small(tmp_path)
    task = inputs.prepare(Config(dataset="mnist", data_dir=str(tmp_path), labels=20))
    assert task.train.unlabeled.shape == (120, 9) and task.train.labeled.shape == (20, 9)
    all_labels = inputs.prepare(Config(dataset="mnist", data_dir=str(tmp_path), labels=0))
    assert all_labels.sizes.tied


BAD_FLAGS = [
    (["--labels=5"], "at least one for each of the 10 classes"),
    (["--labels=105"], "cannot be shared equally"),
    (["--labels=5000"], "give fewer"),
    (["--labels=some"], "give a number, or 'all'"),
    (["--labels=²"], "give a number, or 'all'"),
    (["--dataset=minst"], "not known; known are"),
    (["--dataset=mnist"], "give the folder of its original files"),
    (["--dataset=mnist", "--data_dir=/nowhere"], "not a folder"),
    (
        ["--config=nothing"],
        "no such file; give a path, or one of cifar10, digits, fashion_mnist, mnist, table, "
        "table_numbers, textured_digits",
    ),
    (["--config=mnist:labels=7"], "--config=mnist:labels=7: full with labels=7 is not in the"),
    (["--config=mnist_100_ful"], "no model 'ful'; give model= one of full, bottom, gamma"),
    (["--config=mnist:row=full"], "no argument 'row'; give labels=LABELS,model=MODEL"),
    (["--config=digits:labels=50"], "digits takes no arguments"),
    (["--config.batch_unlabeled=5000"], "--config.batch_unlabeled=5000, but there are"),
    (["--config.epochs=many"], "epochs"),
    (["--config.epoch=3"], "did you mean --config.epochs"),
    (["--config.combinators=('gauss',)"], "give one of augmented_mlp"),
    (["--config.noise_std=(0.3, 0.3)"], "noise_std is a list of 2; give one value, or"),
    (["--config.batch_labeled=1"], "batch_labeled is 1"),
    (["--config.learning_rate=-1.0"], "learning_rate is -1.0"),
    (["--seeds=0"], "seeds"),
    (["--compare=nothing"], "compare"),
    (["--worksdir=x"], "did you mean --workdir"),
    (["--workdir=/dev/null/x"], "workdir /dev/null/x"),
    (["--vary=learning_rate=0.1"], "--validation=200"),
    (["--vary=epochs=3", "--validation=200"], "not one of learning_rate"),
    (["--vary=noise_std=x", "--validation=200"], "give values"),
    (["--vary=noise_std=0.2", "--vary=noise_std=0.3", "--validation=200"], "a setting twice"),
    (["stray"], "unexpected argument"),
    (["--config.encoder=dense:5"], "encoder ends with 5 units, but the data have 10 classes"),
    (["--config.seed=4294967295", "--seeds=2"], "seed is 4294967296"),
    (["--config.label_choice=uniform", "--labels=20", "--seeds=9"], "no label is left for class"),
    (["--workdir=~no such user/x"], "the home folder of its ~ is not known"),
]


def test_bad_flags_end_in_one_line(tmp_path):
    """Runs each in its own folder, which stays empty."""
    folders = [tmp_path / str(number) for number in range(len(BAD_FLAGS))]
    for folder in folders:
        folder.mkdir()
    jobs = [
        a_job(folder, "experiments.train", "--noreport", *flags)
        for folder, (flags, _) in zip(folders, BAD_FLAGS, strict=True)
    ]
    for (flags, message), folder, (status, output) in zip(
        BAD_FLAGS, folders, run_jobs(jobs), strict=True
    ):
        assert status and message in output, (flags, output)
        assert len(output.strip().splitlines()) == 1, (flags, output)
        assert not any(folder.iterdir()), flags


def test_overwriting_removes_the_runs_of_an_earlier_command(tmp_path):
    runs = ["ladder-0", "ladder-1-12", "supervised-3", "checkpoints-0123abcd"]
    others = ["ladder", "ladder-0-notes", "mine"]
    for name in runs + others:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    compare.remove_runs(tmp_path, "ladder", "supervised")
    assert sorted(path.name for path in tmp_path.iterdir()) == others


def test_wrong_settings_overwrite_nothing(tmp_path):
    earlier = tmp_path / "ladder-0" / "result.json"
    earlier.parent.mkdir()
    earlier.write_text("{}")
    done = train(f"--workdir={tmp_path}", "--overwrite", "--config.encoder=dense:5")
    assert done.returncode == 1 and "encoder ends with 5 units" in done.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [earlier]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "from experiments.configs import base\nget_config = lambda: base.dict(1)\n",
            "no attribute",
        ),
        ("get_config = lambda: {}\n", "returns a dict; return base.config_dict"),
        ("settings = 1\n", "KeyError: 'get_config'"),
        ("def get_config(:\n", "SyntaxError"),
    ],
)
def test_config_files_that_cannot_be_read(tmp_path, monkeypatch, content, message):
    (tmp_path / "mine.py").write_text(content)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=rf"^--config={tmp_path}/mine.py: .*{message}"):
        cli.config_path("~/mine.py")
    (tmp_path / "mine.py").write_text((configs.FOLDER / "digits.py").read_text())
    assert cli.config_path("~/mine.py") == f"{tmp_path}/mine.py"
    with pytest.raises(ConfigError, match="takes 0 positional arguments"):
        cli.config_path("~/mine.py:x")


def test_outputs_that_are_closed_or_full(tmp_path):
    def status(command, redirected):
        shell = f"{shlex.quote(sys.executable)} -m {command} {redirected}"
        environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
        done = subprocess.run(
            ["sh", "-c", shell], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        return done.returncode, done.stderr

    assert status("experiments", ">&- 2>&-") == (0, "")
    if pathlib.Path("/dev/full").exists():
        full = status("experiments", ">/dev/full")
        assert full == (1, "error: [Errno 28] No space left on device\n")


def test_former_runs_that_are_damaged_end_in_one_line(tmp_path):
    for name in ("labels.json", "metrics.jsonl"):
        (tmp_path / name).write_text("[1, 2\n")
    with pytest.raises(ConfigError, match=r"labels.json is not what a run writes"):
        workfolder.check_data(tmp_path, {workfolder.LABELED: [1]})
    with pytest.raises(ConfigError, match=r"metrics.jsonl is not what a run writes"):
        workfolder.read_lines(tmp_path)


def test_compilation_cache_in_the_home_folder(tmp_path, monkeypatch):
    updates = {}
    monkeypatch.setattr(settings.jax, "config", types.SimpleNamespace(update=updates.__setitem__))
    monkeypatch.setenv("HOME", str(tmp_path))
    absl_flags.FLAGS.mark_as_parsed()
    with flagsaver.flagsaver(compilation_cache="~/programs"):
        settings.keep_programs()
    assert updates["jax_compilation_cache_dir"] == str(tmp_path / "programs")


def test_undefined_errors_are_refused():
    result = types.SimpleNamespace(summary={"test_error": None, "validation_error": 2.5})
    assert compare.error_of("ladder-0", result, "validation") == 2.5
    with pytest.raises(DataError, match=r"^ladder-0: the test error is not a finite number"):
        compare.error_of("ladder-0", result, "test")


def messages_of(path):
    """Yields the strings of a file that users may see: neither single words nor docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        value = getattr(node, "value", None) if isinstance(node, ast.Constant) else None
        if isinstance(value, str) and " " in value and id(node) not in docstrings:
            yield value


def test_library_messages_name_no_flag_or_command():
    """Checks every module except those of ``data``."""
    paths = [p for p in LIBRARY.rglob("*.py") if p.relative_to(LIBRARY).parts[0] != "data"]
    found = [(path.name, text) for path in paths for text in messages_of(path)]
    assert len(found) > 100
    assert not [pair for pair in found if re.search(r"--[a-z]|python -m|experiments\.", pair[1])]
    assert any("overwrite=True" in text for _, text in found)


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("give another, or overwrite=True to", "give another, or --overwrite to"),
        ("labels=5, seed=3: labels=0 is all", "--labels=5, --config.seed=3: --labels=0 is all"),
        ("/a/seed=3/x: --labels=5, units=(3,)", "/a/seed=3/x: --labels=5, --config.units=(3,)"),
        ('Try preprocess="standardize", as', 'Try --config.preprocess="standardize", as'),
        ("give JAX_PLATFORMS=cpu", "give JAX_PLATFORMS=cpu"),
    ],
)
def test_parameters_are_shown_as_flags(message, shown):
    assert cli.as_flags(message, ["config", "labels", "overwrite"]) == shown
    assert cli.as_flags(message, []) == message


def test_commands_that_replace_no_run_do_not_offer_to():
    message = f"workdir x is not empty; {workfolder.ELSEWHERE}."
    assert cli.as_flags(message, ["workdir"]) == "workdir x is not empty; give another folder."
    assert "or --overwrite to replace what is in it." in cli.as_flags(message, ["overwrite"])


@pytest.mark.parametrize(
    ("platform", "message"),
    [
        ("cuda", "JAX_PLATFORMS=cuda is not available here"),
        ("abacus", "'abacus' is not in the list of known backends"),
        ("broken", "initialize(): no driver"),
    ],
)
def test_unavailable_platforms_end_in_one_line(tmp_path, platform, message):
    if platform == "cuda" and importlib.util.find_spec("jax_plugins"):
        pytest.skip("jax has plugins here, so CUDA may be there")
    plugins = tmp_path / "plugins" / "jax_plugins" / "broken"
    plugins.mkdir(parents=True)
    failing = platform == "broken"
    text = "def initialize():\n    raise RuntimeError('no driver\\nand more')\n" if failing else ""
    (plugins / "__init__.py").write_text(text or "def initialize(): pass\n", encoding="utf-8")
    paths = os.pathsep.join([str(ROOT), str(tmp_path / "plugins")])
    work = tmp_path / "work"
    done = train_in_new_process(
        *SMALL, f"--workdir={work}", JAX_PLATFORMS=platform, PYTHONPATH=paths
    )
    assert done.returncode == 1 and not work.exists()
    assert message in done.stderr and "give JAX_PLATFORMS=cpu" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


@pytest.mark.parametrize(
    ("config", "given", "changed"),
    [
        ("digits", {"units": (5, 5)}, {"denoising_cost": (1000.0, 10.0, 0.1, 0.1)}),
        ("digits", {"units": (5,)}, {"denoising_cost": (1000.0, 10.0, 0.1)}),
        ("digits", {"units": ()}, {"denoising_cost": (1000.0, 0.1)}),
        ("digits", {"encoder": "6-6-6-6-10"}, {"denoising_cost": (1000.0, 10.0, *[0.1] * 4)}),
        ("digits", {"units": (5, 5, 5)}, {}),
        ("digits", {"units": (5, 5), "denoising_cost": (1.0,) * 5}, {}),
        ("digits", {"epochs": 3}, {}),
        (
            "mnist_100_gamma",
            {"units": (5,)},
            {
                "combinators": ("none", "none", "gaussian"),
                "noise_std": (0.3, 0.3, 0.3),
                "denoising_cost": (0.0, 0.0, 0.5),
            },
        ),
    ],
)
def test_lists_follow_the_depth(config, given, changed):
    values = base.config_dict(configs.load(config)).to_dict()
    followed = members.followed(values | given, set(given))
    assert followed == changed
    if "denoising_cost" not in given:
        assert program.build_ladder(
            Config.create(values | given | followed), (64,), targets.classes(10)
        )


def test_lists_that_fit_no_rule_are_unchanged():
    values = {"units": (5,), "encoder": "", "combinators": ("gaussian",), "noise_std": (0.3,)}
    values["denoising_cost"] = (5.0, 4.0, 3.0, 2.0, 1.0)
    assert members.followed(values, {"units"}) == {}


@pytest.mark.parametrize("damage", ["missing", "short", "gzip", "magic", "count", "label"])
def test_bad_idx_files(tmp_path, damage):
    write_small(tmp_path)
    path = tmp_path / f"{FILES[1]}.gz"
    content = gzip.decompress(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "gzip":
        path.write_bytes(path.read_bytes()[:-12])
    else:
        count = struct.pack(">2I", 2049, 119)
        content = {
            "short": content[:-3],
            "magic": b"\0\0\0\0" + content[4:],
            "count": count + content[8:-1],
            "label": content[:-1] + b"\x0b",
        }[damage]
        path.write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match=str(tmp_path)):
        data.load("mnist", str(tmp_path))


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((2, 3)), np.array([0, 10]), "label 10 in row 1"),
        (np.zeros((2, 3)), np.array([0, -1]), "label -1 in row 1"),
        (np.zeros((2, 3)), np.array([0.0, 1.0]), "integers"),
        (np.array([[0.0], [np.nan]]), np.array([0, 1]), "first is row 1"),
        (np.array([[np.inf], [0.0]]), np.array([0, 1]), "first is row 0"),
        (np.zeros((3, 3)), np.array([0, 1]), "one label each"),
        (np.zeros((0, 3)), np.zeros(0, int), "no examples"),
    ],
)
def test_bad_examples(x, y, message):
    with pytest.raises(DataError, match=message):
        check_examples("train", x, y, classes=10)


def test_bad_settings():
    for bad in ({"epochs": 0}, {"epochs": True}, {"units": [0]}, {"decay_from": 2.0}, {"x": 1}):
        with pytest.raises(ConfigError, match=next(iter(bad))):
            Config.create(bad)
    with pytest.raises(ConfigError, match="not decoded"):
        config = Config(units=(5,), combinators=("none",) * 3, denoising_cost=(1.0,) * 3)
        program.build_ladder(config, (4,), targets.classes(2))


def test_supervised_takes_the_same_rows():
    config = Config(units=(8,), seed=3, labels=20)
    a, b = inputs.prepare(config), inputs.prepare(config.supervised())
    assert np.array_equal(a.labeled, b.labeled)
    net = program.build_ladder(config.supervised(), (64,), targets.classes(10))
    assert isinstance(Batch(*a.train), Batch) and net.hyper.denoising_cost.sum() == 0


def test_validation_is_held_out():
    task = inputs.prepare(Config(validation=200, labels=50))
    assert task.validation is not None
    rows = {row.tobytes() for row in np.asarray(task.train.unlabeled)}
    held_out = {row.tobytes() for row in np.asarray(task.validation[0])}
    assert len(held_out & rows) <= 2  # the set itself has a few equal images
    assert len(task.train.unlabeled) + len(task.validation[0]) == 1297


def test_ensemble_is_the_mean_of_ladders_that_share_their_labels(tmp_path):
    work = tmp_path / "work"
    flags = [*SMALL, "--config.epochs=9", f"--workdir={work}", "--compare=ensemble"]
    refusals = {
        ("--split=digits.0@100",): "of several seeds' ladders; give --seeds=5",
        ("--seeds=2",): "each seed labels or holds out other examples; give --split=",
        ("--seeds=2", "--split=digits.0@100", "--validation=50"): "and no --validation.",
    }
    for more, message in refusals.items():
        refused = train(*flags, *more)
        assert refused.returncode == 1 and message in refused.stderr, refused.stderr
        assert not work.exists()
    done = train(*flags, "--seeds=2", "--split=digits.0@100")
    assert done.returncode == 0, done.stderr
    digits = data.load("digits")
    p = [predictor.load(work / f"ladder-{k}").predict_proba(digits.x_test) for k in (0, 1)]
    error = 100 * np.mean(np.mean(p, 0).argmax(1) != digits.y_test)
    summary = json.loads((work / "summary.json").read_text())
    assert summary["ensemble"]["errors"] == [pytest.approx(error)]
    assert error not in summary["ladder"]["errors"]
    assert re.search(rf"\n  ensemble +{error:.2f}\n", done.stdout)
    page = report.write_comparison(work, {"ladder": ["ladder-0", "ladder-1"], "ensemble": [error]})
    assert re.search(r"<th scope=\"row\">ensemble</th><td>\W</td>", page.read_text())
    assert "2 runs compared" in page.read_text()


def test_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    folder = tmp_path / "file" / "work"
    with (
        pytest.raises(ConfigError, match="give another folder"),
        workfolder.open_run(folder, Config()),
    ):
        pass


def test_errors_of_numbers_are_not_percentages(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 3))
    np.savez(tmp_path / "line.npz", x=x, y=1e4 * x[:, 0] + 0.5)
    flags = [*SMALL, f"--dataset={tmp_path / 'line.npz'}", "--labels=20"]
    flags += ["--validation=10", "--config.batch_unlabeled=20", f"--workdir={tmp_path / 'work'}"]
    refused = train(*flags, "--compare=ensemble")
    assert "--compare=ensemble is a classifier, but the labels of line" in refused.stderr
    refused = train(*flags, "--compare=self_training")
    assert refused.returncode == 1 and not (tmp_path / "work").exists()
    assert "--compare=self_training is a classifier, but the labels of line are numbers" in (
        refused.stderr
    )
    done = train(*flags)
    assert done.returncode == 0, done.stderr
    assert "only 4 updates in all; --config.epochs=500 makes 1000\n" in done.stdout
    assert "for which --config=table_numbers has settings\n" in done.stdout
    assert "validation error (RMSE), " in done.stdout and "%" not in done.stdout + done.stderr
    summary = json.loads((tmp_path / "work" / "summary.json").read_text())
    assert re.search(rf"ladder +{summary['ladder']['mean']:.0f}\n", done.stdout)


def test_config_for_rows_of_features_is_hinted(tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 3))
    y = np.where(np.arange(40) < 30, np.where(x[:, 0] > 0, "up", "down"), "")
    np.savez(tmp_path / "rows.npz", x=x, y=y)
    flags = ["--validation=20", "--compare=none", f"--dataset={tmp_path / 'rows.npz'}"]
    flags += ["--config.batch_unlabeled=20", "--config.units=(4,)", "--config.epochs=1000"]
    flags += ["--config.eval_every=1000"]
    hint = "rows has rows of features, for which --config=table has settings\n"
    for config, hinted in (("digits", True), ("table", False)):
        done = train(f"--config={config}", *flags, f"--workdir={tmp_path / config}")
        assert done.returncode == 0, done.stderr
        assert (hint in done.stdout) is hinted and "updates in all" not in done.stdout


def test_masks_require_matching_layers(tmp_path):
    x = np.random.default_rng(0).uniform(size=(20, 4, 4))
    np.savez(tmp_path / "masks.npz", x=x, y=(x > 0.5).astype(int))
    done = train(f"--dataset={tmp_path / 'masks.npz'}", "--labels=4", "--validation=4")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "masks has a class per pixel" in done.stderr and "textured_digits" in done.stderr
