"""Arrays of an ``.npz`` file, read without pickle and without trust in its headers."""

from __future__ import annotations

import math
import pathlib
import zipfile
from collections.abc import Collection
from typing import IO

import numpy as np

from ladder_jax.data.base import DataError
from ladder_jax.data.bounded import MOST_DEFLATED, read_into


def read_npz(path: pathlib.Path, wanted: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of a file, or those of these names that it has.

    Object arrays are refused, so nothing in the file is executed. No more memory
    is taken than the arrays declare, and none where the file cannot hold that much.

    Args:
      path: of a file that ``numpy.savez`` or ``savez_compressed`` wrote.
      wanted: names; all others are left unread. None for all.

    Returns:
      The arrays by name.

    Raises:
      DataError: the file is missing, damaged or not such a file, or an array holds
        Python objects.

    Example:
      >>> import pathlib
      >>> read_npz(pathlib.Path("nowhere.npz"), ["x"])
      Traceback (most recent call last):
      ...
      ladder_jax.data.base.DataError: nowhere.npz: No such file or directory.
    """
    try:
        with path.open("rb") as opened, zipfile.ZipFile(opened) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            return {
                name: _read_member(archive, info, f"{path}, {name}")
                for name, info in members.items()
                if wanted is None or name in wanted
            }
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or 'damaged'}.") from error
    except Exception as error:
        # On damaged bytes zipfile, zlib and NumPy's header parser raise a dozen kinds.
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise DataError(
            f"{path}: not an .npz file, or a damaged one ({reason}); write it with numpy.savez."
        ) from error


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> np.ndarray:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(f"{name}: compression {info.compress_type}; write it with numpy.savez.")
    deflated = info.compress_type == zipfile.ZIP_DEFLATED
    most = archive.fp.seek(0, 2) * (MOST_DEFLATED if deflated else 1) if archive.fp else 0
    with archive.open(info) as file:
        shape, fortran, dtype = _read_header(file)
        if dtype.hasobject:
            raise DataError(
                f"{name}: holds Python objects (pickles), which are refused; save plain numbers."
            )
        size = math.prod(shape) * dtype.itemsize
        if not 0 <= size <= most:
            raise DataError(f"{name}: declares {size} bytes, more than the file holds.")
        array = np.empty(shape[::-1] if fortran else shape, dtype)
        if size and (read_into(file, array) < size or file.read(1)):
            raise DataError(f"{name}: not the {size} bytes that its header declares.")
    return array.T if fortran else array


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f"npy format {version[0]}.{version[1]} is not known")
