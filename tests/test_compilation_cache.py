"""Persistent cache of compiled programs: its folder, its use, its size, and how to disable it."""

import contextlib
import json
import os
import pathlib
import stat
import subprocess
import sys

import pytest
from commands import Command, Runner, a_job

from ladder_jax import LadderClassifier
from ladder_jax.errors import ConfigError
from ladder_jax.run import compilation_cache

ROOT = pathlib.Path(__file__).parent.parent
FATAL = """
import warnings
warnings.simplefilter("error")
"""
BEGIN = """
import collections, json, shutil, zlib
import jax, numpy as np
events = collections.Counter()
jax.monitoring.register_event_listener(lambda event, **_: events.update([event.split("/")[-1]]))
"""
FIT = """
from ladder_jax import LadderClassifier
x = np.random.default_rng(0).normal(size=(20, 3))
ladder = LadderClassifier(units=(4,), epochs=2, random_state=0).fit(x, np.arange(20) % 2)
found = ladder.predictor_.trained
"""
INIT = """
from ladder_jax import Config, targets
from ladder_jax.run.inputs import Spec
from ladder_jax.run.program import compile_program
program = compile_program(Config(units=(4,)), Spec((3,), targets.classes(2)))
found = program.init(jax.random.key(0)).params
"""
AVX512 = """
import logging, os
from ladder_jax.run import compilation_cache
compilation_cache.processor = lambda: "flags : avx2 avx512f"
silence, silenced = compilation_cache._silence_loader, []
compilation_cache._silence_loader = lambda: silenced.append(silence())
logging.getLogger("jax").setLevel("INFO")
"""
UNCHANGED = """
loggers = [logging.getLogger(name) for name in ("jax", "jaxlib")]
assert [(logger.level, logger.handlers) for logger in loggers] == [(logging.INFO, []), (0, [])]
assert len(silenced) == (os.environ.get("TF_CPP_MIN_LOG_LEVEL") != "0")
"""
FULL = """
from ladder_jax.run import compilation_cache
compilation_cache.ROOM = 2**80
"""
LOSE = """
shutil.rmtree(jax.config.jax_compilation_cache_dir)
jax.jit(lambda x: x + 3)(1.0)
"""
END = """
leaves = b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(found))
kept = jax.config.jax_compilation_cache_dir
print(json.dumps([zlib.crc32(leaves), kept, events["cache_hits"], events["cache_misses"]]))
"""


@pytest.fixture
def fork(tmp_path):
    """Returns a function like ``start`` that forks a process which has imported the modules."""
    unset = dict.fromkeys(name for name in os.environ if "_CACHE" in name)
    with contextlib.closing(Runner(**unset)) as runner:

        def begin(program, **variables):
            name = f"program_{len(list(tmp_path.glob('program_*')))}"
            lines = [FATAL, BEGIN, program, END]
            (tmp_path / f"{name}.py").write_text("".join(lines), encoding="utf-8")
            job = a_job(tmp_path, name) | {"environment": variables, "shrink": False}
            return Command(runner, job)

        yield begin


def start(program, **variables):
    """Starts a process in which any warning is an error."""
    environment = {k: v for k, v in os.environ.items() if "_CACHE" not in k}
    environment |= {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"} | variables
    command = [sys.executable, "-W", "error", "-c", BEGIN + program + END]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, **pipes)


def result(process):
    """Returns the JSON value that a process printed; standard error must be empty."""
    output, errors = process.communicate()
    assert process.returncode == 0 and not errors, errors
    return json.loads(output)


def test_next_process_compiles_nothing(tmp_path):
    first = result(start(FIT, XDG_CACHE_HOME=str(tmp_path)))
    second = result(start(FIT, XDG_CACHE_HOME=str(tmp_path)))
    folder = tmp_path / "ladder_jax"
    assert first[:2] == second[:2] and pathlib.Path(first[1]).parent == folder
    assert first[3] > 0 and second[3] == 0 and second[2] >= first[3]
    assert len(list(folder.rglob("*-cache"))) == first[3]
    if os.name == "posix":
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700  # its contents are executed


def test_other_folders_and_no_cache(tmp_path, fork):
    """Checks that numbers are the same with and without a cache."""
    names = ("default", "off", "jax", "disabled", "lost", "full", "avx512", "told")
    places = {name: tmp_path / name for name in names}
    variables = {name: {"XDG_CACHE_HOME": str(folder)} for name, folder in places.items()}
    (tmp_path / "file").touch()
    jax_variables = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "given")}
    jax_variables["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    processes = {
        "default": fork(INIT, **variables["default"]),
        "off": fork(INIT, **variables["off"], LADDER_JAX_CACHE="off"),
        "jax": start(AVX512 + INIT + UNCHANGED, **variables["jax"], **jax_variables),
        "disabled": start(INIT, **variables["disabled"], JAX_ENABLE_COMPILATION_CACHE="0"),
        "lost": fork(INIT + LOSE, **variables["lost"]),
        "full": fork(FULL + INIT, **variables["full"]),
        "avx512": fork(AVX512 + INIT + UNCHANGED, **variables["avx512"]),
        "told": fork(AVX512 + INIT + UNCHANGED, **variables["told"], TF_CPP_MIN_LOG_LEVEL="0"),
        "unwritable": fork(INIT, XDG_CACHE_HOME=str(tmp_path / "file" / "below")),
    }
    results = {name: result(process) for name, process in processes.items()}
    assert len({numbers for numbers, *_ in results.values()}) == 1
    folders = {name: folder and pathlib.Path(folder) for name, (_, folder, *_) in results.items()}
    subfolders = {
        folders[name].relative_to(places[name] / "ladder_jax") for name in ("default", "lost")
    }
    assert len(subfolders) == 1  # named after the processor
    assert folders["avx512"].parent == places["avx512"] / "ladder_jax"
    assert not subfolders & {pathlib.Path(folders["avx512"].name)}
    assert [folders[name] for name in ("off", "disabled", "unwritable", "full")] == [None] * 4
    assert folders["jax"] == tmp_path / "given" and any(folders["jax"].iterdir())
    assert [places[name].exists() for name in ("off", "jax", "disabled")] == [False] * 3


def test_unknown_values_are_refused_before_training(monkeypatch):
    monkeypatch.setenv(compilation_cache.VARIABLE, "no")
    with pytest.raises(ConfigError, match="LADDER_JAX_CACHE=no; give off, or leave it out"):
        LadderClassifier(units=(3, 5, 3), epochs=1).fit([[0.0], [1.0]], [0, 1])


def test_pruning_keeps_recently_read_files(tmp_path):
    (tmp_path / "below").mkdir()
    for age, name in enumerate(["new-cache", "below/middle", "old-cache"]):
        (tmp_path / name).write_bytes(b"12345")
        os.utime(tmp_path / name, (1000 - age, 0))
    compilation_cache.prune(tmp_path, limit=10)
    remaining = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert remaining == {"new-cache", str(pathlib.Path("below", "middle"))}


def test_folder_follows_the_platform(monkeypatch, tmp_path):
    monkeypatch.setattr(pathlib.Path, "home", lambda: tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert compilation_cache.user_folder() == tmp_path / ".cache"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # ignored, as the XDG specification requires
    assert compilation_cache.user_folder() == tmp_path / ".cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "mine"))
    assert compilation_cache.user_folder() == tmp_path / "mine"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert compilation_cache.user_folder() == tmp_path / "Library" / "Caches"
