"""Exported ladders predict the same as the predictor, without this package."""

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
from ladder_jax.run.inputs import Scaling

LOADER = pathlib.Path(__file__).parent.parent / "examples" / "load_exported.py"
LADDERS = {
    "dense": {"preprocess": "standardize+zca"},
    "conv": {"shape": (4, 4, 1), "encoder": "convs:2:3:1:1-maxpool:2:2-fc:3"},
}


@pytest.mark.parametrize(("mean", "scale"), [(1.7e9, 10.0), (0.0, 1e39)])
def test_numbers_beyond_float32_are_refused(mean, scale):
    predictor = tiny()
    predictor.scaling = Scaling((mean,), (scale,))
    with pytest.raises(ConfigError, match="more digits than float32"):
        exporting.export(predictor)


@pytest.mark.parametrize("kind", LADDERS)
def test_exported_ladder_equals_the_predictor(kind):
    predictor = tiny(**LADDERS[kind])
    exported = jax_export.deserialize(bytearray(exporting.export(predictor)))
    assert exported.platforms == ("cpu", "cuda", "tpu") == exporting.PLATFORMS
    (x,), (p,) = exported.in_avals, exported.out_avals
    assert str(x.shape) == f"(batch, {', '.join(map(str, predictor.example_shape))})"
    assert x.dtype == p.dtype == np.float32
    call = jax.jit(exported.call)
    for batch in (1, 7, 300):
        new = rows(predictor.example_shape, batch, seed=1)
        np.testing.assert_allclose(call(new), predictor(new).probabilities, rtol=1e-5)


@pytest.mark.parametrize("chain", ["standardize", "contrast", "contrast+zca"])
def test_preprocessing_in_jax_equals_numpy(chain):
    x = rows((3, 4, 2))
    x[0] = 0.5  # no contrast
    fitted = preprocessing.fit(chain, rows((3, 4, 2), seed=2))
    in_jax = jax.jit(lambda x: preprocessing.apply(fitted, x))(x)
    in_numpy = preprocessing.apply(fitted, x)
    assert in_numpy.dtype == np.float32
    np.testing.assert_allclose(in_jax, in_numpy, atol=1e-4, rtol=1e-5)


def test_loads_without_this_package(tmp_path):
    predictor, new = tiny(preprocess="contrast+zca"), rows((2, 3), 5, seed=1)
    path = tmp_path / "model.stablehlo"
    exporting.write(path, predictor)
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
    predicted = predictor(new)
    for line, number, p in zip(
        done.stdout.splitlines(), predicted.classes, predicted.probabilities.max(1), strict=True
    ):
        name, probability = line.rsplit(" ", 1)
        assert name == NAMES[number] and float(probability) == pytest.approx(p, rel=1e-3)


@pytest.mark.parametrize("chain", ["none", "standardize", "contrast"])
def test_rows_that_are_not_finite_give_nan(chain):
    """A compiled program cannot raise; the other rows are predicted as usual."""
    predictor, x = tiny(preprocess=chain), rows((2, 3), 4, seed=1)
    expected = predictor(x).probabilities
    x[1, 0, 0], x[2, 1, 1] = -3.4e38, np.nan
    probabilities = jax.jit(exporting.predictions(predictor))(x)
    assert np.isnan(probabilities[1:3]).all()
    np.testing.assert_allclose(probabilities[np.array([0, 3])], expected[[0, 3]], rtol=1e-5)


def test_large_mean_in_float32():
    """Subtracting the mean in two parts keeps all digits of the float32 rows."""
    x = 2**27 + 16 * np.round(100 * rows((2, 3), 400))  # multiples of 16: exact in float32
    for chain in ("standardize", "zca"):
        fitted = preprocessing.fit(chain, x)
        expected = preprocessing.apply(fitted, x)
        in_jax = jax.jit(lambda x, fitted=fitted: preprocessing.apply(fitted, x))(
            x.astype(np.float32)
        )
        np.testing.assert_allclose(in_jax, expected, atol=1e-4)
        np.testing.assert_allclose(expected.mean(0), 0, atol=1e-4)


@pytest.mark.parametrize(("scale", "divisor"), [("bytes", 255), ("unit", 255), ("pixels", 1)])
def test_description_gives_the_scale(scale, divisor):
    predictor = tiny()
    predictor.fitted = predictor.fitted._replace(scale=scale)
    about = exporting.description(predictor)
    assert about["scale"] == scale and about["divide_bytes_by"] == divisor
    assert data.SCALES[scale] in about["input"] and "NaN" in about["output"]


def test_description_of_a_target_of_your_own():
    predictor = tiny()
    predictor.target = predictor.target._replace(name="focal:3")
    about = exporting.description(predictor)
    assert about["target"] == "focal:3" and "that the target defines" in about["output"]


def test_without_flatbuffers(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install flatbuffers"):
        exporting.export(tiny())
