"""``write``: the report of one run."""

from __future__ import annotations

import functools
import os
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

from ladder_jax import data, files, workfolder
from ladder_jax.predictor import find_run
from ladder_jax.report import sections
from ladder_jax.report.drawing import Picture
from ladder_jax.report.events import write_events
from ladder_jax.report.figures import SIGNALS
from ladder_jax.report.findings import find, noisy_pass
from ladder_jax.report.measures import scores
from ladder_jax.workfolder import FIGURES, REPORT


def _time(seconds: float) -> str:
    return f"{seconds:.1f}\N{NO-BREAK SPACE}s" if seconds < 120 else f"{seconds / 60:.1f} min"


def _number(value: float | None, unit: str = "") -> str:
    """A figure, or a dash for one that is not there."""
    return "\N{EN DASH}" if value is None or value != value else f"{value:.2f}{unit}"


def _plain(value: Any) -> str:
    """A setting without the brackets of a list."""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


_FILTERS: dict[str, Callable[..., str]] = {
    "error": functools.partial(_number, unit="\N{NO-BREAK SPACE}%"),
    "interval": "{0[0]:.2f} to {0[1]:.2f}\N{NO-BREAK SPACE}%".format,
    "number": "{:.4g}".format,
    "percent": _number,
    "plain": _plain,
    "probability": "{:.1f}\N{NO-BREAK SPACE}%".format,
    "time": _time,
}


def write_page(
    path: pathlib.Path, template: str, content: dict[str, Any], pictures: Iterable[Picture]
) -> pathlib.Path:
    """Writes a page of HTML, put in place whole; all that is filled in is escaped.

    Args:
      path: of the page.
      template: a file in ``templates``.
      content: what is filled in, by name.
      pictures: of the page that are files beside it too, in the folder ``figures``.

    Returns:
      Its path.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ladder_jax.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= _FILTERS
    folder, names = path.parent / FIGURES, []
    with files.writing(folder):
        folder.mkdir(exist_ok=True)
    for picture in pictures:
        names.append(f"{FIGURES}/{picture.name}.svg")
        with files.replacing(path.parent / names[-1]) as temporary:
            temporary.write_bytes(picture.content)
    text = environment.get_template(template).render(content, files=names)
    with files.replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def write(
    workdir: str | os.PathLike[str],
    dataset: data.Dataset | None = None,
    *,
    compared: bool | None = None,
) -> pathlib.Path:
    """Writes ``report.html``, its figures and TensorBoard's events into a finished run's folder.

    All that the page shows is within it; its plots are files in ``figures`` as well. It is
    made of the folder's files and the data, so that it can be made again at any time.

    Args:
      workdir: as for ``predictor.find_run``.
      dataset: what the run was trained on, instead of what its config names.
      compared: whether to link to a page of ``write_comparison`` in the folder above;
        None: if there is one now.

    Returns:
      The path of the page.

    Raises:
      ConfigError: the folder holds no finished run, or one on other data.
      DataError: the data are missing or wrong.
      WriteError: a file cannot be written.
    """
    folder = find_run(workdir)
    if dataset is None:
        config = workfolder.read_config(folder)
        dataset = data.load(config.dataset, config.data_dir, in_memory=config.resident)
    findings = find(folder, dataset)
    noisy = noisy_pass(findings)
    if compared is None:
        compared = (folder.parent / REPORT).exists()
    curves, feature_map = sections.curves(findings), sections.feature_map(findings)
    confusion = [sections.confusion_matrix(findings), sections.reliability(findings)]
    combinations = sections.combinations(findings, noisy)
    names = findings.predictor.class_names
    every = f"all {findings.name} examples"
    content = {
        "config": findings.config,
        "summary": findings.summary,
        "dataset": dataset.name,
        "name": findings.name,
        "comparison": f"../{REPORT}" if compared else None,
        "scores": scores(findings.y, findings.taken_for, names, every),
        "unlabeled": findings.unlabeled,
        "curves": curves,
        "confusion": confusion,
        "mistakes": sections.mistakes(findings),
        "noisy": noisy,
        "denoised": sections.denoised(findings, noisy),
        "combinations": combinations,
        "signals": SIGNALS,
        "map": feature_map,
        "levels": sections.levels(findings),
        "settings": sections.settings(findings.config),
    }
    write_events(folder, findings.lines)
    pictures = [*curves, *confusion, *combinations, *([feature_map] if feature_map else [])]
    return write_page(folder / REPORT, "run.html", content, pictures)
