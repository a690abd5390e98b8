"""Programs that time other libraries, each in that library's own environment.

They import only the standard library and the peer's packages, nothing of ladder_jax;
``benchmarks.workers`` starts them and exchanges messages with them.
"""
