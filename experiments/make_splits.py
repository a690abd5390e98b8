"""Writes the file of labelled splits of a data set; every run writes the same.

python -m experiments.make_splits --dataset=mnist --data_dir=FOLDER
"""

from __future__ import annotations

import pathlib

import numpy as np
from absl import flags

from experiments import cli
from ladder_jax import data
from ladder_jax.data import splits
from ladder_jax.errors import ConfigError
from ladder_jax.run import files

LABELS = (20, 50, 100, 1000, 4000)
SEEDS = 10

_OUT = flags.DEFINE_string("out", None, "File to write. Default: the file in the package.")


def make_splits(y: np.ndarray, classes: int) -> dict[str, np.ndarray]:
    """Makes the arrays in the file of a data set, as uint16 if that suffices.

    Args:
      y: classes of all training examples ``[n]``, in the official order.
      classes: number of classes.

    Examples:
      >>> sorted(make_splits(np.arange(40_000) % 10, 10))[:3]
      ['0@100', '0@1000', '0@20']
    """
    dtype = np.uint16 if len(y) <= 2**16 else np.uint32
    return {splits.CHECKSUM: np.array(splits.labels_checksum(y))} | {
        f"{seed}@{labels}": data.choose_labeled(y, labels, seed, classes).astype(dtype)
        for labels in LABELS
        for seed in range(SEEDS)
    }


def main() -> None:
    """Reads the flags, writes the file and prints its path."""
    if not cli.DATASET.value:
        raise ConfigError("--dataset is not given; name the set, e.g. --dataset=mnist.")
    out = cli.local_path(_OUT.value, "--out") if _OUT.value else None
    dataset = data.load(cli.DATASET.value, cli.DATA_DIR.value or "")
    if dataset.kind != "classes":
        raise ConfigError(
            f"--dataset={cli.DATASET.value}: labels are {dataset.kind}, but splits are of classes; "
            "name another set."
        )
    arrays = make_splits(dataset.y_train, len(dataset.class_names))
    path = out or pathlib.Path(str(splits.FOLDER / f"{dataset.name}.npz"))
    with files.writing(path):
        files.make_folder(path.parent)
    with files.replacing(path) as new, new.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    print(path)


if __name__ == "__main__":
    cli.run(main, shared=(cli.DATASET, cli.DATA_DIR))
