"""Fills the tables of RESULTS.md: trains missing runs, writes one JSON file per run.

  python -m experiments.reproduce --table=mnist --data_dir=FOLDER
  python -m experiments.reproduce --table=mnist --rows=full,gamma --labels=100 --seeds=5 \\
      --data_dir=FOLDER
  python -m experiments.reproduce --check

Finished runs are skipped and stopped ones resume; RESULTS.md is rewritten after each run. On an
accelerator, all seeds of a row are trained as one population, together with those of rows that
differ only in noise, costs or learning rate. --compute_dtype sets the type of
matrix products, to choose the one that is faster on your machine. --check trains nothing: it fails
if RESULTS.md differs from the JSON files.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments import baselines, cli, compare, record
from experiments.configs import RENAMED
from experiments.tables import TABLES, Row
from ladder_jax import data
from ladder_jax.config import Config
from ladder_jax.errors import ConfigError
from ladder_jax.population import common_settings
from ladder_jax.run import files, inputs, signals, workfolder
from ladder_jax.run.program import compile_program

HERE = pathlib.Path(__file__).parent
_TOGETHER = "auto"  # as for ``compare.is_population``

_TABLE = flags.DEFINE_enum("table", "mnist", list(TABLES), "Which table.")
_ROWS = flags.DEFINE_list("rows", [], "Which rows, e.g. full,gamma. Default: all.")
_RESULTS = flags.DEFINE_string("results", str(HERE / "results"), "Folder of the JSON files.")
_PAGE = flags.DEFINE_string("page", str(HERE.parent / "RESULTS.md"), "File of the tables.")
_CHECK = flags.DEFINE_bool("check", False, "Only compare the tables with the JSON files.")


def chosen_rows() -> list[Row]:
    """Returns the rows that the flags select.

    Raises:
      ConfigError: no row matches the flags.
    """
    rows = [RENAMED.get(row, row) for row in _ROWS.value]
    labels = cli.LABELS.value.split(",") if cli.LABELS.value else []
    table = TABLES[_TABLE.value]
    for flag, requested, known in (
        ("rows", rows, {row.row for row in table}),
        ("labels", labels, {row.labels for row in table}),
    ):
        for name in requested:
            if name not in known:
                raise ConfigError(
                    f"--{flag}={name}: not in the table {_TABLE.value}; choose from "
                    f"{', '.join(sorted(known))}."
                )
    chosen = [
        row
        for row in table
        if (not rows or row.row in rows) and (not labels or row.labels in labels)
    ]
    if not chosen:
        raise ConfigError(f"the table {_TABLE.value} has no row {rows} with {labels} labels.")
    return chosen


class Run(NamedTuple):
    """Holds one run of a row."""

    row: Row
    config: Config


def settings(row: Row, seed: int) -> Config:
    """Returns the config of one run, with the flags applied."""
    config = row.settings(seed)
    return dataclasses.replace(
        config, compute_dtype=cli.COMPUTE_DTYPE.value or config.compute_dtype
    )


def operations(config: Config, task: inputs.Task) -> float | None:
    """Counts the operations of one step, whatever device runs it.

    Args:
      config: settings of the run.
      task: data of the run.

    Returns:
      The count; None if JAX has no CPU platform or its compiler does not count.
    """
    program = compile_program(config, task.spec)
    rows = jnp.arange(task.sizes.labeled), jnp.arange(task.sizes.unlabeled)
    state = jax.eval_shape(program.init, jax.random.key(0))
    batch = jax.eval_shape(task.train.batch, *rows)
    try:
        cpu = jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return None
    with jax.default_device(cpu):  # accelerators' compilers do not count
        # In an accelerator's form: on a CPU the gradients of convolutions are loops, which count
        # as one of their turns.
        traced = jax.jit(program.step).trace(state, batch)
        costs = traced.lower(lowering_platforms=("tpu",)).cost_analysis()
    return float(costs["flops"]) if isinstance(costs, dict) and "flops" in costs else None


def mean_operations(config: Config, task: inputs.Task, folder: pathlib.Path) -> float | None:
    """Averages the operations of a step over a finished run.

    With ``spread_labels``, a step may have more labelled rows in later stages.

    Args:
      config: settings of the run.
      task: data of the run.
      folder: folder of the run.

    Returns:
      The mean; None if ``operations`` are not counted.
    """
    begins, sizes = [0], [task.sizes]
    for epoch, _ in config.spread_stages:
        labels = workfolder.read_spread(folder, epoch)
        begins.append(epoch)
        sizes.append(inputs.with_labels(config, task, labels).sizes)
    counts = {size: operations(config, task._replace(sizes=size)) for size in dict.fromkeys(sizes)}
    epochs = np.diff([*begins, config.epochs])
    if any(count is None for count in counts.values()):
        return None
    return float(np.average([counts[size] for size in sizes], weights=epochs))


def described(row: Row, config: Config, dataset: data.Dataset, members: int) -> dict[str, Any]:
    """Returns the entries of a run's JSON file other than its results."""
    labeled, trained_on, _ = inputs.choose_rows(config, dataset)
    all_examples = f"all {len(labeled)} training examples"
    is_fully_labeled = len(labeled) == len(trained_on)
    return {
        "dataset": config.dataset,
        "row": row.row,
        "labels": row.labels,
        "seed": config.seed,
        "split": all_examples if is_fully_labeled else labeled.tolist(),
        "config": {k: v for k, v in workfolder.as_json(config).items() if k != "data_dir"},
        "members": members,
    }


