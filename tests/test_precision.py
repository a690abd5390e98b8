"""The dtype of matrix products that ``compute_dtype="auto"`` chooses on a machine."""

import dataclasses

import numpy as np
import pytest
from stops import StopError, stop_at

from ladder_jax import data, loop, population, predictor, targets
from ladder_jax.config import Config
from ladder_jax.estimators import LadderClassifier
from ladder_jax.run import precision, workfolder
from ladder_jax.run.inputs import Spec

CONFIG = Config(
    dataset="own",
    labels=8,
    units=(6, 3),
    batch_unlabeled=10,
    batch_labeled=4,
    epochs=2,
    eval_every=1,
    checkpoint_seconds=0.0,
    compute_dtype="auto",
)
X = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)
OWN = data.from_arrays(X, Y, X, Y)


@pytest.fixture
def faster(monkeypatch):
    """Makes a dtype the faster one on this machine; returns the list of measurements."""
    measured = []

    def choose(dtype):
        def milliseconds(*arguments):
            measured.append(arguments)
            return (2.0, 1.0) if dtype == "bfloat16" else (1.0, 2.0)

        monkeypatch.setattr(precision, "_milliseconds", milliseconds)
        return measured

    return choose


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_faster_dtype_is_chosen(faster, dtype, caplog):
    measured = faster(dtype)
    spec = Spec((4,), targets.classes(2))
    assert precision.settle(CONFIG, spec) == dataclasses.replace(CONFIG, compute_dtype=dtype)
    assert measured == [("dense:6", (4,), 300)]  # the map with the most operations
    assert f"compute_dtype is auto: {dtype}" in caplog.text
    same = dataclasses.replace(CONFIG, compute_dtype="bfloat16")
    assert precision.settle(same, spec) is same and len(measured) == 1


def test_convolutions_count_every_position(faster):
    measured = faster("float32")
    config = Config(encoder="conv:4:3:1:same-conv:8:1-global_mean_pool-2", compute_dtype="auto")
    precision.settle(config, Spec((5, 5, 2), targets.classes(2)))
    assert measured == [("conv:4:3:1:same", (5, 5, 2), 300)]


def test_both_dtypes_are_measured():
    wide, narrow = precision._milliseconds("dense:3", (4,), 10)
    assert wide > 0 and narrow > 0
    assert precision._milliseconds("dense:3", (4,), 10) == (wide, narrow)  # measured once


def test_resumed_run_keeps_its_dtype(faster, tmp_path):
    faster("bfloat16")
    resolved = dataclasses.replace(CONFIG, compute_dtype="bfloat16")
    expected = loop.train_and_evaluate(resolved, tmp_path / "whole", dataset=OWN)
    with pytest.raises(StopError):
        loop.train_and_evaluate(CONFIG, tmp_path / "run", dataset=OWN, progress=stop_at(2))
    measured = faster("float32")
    result = loop.train_and_evaluate(CONFIG, tmp_path / "run", dataset=OWN)
    assert workfolder.read_config(tmp_path / "run") == resolved and len(measured) == 1
    assert result.summary["test_error"] == expected.summary["test_error"]
    params = (tmp_path / "run" / "params.npz").read_bytes()
    assert params == (tmp_path / "whole" / "params.npz").read_bytes()
    again = loop.train_and_evaluate(CONFIG, tmp_path / "run", dataset=OWN, progress=stop_at(1))
    assert again.summary["test_error"] == result.summary["test_error"]
    predictor.load(tmp_path / "run")(X)


def test_population_and_estimator(faster, tmp_path):
    measured = faster("bfloat16")
    members = {f"ladder-{seed}": dataclasses.replace(CONFIG, seed=seed) for seed in (0, 1)}
    population.train_population(members, tmp_path, dataset=OWN)
    assert len(measured) == 1
    for name in members:
        assert workfolder.read_config(tmp_path / name).compute_dtype == "bfloat16"
    model = LadderClassifier(units=(3,), epochs=1, compute_dtype="auto").fit(X, Y)
    assert model.config_.compute_dtype == "bfloat16" and len(measured) == 2


def test_overwritten_run_chooses_its_dtype_anew(faster, tmp_path):
    faster("bfloat16")
    with pytest.raises(StopError):
        loop.train_and_evaluate(CONFIG, tmp_path, dataset=OWN, progress=stop_at(1))
    (tmp_path / "config.json").write_text("{'no json'")  # ignored when overwritten
    faster("float32")
    with pytest.raises(StopError):
        loop.train_and_evaluate(CONFIG, tmp_path, dataset=OWN, overwrite=True, progress=stop_at(1))
    assert workfolder.read_config(tmp_path).compute_dtype == "float32"
