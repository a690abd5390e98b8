"""Fetching the files of a set: tried once, checked, with a progress bar."""

from __future__ import annotations

import hashlib
import pathlib
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from ladder_jax.data.base import DataError

TIMEOUT = 10.0
"""Seconds without an answer after which a fetch is given up."""

_CHUNK = 1 << 18


def fetch_all(name: str, url_infos: Mapping[str, Any], folder: pathlib.Path) -> None:
    """Sees to it that the files of a set are in a folder, and that they are the right ones.

    A file that is there unpacked (without its ``.gz``) is taken as it is.

    Args:
      name: of the set.
      url_infos: tensorflow-datasets' list: by address, the file's name and SHA-256.
      folder: of the files; made if need be.

    Raises:
      DataError: a file is not there and cannot be fetched, or is another.
    """
    for url, info in url_infos.items():
        path = folder / info.filename
        if path.is_file():
            if _sha256(path) != info.checksum:
                raise DataError(
                    f"{path}: not the file that {name} is made of (wrong checksum); delete it and "
                    "fetch it again."
                )
        elif not path.with_suffix("").is_file() or path.suffix != ".gz":
            names = ", ".join(item.filename for item in url_infos.values())
            _fetch(name, url, path, info, f"put {names} into {folder}, or give their folder")


def _sha256(path: pathlib.Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}.") from error


def _fetch(name: str, url: str, path: pathlib.Path, info: Any, otherwise: str) -> None:
    from tqdm import tqdm

    part = path.with_name(path.name + ".part")
    digest = hashlib.sha256()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            _open(url) as answer,
            part.open("wb") as file,
            tqdm(total=int(info.size), desc=path.name, unit="B", unit_scale=True) as bar,
        ):
            while block := answer.read(_CHUNK):
                file.write(block)
                digest.update(block)
                bar.update(len(block))
    except OSError as error:  # URLError, a timeout, a full disk
        part.unlink(missing_ok=True)
        raise DataError(
            f"{name}: cannot fetch {url} ({_reason(error)}); {otherwise} as --download_dir."
        ) from error
    if digest.hexdigest() != info.checksum:
        part.unlink()
        raise DataError(f"{name}: {url} is not the file it should be (wrong checksum).")
    part.rename(path)


def check_reachable(name: str, url: str, folder: pathlib.Path) -> None:
    """That the server of an address answers, tried once.

    Args:
      name: of the set.
      url: of one of its files.
      folder: where the set would be prepared, for the message.

    Raises:
      DataError: it does not.
    """
    try:
        with _open(url):
            pass
    except urllib.error.HTTPError:
        pass  # it answers
    except OSError as error:
        raise DataError(
            f"{name} is not prepared in {folder} and cannot be fetched from {url} "
            f"({_reason(error)}); give the folder of its files as --download_dir, or one where it "
            "is prepared as --data_dir."
        ) from error


def _reason(error: OSError) -> str:
    return str(getattr(error, "reason", None) or error.strerror or error)


def _open(url: str) -> Any:
    """The answer to a request, its connection made within ``TIMEOUT``.

    A thread that is left behind, since looking up a name knows no timeout.
    """
    done: list[Any] = []

    def request() -> None:
        try:
            done.append(urllib.request.urlopen(url, timeout=TIMEOUT))
        except OSError as error:
            done.append(error)

    thread = threading.Thread(target=request, daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    if not done:
        raise TimeoutError(f"no answer in {TIMEOUT:.0f} s")
    if isinstance(done[0], OSError):
        raise done[0]
    return done[0]
