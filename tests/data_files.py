"""Small data files for the tests, and the folder of the real ones."""

import gzip
import os
import pathlib

import numpy as np
import pytest

from ladder_jax.data import idx

REAL = pathlib.Path(os.environ.get("LADDER_DATA_DIR") or "nowhere")


def real_folder(name):
    """Returns the folder of a real data set; skips the test if it does not exist."""
    if not (REAL / name).is_dir():
        pytest.skip(f"no {name}/ in LADDER_DATA_DIR, the folder of the real data sets")
    return REAL / name


def idx_bytes(array):
    magic = idx.IMAGES if array.ndim == 3 else idx.LABELS
    return np.array([magic, *array.shape], ">u4").tobytes() + array.astype(np.uint8).tobytes()


def mnist_like(rows=40, test_rows=20, seed=0):
    """Returns images and labels of two splits, in the order of the IDX files."""
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 256, (rows + test_rows, 28, 28)), np.arange(rows + test_rows) % 10
    return x[:rows], y[:rows], x[rows:], y[rows:]


def write_idx(folder, arrays, gzipped=True):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(idx.FILES, arrays, strict=True):
        if gzipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(array)))
        else:
            (folder / name).write_bytes(idx_bytes(array))
    return folder
