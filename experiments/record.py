"""Records of runs: one JSON file per run, and the tables generated from these files only."""

from __future__ import annotations

import io
import pathlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from experiments import cli, relative_time
from experiments.configs import RENAMED, mnist
from experiments.published import LABELS, PERMUTATION_INVARIANT
from experiments.tables import FASHION_EPOCHS, TABLES, Row
from ladder_jax.report.figures import error_over_labels
from ladder_jax.report.measures import Spread, over_seeds
from ladder_jax.run import files

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Run = dict[str, Any]

_NEEDED = ("row", "labels", "seed", "test_error", "split", "config")
"""Entries of a run that the tables need."""
OURS = ("full", *mnist.OURS)
"""Rows of MNIST that are compared with published errors."""
HEADING = f"""# Results

Made by `python -m experiments.reproduce` from the files in `experiments/results/`, one per run,
each with its config, labelled rows, versions, device, wall time and commit; `--check` compares.
Test error in percent. Nothing was chosen on test data: the paper's rows have the paper's settings;
"tuned" is our recipe, chosen on 10,000 training images held out (`experiments/TRIED.md`), in the
files of earlier runs called "own", "quick" a short form of it, in 11,000 updates (13,000 with 20
labels) with more noise and cost at the input, and "wide" our recipe for a net of twice the width.
The nets of fashion_mnist have MNIST's settings but {FASHION_EPOCHS} epochs instead of 150, to cost
less; "tuned" and "tuned_baseline" have settings chosen there on 10,000 training images held out.
Those of cifar10_small are the paper's Conv-Small with half the channels, for 5000 updates; the cost
of "gamma" was chosen on 4000 training images held out, its noise is the paper's. Of textured_digits
the error is 100 minus the mean IoU, labels are images that have a mask, and costs and updates were
chosen on 400 training images held out. "published" is the paper's own figure (Rasmus et al. 2015).
Wall time, in minutes, is that of the program that trained a run on the device named in its file; a
GPU may train several seeds in one program, and machines are shared: compare what follows instead.
Operations, in 10^12, are those of all steps of a run as the compiler counts them, in brackets their
ratio to those of the supervised net with as many labels. "time" is the same ratio of times, from
the step times of `python -m benchmarks.rows`, all taking turns on one machine and in float32.
"products" is the type of a run's matrix products, which `--compute_dtype` sets for the machine at
hand; they add up in float32 always.

To fill a row: `python -m experiments.reproduce --table=TABLE --rows=ROW --labels=LABELS --seeds=N`.
"""


def name_of(folder: pathlib.Path, row: Row, seed: int, ending: str = "") -> str:
    """Returns the name of a run's file or folder, with the row's former name if that exists."""
    former = (former for former, current in RENAMED.items() if current == row.row)
    names = [f"{name}-{row.labels}-{seed}{ending}" for name in (*former, row.row)]
    return next((name for name in names if (folder / name).exists()), names[-1])


def file_of(results: pathlib.Path, table: str, row: Row, seed: int) -> pathlib.Path:
    """Returns the path of a run's file.

    Examples:
      >>> file_of(pathlib.Path("results"), "mnist", TABLES["mnist"][4], 3).as_posix()
      'results/mnist/full-100-3.json'
    """
    return results / table / name_of(results / table, row, seed, ".json")


def read(results: pathlib.Path, table: str) -> list[Run]:
    """Reads all runs of a table in the order of their seeds, with current row names."""
    # A hidden file is what a crash left of one that was being written.
    paths = (results / table).glob("[!.]*.json")
    runs = [cli.read_json(path, _NEEDED) for path in paths]
    runs = [run | {"row": RENAMED.get(run["row"], run["row"])} for run in runs]
    return sorted(runs, key=lambda run: run["seed"])


def of_row(runs: Iterable[Run], row: Row) -> list[Run]:
    """Returns the runs of one row."""
    return [run for run in runs if (run["row"], str(run["labels"])) == (row.row, row.labels)]


def _mean(runs: list[Run], name: str) -> float | None:
    """Averages an entry over the runs that have it; None if none has."""
    values = [run[name] for run in runs if run.get(name) is not None]
    return over_seeds(values).mean if values else None


def _operations(runs: list[Run], supervised: list[Run]) -> str:
    """Formats the operations of a run, in 10^12, and their ratio to the supervised net's."""
    counts, supervised_counts = (
        [run["operations"] * run["steps"] for run in group if run.get("operations")]
        for group in (runs, supervised)
    )
    if not counts:
        return ""
    count = over_seeds(counts).mean
    ratio = f" ({count / over_seeds(supervised_counts).mean:.1f})" if supervised_counts else ""
    return f"{count / 1e12:.0f} T{ratio}"


def _products(runs: list[Run]) -> str:
    """Lists the dtypes of the matrix products; empty for a baseline, which has none."""
    dtypes = {run["config"]["compute_dtype"] for run in runs if run.get("operations")}
    return ", ".join(sorted(dtypes))


def _markdown_row(cells: list[str]) -> str:
    """Formats a row of a Markdown table."""
    return " | ".join(["", *cells, ""]).strip().replace("|  |", "| |").replace("|  |", "| |")


