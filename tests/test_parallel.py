"""Any number of devices and processes gives the same result."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parent.parent


def start(*words):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)  # two would write the same files
    command = [sys.executable, str(ROOT / "tests" / "parallel_program.py"), *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, **pipes)


def outcome(*programs):
    """What the first prints; all must end well."""
    outputs = [program.communicate(timeout=120) for program in programs]
    for program, (_, errors) in zip(programs, outputs, strict=True):
        assert program.returncode == 0, errors
    return json.loads(outputs[0][0].splitlines()[-1])


@pytest.fixture(scope="module")
def one_device():
    return outcome(start(1))


def agrees(ours, theirs, devices):
    assert ours["steps"] == 50 and ours["devices"] == devices
    np.testing.assert_allclose(ours["losses"], theirs["losses"], rtol=1e-5)
    np.testing.assert_allclose(ours["variance"], theirs["variance"], rtol=1e-4)


@pytest.mark.parametrize("devices", [2, 8])
def test_devices(one_device, devices):
    agrees(outcome(start(devices)), one_device, devices)


def test_two_processes(one_device):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    agrees(outcome(*(start(1, port, process, 2) for process in (0, 1))), one_device, 2)
