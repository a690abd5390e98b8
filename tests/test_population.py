"""A population is its members: the same result as one run each, up to rounding."""

import dataclasses
import json
import signal

import numpy as np
import pytest

from ladder_jax import loop, population, targets
from ladder_jax.checkpoints import Checkpoints
from ladder_jax.config import Config
from ladder_jax.errors import ConfigError, Interrupted, NotFiniteError
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
def test_a_member_is_a_run_of_its_own(results, tmp_path, name):
    folder, members = results
    alone = loop.train_and_evaluate(MEMBERS[name], tmp_path)
    # 36 steps of float32: rounding differs, as the products are batched.
    for level, (ours, theirs) in enumerate(zip(members[name].params, alone.params, strict=True)):
        for part in ("up", "down"):
            if level:
                np.testing.assert_allclose(
                    *(getattr(of, part)["kernel"] for of in (ours, theirs)), rtol=1e-3, atol=1e-4
                )
    for file in ("labels.json", "config.json"):
        assert (folder / name / file).read_bytes() == (tmp_path / file).read_bytes()
    ours, theirs = (
        [json.loads(line) for line in (f / "metrics.jsonl").read_text().splitlines()]
        for f in (folder / name, tmp_path)
    )
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-4)
        assert a["epoch"] == b["epoch"]
        assert a["test_error"] == pytest.approx(b["test_error"], abs=0.41)  # two images
    assert members[name].summary["seed"] == MEMBERS[name].seed
    assert members[name].summary.keys() == alone.summary.keys()


def test_a_population_goes_on_where_it_was_stopped(results, tmp_path):
    folder, _ = results

    def stop(metrics):
        if metrics["epoch"] == 1:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted, match="after epoch 2"):
        population.train_population(MEMBERS, tmp_path, progress=stop)
    population.train_population(MEMBERS, tmp_path)
    again = population.train_population(MEMBERS, tmp_path)  # done: read, not trained
    assert set(again) == set(MEMBERS)
    for name in MEMBERS:
        for file in ("metrics.jsonl", "params.npz"):
            assert (tmp_path / name / file).read_bytes() == (folder / name / file).read_bytes()


def test_the_best_is_kept_by_member_and_for_the_mean(tmp_path):
    """Stopped on its way, too."""
    own = {"validation": 200, "epochs": 6, "learning_rate": 0.1}
    members = {s: dataclasses.replace(TINY, **own, seed=int(s)) for s in "01"}

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
    (saved,) = tmp_path.glob("checkpoints-*")
    assert Checkpoints(saved, 2).epochs == [np.argmin(np.mean(errors, 0)) + 1]


def test_members_whose_numbers_are_not_finite_are_named(tmp_path):
    members = MEMBERS | {"bad": dataclasses.replace(MEMBERS["d"], learning_rate=3e37)}
    del members["d"]
    with pytest.raises(NotFiniteError, match="of bad"):
        population.train_population(members, tmp_path)


def test_all_labels_are_one_array():
    everything = dataclasses.replace(TINY, labels=0)
    found = population.gather([everything, dataclasses.replace(everything, seed=5)])
    assert found.data.train.labeled is found.data.train.unlabeled
    assert found.members.axes == TrainData(None, None, None)
    found = population.gather([TINY, MEMBERS["b"]])
    assert found.members.axes == TrainData(0, 0, None)
    assert found.data.train.labeled.shape == (2, 100, 64)


def test_members_must_be_alike():
    for other in ({"units": (9,)}, {"epochs": 2}, {"labels": 50}):
        with pytest.raises(ConfigError, match=next(iter(other))):
            population.check_alike([TINY, dataclasses.replace(TINY, **other)])
    with pytest.raises(ConfigError, match="resident"):
        population.check_alike([dataclasses.replace(TINY, resident=False)])
    with pytest.raises(ConfigError, match="no member"):
        population.check_alike([])


def test_runs_share_a_program_where_only_the_seed_or_the_folder_differs():
    spec, members = Spec((4,), targets.classes(10)), Members(2, TrainData(None, None, None))
    alone, together = compile_program(TINY, spec), compile_program(TINY, spec, members)
    assert alone.net.shapes == ((4,), (8,), (10,)) and together is not alone
    other = dataclasses.replace(TINY, name="other", seed=1)
    assert compile_program(other, spec) is alone
    noisy = dataclasses.replace(TINY, noise_std=(0.1,))
    assert compile_program(noisy, spec) is not alone
    assert compile_program(noisy, spec, members) is together
