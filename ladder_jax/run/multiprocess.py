"""Agreement between the processes of one job, which must all take the same steps.

Only the first has the folder of a run; decisions that depend on it, or on the clock, are agreed
on here.
"""

from __future__ import annotations

import contextlib
import os
import pickle
from collections.abc import Callable, Iterator
from typing import TypeVar

import jax
import numpy as np

from ladder_jax.errors import PeerError

Value = TypeVar("Value")


def is_primary() -> bool:
    """Returns whether this process is the one that writes files."""
    return jax.process_index() == 0


def is_multiprocess() -> bool:
    """Returns whether the job has several processes."""
    return bool(jax.process_count() > 1)


def all_reduce_max(*numbers: int) -> tuple[int, ...]:
    """Returns the maximum of each number over all processes, which must all make this call."""
    if not is_multiprocess():
        return tuple(map(int, numbers))
    from jax.experimental import multihost_utils

    gathered = multihost_utils.process_allgather(np.array(numbers, np.int32))
    return tuple(gathered.max(0).tolist())


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Makes a block fail in every process if it fails in one."""
    try:
        yield
    except BaseException:
        all_reduce_max(1)
        raise
    if all_reduce_max(0) != (0,):
        raise PeerError("another process of the job failed; its own message says why.")


def broadcast_from_primary(ask: Callable[[], Value]) -> Value:
    """Calls a function in the first process and returns its value in all of them."""
    if not is_multiprocess():
        return ask()
    from jax.experimental import multihost_utils

    with together():
        pickled = pickle.dumps(ask()) if is_primary() else b""
    (size,) = all_reduce_max(len(pickled))
    content = np.frombuffer(pickled or bytes(size), np.uint8)
    value: Value = pickle.loads(multihost_utils.broadcast_one_to_all(content).tobytes())
    return value


_users = set[int]()
"""IDs of the processes that have used JAX: this one, or one that it was forked from."""


def check_fork() -> None:
    """Checks, before anything is computed, that JAX's threads are in this process.

    A fork leaves them behind, and whatever waits for them waits forever. Only computations
    through this library are known.
    """
    if _users - {os.getpid()}:
        raise RuntimeError(
            "this process was forked from one that has used JAX, in which JAX hangs; start "
            'processes by multiprocessing.get_context("spawn") or joblib\'s loky, or use threads.'
        )
    _users.add(os.getpid())
