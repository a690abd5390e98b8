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
# # Ladder networks in ten minutes
#
# Scikit-learn's handwritten digits: 1297 training images of 8 x 8 pixels, 100 of which keep
# their label.
#
# The first cell installs the package if it is missing, and keeps the installed versions of JAX,
# NumPy and scikit-learn.

# %%
import importlib.util
import subprocess
import sys
from importlib.metadata import version

if importlib.util.find_spec("ladder_jax") is None:
    package = "ladder_jax @ git+https://github.com/OWNER/ladder_jax.git"
    kept = [f"{name}=={version(name)}" for name in ("jax", "jaxlib", "numpy", "scikit-learn")]
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", package, *kept], check=True)

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from ladder_jax import Batch, data, presets

EPOCHS = int(os.environ.get("LADDER_NOTEBOOK_EPOCHS", "60"))  # tests use fewer

digits = data.load("digits")
labeled = data.choose_labeled(digits.y_train, 100, seed=0, classes=10)
x = jnp.asarray(digits.x_train).reshape(-1, 64)
x_test = jnp.asarray(digits.x_test).reshape(-1, 64)
x_labeled, y_labeled = x[labeled], jnp.asarray(digits.y_train[labeled])
print(x.shape, x_labeled.shape)

# %% [markdown]
# ## The loss in an optax loop
#
# A ladder is a bundle of pure functions. Its loss is the cross-entropy of the labelled examples,
# with noise at every level, plus one denoising cost per level for the unlabelled examples.

# %%
net = presets.mlp(64, [250, 100, 10], denoising_cost=[100.0, 1.0, 0.1, 0.1])
params = net.init(jax.random.key(0))
optimizer = optax.adam(0.005)
opt_state = optimizer.init(params)


@jax.jit
def train_step(params, opt_state, key):
    """Takes one step; the key determines the batch and the noise."""
    key_rows, key_noise = jax.random.split(key)
    rows = jax.random.choice(key_rows, len(x), (100,), replace=False)
    batch = Batch(x_labeled, y_labeled, x[rows])
    grads, metrics = jax.grad(net.loss, has_aux=True)(params, batch, key_noise)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, metrics


history = []
for step in range(12 * EPOCHS):
    key = jax.random.fold_in(jax.random.key(1), step)
    params, opt_state, metrics = train_step(params, opt_state, key)
    history.append(metrics)

statistics = net.statistics(params, x)  # prediction normalises with these
logits = net.predict(params, statistics, x_test)
print(f"test error {100 * np.mean(logits.argmax(-1) != digits.y_test):.1f} %")

# %% [markdown]
# The denoising cost of each level, from the input (0) to the classes:

# %%
figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
costs = np.stack([m["denoising"] for m in history])
for level in range(costs.shape[1]):
    axes.plot(costs[:, level], label=f"level {level}")
axes.set(xlabel="step", ylabel="denoising cost", yscale="log")
axes.legend()
plt.close(figure)
figure

# %% [markdown]
# ## What the decoder sees
#
# Clean, noisy and denoised images. The decoder receives the noisy image and the signal from the
# levels above.

# %%
noise = net.draw_noise(jax.random.key(2), 0, 200).unlabeled
clean, noisy = net.encode(params, x_test[:200]), net.encode(params, x_test[:200], noise)
denoised = net.decode(params, noisy, clean).z_hat[0]
figure, grid = plt.subplots(3, 8, figsize=(7, 3), layout="constrained")
for row, images in zip(grid, (clean.z[0], noisy.z[0], denoised), strict=True):
    for place, image in zip(row, images, strict=False):
        place.imshow(np.reshape(image, (8, 8)), cmap="gray_r", vmin=0, vmax=1)
        place.set_axis_off()
plt.close(figure)
figure

# %% [markdown]
# ## The same as a scikit-learn estimator
#
# -1 marks an unlabelled row. The estimator works in pipelines and in hyperparameter searches.

# %%
from ladder_jax import LadderClassifier

y = np.full(len(x), -1)
y[labeled] = digits.y_train[labeled]
classifier = LadderClassifier(
    denoising_cost=[100.0, 1.0, 0.1, 0.1],
    epochs=EPOCHS,
    learning_rate=0.005,
    preprocess="none",
    random_state=0,
)
classifier.fit(np.asarray(x), y)
print(f"test error {100 * (1 - classifier.score(np.asarray(x_test), digits.y_test)):.1f} %")

# %% [markdown]
# The features below the classes, projected onto two principal components:

# %%
from sklearn.decomposition import PCA

features = PCA(2).fit_transform(classifier.transform(np.asarray(x_test)))
figure, axes = plt.subplots(figsize=(5, 4), layout="constrained")
dots = axes.scatter(*features.T, c=digits.y_test, cmap="tab10", s=8)
figure.colorbar(dots, label="class")
plt.close(figure)
figure
