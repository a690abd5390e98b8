"""Signals that ask a run to stop: SIGTERM (preemption) and SIGINT (Ctrl-C)."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ladder_jax.errors import Interrupted

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def handled(handler: Callable[[int, Any], Any]) -> Iterator[None]:
    """Handles both signals, and puts the former handlers back in the end.

    Only the main thread may; in another nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, old in former.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """Makes an ``Interrupted`` of a signal wherever it comes."""

    def handler(number: int, frame: Any) -> None:
        raise Interrupted(number)

    with handled(handler):
        yield


@contextlib.contextmanager
def deferred() -> Iterator[Callable[[], int | None]]:
    """Notes a signal for the caller to see; a second one has its former effect."""
    came: list[int] = []
    former = {int(number): signal.getsignal(number) for number in _SIGNALS}

    def handler(number: int, frame: Any) -> None:
        if came:
            signal.signal(number, former[number] or signal.SIG_DFL)
            signal.raise_signal(number)
        came.append(number)

    with handled(handler):
        yield lambda: came[0] if came else None
