"""Old names of settings are read from files, flags and folders, and never written."""

import json

import numpy as np
import pytest
from commands import a_job, run_jobs

from ladder_jax import data, loop
from ladder_jax.config import OLD_NAMES, Config, current_names
from ladder_jax.errors import ConfigError
from ladder_jax.estimators import LadderClassifier
from ladder_jax.run import workfolder

SETTINGS = {"units": (4,), "epochs": 1, "labels": 8, "batch_unlabeled": 20}
CURRENT = Config(name="mnist_20_tuned", dataset="own", ema_decay=0.5, **SETTINGS)


def with_old_names(values):
    names = {new: old for old, new in OLD_NAMES.items()}
    return {names.get(name, name): value for name, value in values.items()}


def rows():
    x, y = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32), np.arange(40) % 2
    return data.from_arrays(x, y, x, y, name="own")


def test_config_with_old_names():
    old = with_old_names(vars(CURRENT))
    assert {"average", "statistics"} <= set(old) and current_names(old) == vars(CURRENT)
    assert Config(**old) == Config.create(old) == CURRENT
    assert not {"average", "statistics"} & set(vars(CURRENT))
    for duplicates in ({"average": 0.1, "ema_decay": 0.1}, {"average": 0.1, **vars(CURRENT)}):
        with pytest.raises(ConfigError, match="ema_decay is given as average too; give it once"):
            Config.create(duplicates)
        with pytest.raises(ConfigError, match="give it once"):
            Config(**duplicates)
    with pytest.raises(ConfigError, match=r"ema_decay is 1\.5; give 0"):
        Config(average=1.5)


def test_run_with_old_names_is_the_same_run(tmp_path):
    """The run's name, which affects no result, may differ too: ``own`` is now ``tuned``."""
    loop.train_and_evaluate(CURRENT, tmp_path, dataset=rows())
    result = (tmp_path / "result.json").read_bytes()
    path = tmp_path / "config.json"
    old = with_old_names(json.loads(path.read_text()) | {"name": "mnist_20_own"})
    path.write_text(json.dumps(old))
    assert workfolder.read_config(tmp_path).ema_decay == 0.5
    loop.train_and_evaluate(CURRENT, tmp_path, dataset=rows())
    assert (tmp_path / "result.json").read_bytes() == result
    assert json.loads(path.read_text()) == workfolder.as_json(CURRENT)
    other = Config(**vars(CURRENT) | {"ema_decay": 0.6})
    with pytest.raises(ConfigError, match=r"\(ema_decay: 0.5 -> 0.6\)"):
        loop.train_and_evaluate(other, tmp_path, dataset=rows())


def test_estimator_with_old_names(tmp_path):
    x, y = np.random.default_rng(0).normal(size=(30, 3)), np.arange(30) % 2
    fitted = LadderClassifier((4,), epochs=1, ema_decay=0.5, norm_statistics="labeled")
    fitted.fit(x, y).save(tmp_path / "new.npz")
    with np.load(tmp_path / "new.npz") as file:
        arrays = dict(file)
    about = json.loads(str(arrays["about"]))
    assert not set(OLD_NAMES) & {*about["parameters"], *about["config"]}
    about |= {name: with_old_names(about[name]) for name in ("parameters", "config")}
    for name in ("parameters", "config"):  # older files, whose fits had other defaults, lack it
        del about[name]["joint_norm"]
    np.savez(tmp_path / "old.npz", **arrays | {"about": np.array(json.dumps(about))})
    loaded = LadderClassifier.load(tmp_path / "old.npz")
    assert (loaded.ema_decay, loaded.norm_statistics) == (0.5, "labeled")
    assert not loaded.joint_norm and not loaded.config_.joint_norm and fitted.joint_norm
    np.testing.assert_array_equal(loaded.predict_proba(x), fitted.predict_proba(x))


def test_flags_and_config_files_with_old_names(tmp_path):
    best = tmp_path / "best.py"
    best.write_text(
        "from experiments.configs import base\nfrom ladder_jax.config import Config\n\n\n"
        "def get_config():\n"
        "    return base.config_dict(Config(average=0.25))\n"
    )
    flags = ["--config.statistics", "labeled", "--compare=none", "--noreport"]
    flags += ["--config.units=(8,)", "--config.epochs=2", "--config.denoising_cost=(1.0,)"]
    training = a_job(tmp_path, "experiments.train", f"--config={best}", "--workdir=new", *flags)
    parsing = a_job(tmp_path, "experiments.train", "--config.average=0.5")
    done = run_jobs([training, parsing | {"parse": True}])
    assert [status for status, _ in done] == [0, 0], done
    config = workfolder.read_config(tmp_path / "new")
    assert (config.ema_decay, config.norm_statistics) == (0.25, "labeled")
    assert "average" not in (tmp_path / "new" / "ladder-0" / "result.json").read_text()
