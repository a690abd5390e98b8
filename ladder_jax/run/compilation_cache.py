"""Keeps compiled programs for the next process, in the user's cache folder.

JAX's persistent cache is a setting of the whole process. Pure functions, as those of
``ladder`` and ``training``, leave it alone; ``program.compile_program``, which estimators,
runs, populations and commands go through, switches it on.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import pathlib
import platform
import re
import shutil
import sys
import warnings
import zlib
from typing import Any

import jax

from ladder_jax.errors import ConfigError
from ladder_jax.run import files

VARIABLE = "LADDER_JAX_CACHE"
"""Environment variable; "off" keeps nothing."""
LIMIT = 2**29
"""Bytes that are kept."""
ROOM = 2**27
"""Bytes that must be free."""
_CONFIG: Any = jax.config  # whose attributes are not typed


def user_folder() -> pathlib.Path:
    """Returns the folder of caches of this user and platform."""
    variable, folder = {
        "win32": ("LOCALAPPDATA", "AppData/Local"),
        "darwin": ("", "Library/Caches"),
    }.get(sys.platform, ("XDG_CACHE_HOME", ".cache"))
    given = pathlib.Path(os.environ.get(variable, ""))
    return given if given.is_absolute() else pathlib.Path.home() / folder


@functools.cache
def processor() -> str:
    """Returns the processor's name and what it can do, where the system tells.

    Compiled programs are for one kind, which JAX's key does not tell from others: where
    machines share a home, each kind has a folder of its own.
    """
    with contextlib.suppress(OSError):
        text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
        return "\n".join(
            dict.fromkeys(re.findall(r"^(?:model name|flags|Features)\s*:.*", text, re.M))
        )
    return f"{platform.machine()} {platform.processor()}"


def prune(folder: pathlib.Path, limit: int = LIMIT) -> None:
    """Removes the files that were not read for longest until the rest are within a limit.

    JAX can do so itself, but only with a package that it does not ask for.

    Args:
      folder: with all below it.
      limit: in bytes.
    """
    entries = [(path.stat(), path) for path in folder.rglob("*") if path.is_file()]
    for stat, path in sorted(entries, key=lambda pair: -pair[0].st_atime):
        limit -= stat.st_size
        if limit < 0:
            path.unlink(missing_ok=True)


def _silence_loader() -> None:
    """Keeps XLA from printing an error for every program that it loads.

    With AVX-512, jaxlib 0.10 counts hints to its compiler (prefer-no-gather) among what
    a processor must have. JAX's level "NOTSET" leaves that of its C++ code as it was.
    """
    loggers = [logging.getLogger(name) for name in ("jax", "jaxlib")]
    levels = [logger.level for logger in loggers]
    for level in ("CRITICAL", "NOTSET"):
        _CONFIG.update("jax_logging_level", level)
    for logger, number in zip(loggers, levels, strict=True):
        logger.setLevel(number)


def _keep_with_user() -> None:
    """Makes the user's folder the one that JAX keeps programs in, if there is room."""
    every = user_folder() / "ladder_jax"
    folder = every / f"{zlib.crc32(processor().encode()):08x}"
    every.parent.mkdir(parents=True, exist_ok=True)
    every.mkdir(mode=0o700, exist_ok=True)  # what is in it is run
    files.make_writable(folder)
    prune(every)
    if shutil.disk_usage(folder).free < ROOM:
        return
    _CONFIG.update("jax_compilation_cache_dir", str(folder))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        _CONFIG.update("jax_persistent_cache_min_compile_time_secs", 0)
    # A file that cannot be read or written later on costs time alone.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")


def enable() -> None:
    """Lets JAX keep compiled programs, unless it is told where to or that it shall not.

    The cache saves time and nothing else: where the folder cannot be written, or the disk
    is full, there is none.

    Raises:
      ConfigError: the environment variable has another value.
    """
    value = os.environ.get(VARIABLE, "")
    if value not in ("", "off"):
        raise ConfigError(
            f"{VARIABLE}={value}; give off, or leave it out. JAX_COMPILATION_CACHE_DIR names "
            "another folder."
        )
    if not _CONFIG.jax_enable_compilation_cache:
        return
    if not (value or _CONFIG.jax_compilation_cache_dir):
        with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: there is no home
            _keep_with_user()
    # JAX itself sets the variable to 1, which lets errors through.
    told = os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") != "1"
    loads = _CONFIG.jax_compilation_cache_dir and "avx512" in processor()
    if loads and not told and _CONFIG.jax_logging_level == "NOTSET":
        _silence_loader()
