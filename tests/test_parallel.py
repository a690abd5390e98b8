"""Results do not depend on the number of devices; for processes, see test_processes.py."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parent.parent


def assert_agrees(result, expected, devices):
    assert result["steps"] == 50 and result["devices"] == devices
    np.testing.assert_allclose(result["losses"], expected["losses"], rtol=1e-5)
    assert result["error"] == pytest.approx(expected["error"], abs=0.01)
    np.testing.assert_allclose(result["variance"], expected["variance"], rtol=1e-4)


def test_devices():
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "tests" / "parallel_program.py")]
    completed = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300
    )
    assert completed.returncode == 0, completed.stderr
    *exchanges, single, two, eight = json.loads(completed.stdout.splitlines()[-1])
    # Sums of statistics and gradients alone, although a product is of labelled and other rows.
    assert exchanges == [["all-reduce"]] * 2
    for devices, result in zip([2, 8], [two, eight], strict=True):
        assert_agrees(result, single, devices)
