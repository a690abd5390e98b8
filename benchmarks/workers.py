"""Workers: separate programs that time something, asked for one timing at a time.

Peers need their own Python environment, and several virtual devices their own
process, yet their rounds must alternate with ours.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from typing import Any

ROOT = pathlib.Path(__file__).parent.parent
LIMIT = 900.0
"""Seconds that an answer may take; the first includes compilation."""
_LAUNCH = (
    "import runpy, sys; sys.path.append({root!r}); runpy.run_module({module!r}, None, {main!r})"
)


class WorkerError(Exception):
    """Reports a worker that failed, with the reason it gave."""


class Worker:
    """Runs a program that speaks the protocol of ``benchmarks.peers.serve``.

    Args:
      module: module of the program.
      settings: settings that are sent first.
      python: Python program of the environment; None for this one.
      environment: additional environment variables.

    Attributes:
      facts: facts that the program reports about itself, such as versions.

    Raises:
      WorkerError: the program does not start.
    """

    def __init__(
        self,
        module: str,
        settings: Mapping[str, Any],
        python: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        variables = os.environ | dict(environment or {})
        if python is None:
            command = [sys.executable, "-m", module]
            paths = [str(ROOT), *filter(None, [variables.get("PYTHONPATH")])]
            variables["PYTHONPATH"] = os.pathsep.join(paths)
        else:
            # Our packages come last on the peer's path, so that they hide none of its own.
            launch = _LAUNCH.format(root=str(ROOT), module=module, main="__main__")
            command = [python, "-c", launch]
            variables.pop("PYTHONPATH", None)
        self._errors = tempfile.TemporaryFile(  # noqa: SIM115, closed with the worker
            "w+", encoding="utf-8", errors="backslashreplace"
        )
        try:
            self._process = subprocess.Popen(
                command,
                encoding="utf-8",
                env=variables,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
            )
        except OSError as error:
            self._errors.close()
            raise WorkerError(f"{command[0]}: {error.strerror}") from error
        try:
            self.facts: dict[str, str] = self._ask(settings)["facts"]
        except WorkerError:
            self.close()
            raise

    def timer(self, name: str) -> Callable[[], float]:
        """Returns the worker's timer of that name, in seconds."""

        def run() -> float:
            seconds: float = self._ask(name)["seconds"]
            return seconds

        return run

    def close(self) -> None:
        """Ends the worker."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _ask(self, question: object) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        stop = threading.Timer(LIMIT, self._process.kill)
        stop.start()
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            stop.cancel()
        if not line:
            raise WorkerError(self._reason())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _reason(self) -> str:
        """Returns the last error that the worker wrote, in one line."""
        status = self._process.wait()
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors if line.strip()]
        error_lines = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
        return (error_lines or lines or [f"it ended with status {status}"])[-1]
