"""The sweep: its trials, resuming them, and its results."""

import dataclasses
import json
import math
import runpy
import signal
import types
import unittest.mock
import warnings
import xml.etree.ElementTree

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from experiments import cli, compare, knobs, study, sweep, sweep_report
from experiments.study import Study
from ladder_jax.config import Config
from ladder_jax.errors import ConfigError, Interrupted, NotFiniteError
from ladder_jax.run.workfolder import read_config

pytest.importorskip("optuna")
SETTINGS = {"units": (4,), "batch_unlabeled": 500, "epochs": 1, "denoising_cost": (10.0, 1.0, 0.1)}
OWN = Config(**SETTINGS, validation=200)
TWO = ["--validation=200", "--trials=2", "--population=on"]
TRIALS = 5
"""Number of trials; in batches of two, the last batch is not full."""


@pytest.mark.parametrize("name", ["q?x", "b{x}", "c%41", "h#x"])
def test_study_is_in_its_folder(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    for _ in range(2):
        with study.open_study(folder, [], 0, {}):
            pass
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (folder / study.STUDY).stat().st_size


def run_sweep(folder, *more):
    """Runs the command in this process."""
    given = [f"--config.{name}={value}" for name, value in SETTINGS.items()]
    given += [f"--trials={TRIALS}", "--batch=2", f"--workdir={folder}", *more]
    given = ["sweep", f"--config={cli.config_path('digits')}", *given]
    # ml_collections reads sys.argv itself, and loads config files in a deprecated way.
    with flagsaver.flagsaver(), unittest.mock.patch("sys.argv", given):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            flags.FLAGS(given)
        sweep.main()


def values_of(folder):
    found = json.loads((folder / "sweep.json").read_text())
    return [(t["values"], t["validation_errors"]) for t in found["trials"]]


@pytest.fixture
def quick(monkeypatch):
    """Computes errors from the settings instead of training, and draws no plots."""
    trained = []

    def train_all(members, folder, measured, dataset, *, together, overwrite):
        assert measured == "validation" and not len(dataset.y_test) and not overwrite
        trained.extend(members)
        for config in members.values():
            if config.learning_rate > 0.004:
                raise NotFiniteError("NaN at the first step")
        return [1000 * c.learning_rate + c.noise_std[0] + c.seed for c in members.values()]

    monkeypatch.setattr(compare, "train_all", train_all)
    monkeypatch.setattr(sweep_report, "plot", lambda folder, sweep: None)
    return trained


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Returns the folder of a finished sweep that was trained."""
    folder = tmp_path_factory.mktemp("sweep") / "done"
    run_sweep(folder, *TWO)
    return folder


def test_writes_all_trials_and_the_best_as_a_config(finished, quick, capsys):
    found = json.loads((finished / "sweep.json").read_text())
    first, other = found["trials"]
    own = {name: list(getattr(OWN, name)) for name in ("noise_std", "denoising_cost")}
    assert first["settings"] == own | {"learning_rate": OWN.learning_rate}
    assert other["settings"] != first["settings"]
    for trial in (first, other):
        name = f"trial-{trial['trial']}-0"
        summary = json.loads((finished / name / "result.json").read_text())
        assert trial["validation_errors"] == [summary["validation_error"]]
        assert "test_error" not in summary
    best = min((first, other), key=lambda trial: trial["mean"])
    assert found["best"] == best["trial"]
    values = runpy.run_path(str(finished / "best.py"))["get_config"]().to_dict()
    config = Config.create(values)
    assert config == read_config(finished / f"trial-{best['trial']}-0")
    assert (
        json.loads(json.dumps({name: values[name] for name in Config.TRACED})) == best["settings"]
    )
    assert (finished / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert xml.etree.ElementTree.parse(finished / "sweep.svg").getroot().tag.endswith("svg")
    before = {path: path.read_bytes() for path in finished.glob("*.*") if path.suffix != ".db"}
    run_sweep(finished, *TWO)
    assert not quick and {path: path.read_bytes() for path in before} == before
    out = capsys.readouterr().out
    assert f"--config={finished / 'best.py'}" in out and "the config's own" in out


def test_sweep_resumes(quick, tmp_path, monkeypatch):
    given = ["--validation=200", "--seeds=2"]
    run_sweep(tmp_path / "whole", *given)
    assert len(quick) == 2 * TRIALS
    for place, calls in (("ask", 3), ("tell", 0), ("tell", 3)):
        folder, count, real = tmp_path / f"{place}-{calls}", iter(range(9)), getattr(Study, place)

        def stop(*args, calls=calls, count=count, real=real):
            if next(count) == calls:
                raise Interrupted(signal.SIGTERM)
            real(*args)

        with monkeypatch.context() as patch:
            patch.setattr(Study, place, stop)
            with pytest.raises(Interrupted, match="to resume: the same command with --workdir"):
                run_sweep(folder, *given)
        run_sweep(folder, *given)
        assert values_of(folder) == values_of(tmp_path / "whole")
    run_sweep(tmp_path / "whole", *given, "--trials=7")
    run_sweep(tmp_path / "more", *given, "--trials=7")
    assert values_of(tmp_path / "whole") == values_of(tmp_path / "more")
    run_sweep(tmp_path / "other", *given, "--config.seed=7", "--trials=2")
    (first, second), (own, other) = values_of(folder)[:2], values_of(tmp_path / "other")
    assert own[0] == first[0] and other[0] != second[0]


@pytest.mark.parametrize("together", ["on", "off"])
def test_non_finite_loss_ranks_last(quick, tmp_path, capsys, together):
    flag = f"--population={together}"
    run_sweep(tmp_path, "--validation=200", flag, "--trials=9")
    found = json.loads((tmp_path / "sweep.json").read_text())
    rates = {t["trial"]: t["settings"]["learning_rate"] for t in found["trials"]}
    failed = {t["trial"] for t in found["trials"] if t["validation_errors"] is None}
    assert failed == {number for number, rate in rates.items() if rate > 0.004}
    assert failed and found["best"] not in failed
    assert all(t["mean"] is None for t in found["trials"] if t["trial"] in failed)
    # A population with a bad trial in it is trained again one by one.
    assert len(quick) > len(rates) if together == "on" else len(quick) == len(rates)
    assert ("trained one by one" in capsys.readouterr().out) == (together == "on")


@pytest.mark.slow
def test_no_finite_loss_at_all(tmp_path, capsys):
    """Really trains: the population fails, and so does each member by itself."""
    given = [*TWO, "--tune=learning_rate"]
    for _ in range(2):
        with pytest.raises(NotFiniteError, match="each of 2 trials"):
            run_sweep(tmp_path, *given, "--config.learning_rate=1e37")
    out = capsys.readouterr().out
    assert "trial-0-0, trial-1-0" in out and out.count("trained one by one") == 1
    assert [errors for _, errors in values_of(tmp_path)] == [None, None]
    assert not (tmp_path / "best.py").exists() and not any(tmp_path.glob("checkpoints-*"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "a sweep compares settings, .* e.g. --validation=200"),
        (["--validation=200", "--tune=epochs"], "--tune=epochs: give some of learning_rate"),
        (["--validation=200", "--tune="], "nothing to tune"),
    ],
)
def test_bad_flags_before_a_folder_is_made(tmp_path, given, message):
    with pytest.raises(ConfigError, match=message):
        run_sweep(tmp_path / "work", *given)
    assert not any(tmp_path.iterdir())


def test_changed_settings_in_the_same_folder(quick, tmp_path):
    run_sweep(tmp_path, "--validation=200")
    before = values_of(tmp_path)
    for given, message in (
        (["--validation=300"], "validation: 200 -> 300"),
        (["--validation=200", "--config.ema_decay=0.9"], "ema_decay: 0.0 -> 0.9"),
        (["--validation=200", "--seeds=2"], "seeds: 1 -> 2"),
        (["--validation=200", "--batch=3"], "batch: 2 -> 3"),
        (["--validation=200", "--tune=noise_std"], r"tune: \[.*\] -> \['noise_std'\]"),
    ):
        with pytest.raises(ConfigError, match=message):
            run_sweep(tmp_path, *given)
    assert values_of(tmp_path) == before
    run_sweep(tmp_path, "--validation=200", "--tune=noise_std", "--overwrite")
    assert set(values_of(tmp_path)[0][0]) == {"noise_std"}
    (tmp_path / study.STUDY).write_bytes(b"no database" * 1000)
    with pytest.raises(ConfigError, match=r"study.db cannot be read"):
        run_sweep(tmp_path, "--validation=200", "--tune=noise_std")


def test_without_optuna(tmp_path, monkeypatch):
    absent = types.SimpleNamespace(util=types.SimpleNamespace(find_spec=lambda name: None))
    monkeypatch.setattr(study, "importlib", absent)
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[sweep\]'"):
        run_sweep(tmp_path, "--validation=200")


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"noise_std": (0.3, 0.2, 0.2, 0.2)}, ["noise_std[0]", "noise_std[1:]"]),
        ({"noise_std": (0.3, 0.0, 0.0, 0.0)}, ["noise_std[0]"]),
        ({"denoising_cost": (5.0,)}, [f"denoising_cost[{part}]" for part in ("0", "1", "2:")]),
        (
            {"denoising_cost": (5.0,), "combinators": ("none", "none", "gaussian", "gaussian")},
            ["denoising_cost[2:]"],
        ),
        ({"denoising_cost": (0.0, 0.0, 0.0, 2.0)}, ["denoising_cost[2:]"]),
    ],
)
def test_levels_that_are_not_decoded_are_not_tuned(settings, names):
    own = Config(units=(5, 5), **settings)
    (setting,) = settings.keys() - {"combinators"}
    found = knobs.knobs(own, [setting])
    assert [knob.name for knob in found] == names
    doubled = knobs.turned(own, found, {knob.name: 2 * knob.value for knob in found})
    same = knobs.turned(own, found, {knob.name: knob.value for knob in found})
    values, before = getattr(doubled, setting), getattr(same, setting)
    assert values == tuple(2 * value for value in before)
    assert len(before) == 4 and (before == getattr(own, setting) or len(settings[setting]) == 1)
    for level, name in enumerate(own.combinators * (4 if len(own.combinators) == 1 else 1)):
        assert setting == "noise_std" or (name == "none") <= (values[level] == 0)


def test_nothing_to_tune():
    with pytest.raises(ConfigError, match="denoising_cost is 0 at every level of digits"):
        knobs.knobs(OWN.supervised(), ["denoising_cost"])


def test_best_config_keeps_every_name(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep_report, "plot", lambda folder, sweep: None)
    folder = tmp_path / "my sweep"
    folder.mkdir()
    config = Config(name='C:\\new "best"', dataset="\N{GRINNING FACE}é\udcff.npz", **SETTINGS)
    tuned = knobs.knobs(config, ["learning_rate"])
    trials = [study.Trial(0, {"learning_rate": 0.003}, True, [2.0])]
    done = sweep_report.Sweep(config, tuned, trials, seeds=1)
    out = sweep_report.write(folder, done, "sweep --workdir='a\\b\udcff \"'")
    assert f"experiments.train '--config={folder}/best.py'" in out
    values = runpy.run_path(str(folder / "best.py"))["get_config"]().to_dict()
    assert Config.create(values) == dataclasses.replace(config, learning_rate=0.003)


def test_overwriting_keeps_what_is_not_of_a_sweep(quick, tmp_path):
    run_sweep(tmp_path, "--validation=200")
    for name in ("trial-0-0", "trial-by-hand", "checkpoints-0123abcd", "checkpoints-mine"):
        (tmp_path / name).mkdir()
    (tmp_path / "trial-0-notes.txt").touch()
    run_sweep(tmp_path, "--validation=200", "--overwrite", "--tune=noise_std")
    left = {path.name for path in tmp_path.glob("[tc]*[-]*")}
    assert left == {"trial-by-hand", "trial-0-notes.txt", "checkpoints-mine"}


def test_error_is_the_mean_over_seeds():
    assert study.Trial(0, {}, True, [1.0, 2.0]).error == 1.5
    assert study.Trial(0, {}, True, None).error == math.inf


def test_changed_data_in_the_same_folder(quick, tmp_path):
    x, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 2
    mine = tmp_path / "mine.npz"
    np.savez(mine, x=x, y=y)
    given = [f"--dataset={mine}", "--labels=20", "--validation=20", "--config.batch_unlabeled=20"]
    run_sweep(tmp_path / "work", *given, "--trials=2")
    before = values_of(tmp_path / "work")
    np.savez(mine, x=x[:, ::-1] * 2, y=y)
    with pytest.raises(ConfigError, match="the training examples have changed"):
        run_sweep(tmp_path / "work", *given, "--trials=4")
    assert values_of(tmp_path / "work") == before
    np.savez(mine, x=x, y=y)
    run_sweep(tmp_path / "work", *given, "--trials=4")
    assert values_of(tmp_path / "work")[:2] == before
