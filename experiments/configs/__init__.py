"""Experiments that ``--config`` names: one file per data set or kind of table.

A file may define a ``TABLE`` with one row per model and number of labels;
``FILE:labels=LABELS,model=MODEL`` names a row.
"""

from __future__ import annotations

import importlib
import pathlib
import re
from types import ModuleType

from ladder_jax.config import Config
from ladder_jax.errors import ConfigError

FOLDER = pathlib.Path(__file__).parent
RENAMED = {"own": "tuned"}
"""Current names of models and rows, by their former names."""


def names() -> list[str]:
    """Returns the names of the config files.

    Examples:
      >>> names()
      ['cifar10', 'digits', 'fashion_mnist', 'mnist', 'table', 'table_numbers', 'textured_digits']
    """
    return sorted(p.stem for p in FOLDER.glob("*.py") if p.stem not in ("__init__", "base"))


def module(name: str) -> ModuleType:
    """Imports a config file by its name."""
    return importlib.import_module(f"{__name__}.{name}")


def current(name: str) -> str:
    """Returns a config's current name; rows used to be files of their own.

    Examples:
      >>> current("mnist_100"), current("mnist_all_own"), current("runs/mine.py")
      ('mnist:labels=100,model=full', 'mnist:labels=all,model=tuned', 'runs/mine.py')
    """
    row = re.fullmatch(r"([a-z_]+\d*)_(\d+|all)(?:_(\w+))?", name)
    if row is None or not hasattr(module(row[1]) if row[1] in names() else None, "TABLE"):
        return name
    model = row[3] or "full"
    return f"{row[1]}:labels={row[2]},model={RENAMED.get(model, model)}"


def every() -> list[str]:
    """Returns the names of all configs, with their arguments.

    Examples:
      >>> every()[0], "digits" in every()
      ('cifar10:labels=4000,model=conv_large_gamma', True)
    """
    configs = []
    for name in names():
        table = getattr(module(name), "TABLE", None)
        rows = [(labels, model) for model, row in (table or {}).items() for labels in row]
        configs += [f"{name}:labels={labels},model={model}" for labels, model in rows] or [name]
    return configs


def load(name: str) -> Config:
    """Loads a config by its current or former name.

    Args:
      name: name of the config, with or without arguments, e.g. ``mnist:labels=100,model=gamma``.

    Raises:
      ConfigError: the file, row or argument does not exist.

    Examples:
      >>> load("mnist_100_own") == load("mnist:model=tuned")
      True
    """
    file, _, arguments = current(name).partition(":")
    if file not in names():
        raise ConfigError(f"there is no config {name}; give one of {', '.join(names())}.")
    file_module = module(file)
    if arguments and not hasattr(file_module, "TABLE"):
        raise ConfigError(f"{name}: {file} takes no arguments; leave {arguments} out.")
    values = file_module.get_config(arguments) if arguments else file_module.get_config()
    return Config.create(values.to_dict())
