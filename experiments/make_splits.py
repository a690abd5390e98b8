"""Writes the file of labelled splits of one data set, the same at every run.

python -m experiments.make_splits --dataset=mnist --data_dir=FOLDER
"""

from __future__ import annotations

import pathlib

import numpy as np
from absl import flags

from experiments import cli
from ladder_jax import data, files
from ladder_jax.config import ConfigError
from ladder_jax.data import named_splits

LABELS = (20, 50, 100, 1000, 4000)
SEEDS = 10

_OUT = flags.DEFINE_string("out", None, "File to write. Default: that in the package.")


def main() -> None:
    """Reads the flags, writes the file and prints its path."""
    if not cli.DATASET.value:
        raise ConfigError("--dataset is not given; name the set, e.g. --dataset=mnist.")
    out = files.local_path(_OUT.value, "--out") if _OUT.value else None
    dataset = data.load(cli.DATASET.value, cli.DATA_DIR.value or "")
    classes = len(dataset.class_names)
    arrays = named_splits.make_splits(dataset.y_train, classes, LABELS, SEEDS)
    path = out or pathlib.Path(str(named_splits.FOLDER / f"{dataset.name}.npz"))
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    print(path)


if __name__ == "__main__":
    cli.run(main, shared=(cli.DATASET, cli.DATA_DIR))
