"""``write``: the report of one run."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable
from typing import Any

from ladder_jax import data, files, workfolder
from ladder_jax.predictor import find_run
from ladder_jax.report import sections
from ladder_jax.report.events import write_events
from ladder_jax.report.figures import SIGNALS
from ladder_jax.report.findings import find, noisy_pass
from ladder_jax.workfolder import REPORT


def _time(seconds: float) -> str:
    return f"{seconds:.1f}\N{NO-BREAK SPACE}s" if seconds < 120 else f"{seconds / 60:.1f} min"


def _plain(value: Any) -> str:
    """A setting without the brackets of a list."""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


_FILTERS: dict[str, Callable[..., str]] = {
    "error": "{:.2f}\N{NO-BREAK SPACE}%".format,
    "interval": "{0[0]:.2f} to {0[1]:.2f}\N{NO-BREAK SPACE}%".format,
    "number": "{:.4g}".format,
    "plain": _plain,
    "probability": "{:.1f}\N{NO-BREAK SPACE}%".format,
    "time": _time,
}


def write_page(path: pathlib.Path, template: str, content: dict[str, Any]) -> pathlib.Path:
    """Writes a page of HTML, put in place whole; all that is filled in is escaped.

    Args:
      path: of the page.
      template: a file in ``templates``.
      content: what is filled in, by name.

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
    text = environment.get_template(template).render(content)
    with files.replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def write(workdir: str | os.PathLike[str], dataset: data.Dataset | None = None) -> pathlib.Path:
    """Writes ``report.html`` and the events for TensorBoard into a finished run's folder.

    All that the page shows is within it. It is made of the folder's files and the
    data, so that it can be made again at any time.

    Args:
      workdir: as for ``predictor.find_run``.
      dataset: what the run was trained on, instead of what its config names.

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
    content = {
        "config": findings.config,
        "summary": findings.summary,
        "dataset": dataset.name,
        "name": findings.name,
        "scores": sections.scores(findings),
        "curves": sections.curves(findings),
        "confusion": sections.confusion_matrix(findings),
        "mistakes": sections.mistakes(findings),
        "noisy": noisy,
        "denoised": sections.denoised(findings, noisy),
        "combinations": sections.combinations(findings, noisy),
        "signals": SIGNALS,
        "map": sections.feature_map(findings),
        "levels": sections.levels(findings),
        "settings": sections.settings(findings.config),
    }
    write_events(folder, findings.lines)
    return write_page(folder / REPORT, "run.html", content)
