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
x = np.load(sys.argv[2])["x"].astype(np.float32).reshape(-1, *about["example_shape"])
for row in np.asarray(jit(model.call)(x)):
    print(about["class_names"][row.argmax()], row.max())
