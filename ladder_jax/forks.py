"""One line instead of a hang where a process that has used JAX is forked."""

from __future__ import annotations

import os

_state = {"used": False, "lost": False}


def _in_child() -> None:
    _state["lost"] = _state["used"]


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_in_child)


def check() -> None:
    """Checks, before anything is computed, that JAX's threads are in this process.

    A fork leaves them behind, and what waits for them waits forever. Only what was
    computed through this library is known of.

    Raises:
      RuntimeError: this process was forked from one that had computed.

    Examples:
      >>> check()
    """
    if _state["lost"]:
        raise RuntimeError(
            "this process was forked from one that has used JAX, in which JAX hangs; start "
            'processes by multiprocessing.get_context("spawn") or joblib\'s loky, or use threads.'
        )
    _state["used"] = True
