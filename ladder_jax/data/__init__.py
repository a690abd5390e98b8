"""Data: named sets, labelled splits. NumPy alone."""

from ladder_jax.data.base import DataError, Dataset
from ladder_jax.data.named import NAMES, load
from ladder_jax.data.splits import choose_labeled, hold_out

__all__ = ["NAMES", "DataError", "Dataset", "choose_labeled", "hold_out", "load"]
