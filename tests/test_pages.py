"""The Python blocks and commands of the README, the documentation and the help run as written."""

import contextlib
import importlib.util
import io
import json
import os
import pathlib
import re
import textwrap
import tomllib

import numpy as np
import pytest
from absl.testing import flagsaver
from commands import run_jobs
from data_files import mnist_like, write_idx
from documented import Command, commands

from experiments import cli, reproduce
from ladder_jax import estimators

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    if "```python" in page.read_text(encoding="utf-8")
]
COMMANDS = commands()


def run_blocks(page):
    """Runs the Python blocks of a page in order, as a reader would; returns what each prints."""
    namespace, printed = {}, []
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        with contextlib.redirect_stdout(io.StringIO()) as output:
            exec(compile(block, str(page), "exec"), namespace)
        printed.append(output.getvalue())
    return printed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_blocks_run(page, monkeypatch):
    """Estimators train briefly by default."""
    monkeypatch.setattr(estimators.base, "EPOCHS", 2)
    monkeypatch.setattr(estimators.base, "UPDATES", 20)
    printed = run_blocks(page)
    if page.name == "README.md":
        losses = [float(number) for number in re.findall(r"loss ([\d.]+)", printed[0])]
        assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0] / 2
        assert float(re.search(r"accuracy .*: ([\d.]+)", printed[1])[1]) > 0.8


LADDER = ["--config.units=(4, 3)", "--config.epochs=1", "--config.combinators=('linear',)"]
TABLES = ["--results=results", "--page=PAGE.md"]
ONE_ROW = ["--labels=100", "--first_seed=0", "--seeds=1"]
EXTRA_FLAGS = {
    "experiments.train": [*LADDER, "--noreport", "--compare=none", "--sample=1", "--seeds=1"],
    "experiments.sweep": [*LADDER, "--trials=1", "--batch=1", "--seeds=1"],
    "experiments.reproduce": [*ONE_ROW, *TABLES],
    "experiments.compare_sklearn": ["--labels=20", "--seeds=1", "--output=errors.json"],
    "experiments.make_splits": ["--out=splits.npz"],
    "benchmarks.rows": ["--images=1000", "--rounds=1", "--output=times.json", "--overwrite_output"],
    "benchmarks.stream": ["--steps=1", "--batch=20"],
    "benchmarks": ["--only=width,depth"],
}
"""Flags appended to slow commands; the last of repeated flags counts."""
NEEDS = {"experiments.sweep": "optuna", "benchmarks.stream": "grain"}
NOT_RUN = {
    "--overlay": "needs a run on masks; tests/test_targets_commands.py",
    "--torch_python": "needs environments of their own",
    "--coordinator": "tests/test_processes.py runs several processes",
    "prepare_data": "may need the network; tests/test_prepared.py",
    "gs://": "needs a bucket; tests/test_bucket.py has one in memory",
    "benchmarks.conv": "compiles for minutes; tests/test_benchmarks.py",
    "benchmarks.first_fit": "tests/test_benchmarks.py",
    "benchmarks.calibration": "takes most of an hour; tests/test_benchmarks_tables.py",
    "benchmarks.time_to_error": "takes hours; tests/test_benchmarks.py",
    "benchmarks.accelerator": "tests/test_benchmarks.py",
    "experiments.levels": "takes most of an hour; tests/test_levels.py",
    "experiments.costs": "takes most of an hour; tests/test_levels.py",
    "benchmarks.tables": "takes hours; tests/test_benchmarks_tables.py",
    "--table=textured_digits": "takes minutes; test_rows_named_in_commands_exist",
    "--table=cifar10_small": "needs CIFAR-10; test_rows_named_in_commands_exist",
}
"""Parts of commands whose flags are only parsed, with the reason."""


def only_parsed(command):
    return "configs/" in command.place or any(part in command.text for part in NOT_RUN)


def job(command, folder):
    """Returns the job that runs a command in a folder."""
    words = [w.replace("NAME", "digits").replace("=DATA", "=FOLDER") for w in command.words[3:]]
    extra = list(EXTRA_FLAGS.get(command.module, []))
    if "--check" in words:  # the project's own results
        extra = []
    elif command.module == "experiments.reproduce" and "--rows" not in command.text:
        extra.append("--rows=full")
    environment = {}
    for name, value in command.environment.items():
        environment[name] = f"{os.environ.get(name, '')} {value}".strip()
    parse = only_parsed(command)
    flags = {word.partition("=")[0] for word in extra} - {"--compare"}
    selected = [word for word in words if word.partition("=")[0] not in flags]
    return {
        "folder": str(folder),
        "module": command.module,
        "words": words if parse else selected + extra,
        "environment": environment,
        "parse": parse,
    }


def test_rows_named_in_commands_exist():
    """The rows are checked here, as the test of the commands replaces their number of labels."""
    rows = []
    for command in COMMANDS:
        if command.module == "experiments.reproduce":
            with flagsaver.flagsaver():
                cli._parse(command.words[2:], None)
                rows += reproduce.chosen_rows()
    assert {"full", "tuned", "gamma"} <= {row.row for row in rows}


