"""Classes of examples by an exported ladder: needs JAX and flatbuffers, no ladder_jax.

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
for row in np.asarray(jit(model.call)(x)):
    if np.isnan(row).any():  # not finite, or too far from the training examples
        print("none", row.max())
    else:
        print(about["class_names"][row.argmax()], row.max())
