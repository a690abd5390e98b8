"""Files that are there whole or not at all, on a disk or in a bucket.

Only this file and ``checkpoints`` know what is true of one and not of the other.
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

_LIBRARIES = {"gs": "gcsfs", "s3": "s3fs"}  # what each kind of bucket is reached with
# pathlib makes one slash of two.
_URL = re.compile(r"(?:(gs|s3):/+|(\w[\w+.-]+)://)(.*)", re.DOTALL)


def is_bucket(path: str | os.PathLike[str]) -> bool:
    """Returns whether a path is in a bucket."""
    return _URL.match(os.fspath(path)) is not None


def as_path(path: str | os.PathLike[str]) -> pathlib.Path:
    """Returns the path on a disk, or in a bucket that can be reached."""
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

        bucket: pathlib.Path = epath.Path(f"{scheme}://{rest}")
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
    """Returns what to do about an error of writing."""
    if is_bucket(path):
        return "check your access to the bucket, then do the same again"
    code = getattr(error, "errno", None)
    if code is None:  # a library's own kind of error, with the system's words in it
        code = next((number for number in _ADVICE if os.strerror(number) in str(error)), 0)
    return _ADVICE.get(code, "mend that, or give another path")


@contextlib.contextmanager
def writing(path: pathlib.Path) -> Iterator[None]:
    """Makes a ``WriteError`` of any error of writing ``path``, a full disk's above all."""
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

    It may be made a folder; in a bucket, its files come one after another then.
    """
    with contextlib.ExitStack() as stack:
        if is_bucket(path):
            made = tempfile.TemporaryDirectory(prefix="ladder-jax-")
            temporary = pathlib.Path(stack.enter_context(made)) / path.name
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
                temporary.replace(path)
            elif not temporary.is_dir():
                path.write_bytes(temporary.read_bytes())
            else:
                for part in filter(pathlib.Path.is_file, temporary.rglob("*")):
                    (path / part.relative_to(temporary).as_posix()).write_bytes(part.read_bytes())


class Log:
    """Adds JSON lines to a file, begun with the first of the lines that it has.

    On a disk a line is there when it is added. Nothing is added to an object in a
    bucket: it is written whole when the log is synced, and in the end.
    """

    def __init__(self, path: pathlib.Path, lines: int) -> None:
        self._path = path
        self._unsent = False  # of a bucket
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
        """Adds a line."""
        line = (json.dumps(values) + "\n").encode()
        if self._file is None:
            self._kept.append(line)
            self._unsent = True
            return
        with writing(self._path):
            while line:
                line = line[self._file.write(line) :]

    def sync(self) -> None:
        """Makes the lines outlast the machine, as a checkpoint does that counts them."""
        with writing(self._path):
            if self._file is not None:
                os.fsync(self._file.fileno())
            elif self._unsent:
                self._path.write_bytes(b"".join(self._kept))
                self._unsent = False


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
