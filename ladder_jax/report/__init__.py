"""``report.html``: the results of a run, in one file that needs no network."""

from ladder_jax.report.comparison import write_comparison
from ladder_jax.report.page import write

__all__ = ["write", "write_comparison"]
