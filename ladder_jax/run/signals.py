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
    """Handles both signals, and restores the former handlers at the end.

    Only the main thread may set handlers; in other threads, nothing changes.
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
    """Raises ``Interrupted`` as soon as a signal arrives."""

    def handler(number: int, frame: Any) -> None:
        raise Interrupted(number)

    with handled(handler):
        yield


@contextlib.contextmanager
def deferred() -> Iterator[Callable[[], int | None]]:
    """Records a signal for the caller to check; a second one has its usual effect."""
    received: list[int] = []
    former = {int(number): signal.getsignal(number) for number in _SIGNALS}

    def handler(number: int, frame: Any) -> None:
        if received:
            signal.signal(number, former[number] or signal.SIG_DFL)
            signal.raise_signal(number)
        received.append(number)

    with handled(handler):
        yield lambda: received[0] if received else None
