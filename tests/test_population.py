"""A population gives the same results as one run per member, up to rounding."""

import dataclasses
import json
import signal

import numpy as np
import pytest

from ladder_jax import loop, population, targets
from ladder_jax.checkpoints import Checkpoints
from ladder_jax.config import Config
from ladder_jax.errors import ConfigError, Interrupted, NotFiniteError
from ladder_jax.run import workfolder
from ladder_jax.run.inputs import Spec
from ladder_jax.run.program import Members, compile_program
from ladder_jax.training import TrainData

TINY = Config(units=(8,), denoising_cost=(10.0, 1.0, 0.1), epochs=3, eval_every=1)
MEMBERS = {
    "a": TINY,
    "b": dataclasses.replace(TINY, seed=5),
    "c": dataclasses.replace(TINY, seed=5, learning_rate=0.01, noise_std=(0.1,)),
    "d": dataclasses.replace(TINY, denoising_cost=(0.1,)),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("population")
    return folder, population.train_population(MEMBERS, folder)


@pytest.mark.parametrize("name", list(MEMBERS))
def test_members_match_separate_runs(results, tmp_path, name):
    folder, members = results
    single = loop.train_and_evaluate(MEMBERS[name], tmp_path)
    # 36 steps of float32: rounding differs, as the products are batched.
    for level, (member, run) in enumerate(zip(members[name].params, single.params, strict=True)):
        for part in ("up", "down"):
            if level:
                np.testing.assert_allclose(
                    *(getattr(params, part)["kernel"] for params in (member, run)),
                    rtol=1e-3,
                    atol=1e-4,
                )
    for file in ("labels.json", "config.json"):
        assert (folder / name / file).read_bytes() == (tmp_path / file).read_bytes()
    member, run = (
        [json.loads(line) for line in (f / "metrics.jsonl").read_text().splitlines()]
        for f in (folder / name, tmp_path)
    )
    for a, b in zip(member, run, strict=True):
        np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-4)
        assert a["epoch"] == b["epoch"]
        assert a["test_error"] == pytest.approx(b["test_error"], abs=0.41)  # two images
    assert members[name].summary["seed"] == MEMBERS[name].seed
    assert members[name].summary.keys() == single.summary.keys()


def test_population_resumes(results, tmp_path):
    folder, _ = results

    def stop(metrics):
        if metrics["epoch"] == 1:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted, match="after epoch 2"):
        population.train_population(MEMBERS, tmp_path, progress=stop)
    population.train_population(MEMBERS, tmp_path)
    again = population.train_population(MEMBERS, tmp_path)  # finished: read, not trained
    assert set(again) == set(MEMBERS)
    for name in MEMBERS:
        for file in ("metrics.jsonl", "params.npz"):
            assert (tmp_path / name / file).read_bytes() == (folder / name / file).read_bytes()


def test_member_that_is_trained_again_is_not_done(tmp_path):
    population.train_population({"a": MEMBERS["a"]}, tmp_path)
    assert workfolder.is_done(tmp_path / "a")

    def stop(metrics):
        if metrics["epoch"] == 1:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted):
        population.train_population({name: MEMBERS[name] for name in "ab"}, tmp_path, progress=stop)
    assert not any(workfolder.is_done(tmp_path / name) for name in "ab")


def test_best_epoch_per_member_and_of_their_mean(tmp_path):
    """Holds for a population that stops and resumes, too."""
    settings = {"validation": 200, "epochs": 6, "learning_rate": 0.1}
    members = {s: dataclasses.replace(TINY, **settings, seed=int(s)) for s in "01"}

    def stop(metrics):
        if metrics["epoch"] == 3:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted):
        population.train_population(members, tmp_path, progress=stop)
    results = population.train_population(members, tmp_path)
    errors = []
    for name, result in results.items():
        text = (tmp_path / name / "metrics.jsonl").read_text()
        errors.append([json.loads(line)["validation_error"] for line in text.splitlines()])
        assert result.summary["best_epoch"] == np.argmin(errors[-1]) + 1
        best, last = (np.load(tmp_path / name / file) for file in ("best.npz", "params.npz"))
        assert best.files == last.files
        differ = any((best[part] != last[part]).any() for part in best.files)
        assert differ == (result.summary["best_epoch"] < 6)
    (checkpoints,) = tmp_path.glob("checkpoints-*")
    assert Checkpoints(checkpoints, 2).epochs == [np.argmin(np.mean(errors, 0)) + 1]


def test_non_finite_members_are_named(tmp_path):
    members = MEMBERS | {"bad": dataclasses.replace(MEMBERS["d"], learning_rate=3e37)}
    del members["d"]
    with pytest.raises(NotFiniteError, match="of bad"):
        population.train_population(members, tmp_path)


def test_all_labels_share_one_array():
    everything = dataclasses.replace(TINY, labels=0)
    crew = population.gather([everything, dataclasses.replace(everything, seed=5)])
    assert crew.data.train.labeled is crew.data.train.unlabeled
    assert crew.members.axes == TrainData(None, None, None)
    crew = population.gather([TINY, MEMBERS["b"]])
    assert crew.members.axes == TrainData(0, 0, None)
    assert crew.data.train.labeled.shape == (2, 100, 64)


def test_dtype_is_that_of_a_member_begun_earlier(tmp_path, monkeypatch):
    with workfolder.open_run(tmp_path / "b", TINY):
        pass
    folders = []
    monkeypatch.setattr(population, "gather", lambda *given: folders.append(given[2]) or 1 / 0)
    for overwrite in (False, True):
        with pytest.raises(ZeroDivisionError):
            population.train_population(MEMBERS, tmp_path, overwrite=overwrite)
    assert folders == [tmp_path / "b", None]


def test_members_must_be_alike():
    for other in ({"units": (9,)}, {"epochs": 2}, {"labels": 50}):
        with pytest.raises(ConfigError, match=next(iter(other))):
            population.check_alike([TINY, dataclasses.replace(TINY, **other)])
    with pytest.raises(ConfigError, match="resident"):
        population.check_alike([dataclasses.replace(TINY, resident=False)])
    splits = [dataclasses.replace(TINY, split=f"digits.0@{number}") for number in (100, 50)]
    with pytest.raises(ConfigError, match=r"members have 50 and 100 labels; .* the same number"):
        population.gather(splits)
    with pytest.raises(ConfigError, match="no member"):
        population.check_alike([])


@pytest.mark.parametrize("name", [0, "", "..", "a/b", "a\\b"])
def test_names_that_are_no_folders_are_refused(tmp_path, name):
    with pytest.raises(ConfigError, match=r"members has the name .* name of a folder"):
        population.train_population({"a": TINY, name: TINY}, tmp_path)
    assert not any(tmp_path.iterdir())


def test_runs_that_differ_in_seed_or_name_share_a_program():
    spec, members = Spec((4,), targets.classes(10)), Members(2, TrainData(None, None, None))
    single, together = compile_program(TINY, spec), compile_program(TINY, spec, members)
    assert single.net.shapes == ((4,), (8,), (10,)) and together is not single
    other = dataclasses.replace(TINY, name="other", seed=1)
    assert compile_program(other, spec) is single
    noisy = dataclasses.replace(TINY, noise_std=(0.1,))
    assert compile_program(noisy, spec) is not single
    assert compile_program(noisy, spec, members) is together
