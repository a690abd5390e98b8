# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # MNIST with 100 labels on a TPU
#
# Choose a TPU (or GPU) runtime. On a CPU the same cells train a small ladder on
# scikit-learn's digits for a few steps, so that they run anywhere.
#
# Kept as text; `jupytext --to ipynb notebooks/colab_tpu.py` makes the notebook.

# %% [markdown]
# In a new runtime, upload or clone the project and install it first.

# %%
# %pip install -q "./ladder_jax[tfds]"

# %%
import pathlib
import tempfile

import jax

print(jax.devices())
on_accelerator = jax.default_backend() != "cpu"

# %% [markdown]
# ## The mesh
#
# All cores: members of a population (here: seeds) are spread first, rows of a batch then.

# %%
from ladder_jax import parallel

seeds = 8 if on_accelerator else 2
mesh = parallel.make_mesh(members=seeds)
print(dict(mesh.shape))

# %% [markdown]
# ## The experiment
#
# The paper's ladder, its settings untouched; every seed has labels of its own.

# %%
import dataclasses

from ladder_jax import data, presets
from ladder_jax.config import Config

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
    config = Config(units=(20,), epochs=2)
members = {f"ladder-{seed}": dataclasses.replace(config, seed=seed) for seed in range(seeds)}

# %% [markdown]
# ## Training
#
# One compiled program trains all seeds; `folder` has the files of a run for each. Run the cell
# again after an interruption: it goes on.

# %%
from ladder_jax import population

results = population.train_population(
    members, folder / "runs", progress=lambda line: print(f"{line['epoch']:.0f} {line['loss']:.3f}")
)
errors = [result.summary["test_error"] for result in results.values()]
print("test error in %:", [round(error, 2) for error in errors])

# %% [markdown]
# ## Prediction

# %%
from ladder_jax import predictor

dataset = data.load(config.dataset, config.data_dir)
found = predictor.load(folder / "runs" / "ladder-0")(dataset.x_test[:5])
print(found.classes, found.probabilities.max(1))
