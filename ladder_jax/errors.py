"""The library's exceptions; each message is one line that says what to change."""

from __future__ import annotations

import os
import signal


class ConfigError(ValueError):
    """A setting is wrong; the message names it and says what to give instead."""


class DataError(ValueError):
    """The data are wrong; the message says what to change."""


class WriteError(OSError):
    """A file cannot be written; the message names the file, the reason and what to do."""


class NotFiniteError(ArithmeticError):
    """The loss is NaN or infinite; the message says where that arose and what to try."""


class PeerError(RuntimeError):
    """Another process of the job failed; its own message says why."""


class Interrupted(KeyboardInterrupt):
    """A signal stopped the run; its progress is saved.

    Attributes:
      number: number of the signal.
      status: exit status of a command: 130 after Ctrl-C, the shell's convention; otherwise 75:
        nothing is wrong, and the same command resumes.
    """

    def __init__(self, number: int, message: str = "") -> None:
        super().__init__(message or f"stopped by {signal.Signals(number).name}")
        self.number = number
        temporary_failure = getattr(os, "EX_TEMPFAIL", 75)
        self.status = 130 if number == signal.SIGINT else temporary_failure
