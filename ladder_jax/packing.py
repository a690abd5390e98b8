"""A training state as one array of bytes, and back."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from ladder_jax.training import TrainState


def _plain(state: TrainState) -> TrainState:
    """The state with its key as the numbers that it is made of."""
    return state._replace(key=jax.random.key_data(state.key))


def size_of(state: TrainState) -> int:
    """How many bytes a state takes."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(_plain(state)))


def pack(state: TrainState) -> np.ndarray:
    """All arrays of a state as one of bytes, a copy that no later step can change.

    One array is saved faster than many, and a disk that is full fails it once.

    Args:
      state: its arrays lie in this process, or are the same in all.

    Returns:
      uint8 ``[size_of(state)]``.

    Example:
      >>> import optax
      >>> from ladder_jax import presets, training
      >>> net, optimizer = presets.mlp(4, [3, 2]), optax.adam(0.1)
      >>> state = training.create_train_state(net, optimizer, jax.random.key(0))
      >>> again = unpack(pack(state), state)
      >>> bool((again.params[1].up["kernel"] == state.params[1].up["kernel"]).all())
      True
    """
    leaves = jax.tree.leaves(_plain(state))
    return np.frombuffer(b"".join(np.asarray(leaf).tobytes() for leaf in leaves), np.uint8)


def unpack(packed: np.ndarray, like: TrainState) -> TrainState:
    """The state that ``pack`` was given.

    Args:
      packed: of ``size_of(like)`` bytes.
      like: a state of the same structure, on whose devices the arrays are put.
    """
    leaves, structure = jax.tree.flatten(_plain(like))
    ends = np.cumsum([leaf.nbytes for leaf in leaves])

    def put(part: np.ndarray, old: jax.Array) -> Any:
        array = np.frombuffer(part.tobytes(), old.dtype).reshape(old.shape)
        if not old.committed:
            return jax.device_put(array)
        # Of a sharding over several processes each puts its own part.
        return jax.make_array_from_callback(old.shape, old.sharding, array.__getitem__)

    parts = np.split(packed, ends[:-1])
    state: TrainState = jax.tree.unflatten(structure, map(put, parts, leaves))
    key = jax.random.wrap_key_data(state.key, impl=jax.random.key_impl(like.key))
    return state._replace(key=key)
