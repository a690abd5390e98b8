"""Compiled programs are kept for the next process, where the user wants them, or nowhere."""

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
    """Starts programs like ``start``, forked where what they need is imported."""
    none = dict.fromkeys(name for name in os.environ if "_CACHE" in name)
    with contextlib.closing(Runner(**none)) as runner:

        def begin(program, **variables):
            name = f"program_{len(list(tmp_path.glob('program_*')))}"
            lines = [FATAL, BEGIN, program, END]
            (tmp_path / f"{name}.py").write_text("".join(lines), encoding="utf-8")
            job = a_job(tmp_path, name) | {"environment": variables, "shrink": False}
            return Command(runner, job)

        yield begin


def start(program, **variables):
    """A process in which any warning is an error."""
    ours = {k: v for k, v in os.environ.items() if "_CACHE" not in k}
    ours |= {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"} | variables
    words = [sys.executable, "-W", "error", "-c", BEGIN + program + END]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(words, env=ours, **pipes)


def result(process):
    """What it printed; it says nothing else."""
    output, errors = process.communicate()
    assert process.returncode == 0 and not errors, errors
    return json.loads(output)


def test_the_next_process_compiles_nothing(tmp_path):
    first = result(start(FIT, XDG_CACHE_HOME=str(tmp_path)))
    again = result(start(FIT, XDG_CACHE_HOME=str(tmp_path)))
    folder = tmp_path / "ladder_jax"
    assert first[:2] == again[:2] and pathlib.Path(first[1]).parent == folder
    assert first[3] > 0 and again[3] == 0 and again[2] >= first[3]
    assert len(list(folder.rglob("*-cache"))) == first[3]
    if os.name == "posix":
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700  # what is in it is run


def test_nowhere_or_elsewhere(tmp_path, fork):
    """The same numbers, whether programs are kept or not."""
    names = ("default", "off", "jax", "disabled", "lost", "full", "avx512", "told")
    places = {name: tmp_path / name for name in names}
    at = {name: {"XDG_CACHE_HOME": str(folder)} for name, folder in places.items()}
    (tmp_path / "file").touch()
    given = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "given")}
    given["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    begun = {
        "default": fork(INIT, **at["default"]),
        "off": fork(INIT, **at["off"], LADDER_JAX_CACHE="off"),
        "jax": start(AVX512 + INIT + UNCHANGED, **at["jax"], **given),
        "disabled": start(INIT, **at["disabled"], JAX_ENABLE_COMPILATION_CACHE="0"),
        "lost": fork(INIT + LOSE, **at["lost"]),
        "full": fork(FULL + INIT, **at["full"]),
        "avx512": fork(AVX512 + INIT + UNCHANGED, **at["avx512"]),
        "told": fork(AVX512 + INIT + UNCHANGED, **at["told"], TF_CPP_MIN_LOG_LEVEL="0"),
        "unwritable": fork(INIT, XDG_CACHE_HOME=str(tmp_path / "file" / "below")),
    }
    found = {name: result(process) for name, process in begun.items()}
    assert len({numbers for numbers, *_ in found.values()}) == 1
    kept = {name: folder and pathlib.Path(folder) for name, (_, folder, *_) in found.items()}
    marks = {kept[name].relative_to(places[name] / "ladder_jax") for name in ("default", "lost")}
    assert len(marks) == 1  # that of the processor
    assert kept["avx512"].parent == places["avx512"] / "ladder_jax"
    assert not marks & {pathlib.Path(kept["avx512"].name)}
    assert [kept[name] for name in ("off", "disabled", "unwritable", "full")] == [None] * 4
    assert kept["jax"] == tmp_path / "given" and any(kept["jax"].iterdir())
    assert [places[name].exists() for name in ("off", "jax", "disabled")] == [False] * 3


def test_another_value_is_refused_before_training(monkeypatch):
    monkeypatch.setenv(compilation_cache.VARIABLE, "no")
    with pytest.raises(ConfigError, match="LADDER_JAX_CACHE=no; give off, or leave it out"):
        LadderClassifier(units=(3, 5, 3), epochs=1).fit([[0.0], [1.0]], [0, 1])


def test_what_was_read_last_stays(tmp_path):
    (tmp_path / "below").mkdir()
    for age, name in enumerate(["new-cache", "below/middle", "old-cache"]):
        (tmp_path / name).write_bytes(b"12345")
        os.utime(tmp_path / name, (1000 - age, 0))
    compilation_cache.prune(tmp_path, limit=10)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"new-cache", str(pathlib.Path("below", "middle"))}


def test_the_folder_is_the_platforms(monkeypatch, tmp_path):
    monkeypatch.setattr(pathlib.Path, "home", lambda: tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert compilation_cache.user_folder() == tmp_path / ".cache"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # as its specification has it
    assert compilation_cache.user_folder() == tmp_path / ".cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "mine"))
    assert compilation_cache.user_folder() == tmp_path / "mine"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert compilation_cache.user_folder() == tmp_path / "Library" / "Caches"
