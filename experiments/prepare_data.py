"""Prepares a data set once, for training to find it.

  python -m experiments.prepare_data --dataset=mnist
  python -m experiments.prepare_data --dataset=mnist --data_dir=FOLDER --download_dir=FILES

The MNIST family (mnist, fashion_mnist, kmnist: four IDX files each) and cifar10
(cifar-10-binary.tar.gz) need no TensorFlow; most other sets do.
"""

from __future__ import annotations

from absl import flags

from experiments import cli
from ladder_jax import data
from ladder_jax.data.named import NAMED, NamedSet
from ladder_jax.errors import ConfigError

_DOWNLOAD_DIR = flags.DEFINE_string(
    "download_dir",
    "",
    "Folder of the original files; missing ones are downloaded into it. Default: "
    "downloads/DATASET in --data_dir.",
)


def main() -> None:
    """Reads the flags, prepares the data set and prints how to train on it."""
    name, data_dir = cli.DATASET.value, cli.DATA_DIR.value or ""
    if not name:
        raise ConfigError("--dataset is not given; name the set to prepare, e.g. --dataset=mnist.")
    known = NAMED.get(name, NamedSet())
    if data.is_file(name) or known.load or known.of_digits:
        raise ConfigError(f"--dataset={name} needs no preparing; train with it.")
    folder = data.prepare(name, data_dir, _DOWNLOAD_DIR.value)
    data_dir_flag = f" --data_dir={folder}" if data_dir else ""
    print(f"{name} is prepared in {folder}")
    print(f"train with: python -m experiments.train --dataset={name}{data_dir_flag}")


if __name__ == "__main__":
    cli.run(
        main,
        shared=(cli.DATASET, cli.DATA_DIR),
        about={"dataset": "Which set, as tensorflow-datasets names it."},
    )
