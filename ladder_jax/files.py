"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import json
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np


class WriteError(OSError):
    """A file cannot be written; the message names it, the reason and what to do."""


@contextlib.contextmanager
def writing(path: pathlib.Path) -> Iterator[None]:
    """Makes a ``WriteError`` of any error of writing ``path``, a full disk's above all.

    Example:
      >>> with writing(pathlib.Path("params.npz")):
      ...     raise OSError(28, "No space left on device")
      Traceback (most recent call last):
      ladder_jax.files.WriteError: cannot write params.npz: No space left on device; make
      room, then give the same command to go on.
    """
    try:
        yield
    except WriteError:  # of a file within
        raise
    except OSError as error:
        raise WriteError(
            f"cannot write {path}: {error.strerror or error}; make room, then give the same "
            "command to go on."
        ) from error


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A name to write to; what is there then takes the place of ``path`` at once, or never."""
    temporary = path.with_name(f".new-{path.name}")
    with writing(path):
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_json(path: pathlib.Path, value: object) -> None:
    """A value as JSON, put in place whole."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def write_arrays(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Arrays as ``.npz``, put in place whole."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
