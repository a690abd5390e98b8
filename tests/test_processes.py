"""The training command run by several processes, and how they agree."""

import json
import os
import signal
import socket
import time

import commands
import jax
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from experiments import cli, processes
from ladder_jax import errors, loop, parallel
from ladder_jax.config import Config
from ladder_jax.errors import ConfigError
from ladder_jax.run import multiprocess, workfolder

SETTINGS = {
    "units": (8,),
    "combinators": ("none", "none", "gaussian"),
    "denoising_cost": (0.0, 0.0, 1.0),
    "batch_unlabeled": 600,
    "epochs": 20,
    "eval_every": 10,
    "validation": 100,
    "labels": 50,
}


def begin(folder, count=2):
    """Starts the command in ``count`` processes."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    given = [f"--config.{setting}={value}" for setting, value in SETTINGS.items()]
    given += [f"--workdir={folder}", "--compare=none", "--noreport"]
    given += [f"--coordinator=localhost:{port}"]
    given += [f"--processes={count}"]
    return [commands.begin("experiments.train", *given, f"--process_id={i}") for i in range(count)]


def end(programs, status):
    """Returns each stdout and each stderr of processes that must all end with this status."""
    outputs = [program.communicate() for program in programs]
    for program, (_, stderr) in zip(programs, outputs, strict=True):
        assert program.returncode == status, stderr
    return zip(*outputs, strict=True)


def metrics_of(folder):
    path = folder / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_two_processes_stop_together_and_match_one(tmp_path):
    folder = tmp_path / "work"
    programs = begin(folder)
    while all(program.poll() is None for program in programs) and not metrics_of(
        folder / "ladder-0"
    ):
        time.sleep(0.002)
    programs[1].send_signal(signal.SIGTERM)
    _, (first, second) = end(programs, 75)
    stopped = len(metrics_of(folder / "ladder-0"))
    assert 0 < stopped < SETTINGS["epochs"]
    assert f"to resume: the same command with --workdir={folder}" in first
    assert f"stopped after epoch {stopped}, saved" in second and "to resume" not in second
    assert "ladder-0:" not in second  # a progress bar

    (first, second), _ = end(begin(folder), 0)
    assert "validation error in %" not in second and "test error in %" in first
    assert {path.name for path in tmp_path.iterdir()} == {"work"}
    names = {"config.json", "examples.json", "ladder-0", "summary.json"}
    assert {path.name for path in folder.iterdir()} == names

    config = workfolder.read_config(folder)
    single = loop.train_and_evaluate(config, tmp_path / "whole")
    metrics, expected = (metrics_of(f) for f in (folder / "ladder-0", tmp_path / "whole"))
    for a, b in zip(metrics, expected, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_allclose(a[name], b[name], rtol=1e-5, err_msg=name)
    summary = json.loads((folder / "ladder-0" / "result.json").read_text())
    for name in ("test_error", "validation_error", "best_epoch", "steps"):
        assert summary[name] == pytest.approx(single.summary[name])
    for name in ("params.npz", "best.npz"):
        with np.load(folder / "ladder-0" / name) as a, np.load(tmp_path / "whole" / name) as b:
            assert a.files == b.files
            for part in a.files:
                np.testing.assert_allclose(a[part], b[part], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"coordinator": "localhost:1"}, "all three"),
        ({"coordinator": "localhost", "processes": 2, "process_id": 0}, "give HOST:PORT"),
        ({"coordinator": "localhost:1", "processes": 2, "process_id": 2}, "give 0 to 1"),
        (
            {"coordinator": "h:1", "processes": 2, "process_id": 1, "distributed": True},
            "leave --coordinator out",
        ),
        ({"distributed": True}, "recognises no TPU pod"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_bad_flags(monkeypatch, given, message):
    def fail(**options):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(parallel, "join_processes", fail)
    with flagsaver.flagsaver(), pytest.raises(ConfigError, match=message):
        flags.FLAGS.mark_as_parsed()
        for name, value in given.items():
            setattr(flags.FLAGS, name, value)
        processes.join()


def test_runs_that_need_one_process(monkeypatch):
    loop.check_processes(Config(resident=False), together=True)  # allowed in one process
    monkeypatch.setattr(multiprocess, "is_multiprocess", lambda: True)
    with pytest.raises(ConfigError, match="resident is False"):
        loop.check_processes(Config(resident=False))
    with pytest.raises(ConfigError, match="a population is trained by a single process"):
        loop.check_processes(Config(), together=True)
    loop.check_processes(Config())


def test_failures_reach_the_other_processes(monkeypatch):
    reduced = []
    monkeypatch.setattr(
        multiprocess, "all_reduce_max", lambda *numbers: reduced.append(numbers) or numbers
    )
    with pytest.raises(KeyError), multiprocess.together():
        raise KeyError
    assert reduced == [(1,)]
    monkeypatch.setattr(multiprocess, "all_reduce_max", lambda *numbers: (1,))
    with pytest.raises(errors.PeerError, match="its own message"), multiprocess.together():
        pass


@pytest.mark.parametrize("alone", [True, False])
def test_shutdown_waits_briefly_for_the_others(monkeypatch, capsys, alone):
    statuses = []
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(jax.distributed, "shutdown", lambda: time.sleep(0.2 if alone else 0))
    monkeypatch.setattr(cli, "PATIENCE", 0.1)
    monkeypatch.setattr(os, "_exit", statuses.append)
    cli.shutdown(7, "why\n")
    assert statuses == ([7] if alone else [])
    assert capsys.readouterr().err == ("why\n" if alone else "")
