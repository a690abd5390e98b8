"""Starts commands of the project in their own processes, without waiting for imports."""

import atexit
import functools
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parent.parent
AT_ONCE = 2


class Runner:
    """A process of ``command_runner.py`` with environment variables; None removes one."""

    def __init__(self, **variables):
        defaults = {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
        environment = os.environ | defaults | variables
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "command_runner.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={name: value for name, value in environment.items() if value is not None},
            encoding="utf-8",
        )

    def ask(self, request):
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self):
        self._process.communicate()


@functools.cache
def the_runner():
    """Returns the runner that all tests of this process share."""
    runner = Runner()
    atexit.register(runner.close)
    return runner


class Command:
    """A started command with the methods of ``subprocess.Popen``."""

    def __init__(self, runner, job, joined=False):
        self._runner, self._folder = runner, tempfile.TemporaryDirectory()
        names = ["out", "out" if joined else "err"]
        self._outputs = [pathlib.Path(self._folder.name, name) for name in names]
        for path in self._outputs:
            path.touch()
        job = {"limit": None, "shrink": True, **job, "outputs": [str(p) for p in self._outputs]}
        self.pid, self.returncode = runner.ask(job), None

    def poll(self):
        if self.returncode is None:
            self.returncode = self._runner.ask({"ended": self.pid})
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout=300):
        """Waits up to ``timeout`` seconds; returns what was written to stdout and to stderr."""
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                self.kill()
                raise TimeoutError(f"process {self.pid} has not ended in {timeout} seconds")
            time.sleep(0.01)
        texts = [path.read_bytes().decode("utf-8", "replace") for path in self._outputs]
        self._folder.cleanup()
        return texts


def begin(module, *words, folder=ROOT, limit=None, **variables):
    """Starts a command unchanged; ``limit`` is the size limit of its files in bytes."""
    job = a_job(folder, module, *map(str, words)) | {"environment": variables}
    return Command(the_runner(), job | {"limit": limit, "shrink": False})


def a_job(folder, module, *words):
    """Returns a job for ``run_jobs`` without special options."""
    command = {"folder": str(folder), "module": module, "words": words}
    return command | {"environment": {}, "parse": False}


def run_jobs(jobs, runner=None, **variables):
    """Returns exit status and output of shrunken commands, with environment variables."""
    runner, started = runner or the_runner(), []
    for job in jobs:
        while sum(command.poll() is None for command in started) == AT_ONCE:
            time.sleep(0.01)
        job = job | {"environment": job["environment"] | variables}
        started.append(Command(runner, job, joined=True))
    texts = [command.communicate()[0] for command in started]  # waits for their end
    return [(command.returncode, text) for command, text in zip(started, texts, strict=True)]
