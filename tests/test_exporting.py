"""An exported ladder says what the ladder says, without this package."""

import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax import export as jax_export
from tiny_predictors import NAMES, rows, tiny

from ladder_jax import data, exporting
from ladder_jax.data import preprocessing
from ladder_jax.errors import ConfigError

LOADER = pathlib.Path(__file__).parent.parent / "examples" / "load_exported.py"
LADDERS = {
    "dense": {"preprocess": "standardize+zca"},
    "conv": {"shape": (4, 4, 1), "encoder": "convs:2:3:1:1-maxpool:2:2-fc:3"},
}


@pytest.mark.parametrize("kind", LADDERS)
def test_equals_the_predictor(kind):
    ours = tiny(**LADDERS[kind])
    exported = jax_export.deserialize(bytearray(exporting.export(ours)))
    assert exported.platforms == ("cpu", "cuda", "tpu") == exporting.PLATFORMS
    (x,), (p,) = exported.in_avals, exported.out_avals
    assert str(x.shape) == f"(batch, {', '.join(map(str, ours.example_shape))})"
    assert x.dtype == p.dtype == np.float32
    call = jax.jit(exported.call)
    for batch in (1, 7, 300):
        new = rows(ours.example_shape, batch, seed=1)
        np.testing.assert_allclose(call(new), ours(new).probabilities, rtol=1e-5)


@pytest.mark.parametrize("chain", ["standardize", "contrast", "contrast+zca"])
def test_preprocessing_of_jax_is_numpys(chain):
    x = rows((3, 4, 2))
    x[0] = 0.5  # no contrast
    fitted = preprocessing.fit(chain, rows((3, 4, 2), seed=2))
    ours = jax.jit(lambda x: preprocessing.apply(fitted, x))(x)
    theirs = preprocessing.apply(fitted, x)
    assert theirs.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, atol=1e-4, rtol=1e-5)


def test_loads_where_this_package_is_not(tmp_path):
    ours, new = tiny(preprocess="contrast+zca"), rows((2, 3), 5, seed=1)
    path = tmp_path / "model.stablehlo"
    exporting.write(path, ours)
    about = json.loads(exporting.description_path(path).read_text())
    assert about["class_names"] == list(NAMES) and about["example_shape"] == [2, 3]
    np.savez(tmp_path / "new.npz", x=new)
    lines = f"""
import runpy, sys
sys.modules.update(ladder_jax=None, flax=None, optax=None)  # not to be imported
sys.argv = ["", {str(path)!r}, "new.npz"]
runpy.run_path({str(LOADER)!r})
"""
    done = subprocess.run(
        [sys.executable, "-c", lines], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = ours(new)
    for line, number, p in zip(
        done.stdout.splitlines(), found.classes, found.probabilities.max(1), strict=True
    ):
        name, probability = line.rsplit(" ", 1)
        assert name == NAMES[number] and float(probability) == pytest.approx(p, rel=1e-3)


@pytest.mark.parametrize("chain", ["none", "standardize", "contrast"])
def test_no_class_for_what_is_not_finite(chain):
    """As a program cannot raise: NaN in every class, and the other rows as ever."""
    ours, x = tiny(preprocess=chain), rows((2, 3), 4, seed=1)
    wanted = ours(x).probabilities
    x[1, 0, 0], x[2, 1, 1] = -3.4e38, np.nan
    found = jax.jit(exporting.predictions(ours))(x)
    assert np.isnan(found[1:3]).all()
    np.testing.assert_allclose(found[np.array([0, 3])], wanted[[0, 3]], rtol=1e-5)


def test_large_mean_in_float32():
    """What float32 holds of the rows is all used: the mean is subtracted in two parts."""
    x = 2**27 + 16 * np.round(100 * rows((2, 3), 400))  # multiples of 16: exact in float32
    for chain in ("standardize", "zca"):
        ours = preprocessing.fit(chain, x)
        wanted = preprocessing.apply(ours, x)
        in_jax = jax.jit(lambda x, ours=ours: preprocessing.apply(ours, x))(x.astype(np.float32))
        np.testing.assert_allclose(in_jax, wanted, atol=1e-4)
        np.testing.assert_allclose(wanted.mean(0), 0, atol=1e-4)


@pytest.mark.parametrize(("scale", "divisor"), [("bytes", 255), ("unit", 255), ("pixels", 1)])
def test_description_says_the_scale(scale, divisor):
    ours = tiny()
    ours.fitted = ours.fitted._replace(scale=scale)
    about = exporting.description(ours)
    assert about["scale"] == scale and about["divide_bytes_by"] == divisor
    assert data.SCALES[scale] in about["input"] and "NaN" in about["output"]


def test_without_flatbuffers(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install flatbuffers"):
        exporting.export(tiny())
