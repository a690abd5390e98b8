"""Runs commands of the project as ``python -m`` does, in forks that share the imports.

Read from stdin are the jobs (the folder, the module, its words, variables, and whether to
stop when the flags are parsed), as JSON; written to stdout the exit status and output of each.
"""

import json
import os
import pathlib
import runpy
import sys
import tempfile
import traceback
import warnings

import matplotlib.pyplot  # noqa: F401
import sklearn.model_selection

from ladder_jax.config import Config
from ladder_jax.data import splits

AT_ONCE = 2


def shrink():
    """Makes small what no flag does: the paper's nets, grids and timings; no official splits."""
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


def child(job, output):
    """Becomes the command; never returns."""
    for stream in (1, 2):
        os.dup2(output, stream)
    os.chdir(job["folder"])
    os.environ.update(job["environment"])
    sys.argv = [job["module"], *job["words"]]
    status = 1
    try:
        if "--check" not in sys.argv:  # which is of the real tables
            shrink()
        if job["parse"]:
            only_parse()
        runpy.run_module(job["module"], run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main():
    jobs = json.load(sys.stdin)
    warnings.filterwarnings("ignore", message=".*fork")  # no device is used before it
    outputs = [tempfile.TemporaryFile() for _ in jobs]  # noqa: SIM115, until the end
    statuses, running = [None] * len(jobs), {}

    def wait():
        pid, status = os.wait()
        statuses[running.pop(pid)] = os.waitstatus_to_exitcode(status)

    for number, job in enumerate(jobs):
        if len(running) == AT_ONCE:
            wait()
        if not (pid := os.fork()):
            child(job, outputs[number].fileno())
        running[pid] = number
    while running:
        wait()
    for output in outputs:
        output.seek(0)
    texts = [output.read().decode("utf-8", "replace") for output in outputs]
    json.dump(list(zip(statuses, texts, strict=True)), sys.stdout)


if __name__ == "__main__":
    main()
