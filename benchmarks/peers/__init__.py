"""Programs that time other libraries, each in that library's own environment.

They import nothing of ladder_jax and nothing but the standard library beside the
peer's own packages; ``benchmarks.workers`` starts them and talks to them.
"""
