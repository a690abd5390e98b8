"""From the command to the compiled epoch: a shallow stack, nothing read or opened twice."""

import json
import subprocess
import sys

SCRIPT = """
import collections, inspect, json, os, runpy, sys
from ladder_jax import training
from ladder_jax.run import inputs, workfolder

counts, stacks = collections.Counter(), []

def counted(kind, function, about):
    def wrapper(*args, **settings):
        counts[kind + about(*args)] += 1
        return function(*args, **settings)
    return wrapper

def traced(*args, **settings):
    epoch = make_epoch(*args, **settings)
    def wrapper(state, data):
        packages = (os.sep + "ladder_jax" + os.sep, os.sep + "experiments" + os.sep)
        frames = [f for f in inspect.stack(0)[1:] if any(part in f.filename for part in packages)]
        stacks.append([f.function for f in frames])
        return epoch(state, data)
    return wrapper

make_epoch, training.make_epoch = training.make_epoch, traced
inputs.prepare = counted("prepare ", inputs.prepare, lambda config, *_: str(config.seed))
workfolder._open = counted("open ", workfolder._open, lambda folder, *_: os.path.basename(folder))
sys.argv = ["train", "--workdir=" + sys.argv[1], *sys.argv[2:]]
try:
    runpy.run_module("experiments.train", run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
print(json.dumps([counts, stacks]))
"""


def test_a_run_is_assembled_once(tmp_path):
    flags = ["--config.epochs=2", "--config.units=(8,)", "--noreport"]
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "run"), *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    counts, stacks = json.loads(done.stdout.splitlines()[-1])
    assert counts == dict.fromkeys(
        ["prepare 0", "open run", "open ladder-0", "open supervised-0"], 1
    )
    assert len(stacks) == 4  # two epochs of the ladder, two of the supervised net
    assert all("main" in stack and len(stack) <= 14 for stack in stacks), stacks
