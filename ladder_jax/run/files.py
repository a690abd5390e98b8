"""Files that are there whole or not at all, on a disk or in a bucket.

What is true of one and not of the other, only this file knows, and
``checkpoints``.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping

import numpy as np

from ladder_jax.errors import ConfigError, WriteError

_LIBRARIES = {"gs": "gcsfs", "s3": "s3fs"}
"""What each kind of bucket is reached with."""
# pathlib makes one slash of two.
_URL = re.compile(r"(?:(gs|s3):/+|(\w[\w+.-]+)://)(.*)", re.DOTALL)


def is_bucket(path: str | os.PathLike[str]) -> bool:
    """Returns whether a path is in a bucket.

    Examples:
      >>> [is_bucket(name) for name in ("gs://bucket/run", "runs/gs", "C:/run")]
      [True, False, False]
    """
    return _URL.match(os.fspath(path)) is not None


def local_path(path: str | os.PathLike[str], what: str) -> pathlib.Path:
    """Returns the path on a disk of what cannot be in a bucket."""
    if is_bucket(path):
        raise ConfigError(f"{path}: {what} cannot be in a bucket; give a path on a disk.")
    return pathlib.Path(path).expanduser()


def as_path(path: str | os.PathLike[str]) -> pathlib.Path:
    """Returns the path on a disk, or in a bucket that can be reached.

    Examples:
      >>> as_path("ftp://host/run")
      Traceback (most recent call last):
      ladder_jax.errors.ConfigError: ftp://host/run: ftp:// is not known; give gs:// or
      s3://, or a path on a disk.
    """
    if not (url := _URL.match(os.fspath(path))):
        return pathlib.Path(path).expanduser()
    if isinstance(path, pathlib.PurePath) and not isinstance(path, pathlib.Path):
        return path  # type: ignore[return-value]  # known already
    scheme, rest = url[1] or url[2], url[3].lstrip("/")
    if scheme not in _LIBRARIES:
        raise ConfigError(
            f"{path}: {scheme}:// is not known; give gs:// or s3://, or a path on a disk."
        )
    if not rest:
        raise ConfigError(f"{path} names no bucket; give e.g. {scheme}://bucket/run.")
    # TensorFlow's access to buckets, where it is installed, has other errors.
    os.environ.setdefault("EPATH_USE_TF", "false")
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # what it raises is told once, below
    try:
        from etils import epath  # only for a bucket: it takes its time

        found = epath.Path(f"{scheme}://{rest}")
        listed(found)
    except ImportError as error:
        raise ConfigError(
            f"{path}: {_LIBRARIES[scheme]} is not installed, and buckets are reached with it: "
            f"pip install {_LIBRARIES[scheme]}, or 'ladder_jax[bucket]'."
        ) from error
    except Exception as error:
        raise ConfigError(
            f"{path} cannot be reached ({reason_of(error)}); check its name and your access to it."
        ) from error
    bucket: pathlib.Path = found
    return bucket


def reason_of(error: BaseException) -> str:
    """Returns an error in one line."""
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
    return reason or type(error).__name__


def failures(path: pathlib.Path) -> type[Exception]:
    """Returns what goes wrong with a file; the libraries of buckets have errors of their own."""
    return Exception if is_bucket(path) else OSError


_ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room, then do the same again"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "give a folder that may be written"),
    errno.ENOENT: "make its folder first",
    errno.ENOTDIR: "give a path whose folders are none of them files",
    errno.EISDIR: "give the name of a file",
    errno.ENAMETOOLONG: "give a shorter name",
}


def advice(error: Exception, path: pathlib.Path) -> str:
    """Returns what to do about an error of writing.

    Examples:
      >>> advice(OSError(2, "No such file or directory"), pathlib.Path("runs/mine"))
      'make its folder first'
    """
    if is_bucket(path):
        return "check your access to the bucket, then do the same again"
    code = getattr(error, "errno", None)
    if code is None:  # a library's own kind of error, with the system's words in it
        code = next((number for number in _ADVICE if os.strerror(number) in str(error)), 0)
    return _ADVICE.get(code, "mend that, or give another path")


@contextlib.contextmanager
def writing(path: pathlib.Path) -> Iterator[None]:
    """Makes a ``WriteError`` of any error of writing ``path``, a full disk's above all.

    Examples:
      >>> with writing(pathlib.Path("params.npz")):
      ...     raise OSError(28, "No space left on device")
      Traceback (most recent call last):
      ladder_jax.errors.WriteError: cannot write params.npz: No space left on device; make
      room, then do the same again.
    """
    try:
        yield
    except WriteError:  # of a file within
        raise
    except failures(path) as error:
        raise WriteError(
            f"cannot write {path}: {reason_of(error)}; {advice(error, path)}."
        ) from error


def make_folder(folder: pathlib.Path) -> None:
    """Makes a folder that is not there; in a bucket folders are but names."""
    if not is_bucket(folder):
        folder.mkdir(parents=True, exist_ok=True)


def make_writable(folder: pathlib.Path) -> None:
    """Makes a folder that is not there, and tries to write; raises what ``failures`` says."""
    make_folder(folder)
    probe = folder / ".writable"
    probe.touch()
    probe.unlink()


def listed(folder: pathlib.Path) -> list[pathlib.Path]:
    """Lists what is in a folder; nothing, where it is not there."""
    try:
        return [path for path in folder.iterdir() if path != folder]  # a bucket may list it itself
    except (FileNotFoundError, NotADirectoryError):
        return []


def remove(path: pathlib.Path) -> None:
    """Removes a file, or a folder with all that is in it; what is not there is let be."""
    if not path.is_dir():
        path.unlink(missing_ok=True)
    elif is_bucket(path):
        path.rmtree(missing_ok=True)  # type: ignore[attr-defined]
    else:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a name to write to; what is there then takes the place of ``path`` at once, or never.

    It may be made a folder; its files come one after another then.
    """
    if is_bucket(path):
        with _uploading(path) as temporary:
            yield temporary
        return
    temporary = path.with_name(f".new-{path.name}")
    with writing(path):
        try:
            yield temporary
            if temporary.is_dir():
                remove(path)
            temporary.replace(path)
        finally:
            remove(temporary)


