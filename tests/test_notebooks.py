"""The notebooks run to the end, and Colab opens the code that runs here."""

import importlib.metadata
import importlib.util
import json
import pathlib
import re
import runpy
import subprocess

import jax
import pytest

from experiments.configs import mnist
from ladder_jax import data
from ladder_jax.config import Config

ROOT = pathlib.Path(__file__).parent.parent
BUILD = runpy.run_path(str(ROOT / "notebooks" / "build.py"))
NOTEBOOKS = BUILD["SOURCES"]
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@each_notebook
def test_notebook_runs(path, monkeypatch):
    monkeypatch.setenv("LADDER_NOTEBOOK_EPOCHS", "2")
    monkeypatch.setenv("MPLBACKEND", "agg")
    runpy.run_path(str(path), run_name="__main__")


@each_notebook
def test_notebook_matches_its_source(path):
    """``python notebooks/build.py`` rewrites the notebook."""
    text = path.with_suffix(".ipynb").read_text()
    assert text == BUILD["notebook"](path)
    cells = json.loads(text)["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells) > 5
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    script = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE)
    assert code.split() == script.split()


@each_notebook
def test_pages_link_to_colab(path):
    owner = BUILD["REPOSITORY"]
    address = f"github/{owner}/blob/main/notebooks/{path.stem}.ipynb)"
    for page in ("README.md", "docs/index.md"):
        text = (ROOT / page).read_text()
        assert f"(https://colab.research.google.com/{address}" in text
        assert text == BUILD["addressed"](text)
    assert f"git+https://github.com/{owner}.git" in path.read_text()


def test_accelerators_train_the_ladder_of_the_paper(monkeypatch):
    """Runs the cells before training as on a TPU, without the download."""
    requested = []
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(data, "prepare", lambda name, folder: requested.append(name))
    (path,) = (path for path in NOTEBOOKS if path.stem == "colab_tpu")
    names = {}
    exec(path.read_text().partition("# ## Training")[0], names)
    expected = mnist.get_config("labels=100").to_dict()
    assert set(expected["combinators"]) == set(names["config"].combinators)  # one for all levels
    expected |= {name: getattr(names["config"], name) for name in ("data_dir", "combinators")}
    assert requested == ["mnist"]
    assert Config(**expected) == names["config"]
    assert [member.seed for member in names["members"].values()] == list(range(8))


def test_addresses_point_to_the_repository():
    text = "colab.x/github/ada/ladder_jax/blob github.com/ada/ladder_jax.git github.com/ada/other"
    addressed = BUILD["addressed"](text).replace(BUILD["REPOSITORY"], "HERE")
    assert addressed == "colab.x/github/HERE/blob github.com/HERE.git github.com/ada/other"


@each_notebook
@pytest.mark.parametrize("missing", [True, False])
def test_install_cell_keeps_installed_packages(path, missing, monkeypatch):
    calls = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if missing else object())
    monkeypatch.setattr(subprocess, "run", lambda command, check: calls.append(command))
    cells = json.loads(path.with_suffix(".ipynb").read_text())["cells"]
    exec("".join(next(cell for cell in cells if cell["cell_type"] == "code")["source"]), {})
    assert len(calls) == missing
    pinned = [f"{name}=={importlib.metadata.version(name)}" for name in ("jax", "jaxlib", "numpy")]
    for command in calls:
        assert "-m pip install" in " ".join(command) and set(pinned) <= set(command)
        assert not {"-U", "--upgrade", "-c", "--force-reinstall"} & set(command)
