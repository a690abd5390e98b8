"""Lists the commands; each explains its use with --help.

python -m experiments
"""

from __future__ import annotations

import pathlib
import sys

from experiments import cli, helptext
from ladder_jax.errors import ConfigError


def commands() -> dict[str, str]:
    """Returns a one-line description of each command, by the name of its module.

    Examples:
      >>> commands()["export"]
      'Writes a finished run as one StableHLO file that needs only JAX on CPU, GPU and TPU.'
    """
    files = sorted(pathlib.Path(__file__).parent.glob("[!_]*.py"))
    runnable = [f for f in files if '\nif __name__ == "__main__":' in f.read_text(encoding="utf-8")]
    return {file.stem: helptext.first_line(file) for file in runnable}


def text() -> str:
    """Returns one line per command."""
    lines = [
        helptext.entry(f"python -m experiments.{name}", about, 44)
        for name, about in commands().items()
    ]
    return "\n".join([*lines, "", "Each explains its use with --help."])


def main() -> None:
    """Prints the commands."""
    if len(sys.argv) > 1:
        raise ConfigError(
            f"{sys.argv[1]!r}: a command is a module, e.g. python -m experiments.train; give no "
            "argument to list them."
        )
    print(text())


if __name__ == "__main__":
    cli.run(main, words=True)