def fill(folder):
    """Writes the files that the commands name."""
    from PIL import Image

    arrays = mnist_like(4100, 50)
    write_idx(folder / "FOLDER", arrays, gzipped=False)
    x, y = arrays[2][..., None] / 255, arrays[3]
    np.savez(folder / "new.npz", x=x, y=y)
    np.savetxt(folder / "new.csv", x.reshape(len(x), -1), delimiter=",", fmt="%.3f")
    (folder / "FOLDER_OF_IMAGES").mkdir()
    Image.fromarray(arrays[2][0].astype(np.uint8)).save(folder / "FOLDER_OF_IMAGES" / "0.png")
    extending = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    (experiment,) = re.findall(r"^( {4}from experiments.*?) {4}python", extending, re.S | re.M)
    (folder / "my_experiment.py").write_text(textwrap.dedent(experiment), encoding="utf-8")
    rows = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)
    words = ["", "up", "down"]
    lines = [
        "a,b,class",
        *(f"{a},{b},{words[i % 3]}" for i, (a, b, *_) in enumerate(rows.tolist())),
    ]
    (folder / "mine.csv").write_text("\n".join(lines))
    np.savez(folder / "mine.npz", x=rows, y=np.where(np.arange(200) < 150, np.arange(200) % 3, -1))


def make_run(folder):
    """Trains the run that some commands read."""
    text = f"python -m experiments.train --config=mnist_100 --data_dir={folder}/FOLDER"
    (finished,) = run_jobs([job(Command("", f"{text} --workdir={folder}/RUN"), folder)])
    assert finished[0] == 0, finished[1]


TRAINS = ("experiments.train", "experiments.sweep")


def flags_of(task):
    """Pairs a job's module with each of its flags and with the file of each of its configs."""
    flags = (re.match(r"--config=[^:_]*|[^=]*", word)[0] for word in task["words"])
    return {(task["module"], flag) for flag in ("", *(f for f in flags if f.startswith("-")))}


def covering(jobs):
    """Selects, greedily, few jobs that together use every flag and config file of all jobs."""
    selected, missing = [], set().union(*map(flags_of, jobs))
    while missing:
        selected.append(max(jobs, key=lambda task: len(flags_of(task) & missing)))
        missing -= flags_of(selected[-1])
    return selected


def test_covering_jobs_use_every_flag():
    words = ["--a", "--config=x"], ["--b=1"], ["--a"], ["--config=y", "--b=2"]
    jobs = [{"module": "m", "words": each} for each in words]
    assert covering(jobs) == [jobs[0], jobs[3]]


@pytest.mark.parametrize("trains", [True, False], ids=["training", "others"])
def test_commands_run(tmp_path, request, trains):
    """Runs each command with its ``EXTRA_FLAGS`` in a folder with the files that it names.

    Without --slow, only as many commands run as it takes to use every documented flag.
    """
    fill(tmp_path)
    if not trains:
        make_run(tmp_path)
    files, jobs = sorted(tmp_path.iterdir()), {}
    for command in COMMANDS:
        if command.module is None or (command.module in TRAINS) != trains:
            continue
        if importlib.util.find_spec(NEEDS.get(command.module, "json")) is None:
            continue
        task = job(command, tmp_path)
        key = json.dumps(task | {"words": sorted(task["words"])})
        jobs.setdefault(key, (command, task))
    assert len(jobs) > 10
    if not request.config.getoption("--slow"):
        selected = covering([task for _, task in jobs.values() if not task["parse"]])
        jobs = {k: each for k, each in jobs.items() if each[1]["parse"] or each[1] in selected}
    for number, (_, task) in enumerate(jobs.values()):
        folder = tmp_path / f"of-{number}"
        folder.mkdir()
        for path in files:
            (folder / path.name).symlink_to(path)
        task["folder"] = str(folder)
    finished = run_jobs([task for _, task in jobs.values()])
    failed = [
        f"{command.place}: {command.text}\n{output[-1500:]}"
        for (command, _), (status, output) in zip(jobs.values(), finished, strict=True)
        if status
    ]
    assert not failed, "\n\n".join(failed)
    if trains:  # all but that of docs/extending.md differ in depth from their config
        message = "denoising_cost=(1000.0, 10.0, 0.1, 0.1) for 4 levels"
        outputs = [output for _, output in finished if ", digits, 100 labels" in output]
        assert outputs and all(message in output for output in outputs)


def test_other_commands_name_existing_files_and_extras():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    others = [command for command in COMMANDS if command.module is None]
    assert {"git", "pip", "python", "tensorboard"} <= {command.words[0] for command in others}
    for command in others:
        for name in re.findall(r"-c (\S+)|python (\S+\.py)", command.text):
            assert (ROOT / "".join(name)).exists(), command
        for name in re.findall(r"\.\[(\w+)\]", command.text):
            assert name in project["optional-dependencies"], command
    python = project["requires-python"].removeprefix(">=")
    assert f"Python {python} or newer" in (ROOT / "README.md").read_text(encoding="utf-8")
