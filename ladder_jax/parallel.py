"""Devices: the one mesh, and where arrays lie on it.

Members of a population are sharded over the axis ``member``, rows of a batch over
``data``. The code of a step knows neither: batch statistics, costs and gradients
are over the whole batch wherever its rows lie, so that any number of devices gives
the same result.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

MEMBER, DATA = "member", "data"
_WHOLE = PartitionSpec()  # type: ignore[no-untyped-call]
_BY_MEMBER = PartitionSpec(MEMBER)  # type: ignore[no-untyped-call]
_BY_ROW = PartitionSpec(DATA)  # type: ignore[no-untyped-call]
Tree = TypeVar("Tree")


def make_mesh(members: int = 1, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Makes a mesh of all devices: as many as can over members, the rest over rows.

    Args:
      members: trained at once.
      devices: all of them if None.

    Returns:
      A mesh with the axes ``member`` and ``data``.

    Examples:
      >>> make_mesh().axis_names
      ('member', 'data')
    """
    devices = jax.devices() if devices is None else devices
    across = math.gcd(members, len(devices))
    shape = (across, len(devices) // across)
    return jax.make_mesh(shape, (MEMBER, DATA), axis_types=(AxisType.Auto,) * 2, devices=devices)


def replicate(mesh: Mesh, tree: Tree) -> Tree:
    """Replicates arrays on every device, of all processes.

    Args:
      mesh: of ``make_mesh``.
      tree: arrays, the same in every process.

    Returns:
      The same tree of arrays on the devices.

    Examples:
      >>> import jax.numpy as jnp
      >>> replicate(make_mesh(), {"x": jnp.ones(3)})["x"].sharding.is_fully_replicated
      True
    """
    sharding = NamedSharding(mesh, _WHOLE)
    if jax.process_count() > 1:
        lies = (
            isinstance(leaf, jax.Array) and leaf.sharding.is_equivalent_to(sharding, leaf.ndim)
            for leaf in jax.tree.leaves(tree)
        )
        if all(lies):
            return tree
        # As arguments of a compiled function, arrays of one process are those of all.
        spread: Tree = jax.jit(lambda leaves: leaves, out_shardings=sharding)(tree)
        return spread
    placed: Tree = jax.device_put(tree, sharding)
    return placed


def shard_members(mesh: Mesh, tree: Tree) -> Tree:
    """Shards arrays over their first axis, the members'.

    Examples:
      >>> import jax.numpy as jnp
      >>> shard_members(make_mesh(4), jnp.ones((4, 3))).shape
      (4, 3)
    """
    placed: Tree = jax.device_put(tree, NamedSharding(mesh, _BY_MEMBER))
    return placed


def shard_batch(mesh: Mesh) -> Callable[[Tree], Tree]:
    """Makes what shards the rows of a batch over the devices, within a compiled function.

    Their number need not be a multiple of the number of devices.

    Args:
      mesh: of ``make_mesh``.

    Returns:
      A function of a tree of arrays ``[B, ...]``.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> jax.jit(shard_batch(make_mesh()))(jnp.ones((4, 2))).shape
      (4, 2)
    """
    whole, by_row = NamedSharding(mesh, _WHOLE), NamedSharding(mesh, _BY_ROW)
    constrain: Callable[[Any, NamedSharding], Any] = jax.lax.with_sharding_constraint

    def spread(leaf: Any) -> Any:
        if leaf.shape[0] % mesh.shape[DATA]:
            # Else the compiler may divide an argument in a way that the mesh has no name for.
            leaf = constrain(leaf, whole)
        return constrain(leaf, by_row)

    return functools.partial(jax.tree.map, spread)


def join_processes(**options: Any) -> None:
    """Joins the devices of several processes to one machine; before any other use of JAX.

    Every process calls it and then runs the same program. On TPU pods, Slurm and Open
    MPI nothing need be given.

    Args:
      **options: of ``jax.distributed.initialize``: ``coordinator_address``
        (``"host:port"`` of process 0), ``num_processes``, ``process_id``.
    """
    jax.distributed.initialize(**options)
