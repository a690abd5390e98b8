"""Predicts with an exported ladder; needs JAX and flatbuffers, but not ladder_jax.

python examples/load_exported.py model.stablehlo new.npz
"""

import json
import pathlib
import sys

import numpy as np
from jax import export, jit

path = pathlib.Path(sys.argv[1])
model = export.deserialize(bytearray(path.read_bytes()))
about = json.loads(pathlib.Path(f"{path}.json").read_text(encoding="utf-8"))
x = np.load(sys.argv[2])["x"]
x = x / about["divide_bytes_by"] if x.dtype == np.uint8 else x
x = x.astype(np.float32).reshape(-1, *about["example_shape"])
kind, names = about["target"].partition(":")[0], about["class_names"]
for row in np.asarray(jit(model.call)(x)):
    if np.isnan(row).any():  # not finite, or too far from the training examples
        print("none", row.max())
    elif kind == "classes":
        print(names[row.argmax()], row.max())
    elif kind == "pixels":  # number of pixels per class
        counts = np.bincount(row.argmax(-1).ravel(), minlength=len(names))
        print(*(f"{name}={count}" for name, count in zip(names, counts, strict=True)))
    else:  # the numbers, or one probability per label
        print(*(f"{name}={value}" for name, value in zip(names, row, strict=False)))
