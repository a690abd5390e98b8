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
# # Masks, numbers and rare classes
#
# The kind of label determines the top level of the ladder and its supervised cost; the denoising
# costs of the unlabelled examples are the same for all kinds.
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

import matplotlib.pyplot as plt
import numpy as np

from ladder_jax import LadderClassifier, LadderRegressor, LadderSegmenter, data

EPOCHS = int(os.environ.get("LADDER_NOTEBOOK_EPOCHS", "100"))  # tests use fewer

# %% [markdown]
# ## A few masks
#
# Striped digits on a striped ground: only the direction of the stripes distinguishes the two.
# Three of the 400 images have a mask; -1 marks a pixel without a label.

# %%
shapes = data.load("textured_digits")
ground = shapes.class_names.index("ground")
images, masks = shapes.x_train[:400], (shapes.y_train[:400] != ground).astype(int)
known = np.full_like(masks, -1)
known[:3] = masks[:3]
segmenter = LadderSegmenter(units=(8,), epochs=max(1, EPOCHS // 10), random_state=0)
segmenter.fit(images, known)
x_test, y_test = shapes.x_test[:100], (shapes.y_test[:100] != ground).astype(int)
print(f"mean IoU {100 * segmenter.score(x_test, y_test):.1f} %")

# %% [markdown]
# Images, masks, and the predicted probability that each pixel belongs to a digit:

# %%
probability = segmenter.predict_proba(x_test[:6])[..., 1]
figure, grid = plt.subplots(3, 6, figsize=(7, 3.6), layout="constrained")
for row, pictures in zip(grid, (x_test[:6, ..., 0], y_test[:6], probability), strict=True):
    for place, picture in zip(row, pictures, strict=True):
        place.imshow(picture, cmap="gray", vmin=0, vmax=1)
        place.set_axis_off()
plt.close(figure)
figure

# %% [markdown]
# ## A few numbers
#
# NaN marks a row without a target. With `variance=True` each prediction has its own standard
# deviation.

# %%
from sklearn.datasets import make_friedman2

features, numbers = make_friedman2(600, noise=10, random_state=0)
known = np.where(np.arange(600) < 50, numbers, np.nan)
regressor = LadderRegressor(units=(50,), epochs=EPOCHS, variance=True, random_state=0)
regressor.fit(features[:400], known[:400])
mean, deviation = regressor.predict(features[400:], return_std=True)
print(f"R2 {regressor.score(features[400:], numbers[400:]):.2f}")

# %%
figure, axes = plt.subplots(figsize=(4, 3.5), layout="constrained")
axes.errorbar(numbers[400:], mean, deviation, fmt="o", markersize=3, alpha=0.4)
axes.plot([0, 1600], [0, 1600], color="black", linewidth=0.8)
axes.set(xlabel="true", ylabel="predicted, with its standard deviation")
plt.close(figure)
figure

# %% [markdown]
# ## A rare class
#
# One row in ten belongs to class 1. Without weights, a classifier lowers its error by neglecting
# this class; with balanced weights, its rows count as much as all the others together.

# %%
from sklearn.datasets import make_classification
from sklearn.metrics import balanced_accuracy_score

rows, classes = make_classification(
    2000, 10, n_informative=4, n_clusters_per_class=1, weights=[0.9], class_sep=0.5, random_state=0
)
known = np.where(np.arange(1000) < 200, classes[:1000], -1)
for class_weight in (None, "balanced"):
    classifier = LadderClassifier(
        units=(50,), epochs=EPOCHS, class_weight=class_weight, random_state=0
    )
    predicted = classifier.fit(rows[:1000], known).predict(rows[1000:])
    accuracy = balanced_accuracy_score(classes[1000:], predicted)
    print(f"class_weight={class_weight}: balanced accuracy {100 * accuracy:.1f} %")

# %% [markdown]
# ## Several labels per row
#
# Each row may have none of the labels, or several; -1 marks an unknown entry.

# %%
several = np.stack([numbers > 300, features[:, 0] > 50], axis=1).astype(int)
known = np.where(np.arange(400)[:, None] < 50, several[:400], -1)
known[:10, 1] = -1
classifier = LadderClassifier(units=(50,), epochs=EPOCHS, random_state=0)
classifier.fit(features[:400], known)
right = classifier.predict(features[400:]) == several[400:]
print(f"right: {np.round(100 * right.mean(0), 1)} %")
