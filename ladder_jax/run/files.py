"""Files that are complete or absent, on a disk or in a bucket.

Only this module and ``checkpoints`` tell the two apart.
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
from typing import Self

import numpy as np

from ladder_jax.errors import ConfigError, WriteError

_LIBRARIES = {"gs": "gcsfs", "s3": "s3fs"}  # libraries that access each kind of bucket
# pathlib turns two slashes into one, and on Windows into backslashes.
_URL = re.compile(r"(?:(gs|s3):[/\\]+|(\w[\w+.-]+)://)(.*)", re.DOTALL)


def is_bucket(path: str | os.PathLike[str]) -> bool:
    """Returns whether a path is in a bucket."""
    return _URL.match(os.fspath(path)) is not None


def expanded(path: str | os.PathLike[str]) -> pathlib.Path:
    """Returns a path on a disk, with ``~`` replaced by the home folder.

    Raises:
      ConfigError: there is no such home folder.
    """
    try:
        return pathlib.Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError(
            f"{path}: the home folder of its ~ is not known; give the whole path, or "
            f"./{path} for a folder of that name."
        ) from error


def as_path(path: str | os.PathLike[str]) -> pathlib.Path:
    """Converts to a path on a disk, or to one in a bucket after checking that it is reachable."""
    if not (url := _URL.match(os.fspath(path))):
        return expanded(path)
    if isinstance(path, pathlib.PurePath) and not isinstance(path, pathlib.Path):
        return path  # type: ignore[return-value]  # converted before
    scheme, location = url[1] or url[2], url[3].replace("\\", "/").lstrip("/")
    if scheme not in _LIBRARIES:
        raise ConfigError(
            f"{path}: {scheme}:// is not known; give gs:// or s3://, or a path on a disk."
        )
    if not location:
        raise ConfigError(f"{path} names no bucket; give e.g. {scheme}://bucket/run.")
    # TensorFlow's access to buckets, if it is installed, raises other errors.
    os.environ.setdefault("EPATH_USE_TF", "false")
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # its errors are reported once, below
    try:
        from etils import epath  # imported only for buckets: it is slow

        bucket: pathlib.Path = epath.Path(f"{scheme}://{location}")
        listed(bucket)
    except ImportError as error:
        raise ConfigError(
            f"{path}: {_LIBRARIES[scheme]} is not installed, and buckets are reached with it: "
            f"pip install {_LIBRARIES[scheme]}, or 'ladder_jax[bucket]'."
        ) from error
    except Exception as error:
        raise ConfigError(
            f"{path} cannot be reached ({reason_of(error)}); check its name and your access to it."
        ) from error
    return bucket


def reason_of(error: BaseException) -> str:
    """Returns the reason of an error, in one line."""
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
    return reason or type(error).__name__


def failures(path: pathlib.Path) -> type[Exception]:
    """Returns the type of errors in accessing a file; bucket libraries raise their own."""
    return Exception if is_bucket(path) else OSError


_ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room, then do the same again"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "give a folder that may be written"),
    errno.ENOENT: "make its folder first",
    errno.ENOTDIR: "give a path that has no file among its folders",
    errno.EISDIR: "give the name of a file",
    errno.ENAMETOOLONG: "give a shorter name",
}


def advice(error: Exception, path: pathlib.Path) -> str:
    """Returns advice on an error in writing."""
    if is_bucket(path):
        return "check your access to the bucket, then do the same again"
    code = getattr(error, "errno", None)
    if code is None:  # a library's own error that quotes the system's message
        code = next((number for number in _ADVICE if os.strerror(number) in str(error)), 0)
    return _ADVICE.get(code, "fix that, or give another path")


@contextlib.contextmanager
def writing(path: pathlib.Path) -> Iterator[None]:
    """Turns any error in writing ``path``, such as a full disk, into a ``WriteError``."""
    try:
        yield
    except WriteError:  # from a nested block
        raise
    except failures(path) as error:
        raise WriteError(
            f"cannot write {path}: {reason_of(error)}; {advice(error, path)}."
        ) from error


def make_folder(folder: pathlib.Path) -> None:
    """Creates a folder if it is missing; in a bucket, folders are only names."""
    if not is_bucket(folder):
        folder.mkdir(parents=True, exist_ok=True)


def make_writable(folder: pathlib.Path) -> None:
    """Creates a folder if it is missing, and tries to write to it; raises ``failures(folder)``."""
    make_folder(folder)
    probe = folder / ".writable"
    probe.touch()
    probe.unlink(missing_ok=True)  # another process may probe too


def listed(folder: pathlib.Path) -> list[pathlib.Path]:
    """Lists the content of a folder; empty if the folder does not exist."""
    try:
        return [path for path in folder.iterdir() if path != folder]  # a bucket may list itself
    except (FileNotFoundError, NotADirectoryError):
        return []


def remove(path: pathlib.Path) -> None:
    """Removes a file, or a folder with its content, if it exists."""
    if not path.is_dir():
        path.unlink(missing_ok=True)
    elif is_bucket(path):
        path.rmtree(missing_ok=True)  # type: ignore[attr-defined]
    else:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary path whose content replaces ``path`` atomically, or not at all.

    A file is on the disk before it replaces ``path``, so that a machine crash leaves it whole. It
    may become a folder; in a bucket, its files are then replaced one by one.
    """
    with contextlib.ExitStack() as stack:
        if is_bucket(path):
            temporary_folder = tempfile.TemporaryDirectory(prefix="ladder-jax-")
            temporary = pathlib.Path(stack.enter_context(temporary_folder)) / path.name
            stack.enter_context(writing(temporary))
        else:
            temporary = path.with_name(f".new-{path.name}")
            stack.enter_context(writing(path))
            stack.callback(remove, temporary)
        yield temporary
        with writing(path):
            if temporary.is_dir():
                remove(path)
            if not is_bucket(path):
                if temporary.is_file():
                    with temporary.open("r+b") as file:
                        os.fsync(file.fileno())
                temporary.replace(path)
            elif temporary.is_file():
                path.write_bytes(temporary.read_bytes())
            else:
                for part in filter(pathlib.Path.is_file, temporary.rglob("*")):
                    (path / part.relative_to(temporary).as_posix()).write_bytes(part.read_bytes())


