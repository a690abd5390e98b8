"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np


class WriteError(OSError):
    """A file cannot be written; the message names it, the reason and what to do."""


_ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room, then do the same again"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "give a folder that may be written"),
    errno.ENOENT: "make its folder first",
    errno.ENOTDIR: "give a path whose folders are none of them files",
    errno.EISDIR: "give the name of a file",
    errno.ENAMETOOLONG: "give a shorter name",
}


def advice(error: Exception) -> str:
    """Returns what to do about an error of writing.

    Examples:
      >>> advice(OSError(2, "No such file or directory")), advice(ValueError("Is a directory"))
      ('make its folder first', 'give the name of a file')
    """
    code = getattr(error, "errno", None)
    if code is None:  # a library's own kind of error, with the system's words in it
        code = next((number for number in _ADVICE if os.strerror(number) in str(error)), 0)
    return _ADVICE.get(code, "mend that, or give another path")


@contextlib.contextmanager
def writing(path: pathlib.Path) -> Iterator[None]:
    """Makes a ``WriteError`` of any error of writing ``path``, a full disk's above all.

    Example:
      >>> with writing(pathlib.Path("params.npz")):
      ...     raise OSError(28, "No space left on device")
      Traceback (most recent call last):
      ladder_jax.files.WriteError: cannot write params.npz: No space left on device; make
      room, then do the same again.
    """
    try:
        yield
    except WriteError:  # of a file within
        raise
    except OSError as error:
        raise WriteError(
            f"cannot write {path}: {error.strerror or error}; {advice(error)}."
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
        temporary.write_text(json.dumps(value, indent=1) + "\n")


def write_arrays(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Arrays as ``.npz``, put in place whole."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
