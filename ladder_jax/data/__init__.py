"""Data sets by name or from your own files, labelled splits and preprocessing, in NumPy only."""

from ladder_jax.data import preprocessing
from ladder_jax.data.arrays import (
    SCALES,
    from_arrays,
    load_npz,
    load_test_npz,
    new_rows,
    scale_of,
    to_scale,
)
from ladder_jax.data.base import (
    Dataset,
    Examples,
    Rows,
    batches,
    check_new,
    import_grain,
    unmask,
)
from ladder_jax.data.csv_files import load_csv, load_test_csv
from ladder_jax.data.folder import load_folder, load_test_folder
from ladder_jax.data.labels import KINDS, NO_LABEL, VOID, has_label
from ladder_jax.data.named import NAMES, is_file, load, located, prepare
from ladder_jax.data.splits import (
    CHOICES,
    choose_labeled,
    choose_uniform,
    hold_out,
    named_split,
    parse_split,
)
from ladder_jax.data.spreading import spread_labels
from ladder_jax.data.textured import textured_digits
from ladder_jax.errors import DataError

__all__ = [
    "CHOICES", "KINDS", "NAMES", "NO_LABEL", "SCALES", "VOID", "DataError", "Dataset", "Examples",
    "Rows", "batches", "check_new", "choose_labeled", "choose_uniform", "from_arrays", "has_label",
    "hold_out", "import_grain", "is_file", "load", "load_csv", "load_folder", "load_npz",
    "load_test_csv", "load_test_folder", "load_test_npz", "located", "named_split", "new_rows",
    "parse_split", "prepare", "preprocessing", "scale_of", "spread_labels", "textured_digits",
    "to_scale", "unmask",
]  # fmt: skip
