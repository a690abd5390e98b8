"""Any number of devices gives the same result; of processes: test_processes.py."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parent.parent


def agrees(ours, theirs, devices):
    assert ours["steps"] == 50 and ours["devices"] == devices
    np.testing.assert_allclose(ours["losses"], theirs["losses"], rtol=1e-5)
    assert ours["error"] == pytest.approx(theirs["error"], abs=0.01)
    np.testing.assert_allclose(ours["variance"], theirs["variance"], rtol=1e-4)


def test_devices():
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "tests" / "parallel_program.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    one, *several = json.loads(done.stdout.splitlines()[-1])
    for devices, ours in zip([2, 8], several, strict=True):
        agrees(ours, one, devices)
