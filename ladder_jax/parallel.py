"""Devices: a single mesh, and the placement of arrays on it.

Members of a population are sharded over the axis ``member``, rows of a batch over ``data``.
The code of a training step depends on neither: batch statistics, costs and gradients are over
the full batch wherever its rows are, so that any number of devices gives the same result.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

MEMBER, DATA = "member", "data"
_REPLICATED = PartitionSpec()  # type: ignore[no-untyped-call]
_BY_MEMBER = PartitionSpec(MEMBER)  # type: ignore[no-untyped-call]
_BY_ROW = PartitionSpec(DATA)  # type: ignore[no-untyped-call]
Tree = TypeVar("Tree")


def make_mesh(members: int = 1, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Creates a mesh of devices: as many as possible over members, the rest over rows.

    Args:
      members: number of members that are trained together.
      devices: devices of the mesh; None for all.

    Returns:
      A mesh with the axes ``member`` and ``data``.

    Examples:
      >>> make_mesh().axis_names
      ('member', 'data')
    """
    devices = jax.devices() if devices is None else devices
    member_devices = math.gcd(members, len(devices))
    shape = (member_devices, len(devices) // member_devices)
    return jax.make_mesh(shape, (MEMBER, DATA), axis_types=(AxisType.Auto,) * 2, devices=devices)


def replicate(mesh: Mesh, tree: Tree) -> Tree:
    """Replicates arrays on every device of all processes.

    Args:
      mesh: mesh from ``make_mesh``.
      tree: pytree of arrays, the same in every process.

    Returns:
      The same pytree, with its arrays on the devices.

    Examples:
      >>> import jax.numpy as jnp
      >>> replicate(make_mesh(), {"x": jnp.ones(3)})["x"].sharding.is_fully_replicated
      True
    """
    sharding = NamedSharding(mesh, _REPLICATED)
    if jax.process_count() > 1:
        in_place = (
            isinstance(leaf, jax.Array) and leaf.sharding.is_equivalent_to(sharding, leaf.ndim)
            for leaf in jax.tree.leaves(tree)
        )
        if all(in_place):
            return tree
        # A compiled function treats a process-local argument as the same in all processes.
        spread: Tree = jax.jit(lambda leaves: leaves, out_shardings=sharding)(tree)
        return spread
    placed: Tree = jax.device_put(tree, sharding)
    return placed


def shard_members(mesh: Mesh, tree: Tree) -> Tree:
    """Shards arrays over their first axis, the members.

    Examples:
      >>> import jax.numpy as jnp
      >>> shard_members(make_mesh(4), jnp.ones((4, 3))).shape
      (4, 3)
    """
    placed: Tree = jax.device_put(tree, NamedSharding(mesh, _BY_MEMBER))
    return placed


def shard_batch(mesh: Mesh) -> Callable[[Tree], Tree]:
    """Creates a function that shards the rows of a batch inside a compiled function.

    The number of rows need not be a multiple of the number of devices.

    Args:
      mesh: mesh from ``make_mesh``.

    Returns:
      A function of a pytree of arrays ``[B, ...]``.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> jax.jit(shard_batch(make_mesh()))(jnp.ones((4, 2))).shape
      (4, 2)
    """
    replicated, by_row = NamedSharding(mesh, _REPLICATED), NamedSharding(mesh, _BY_ROW)
    constrain: Callable[[Any, NamedSharding], Any] = jax.lax.with_sharding_constraint

    def spread(leaf: Any) -> Any:
        if leaf.shape[0] % mesh.shape[DATA]:
            # Otherwise the compiler may choose a sharding that the mesh cannot express.
            leaf = constrain(leaf, replicated)
        return constrain(leaf, by_row)

    return functools.partial(jax.tree.map, spread)


def join_processes(**options: Any) -> None:
    """Connects several processes so that JAX uses their devices together.

    Every process calls this before any other use of JAX and then runs the same program. On TPU
    pods, Slurm and Open MPI, no options are needed.

    Args:
      **options: arguments of ``jax.distributed.initialize``: ``coordinator_address``
        (``"host:port"`` of process 0), ``num_processes``, ``process_id``.
    """
    jax.distributed.initialize(**options)