class Log:
    """Appends JSON lines to a file, of whose present lines it keeps the first ``lines``.

    On a disk, a line is written when it is appended. Objects in a bucket cannot be appended
    to: they are rewritten whenever the log is synced, and when it is closed.
    """

    def __init__(self, path: pathlib.Path, lines: int) -> None:
        self._path = path
        self._unsent = False  # whether a bucket lacks lines
        with writing(path):
            self._file = None if is_bucket(path) else path.open("ab", buffering=0)
            self._kept = (read_bytes(path) or b"").splitlines(keepends=True)[:lines]
            if self._file is not None:
                self._file.truncate(sum(map(len, self._kept)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            return
        try:
            self.sync()
        except WriteError:
            if kind is None:
                raise

    def append(self, values: Mapping[str, object]) -> None:
        """Appends a line."""
        line = (json.dumps(values) + "\n").encode()
        if self._file is None:
            self._kept.append(line)
            self._unsent = True
            return
        with writing(self._path):
            while line:
                line = line[self._file.write(line) :]

    def sync(self) -> None:
        """Makes the lines survive a machine crash, like the checkpoint that counts them."""
        with writing(self._path):
            if self._file is not None:
                os.fsync(self._file.fileno())
            elif self._unsent:
                self._path.write_bytes(b"".join(self._kept))
                self._unsent = False


def read_bytes(path: pathlib.Path) -> bytes | None:
    """Reads a file; None if it does not exist.

    Asking a bucket beforehand whether it exists would mistake any failure for a no.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def write_json(path: pathlib.Path, value: object) -> None:
    """Writes a value as JSON, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def write_arrays(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays as ``.npz``, atomically."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
