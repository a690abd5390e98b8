"""Data: named sets, your own, labelled splits, preprocessing. NumPy alone."""

from ladder_jax.data import inputs, preprocessing, stream
from ladder_jax.data.arrays import NO_LABEL, from_arrays, load_npz, load_test_npz
from ladder_jax.data.base import DataError, Dataset, Examples, Rows, new_rows, to_float
from ladder_jax.data.named import NAMES, is_file, load, located
from ladder_jax.data.named_splits import named_split, parse_split
from ladder_jax.data.prepare import prepare
from ladder_jax.data.splits import CHOICES, choose_labeled, hold_out

__all__ = [
    "CHOICES",
    "NAMES",
    "NO_LABEL",
    "DataError",
    "Dataset",
    "Examples",
    "Rows",
    "choose_labeled",
    "from_arrays",
    "hold_out",
    "inputs",
    "is_file",
    "load",
    "load_npz",
    "load_test_npz",
    "located",
    "named_split",
    "new_rows",
    "parse_split",
    "prepare",
    "preprocessing",
    "stream",
    "to_float",
]