@contextlib.contextmanager
def _uploading(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A name on a disk to write to; an object is sent whole, and replaced at once."""
    with tempfile.TemporaryDirectory(prefix="ladder-jax-") as name:
        temporary = pathlib.Path(name) / path.name
        with writing(temporary):
            yield temporary
        with writing(path):
            if not temporary.is_dir():
                path.write_bytes(temporary.read_bytes())
                return
            remove(path)
            for part in temporary.rglob("*"):
                if part.is_file():
                    (path / part.relative_to(temporary).as_posix()).write_bytes(part.read_bytes())


class Log:
    """A file that lines are added to, begun with the first of those that it has.

    On a disk a line is there when it is added. Nothing is added to an object in a
    bucket: it is written whole when the log is synced, and in the end.

    Args:
      path: of the file.
      lines: how many are kept.
    """

    def __init__(self, path: pathlib.Path, lines: int) -> None:
        self._path = path
        self._unsent = False  # of a bucket
        with writing(path):
            self._file = None if is_bucket(path) else path.open("ab", buffering=0)
            self._kept = (read_bytes(path) or b"").splitlines(keepends=True)[:lines]
            if self._file is not None:
                self._file.truncate(sum(map(len, self._kept)))

    def append(self, line: bytes) -> None:
        """Adds a line, which ends with a line feed."""
        if self._file is None:
            self._kept.append(line)
            self._unsent = True
            return
        with writing(self._path):
            while line:
                line = line[self._file.write(line) :]

    def sync(self) -> None:
        """Has the lines outlast the machine."""
        with writing(self._path):
            if self._file is not None:
                os.fsync(self._file.fileno())
            elif self._unsent:
                self._path.write_bytes(b"".join(self._kept))
                self._unsent = False

    def close(self) -> None:
        """Ends it."""
        if self._file is not None:
            self._file.close()
        else:
            self.sync()


def read_bytes(path: pathlib.Path) -> bytes | None:
    """Reads what is in a file, or None where there is none.

    To ask a bucket first whether it is there would take any trouble for a no.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def write_json(path: pathlib.Path, value: object) -> None:
    """Writes a value as JSON, put in place whole."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def write_arrays(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays as ``.npz``, put in place whole."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