def line(row: Row, runs: list[Run], supervised: list[Run], time: float | None = None) -> str:
    """Formats a row of a table in Markdown.

    Examples:
      >>> run = {"test_error": 1.0, "wall_time": 90.0}
      >>> line(TABLES["mnist"][4], [run, run | {"test_error": 2.0}], [])
      '| full | 100 | 1.50 | 0.71 | 1.50 | 1.00 | 2.00 | 2 | 1.06 ± 0.37 | 1.5 | | | |'
    """
    errors = [run["test_error"] for run in runs]
    spread = over_seeds(errors) if errors else [None] * len(Spread._fields)
    published = "{:.2f} ± {:.2f}".format(*row.published) if row.published else ""
    minutes = _mean(runs, "wall_time")
    cells = [
        row.row,
        row.labels,
        *("" if value is None else f"{value:.2f}" for value in spread),
        str(len(errors)),
        published,
        "" if minutes is None else f"{minutes / 60:.1f}",
        _operations(runs, supervised),
        "" if time is None else f"{time:.1f}",
        _products(runs),
    ]
    return _markdown_row(cells)


def over_labels(table: str, runs: list[Run]) -> dict[str, dict[int, list[float]]]:
    """Groups errors by row name and number of labels; rows with one number are left out."""
    by_row: dict[str, dict[int, list[float]]] = {}
    for row in TABLES[table]:
        for run in of_row(runs, row):
            split = run["split"]  # "all N training examples", or the labelled rows
            labels = int(split.split()[1]) if isinstance(split, str) else len(split)
            by_row.setdefault(row.row, {}).setdefault(labels, []).append(run["test_error"])
    return {name: errors for name, errors in by_row.items() if len(errors) > 1}


def table_text(table: str, runs: list[Run], step_ms: Mapping[str, float]) -> str:
    """Formats a table in Markdown; rows without runs have 0 seeds."""
    names = (
        *("row", "labels", *Spread._fields, "seeds"),
        *("published", "minutes", "operations", "time", "products"),
    )
    separator = "|---|---|" + "--:|" * (len(names) - 3) + "---|"
    lines = [f"## {table}", "", f"| {' | '.join(names)} |", separator]
    for row in TABLES[table]:
        supervised = of_row(runs, row._replace(row="baseline"))
        time = relative_time.time_ratio(row, TABLES[table], step_ms)
        lines.append(line(row, of_row(runs, row), supervised, time))
    if runs:
        alt_text = f"Each dot is the test error of one run of {table}."
        lines += ["", f"![{alt_text}](experiments/results/{table}.svg)"]
    if over_labels(table, runs):
        path = f"experiments/results/{table}_labels.svg"
        lines += ["", f"![The error over the number of labels of {table}.]({path})"]
    return "\n".join(lines) + "\n"


def comparison(runs: list[Run]) -> str:
    """Formats our MNIST errors, with numbers of seeds, beside published ones, in Markdown."""

    def cell(row: str, labels: str) -> str:
        errors = [run["test_error"] for run in of_row(runs, Row(row, labels, ""))]
        return f"{over_seeds(errors).mean_and_sd()} ({len(errors)})" if errors else ""

    lines = [
        "## mnist, beside others",
        "",
        "Published errors of methods that do not use the order of the pixels, in percent by number",
        "of labels, each from the source linked; ours with the number of seeds in brackets.",
        "",
        f"| | {' | '.join(LABELS)} |",
        "|---|" + "--:|" * len(LABELS),
    ]
    rows = [(f"ours: {row}", [cell(row, labels) for labels in LABELS]) for row in OURS]
    rows += [(f"[{p.method}]({p.source})", list(p.errors)) for p in PERMUTATION_INVARIANT]
    lines += [_markdown_row([name, *errors]) for name, errors in rows]
    return "\n".join(lines) + "\n"


def text(results: pathlib.Path) -> str:
    """Returns the complete text of ``RESULTS.md``."""
    step_ms = relative_time.read(results)
    parts = []
    for table in TABLES:
        runs = read(results, table)
        parts.append(table_text(table, runs, step_ms))
        if table == "mnist":
            parts.append(comparison(runs))
    return "\n".join([HEADING, *parts])


def write_svg(svg: bytes, path: pathlib.Path) -> None:
    """Writes a plot with a transparent background, whose lightness dark pages invert."""
    style = b"@media (prefers-color-scheme: dark) {svg {filter: invert(1) hue-rotate(180deg)}}"
    with files.replacing(path) as temporary:
        temporary.write_bytes(svg.replace(b"</style>", b" " + style + b"</style>", 1))


def save_svg(figure: Figure, path: pathlib.Path) -> None:
    """Saves a figure as ``write_svg`` does, with a transparent background."""
    content = io.BytesIO()
    figure.savefig(content, format="svg", transparent=True, metadata={"Date": None})
    write_svg(content.getvalue(), path)


def plot(results: pathlib.Path, table: str, runs: list[Run]) -> None:
    """Plots all seeds of a table with the published means, and the error over the labels."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt
    from matplotlib import ticker

    rows = [row for row in TABLES[table] if of_row(runs, row)]
    with plt.rc_context({"svg.hashsalt": "ladder_jax", "svg.fonttype": "none"}):
        figure, axes = plt.subplots(figsize=(7, 0.6 + 0.45 * len(rows)), layout="constrained")
        for position, row in enumerate(rows):
            errors = [run["test_error"] for run in of_row(runs, row)]
            axes.plot(errors, [position] * len(errors), "o", color="#2266aa", alpha=0.7)
            if row.published:
                axes.plot([row.published[0]] * 2, [position - 0.3, position + 0.3], color="#bb4422")
        axes.set_yticks(range(len(rows)), [f"{row.row}, {row.labels}" for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(ticker.NullLocator())
        legend = "; line: the published mean" if any(row.published for row in rows) else ""
        axes.set_xlabel(f"test error in %: one dot per seed{legend}")
        save_svg(figure, results / f"{table}.svg")
        plt.close(figure)
    if errors_by_row := over_labels(table, runs):
        picture = error_over_labels(errors_by_row, "test", f"{table}_labels")
        write_svg(picture.content, results / f"{picture.name}.svg")
