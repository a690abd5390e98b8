"""Text of ``--help``, fitted to the width of the terminal."""

from __future__ import annotations

import ast
import inspect
import pathlib
import re
import runpy
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

from absl import flags

from experiments import configs
from experiments.configs.base import Table
from ladder_jax.config import Config

_COLUMN = 26
_HELP = {"-h", "--h", "-help", "--help", "-helpshort", "--helpshort"}


def is_asked_for(words: Sequence[str]) -> bool:
    """Returns whether help is requested.

    Examples:
      >>> is_asked_for(["--seeds=3", "--help"])
      True
    """
    return not _HELP.isdisjoint(words)


def first_line(path: pathlib.Path) -> str:
    """Returns the first line of a module's docstring, without importing the module."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    return (text or "").partition("\n")[0]


def _width() -> int:
    """Returns the width of help texts: the terminal's, from 40 to 100 columns."""
    return max(40, min(100, shutil.get_terminal_size((100, 24)).columns))


def entry(name: str, text: str, column: int = _COLUMN) -> str:
    """Lays out a name and its text, in a second column, or from the next line for a long name.

    Args:
      name: the name, at the left.
      text: its text, of any length.
      column: position where the text begins, at most half the width.
    """
    width = _width()
    column = min(column, width // 2)
    lines = textwrap.wrap(text, width - column, break_on_hyphens=False) or [""]
    if len(name) + 4 > column:
        lines.insert(0, "")
    first, *rest = lines
    return "\n".join([f"  {name:<{column - 2}}{first}".rstrip(), *(" " * column + r for r in rest)])


def _command_lines(line: str) -> str:
    """Breaks a command in a docstring, if too long, into lines that a shell accepts."""
    command, _, about = line.strip().partition("  ")
    pieces = textwrap.wrap(command, _width() - 4, break_long_words=False, break_on_hyphens=False)
    if len(line) <= _width():
        return line
    remark = [f"    # {about.strip()}"] if about else []
    return "\n".join([*remark, "  " + " \\\n    ".join(pieces)])


def fitted(text: str) -> str:
    """Fits a docstring to the terminal's width: fills prose and keeps commands on lines.

    Examples:
      >>> print(fitted("Trains.\\n\\nFirst\\nsecond.\\n\\n  python -m x"))
      Trains.
      <BLANKLINE>
      First second.
      <BLANKLINE>
        python -m x
    """
    blocks = []
    for block in text.strip().split("\n\n"):
        lines = block.splitlines()
        if any(line.startswith((" ", "python ")) for line in lines):
            blocks.append("\n".join(map(_command_lines, lines)))
        else:
            blocks.append(textwrap.fill(" ".join(lines), _width(), break_on_hyphens=False))
    return "\n\n".join(blocks)


def _flag_help(flag: flags.Flag[Any]) -> str:
    """Describes a flag and its default."""
    name = f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}"
    text = str(flag.help).partition(";\n")[0]  # absl appends a note to repeatable flags
    default = ", ".join(map(str, flag.default)) if isinstance(flag.default, list) else flag.default
    if flag.boolean:
        default = "on" if flag.default else "off"
    if default not in (None, "", 0):
        text += f" Default: {default}."
    return entry(name, text)


def setting_texts() -> dict[str, str]:
    """Returns a description of each setting of a config, from the docstring of ``Config``.

    Examples:
      >>> setting_texts()["batch_unlabeled"]
      'unlabelled rows per step.'
    """
    attributes = inspect.cleandoc(Config.__doc__ or "").partition("Attributes:\n")[2]
    pairs = re.findall(r"^  (\w+): (.*(?:\n   .*)*)", attributes, re.MULTILINE)
    return {name: " ".join(text.split()).replace("``", "") for name, text in pairs}


def of_configs(shown: pathlib.Path) -> str:
    """Returns the help on configs, their rows and the settings, with a line for each.

    Args:
      shown: config file whose values are shown.
    """
    values = runpy.run_path(str(shown))["get_config"]().to_dict()
    lines = []
    for name in configs.names():
        lines.append(entry(name, first_line(configs.FOLDER / f"{name}.py")))
        table: Table = getattr(configs.module(name), "TABLE", {})
        for model, row in table.items():
            lines.append(entry(f"  model={model}", f"labels={', '.join(row)}", 34))
    settings = [
        entry(f"--config.{name}", f"{text} [{values[name]!r}]", 36)
        for name, text in setting_texts().items()
    ]
    return "\n".join(
        [
            *("Configs, --config=NAME or NAME:labels=LABELS,model=MODEL:", *lines, ""),
            *(f"Settings, --config.NAME=VALUE, in brackets what {shown.stem} has:", *settings),
        ]
    )


def listed(shared: Sequence[flags.FlagHolder[Any]]) -> list[str]:
    """Returns the names of the command's flags: its own, in order of definition, and shared ones.

    Args:
      shared: flags of the command that other modules define.
    """
    in_command = flags.FLAGS.flags_by_module_id_dict().get(id(sys.modules["__main__"]), [])
    return [*(flag.name for flag in in_command), *(holder.name for holder in shared)]


def of_command(listed: Sequence[str], configs: str | None = None) -> str:
    """Returns the help on the command, its flags, and the configs if it takes any.

    Args:
      listed: names of the command's flags.
      configs: help on the configs, from ``of_configs``.
    """
    parts = [fitted(sys.modules["__main__"].__doc__ or "")]
    parts += ["\n".join(_flag_help(flags.FLAGS[name]) for name in listed)] if listed else []
    parts += [configs] if configs else []
    parts += ["--helpfull lists the flags of all libraries too."] if listed else []
    return "\n\n".join(parts)
