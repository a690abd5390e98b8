"""Devices and processes: the one mesh, and where arrays lie on it.

Members of a population are spread over the axis ``member``, rows of a batch over
``data``. The code of a step knows neither: batch statistics, costs and gradients
are over the whole batch wherever its rows lie, so that any number of devices gives
the same result. Of several processes the first alone has the folder of a run; what
hangs on it, or on the clock, is agreed on here, as all must take the same steps.
"""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

MEMBER, DATA = "member", "data"
_WHOLE = PartitionSpec()  # type: ignore[no-untyped-call]
_BY_MEMBER = PartitionSpec(MEMBER)  # type: ignore[no-untyped-call]
_BY_ROW = PartitionSpec(DATA)  # type: ignore[no-untyped-call]
Tree = TypeVar("Tree")
Value = TypeVar("Value")
PATIENCE = 10.0
"""Seconds that a process that ends waits for the others to end with it."""


class PeerError(RuntimeError):
    """Another process of the job failed; its own message says why."""


def make_mesh(members: int = 1, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh of all devices: as many as can over members, the rest over rows.

    Args:
      members: trained at once.
      devices: all of them if None.

    Returns:
      A mesh with the axes ``member`` and ``data``.

    Example:
      >>> make_mesh().axis_names
      ('member', 'data')
    """
    devices = jax.devices() if devices is None else devices
    across = math.gcd(members, len(devices))
    shape = (across, len(devices) // across)
    return jax.make_mesh(shape, (MEMBER, DATA), axis_types=(AxisType.Auto,) * 2, devices=devices)


def everywhere(mesh: Mesh, tree: Tree) -> Tree:
    """Arrays put whole on every device, of all processes.

    Args:
      mesh: of ``make_mesh``.
      tree: arrays, the same in every process.

    Returns:
      The same tree of arrays on the devices.

    Example:
      >>> import jax.numpy as jnp
      >>> everywhere(make_mesh(), {"x": jnp.ones(3)})["x"].sharding.is_fully_replicated
      True
    """
    sharding = NamedSharding(mesh, _WHOLE)
    if several():
        if all(_lies(leaf, sharding) for leaf in jax.tree.leaves(tree)):
            return tree
        # As arguments of a compiled function, arrays of one process are those of all.
        spread: Tree = jax.jit(lambda leaves: leaves, out_shardings=sharding)(tree)
        return spread
    placed: Tree = jax.device_put(tree, sharding)
    return placed


def _lies(leaf: Any, sharding: NamedSharding) -> bool:
    if not isinstance(leaf, jax.Array):
        return False
    return bool(leaf.sharding.is_equivalent_to(sharding, leaf.ndim))


def over_members(mesh: Mesh, tree: Tree) -> Tree:
    """Arrays whose first axis is the members', spread over them.

    Example:
      >>> import jax.numpy as jnp
      >>> over_members(make_mesh(4), jnp.ones((4, 3))).shape
      (4, 3)
    """
    placed: Tree = jax.device_put(tree, NamedSharding(mesh, _BY_MEMBER))
    return placed


def over_rows(mesh: Mesh) -> Callable[[Tree], Tree]:
    """What spreads the rows of a batch over the devices, within a compiled function.

    Their number need not be a multiple of the number of devices.

    Args:
      mesh: of ``make_mesh``.

    Returns:
      A function of a tree of arrays ``[B, ...]``.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> jax.jit(over_rows(make_mesh()))(jnp.ones((4, 2))).shape
      (4, 2)
    """
    whole, by_row = NamedSharding(mesh, _WHOLE), NamedSharding(mesh, _BY_ROW)
    constrain: Callable[[Any, NamedSharding], Any] = jax.lax.with_sharding_constraint

    def spread(leaf: Any) -> Any:
        if leaf.shape[0] % mesh.shape[DATA]:
            # Else the compiler may divide an argument in a way that the mesh has no name for.
            leaf = constrain(leaf, whole)
        return constrain(leaf, by_row)

    def place(tree: Tree) -> Tree:
        placed: Tree = jax.tree.map(spread, tree)
        return placed

    return place


def join_processes(**options: Any) -> None:
    """Makes the devices of several processes one machine; before any other use of JAX.

    Every process calls it and then runs the same program. On TPU pods, Slurm and Open
    MPI nothing need be given.

    Args:
      **options: of ``jax.distributed.initialize``: ``coordinator_address``
        (``"host:port"`` of process 0), ``num_processes``, ``process_id``.
    """
    jax.distributed.initialize(**options)


def is_first() -> bool:
    """Whether this process is the one that writes files.

    Example:
      >>> is_first()
      True
    """
    return jax.process_index() == 0


def several() -> bool:
    """Whether there are other processes.

    Example:
      >>> several()
      False
    """
    return bool(jax.process_count() > 1)


def most(*numbers: int) -> tuple[int, ...]:
    """The largest of each number over all processes, which must all ask at once.

    Args:
      *numbers: int32, as many in every process.

    Example:
      >>> most(3, False)
      (3, 0)
    """
    if not several():
        return tuple(map(int, numbers))
    from jax.experimental import multihost_utils

    gathered = multihost_utils.process_allgather(np.array(numbers, np.int32))
    return tuple(gathered.max(0).tolist())


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Has a part of the program fail in every process if it fails in one.

    Raises:
      PeerError: it failed in another.

    Example:
      >>> with together():
      ...     value = 3
    """
    try:
        yield
    except BaseException:
        most(1)
        raise
    if most(0) != (0,):
        raise PeerError("another process of the job failed; its own message says why.")


def from_first(ask: Callable[[], Value]) -> Value:
    """What a function gives in the first process, in all of them.

    Args:
      ask: called in the first process alone; its value can be pickled.

    Raises:
      PeerError: it fails in the first; there its own error is raised.

    Example:
      >>> from_first(lambda: {"done": True})
      {'done': True}
    """
    if not several():
        return ask()
    from jax.experimental import multihost_utils

    with together():
        given = pickle.dumps(ask()) if is_first() else b""
    (size,) = most(len(given))
    content = np.frombuffer(given or bytes(size), np.uint8)
    value: Value = pickle.loads(multihost_utils.broadcast_one_to_all(content).tobytes())
    return value


def leave(status: int, words: str = "") -> None:
    """Before this process ends otherwise than it should: has the others end, too.

    Where all of them leave, as after a signal, they wait for each other, and it
    returns. A process that is left alone ends here, by which JAX ends the others.

    Args:
      status: to exit with.
      words: for stderr, if it ends here.

    Example:
      >>> leave(1)  # nothing, as nothing was joined
    """
    if not jax.distributed.is_initialized():
        return
    ending = threading.Thread(target=jax.distributed.shutdown, daemon=True)
    ending.start()
    ending.join(PATIENCE)
    if ending.is_alive():
        print(words, end="", file=sys.stderr, flush=True)
        sys.stdout.flush()
        os._exit(status)
