"""Noise for ladders of many levels, the effect of each cost, and the commands that measure them."""

import dataclasses
import itertools
import json
import pathlib
import statistics
import types

import jax
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from experiments import compare, costs, levels, varied
from ladder_jax import data, loop, presets
from ladder_jax.config import Config
from ladder_jax.errors import ConfigError
from ladder_jax.run import inputs, program
from ladder_jax.types import Trained

ROOT = pathlib.Path(__file__).parent.parent


def test_remaining_signal_does_not_depend_on_the_depth():
    signals = [(1 + presets.noise_by_depth(number) ** 2) ** -number for number in (1, 7, 34)]
    assert signals == pytest.approx([1.09**-7] * 3)
    for bad in (0, 2.5, True):
        with pytest.raises(ValueError, match=r"levels is .*at least 1"):
            presets.noise_by_depth(bad)


@pytest.fixture
def command(tmp_path):
    flags.FLAGS.mark_as_parsed()
    output = tmp_path / "levels.json"

    def run(module=levels, **values):
        given = {"workdir": str(tmp_path / "runs"), "output": str(output), "population": "on"}
        with flagsaver.flagsaver(**given, epochs=1, **values):
            module.main()
        return json.loads(output.read_text())

    return run


def test_command(command, tmp_path, capsys):
    results = command(levels=[2], level_units=3, kind=["full", "supervised"], seeds=2)
    assert "2 levels  supervised  noise by depth" in capsys.readouterr().out
    kinds = {(run["model"], run["noise"], run["seed"]) for run in results["runs"]}
    assert len(kinds) == len(results["runs"]) == 8
    noises = {run["noise"]: run["noise_std"] for run in results["runs"]}
    assert noises == {"0.3": 0.3, "by depth": round(presets.noise_by_depth(4), 4)}
    assert all(0 < run["test_error"] <= 100 and run["steps"] > 1 for run in results["runs"])
    assert [len(each["start"]) for each in results["gradients"]] == [3] * 4  # 2 levels and the top
    assert "<svg" in (tmp_path / "levels.svg").read_text()
    subset = command(levels=[2], level_units=3, kind=["full"], seeds=2, overwrite_output=True)
    assert subset["runs"] == results["runs"][:4]  # not trained again


def test_command_with_residual_levels(command):
    results = command(levels=[3], level_units=3, kind=["gamma"], residual=True, input_noise=0.5)
    assert results["residual"] and results["input_noise"] == 0.5
    assert [len(each["end"]) for each in results["gradients"]] == [4, 4]


def test_settings_and_gradients():
    config = Config(units=(4, 3), denoising_cost=(1000.0, 10.0, 0.1, 0.1))
    hidden = {"units": (5, 5, 5)}
    gamma = levels.settings(config, hidden, "gamma", (0.2,))
    assert gamma.units == (5, 5, 5) and gamma.noise_std == (0.2,)
    assert gamma.combinators == ("none", "none", "none", "none", "gaussian")
    full = levels.settings(config, hidden, "full", (0.2,))
    assert full.denoising_cost == (1000.0, 10.0, 0.1, 0.1, 0.1)
    supervised = levels.settings(config, hidden, "supervised", (0.2,))
    assert set(supervised.combinators) == {"none"} and set(supervised.denoising_cost) == {0.0}

    residual = levels.settings(config, levels.residual_encoder(3, 5, 10), "full", (0.2,))
    assert residual.levels == full.levels and residual.denoising_cost == full.denoising_cost

    for chosen in (full, residual):
        task = inputs.prepare(chosen, data.load("digits"))
        params = program.build_ladder(chosen, (64,), task.target).init(jax.random.key(1))
        noisier = dataclasses.replace(chosen, noise_std=(0.5,))
        norms = levels.gradient_norms([chosen, noisier], [params, params], task)
        assert all(min(start) > 0 and min(end) > 0 and start != end for start, end in norms)
        assert norms[1] == levels.gradient_norms([noisier], [params], task)[0] != norms[0]


def test_costs(command, tmp_path, monkeypatch, capsys):
    """One cost varies at a time; the config's own run counts for each level with a cost."""
    small = Config(units=(3,), denoising_cost=(10.0, 1.0, 0.0))
    monkeypatch.setattr(varied.configs, "load", lambda name: small)
    results = command(costs, factor=[0.1, 100.0], hold_out=100, seeds=2)
    kinds = {(run["level"], run["cost"], run["seed"]) for run in results["runs"]}
    values = {0: (1.0, 10.0, 1000.0), 1: (0.1, 1.0, 100.0)}
    assert kinds == {(at, cost, seed) for at in values for cost in values[at] for seed in (0, 1)}
    first = [r["validation_error"] for r in results["runs"] if (r["level"], r["cost"]) == (0, 10.0)]
    assert first == [
        r["validation_error"] for r in results["runs"] if (r["level"], r["cost"]) == (1, 1.0)
    ]
    assert "level 1  cost        100" in capsys.readouterr().out
    assert "<svg" in (tmp_path / "levels.svg").read_text()


