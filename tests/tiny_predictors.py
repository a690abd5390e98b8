"""Predictors in the state after training, made without any training."""

import jax
import numpy as np

from ladder_jax import targets
from ladder_jax.config import Config
from ladder_jax.data import preprocessing
from ladder_jax.predictor import Predictor
from ladder_jax.run import files, workfolder
from ladder_jax.run.program import build_ladder
from ladder_jax.types import Trained

NAMES = ("none", "some, few", "many")


def rows(shape, count=40, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(size=(count, *shape)).astype(np.float32)


def tiny_config(**settings):
    return Config.create({"units": (8,)} | settings)


def tiny(shape=(2, 3), **settings):
    """Returns a ``Predictor`` of three classes with random parameters."""
    config = tiny_config(**settings)
    x = rows(shape)
    fitted = preprocessing.fit(config.preprocess, x)
    in_shape = shape if config.images else (int(np.prod(shape)),)
    net = build_ladder(config, in_shape, targets.classes(len(NAMES)))
    z = preprocessing.apply(fitted, x).reshape(len(x), *net.shapes[0])
    params = jax.jit(net.init)(jax.random.key(0))

    @jax.jit
    def with_statistics(params):
        statistics = net.statistics(params, z)
        u = net.decoder_statistics(params, statistics, z)
        return Trained(params, statistics, u)

    return Predictor(net, with_statistics(params), NAMES, shape, fitted)


def write_run(folder, ours, **settings):
    """Writes the files of a finished run that results in this ``Predictor``."""
    folder.mkdir(parents=True)
    files.write_json(folder / "config.json", workfolder.as_json(tiny_config(**settings)))
    summary = {"class_names": ours.class_names, "example_shape": ours.example_shape}
    files.write_json(folder / "result.json", summary)
    workfolder.save_params(folder / "params.npz", ours.trained)
    preprocessing.save(folder / "preprocess.npz", ours.fitted)
