"""The exceptions of the library; each message is one line that says what to change."""

from __future__ import annotations

import os
import signal


class ConfigError(ValueError):
    """A setting is wrong; the message names it and says what to give."""


class DataError(ValueError):
    """Something is wrong with the data given; the message says what to change."""


class WriteError(OSError):
    """A file cannot be written; the message names it, the reason and what to do."""


class NotFiniteError(ArithmeticError):
    """NaN or infinity in the loss; the message says where from and what to try."""


class PeerError(RuntimeError):
    """Another process of the job failed; its own message says why."""


class Interrupted(KeyboardInterrupt):
    """A signal stopped the run; what it had done is saved.

    Attributes:
      number: of the signal.
      status: what a command exits with: 130 after Ctrl-C, as a shell has it; else 75,
        nothing is wrong, the same command resumes.
    """

    def __init__(self, number: int, message: str = "") -> None:
        super().__init__(message or f"stopped by {signal.Signals(number).name}")
        self.number = number
        stopped = getattr(os, "EX_TEMPFAIL", 75)
        self.status = 130 if number == signal.SIGINT else stopped