@pytest.mark.parametrize("module", [costs, levels])
def test_values_given_twice_count_once(monkeypatch, tmp_path, capsys, module):
    """Nothing is trained; the file is written before its errors are printed."""
    small = Config(units=(3,), denoising_cost=(10.0, 0.0, 0.0))
    summary = {"validation_error": 1.0, "test_error": 1.0, "seconds": 1.0, "steps": 3}
    monkeypatch.setattr(varied.configs, "load", lambda name: small)
    monkeypatch.setattr(compare, "train_all", lambda members, *_, **__: [1.0] * len(members))
    loaded = types.SimpleNamespace(trained=Trained((), (), ()))
    monkeypatch.setattr(varied.workfolder, "load_summary", lambda folder: summary)
    monkeypatch.setattr(levels.predictor, "load", lambda folder: loaded)
    monkeypatch.setattr(levels, "gradient_norms", lambda all_, *_: [([1.0], [1.0])] * len(all_))
    monkeypatch.chdir(tmp_path)  # without a folder runs
    flags.FLAGS.mark_as_parsed()
    printed = []
    name = module.__name__.rpartition(".")[2]
    file = tmp_path / "runs" / f"{name}.json"
    monkeypatch.setattr("builtins.print", lambda *words, **_: printed.append(file.exists()))
    given = {"factor": [1.0, 10.0, 10.0]} if module is costs else {"kind": ["full", "full"]}
    with flagsaver.flagsaver(levels=[2, 2], **given):
        module.main()
    runs = json.loads(file.read_text())["runs"]
    assert len(runs) == 2 and all(printed)
    assert len({json.dumps(run) for run in runs}) == 2
    (tmp_path / "y.svg").touch()
    for output, message in (("x.svg", "give a name ending in .json"), ("y.json", "y.svg is there")):
        given = flagsaver.flagsaver(output=str(tmp_path / output))
        with given, pytest.raises(ConfigError, match=message):
            module.main()


@pytest.mark.parametrize("data_set", ["digits", "mnist", "mnist_residual"])
def test_tables_in_the_documentation(data_set):
    """Their lines follow from the file of runs, with three seeds each."""
    file = ROOT / "experiments" / "results" / f"levels_{data_set}.json"
    runs = json.loads(file.read_text())["runs"]
    page = (ROOT / "docs" / "limits.md").read_text()
    by_kind = levels.by_levels(runs)
    for number in sorted({run["levels"] for run in runs}):
        cells = []
        for model, noise in itertools.product(levels.MODELS, ("0.3", levels.BY_DEPTH)):
            errors = by_kind[model, noise][number]
            assert len(errors) == 3
            cells.append(f"{statistics.fmean(errors):.2f}")
        assert f"\n| {number} | {' | '.join(cells)} |\n" in page


def errors_by_cost(data_set):
    """Returns the mean error over three seeds by level and cost, as text."""
    file = ROOT / "experiments" / "results" / f"costs_{data_set}.json"
    means = {}
    for (level,), errors in costs.by_cost(json.loads(file.read_text())["runs"]).items():
        for cost, values in errors.items():
            assert len(values) == 3
            means[level, cost] = f"{statistics.fmean(values):.2f}"
    return means


def test_costs_in_the_documentation():
    page = (ROOT / "docs" / "choosing.md").read_text().replace("\n", " ")
    digits, mnist = errors_by_cost("digits"), errors_by_cost("mnist")
    low, unchanged, high = (digits[0, cost] for cost in (10.0, 1000.0, 100000.0))
    assert f"{low} %, the config's own {unchanged}, a hundred times it {high}." in page
    first, second, third, top = (digits[level, 100.0] for level in (1, 2, 3, 4))
    assert f"level 1 {first} %, level 2 {second}, level 3 {third}, and at the top" in page
    assert f"denoised, {top}." in page

    table = [
        " | ".join(mnist[level, own * factor] for factor in (0.001, 0.1, 1.0, 10.0, 1000.0))
        for level, own in enumerate((1000.0, 10.0, 0.1, 0.1, 0.1, 0.1, 0.1))
    ]
    assert all(f"| {level} | {row} |" in page for level, row in enumerate(table))


@pytest.mark.slow
def test_twenty_levels_learn(tmp_path):
    """With noise reduced by depth, the error is at most twice that of four levels."""
    errors = {}
    for number in (4, 20):
        config = Config(
            units=(100,) * number,
            denoising_cost=(1000.0, 10.0) + (0.1,) * number,
            noise_std=(presets.noise_by_depth(number + 2),),
            epochs=60,
        )
        result = loop.train_and_evaluate(config, tmp_path / str(number))
        errors[number] = result.summary["test_error"]
    assert np.isfinite(list(errors.values())).all() and errors[20] <= 2 * errors[4], errors
