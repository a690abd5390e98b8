"""Data: named sets, your own, labelled splits, preprocessing. NumPy alone."""

from ladder_jax.data import inputs, preprocessing, scaling, stream
from ladder_jax.data.arrays import NO_LABEL, from_arrays, load_npz, load_test_npz
from ladder_jax.data.base import DataError, Dataset, Examples, Rows, check_new
from ladder_jax.data.named import NAMES, is_file, load, located
from ladder_jax.data.named_splits import named_split, parse_split
from ladder_jax.data.prepare import prepare
from ladder_jax.data.scaling import SCALES, new_rows
from ladder_jax.data.splits import CHOICES, choose_labeled, hold_out

__all__ = [
    "CHOICES",
    "NAMES",
    "NO_LABEL",
    "SCALES",
    "DataError",
    "Dataset",
    "Examples",
    "Rows",
    "check_new",
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
    "scaling",
    "stream",
]
