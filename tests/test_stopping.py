"""Commands resume after they are killed, stopped or cut short by a full disk."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import commands
import pytest
from stops import StopError, stop_at

from ladder_jax import loop
from ladder_jax.checkpoints import Checkpoints
from ladder_jax.config import Config
from ladder_jax.run import workfolder

ROOT = pathlib.Path(__file__).parent.parent
EPOCHS = 60
SETTINGS = {
    "units": (8,),
    "denoising_cost": (1.0,),
    "batch_unlabeled": 400,
    "epochs": EPOCHS,
    "eval_every": 20,
}
OUTPUTS = ("params.npz", "metrics.jsonl", "labels.json")


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


def begin(run_dir, name, *, seconds=0.0, limit=None):
    """Starts the command."""
    flags = [f"--config.{setting}={value}" for setting, value in SETTINGS.items()]
    flags += [f"--workdir={run_dir / name}", "--compare=none", "--noreport"]
    flags += [f"--config.checkpoint_seconds={seconds}"]
    return commands.begin("experiments.train", *flags, limit=limit)


def lines_of(folder):
    path = folder / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def end(process):
    """Waits for a command; returns its exit status and the last line on stderr."""
    _, errors = process.communicate()
    print(errors)
    return process.returncode, errors.replace("\r", "\n").strip().splitlines()[-1]


@pytest.fixture(scope="module")
def uninterrupted(run_dir):
    """Returns the folder of an uninterrupted run, which saves no checkpoints on its way."""
    assert end(begin(run_dir, "whole", seconds=1000.0))[0] == 0
    return run_dir / "whole" / "ladder-0"


def assert_same(uninterrupted, run):
    for name in OUTPUTS:
        assert (uninterrupted / name).read_bytes() == (run / name).read_bytes(), name
    configs = [json.loads((folder / "config.json").read_text()) for folder in (uninterrupted, run)]
    for config in configs:
        del config["checkpoint_seconds"]
    assert configs[0] == configs[1]
    assert {path.name for path in run.iterdir()} == {path.name for path in uninterrupted.iterdir()}


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_resumes_after_kills(run_dir, uninterrupted, kills):
    seed = int(os.environ.get("LADDER_KILL_SEED", time.time_ns() % 2**32))
    print(f"LADDER_KILL_SEED={seed}")
    rng = random.Random(seed)
    name = f"killed-{kills}"
    run = run_dir / name / "ladder-0"
    for lines in sorted(rng.choices(range(EPOCHS), k=kills)):
        process = begin(run_dir, name)
        while process.poll() is None and lines_of(run) < lines:
            time.sleep(0.002)
        time.sleep(rng.random() * 0.2)
        process.kill()
        process.communicate()
    status, _ = end(begin(run_dir, name))
    assert status in (0, 1)  # 1: the run had finished before the last kill
    assert_same(uninterrupted, run)


def test_signals_save_and_set_the_exit_status(run_dir, uninterrupted):
    run = run_dir / "stopped" / "ladder-0"
    for number, status in ((signal.SIGTERM, 75), (signal.SIGINT, 130)):
        before = lines_of(run)
        process = begin(run_dir, "stopped", seconds=1000.0)
        while process.poll() is None and lines_of(run) <= before:
            time.sleep(0.002)
        process.send_signal(number)
        returncode, line = end(process)
        assert returncode == status, line
        assert "to resume: the same command with --workdir=" in line
        saved = Checkpoints(run / "checkpoints", keep=2).epochs
        assert saved[-1] == lines_of(run) > before  # the epoch was finished, and no other begun
    assert end(begin(run_dir, "stopped", seconds=1000.0))[0] == 0
    assert_same(uninterrupted, run)


def test_disk_full(run_dir, uninterrupted):
    """Files are limited to a few kB: checkpoints no longer fit, a short log does."""
    run = run_dir / "full" / "ladder-0"
    config = Config.create(SETTINGS | {"checkpoint_seconds": 0.0})
    with workfolder.open_run(run_dir / "full", config):
        pass
    with pytest.raises(StopError):
        loop.train_and_evaluate(config, run, progress=stop_at(6))
    before = Checkpoints(run / "checkpoints", keep=2).epochs
    assert before
    status, line = end(begin(run_dir, "full", limit=6000))
    assert status == 1
    assert "cannot save a checkpoint" in line and "File too large" in line, line
    assert Checkpoints(run / "checkpoints", keep=2).epochs == before
    assert end(begin(run_dir, "full"))[0] == 0
    assert_same(uninterrupted, run)


@pytest.mark.slow
def test_memory_does_not_grow(tmp_path):
    """Peak memory after 2,000 and after 20,000 steps of digits."""
    program = f"""
import json, resource, sys
from ladder_jax import loop
from ladder_jax.config import Config

config = Config(units=(500, 250, 100), epochs=1667, checkpoint_seconds=5.0)
peaks = []

def progress(line):
    if line["epoch"] in (167, 1667):  # of 12 steps each
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

loop.train_and_evaluate(config, {str(tmp_path / "run")!r}, progress=progress)
print(json.dumps(peaks))
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    environment.pop("XLA_FLAGS", None)
    completed = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    early, late = json.loads(completed.stdout)
    print(f"peak RSS: {early} kB after 2,000 steps, {late} kB after 20,000")
    assert late < 1.05 * early
