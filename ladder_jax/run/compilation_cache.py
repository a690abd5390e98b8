"""Persistent cache of compiled programs, in the user's cache folder.

JAX's persistent cache is a process-wide setting. Pure functions, such as those of
``ladder`` and ``training``, do not touch it; ``program.compile_program``, which estimators,
runs, populations and commands use, enables it.
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
"""Environment variable; "off" disables the cache in the user's folder."""
LIMIT = 2**29
"""Maximum size of the cache, in bytes."""
ROOM = 2**27
"""Free disk space that the cache requires, in bytes."""
_CONFIG: Any = jax.config  # its attributes are untyped


def user_folder() -> pathlib.Path:
    """Returns the user's cache folder on this platform."""
    variable, folder = {
        "win32": ("LOCALAPPDATA", "AppData/Local"),
        "darwin": ("", "Library/Caches"),
    }.get(sys.platform, ("XDG_CACHE_HOME", ".cache"))
    from_environment = pathlib.Path(os.environ.get(variable, ""))
    return from_environment if from_environment.is_absolute() else pathlib.Path.home() / folder


@functools.cache
def processor() -> str:
    """Returns the processor's name and features, as far as the system reports them.

    A compiled program is for one kind of processor, which JAX's cache key does not include;
    if machines share a home directory, each kind has its own folder.
    """
    with contextlib.suppress(OSError):
        text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
        return "\n".join(
            dict.fromkeys(re.findall(r"^(?:model name|flags|Features)\s*:.*", text, re.M))
        )
    return f"{platform.machine()} {platform.processor()}"


def prune(folder: pathlib.Path, limit: int = LIMIT) -> None:
    """Removes the least recently read files until the rest are within a limit.

    JAX can do this itself, but only with a package that it does not require.

    Args:
      folder: folder of the files, subfolders included.
      limit: maximum total size, in bytes.
    """
    entries = [(path.stat(), path) for path in folder.rglob("*") if path.is_file()]
    for stat, path in sorted(entries, key=lambda pair: -pair[0].st_atime):
        limit -= stat.st_size
        if limit < 0:
            path.unlink(missing_ok=True)


def _silence_loader() -> None:
    """Keeps XLA from printing an error for every program that it loads.

    With AVX-512, jaxlib 0.10 counts compiler hints (prefer-no-gather) among the features
    that a processor must have. JAX's level "NOTSET" leaves the level of its C++ code as it is.
    """
    loggers = [logging.getLogger(name) for name in ("jax", "jaxlib")]
    levels = [logger.level for logger in loggers]
    for level in ("CRITICAL", "NOTSET"):
        _CONFIG.update("jax_logging_level", level)
    for logger, old_level in zip(loggers, levels, strict=True):
        logger.setLevel(old_level)


def _use_user_folder() -> None:
    """Points JAX's cache at the user's folder, if there is enough free space."""
    root = user_folder() / "ladder_jax"
    folder = root / f"{zlib.crc32(processor().encode()):08x}"
    root.parent.mkdir(parents=True, exist_ok=True)
    root.mkdir(mode=0o700, exist_ok=True)  # its content is executed
    files.make_writable(folder)
    prune(root)
    if shutil.disk_usage(folder).free < ROOM:
        return
    _CONFIG.update("jax_compilation_cache_dir", str(folder))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        _CONFIG.update("jax_persistent_cache_min_compile_time_secs", 0)
    # A file that cannot be read or written later costs only time.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")


def enable() -> None:
    """Enables JAX's persistent compilation cache, unless the user has configured or disabled it.

    The cache only saves time: if the folder cannot be written, or the disk is full, there
    is none.

    Raises:
      ConfigError: ``LADDER_JAX_CACHE`` is set to something other than "off".
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
        with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: no home directory
            _use_user_folder()
    # JAX itself sets the variable to 1, which lets errors through.
    level_set = os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") != "1"
    affected = _CONFIG.jax_compilation_cache_dir and "avx512" in processor()
    if affected and not level_set and _CONFIG.jax_logging_level == "NOTSET":
        _silence_loader()
