"""Checkpoints in a bucket, each one object: there whole or not at all, as nothing is renamed."""

from __future__ import annotations

import concurrent.futures
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ladder_jax.files import listed, reason_of, remove


def epochs_in(folder: pathlib.Path) -> list[int]:
    """Of the checkpoints in a folder, the newest last."""
    return sorted(int(path.name) for path in listed(folder) if path.name.isdigit())


class BucketCheckpoints:
    """What ``checkpoints`` needs of a store: a line of JSON, then the bytes of the state.

    Orbax would need the right to read a bucket's settings, a second library with
    credentials of its own, and on S3 would rename, which copies file by file.

    Args:
      folder: theirs alone.
      keep: how many of the last are kept, beside the best.
    """

    def __init__(self, folder: pathlib.Path, keep: int) -> None:
        self._folder, self._keep = folder, keep
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "checkpoints")
        self._last: concurrent.futures.Future[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a save is still being written."""
        return self._last is not None and not self._last.done()

    def save(
        self, epoch: int, packed: np.ndarray, about: Mapping[str, Any], error: float | None
    ) -> None:
        """Begins to save, when the last save is done.

        Args:
          epoch: that it is the checkpoint of.
          packed: the state, uint8.
          about: it, for JSON; "best" is the best epoch and its error, or None.
          error: is in ``about``.
        """
        del error
        self.wait()
        self._last = self._thread.submit(self._write, epoch, packed, about)

    def _write(self, epoch: int, packed: np.ndarray, about: Mapping[str, Any]) -> None:
        content = json.dumps(about).encode() + b"\n" + packed.tobytes()
        (self._folder / str(epoch)).write_bytes(content)
        epochs = epochs_in(self._folder)
        kept = {epoch, *epochs[-self._keep :], *(about["best"] or ())[:1]}
        for old in set(epochs) - kept:
            remove(self._folder / str(old))

    def wait(self) -> None:
        """Waits for the save that goes on, if any; raises an OSError for any trouble."""
        last, self._last = self._last, None
        try:
            if last is not None:
                last.result()
        except Exception as error:  # a bucket's library raises its own
            raise OSError(reason_of(error)) from error

    def about(self, epoch: int) -> dict[str, Any]:
        """What ``save`` was given to say of a state."""
        with (self._folder / str(epoch)).open("rb") as file:
            about: dict[str, Any] = json.loads(file.readline())
        return about

    def packed(self, epoch: int, size: int) -> np.ndarray:
        """The state; so many bytes are expected."""
        del size
        content = (self._folder / str(epoch)).read_bytes()
        return np.frombuffer(content, np.uint8, offset=content.index(b"\n") + 1)

    def move(self, epoch: int, aside: pathlib.Path) -> None:
        """Moves a checkpoint out of the way."""
        (self._folder / str(epoch)).replace(aside)

    def close(self) -> None:
        """Waits, and ends the thread."""
        try:
            self.wait()
        finally:
            self._thread.shutdown()
