# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
#   accelerator: TPU
# ---

# %% [markdown]
# # MNIST with 100 labels on a TPU
#
# The notebook uses the device of the runtime: on a TPU or GPU it trains the paper's ladder on
# MNIST, eight seeds at once; on a CPU, a small ladder on scikit-learn's digits, two seeds.
#
# The first cell installs the package if it is missing, and keeps the installed versions of JAX,
# NumPy and scikit-learn. Only MNIST needs tensorflow-datasets.

# %%
import importlib.util
import subprocess
import sys
from importlib.metadata import version

import jax

on_accelerator = jax.default_backend() != "cpu"  # a TPU if there is one, else a GPU
print(jax.devices())

needed = ["ladder_jax", "tensorflow_datasets"] if on_accelerator else ["ladder_jax"]
if any(importlib.util.find_spec(name) is None for name in needed):
    extra = "[tfds]" if on_accelerator else ""
    package = f"ladder_jax{extra} @ git+https://github.com/OWNER/ladder_jax.git"
    kept = [f"{name}=={version(name)}" for name in ("jax", "jaxlib", "numpy", "scikit-learn")]
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", package, *kept], check=True)

# %% [markdown]
# ## The mesh
#
# All devices are used: the members of a population (here, seeds) are sharded over them first, then
# the examples of a batch.

# %%
import pathlib
import tempfile

from ladder_jax import parallel

seeds = 8 if on_accelerator else 2
mesh = parallel.make_mesh(members=seeds)
print(dict(mesh.shape))

# %% [markdown]
# ## The experiment
#
# The paper's ladder with the paper's settings; each seed chooses its own labelled examples.

# %%
import dataclasses
import os

from ladder_jax import Config, data, presets

folder = pathlib.Path(tempfile.mkdtemp())  # runs may be in a bucket: "gs://BUCKET/RUN"
if on_accelerator:
    data.prepare("mnist", folder / "data")  # downloads once
    settings = presets.mnist_settings(100)
    config = Config(
        name="mnist_100",
        dataset="mnist",
        data_dir=str(folder / "data"),
        units=presets.MNIST_UNITS[:-1],
        noise_std=settings.noise_std,
        denoising_cost=settings.denoising_cost,
    )
else:
    config = Config(units=(50,), epochs=int(os.environ.get("LADDER_NOTEBOOK_EPOCHS", "30")))
members = {f"ladder-{seed}": dataclasses.replace(config, seed=seed) for seed in range(seeds)}

# %% [markdown]
# ## Training
#
# One compiled program trains all seeds and writes the files of one run per seed to `folder`. After
# an interruption, run the cell again to resume.

# %%
from ladder_jax import train_population

results = train_population(
    members, folder / "runs", progress=lambda line: print(f"{line['epoch']:.0f} {line['loss']:.3f}")
)
errors = [result.summary["test_error"] for result in results.values()]
print("test error in %:", [round(error, 2) for error in errors])

# %% [markdown]
# ## Prediction

# %%
from ladder_jax import load

dataset = data.load(config.dataset, config.data_dir)
predictions = load(folder / "runs" / "ladder-0")(dataset.x_test[:5])
print(predictions.classes, predictions.probabilities.max(1))
