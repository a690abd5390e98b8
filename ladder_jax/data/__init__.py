"""Data: named sets, your own, labelled splits, preprocessing. NumPy alone."""

from ladder_jax.data import preprocessing
from ladder_jax.data.arrays import (
    NO_LABEL,
    SCALES,
    from_arrays,
    load_npz,
    load_test_npz,
    new_rows,
    scale_of,
    to_scale,
)
from ladder_jax.data.base import Dataset, Examples, Rows, batches, check_new, import_grain
from ladder_jax.data.named import NAMES, is_file, load, located, prepare
from ladder_jax.data.splits import CHOICES, choose_labeled, hold_out, named_split, parse_split
from ladder_jax.errors import DataError

__all__ = [
    "CHOICES", "NAMES", "NO_LABEL", "SCALES", "DataError", "Dataset", "Examples", "Rows", "batches",
    "check_new", "choose_labeled", "from_arrays", "hold_out", "import_grain", "is_file", "load",
    "load_npz", "load_test_npz", "located", "named_split", "new_rows", "parse_split", "prepare",
    "preprocessing", "scale_of", "to_scale",
]  # fmt: skip
