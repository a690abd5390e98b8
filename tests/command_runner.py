"""Runs commands of the project as ``python -m`` does, in forks that share the imports.

Reads one JSON request per line from stdin: to start a command, answered by its process id, or to
ask whether a command has ended, answered by its exit status, or null if it is still running.
``commands.py`` sends the requests.
"""

import gc
import json
import os
import pathlib
import resource
import runpy
import sys
import warnings

import matplotlib.pyplot  # noqa: F401
import sklearn.calibration
import sklearn.datasets
import sklearn.manifold
import sklearn.model_selection
import sklearn.semi_supervised
import tensorboardX  # noqa: F401

import ladder_jax.estimators
import ladder_jax.loop
import ladder_jax.population
import ladder_jax.report  # noqa: F401
from ladder_jax.config import Config
from ladder_jax.data import splits


def shrink():
    """Shrinks what no flag does: the paper's nets, grids and timings; hides official splits."""
    from benchmarks import timers
    from experiments import tables
    from experiments.configs import base, digits

    small = Config(units=(4,), epochs=1, batch_unlabeled=600, combinators=("linear",))
    tables.Row.settings = lambda row, seed: Config.create(vars(small) | {"seed": seed})
    grid = sklearn.model_selection.ParameterGrid
    sklearn.model_selection.ParameterGrid = lambda values: [grid(values)[0]]
    if "compare_sklearn" in sys.argv[0]:
        digits.get_config = lambda: base.config_dict(small)
    timers.full_ladder = lambda *widths: small
    splits.FOLDER = pathlib.Path("no official splits")
    for name in ("epoch_timer", "members_timer", "call_timer", "matrix_timer"):
        setattr(timers, name, lambda *sizes: lambda: 1e-3)


def only_parse():
    from experiments import cli

    run = cli.run
    cli.run = lambda main, **options: run(lambda: None, **options)


def become(job):
    """Runs the command in this process, which ends with it."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for stream, path in enumerate(job["outputs"], start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), stream)
    os.chdir(job["folder"])
    sys.path.insert(0, job["folder"])
    os.environ.update(job["environment"])
    if encoding := job["environment"].get("PYTHONIOENCODING"):
        sys.stdout.reconfigure(encoding=encoding)
    if job["limit"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["limit"], job["limit"]))
    sys.argv = [job["module"], *job["words"]]
    if job["shrink"] and "--check" not in sys.argv:  # which checks the real tables
        shrink()
    if job["parse"]:
        only_parse()
    runpy.run_module(job["module"], run_name="__main__", alter_sys=True)


def serve():
    """Answers requests until stdin ends; in a forked process, returns its job."""
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        if "ended" in request:
            pid, status = os.waitpid(request["ended"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        elif not (answer := os.fork()):
            return request
        print(json.dumps(answer), flush=True)
    return None


if __name__ == "__main__":
    warnings.filterwarnings("ignore", message=".*fork")  # no device is used before a fork
    gc.freeze()  # else each fork's last collection takes a second to copy shared memory
    job = serve()
    if job is not None:
        become(job)
