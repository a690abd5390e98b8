"""Any number of devices gives the same result; of processes: test_processes.py."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parent.parent


def start(devices):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "tests" / "parallel_program.py"), str(devices)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, **pipes)


def outcome(program):
    """What it prints; it must end well."""
    output, errors = program.communicate(timeout=120)
    assert program.returncode == 0, errors
    return json.loads(output.splitlines()[-1])


@pytest.fixture(scope="module")
def one_device():
    return outcome(start(1))


def agrees(ours, theirs, devices):
    assert ours["steps"] == 50 and ours["devices"] == devices
    np.testing.assert_allclose(ours["losses"], theirs["losses"], rtol=1e-5)
    assert ours["error"] == pytest.approx(theirs["error"], abs=0.01)
    np.testing.assert_allclose(ours["variance"], theirs["variance"], rtol=1e-4)


@pytest.mark.parametrize("devices", [2, 8])
def test_devices(one_device, devices):
    agrees(outcome(start(devices)), one_device, devices)
