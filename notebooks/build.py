"""Writes the notebooks for Colab from their scripts.

  python notebooks/build.py

Each NAME.py of this folder, in the percent format of Jupytext, becomes NAME.ipynb. The
addresses in README, docs and notebooks are set to REPOSITORY.
"""

from __future__ import annotations

import json
import pathlib
import re
from typing import Any

import yaml

REPOSITORY = "OWNER/ladder_jax"
"""Owner and name on GitHub, defined here only."""

ROOT = pathlib.Path(__file__).parent.parent
SOURCES = sorted(path for path in (ROOT / "notebooks").glob("*.py") if path.name != "build.py")


def cell(kind: str, text: str, name: str) -> dict[str, Any]:
    """Returns a cell; the comment marks of Markdown are removed."""
    text = text.strip("\n")
    if kind == "markdown":
        text = re.sub("^# ?", "", text, flags=re.MULTILINE)
    content = {"cell_type": kind, "id": name, "metadata": {}, "source": text.splitlines(True)}
    return content if kind == "markdown" else content | {"execution_count": None, "outputs": []}


def notebook(source: pathlib.Path) -> str:
    """Returns a notebook as JSON, the same for the same text.

    Args:
      source: a script whose cells begin with ``# %%`` or ``# %% [markdown]``, below a header
        with the metadata of the notebook.
    """
    header, *parts = re.split(
        r"^# %%(.*)\n", source.read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    metadata = yaml.safe_load(re.sub("^# ?(---)?", "", header, flags=re.MULTILINE))["jupyter"]
    del metadata["jupytext"]
    cells = [
        cell("markdown" if "[markdown]" in kind else "code", text, f"{source.stem}-{place}")
        for place, (kind, text) in enumerate(zip(parts[::2], parts[1::2], strict=True))
    ]
    content = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def addressed(text: str) -> str:
    """Returns a text with its GitHub addresses set to ``REPOSITORY``."""
    return re.sub(r"(github(?:\.com)?/)[\w-]+/ladder_jax\b", rf"\1{REPOSITORY}", text)


def main() -> None:
    """Writes all notebooks and addresses."""
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *SOURCES]:
        text = addressed(path.read_text(encoding="utf-8"))
        path.write_text(text, encoding="utf-8")
    for source in SOURCES:
        source.with_suffix(".ipynb").write_text(notebook(source), encoding="utf-8")


if __name__ == "__main__":
    main()