def run_ladders(runs: Sequence[Run], dataset: data.Dataset) -> None:
    """Trains runs, several as one population, and records each."""
    folder = files.as_path(cli.WORKDIR.value or "runs/reproduce") / _TABLE.value
    names = [record.name_of(folder, row, config.seed) for row, config in runs]
    members = {name: run.config for name, run in zip(names, runs, strict=True)}
    compare.train_all(members, folder, "test", dataset, together=_TOGETHER, overwrite=False)
    dtype = workfolder.read_config(folder / names[0]).compute_dtype
    first = dataclasses.replace(runs[0].config, compute_dtype=dtype)
    task = inputs.prepare(first, dataset)
    count = mean_operations(first, task, folder / names[0])  # the same for all runs
    for name, (row, config) in zip(names, runs, strict=True):
        description = described(row, config, dataset, len(runs))
        summary = workfolder.load_summary(folder / name)
        results = {
            "config": description["config"] | {"compute_dtype": dtype},
            "test_error": round(summary["test_error"], 4),
            "steps": summary["steps"],
            "wall_time": summary["seconds"],
            "versions": summary["versions"],
            "commit": summary.get("commit"),
            "operations": count,
        }
        write(row, config.seed, description | results)


def run_baseline(row: Row, config: Config, dataset: data.Dataset) -> None:
    """Evaluates one of scikit-learn's classifiers on the rows that a ladder would get."""
    task, started = inputs.prepare(config, dataset), time.perf_counter()
    error = baselines.baseline_error(row.row, task, "test")
    seconds = time.perf_counter() - started
    run = described(row, config, dataset, 1) | {
        "test_error": round(error, 4),
        "wall_time": round(seconds, 2),
        "versions": workfolder.versions(),
        "commit": workfolder.commit(),
    }
    write(row, config.seed, run)


def _results() -> pathlib.Path:
    return cli.local_path(_RESULTS.value, "--results")


def _page() -> pathlib.Path:
    return cli.local_path(_PAGE.value, "--page")


def write_page() -> None:
    """Writes the tables."""
    with files.replacing(_page()) as path:
        path.write_text(record.text(_results()), encoding="utf-8")


def write(row: Row, seed: int, run: dict[str, Any]) -> None:
    """Writes a run's file and rewrites the tables."""
    results = _results()
    path = record.file_of(results, _TABLE.value, row, seed)
    files.write_json(path, run)
    write_page()
    print(f"{row.row}, {row.labels} labels, seed {seed}: {run['test_error']:.2f} %")


def check() -> None:
    """Exits with status 1 if the page differs from the files."""
    page, wanted = _page(), record.text(_results())
    if not page.exists() or page.read_text(encoding="utf-8") != wanted:
        sys.exit(f"error: {page} is not what {_RESULTS.value} says; see git diff after a run.")
    print(f"{page} agrees with {_RESULTS.value}")


def missing_runs() -> list[list[Run]]:
    """Returns the selected runs that have no file yet, those of one population in one list."""
    results, table = _results(), _TABLE.value
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for row in chosen_rows():
        for seed in cli.seeds():
            if not record.file_of(results, table, row, seed).exists():
                config = settings(row, seed)
                model = row.row if row.row in baselines.BASELINES else "ladder"
                key = (model, *common_settings(config).items())
                groups.setdefault(key, []).append(Run(row, config))
    return list(groups.values())


def main() -> None:
    """Trains every selected run that is not recorded yet."""
    if _CHECK.value:
        check()
        return
    for path in (_results() / _TABLE.value, _page().parent):  # fails now, not in an hour
        with files.writing(path):
            files.make_writable(path)
    for runs in missing_runs():
        row, config = runs[0]
        with signals.at_once():
            data_dir = cli.DATA_DIR.value or config.data_dir
            dataset = data.load(config.dataset, data_dir, in_memory=config.resident)
            if row.row in baselines.BASELINES:
                for run in runs:
                    run_baseline(*run, dataset)
                continue
            members = {str(k): run.config for k, run in enumerate(runs)}
            together = compare.is_population(members, _TOGETHER)
            for group in [runs] if together else [[run] for run in runs]:
                run_ladders(group, dataset)
    results, table = _results(), _TABLE.value
    record.plot(results, table, record.read(results, table))
    write_page()


if __name__ == "__main__":
    about = {
        "labels": "Which numbers of labels, e.g. 100,all. Default: all rows of the table.",
        "compute_dtype": "Precision of matrix products. Default: the row's.",
        "workdir": "Folder of the runs; stopped ones in it resume. Default: runs/reproduce.",
    }
    shared = (cli.DATA_DIR, cli.LABELS, cli.COMPUTE_DTYPE, cli.SEEDS, cli.FIRST_SEED, cli.WORKDIR)
    cli.run(main, shared=shared, about=about)
