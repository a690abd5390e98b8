"""Joins several processes that train together, each started with the same command.

  python -m experiments.train --coordinator=HOST:PORT --processes=2 --process_id=0
  python -m experiments.train --coordinator=HOST:PORT --processes=2 --process_id=1

HOST is the host of process 0, PORT any free port on it.
"""

from __future__ import annotations

import re

from absl import flags

from ladder_jax import parallel
from ladder_jax.errors import ConfigError

_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "HOST:PORT of process 0, the same for all processes."
)
_PROCESS = flags.DEFINE_integer(
    "process_id", None, "Number of this process, from 0.", lower_bound=0
)
_PROCESSES = flags.DEFINE_integer("processes", None, "Number of processes.", lower_bound=1)
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "Whether to join the processes that a TPU pod, Slurm or Open MPI started."
)
FLAGS = (_COORDINATOR, _PROCESSES, _PROCESS, _DISTRIBUTED)
"""Flags of commands that can run as several processes."""


def join() -> None:
    """Joins the processes that the flags name, if any; before any other use of JAX.

    Raises:
      ConfigError: flags are missing or contradictory, or the processes cannot be joined.
    """
    address, count, process = _COORDINATOR.value, _PROCESSES.value, _PROCESS.value
    if address is None or count is None or process is None:
        if (address, count, process) != (None, None, None):
            raise ConfigError("give --coordinator, --processes and --process_id, all three.")
        if _DISTRIBUTED.value:
            _join("--distributed recognises no TPU pod, Slurm or Open MPI; give --coordinator")
        return
    if _DISTRIBUTED.value:
        raise ConfigError("--distributed finds the processes by itself; leave --coordinator out.")
    if not re.fullmatch(r"\S+:\d+", address):
        raise ConfigError(f"--coordinator={address}: give HOST:PORT, e.g. localhost:12345.")
    if process >= count:
        raise ConfigError(f"--process_id={process}: give 0 to {count - 1}, below --processes.")
    _join(
        f"--coordinator={address} cannot be joined; give an address and a free port of process 0",
        coordinator_address=address,
        num_processes=count,
        process_id=process,
    )


def _join(trouble: str, **options: object) -> None:
    try:
        parallel.join_processes(**options)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{trouble} ({reason}).") from error
