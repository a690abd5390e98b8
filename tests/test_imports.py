"""Imports point down only, and the core stays light."""

import ast
import pathlib
import subprocess
import sys
import tomllib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
FLOORS = [
    {"types"},
    {"_checks", "normalization", "activations", "layers", "combinators", "consistency"},
    {"algorithm"},
    {"adversarial", "data", "denoising", "flax_modules", "forks"}
    | {"parallel", "presets", "schedules", "training", "transforms"},
    {"config", "labels", "streaming"},
    {"build", "files", "guard", "interrupts", "packing"},
    {"bucket_checkpoints", "stored", "tasks", "workfolder"},
    {"checkpoints", "crew", "evaluation", "metrics_log"},
    {"epochs", "predictor"},
    {"outcome"},
    {"loop"},
    {"exporting", "fitting", "population", "report"},
    {"estimator"},
]
CORE = set().union(*FLOORS[:3])
CORE_PACKAGES = {"jax", "flax", "chex", "optax", "numpy", "ladder_jax"}
SOURCES = sorted((ROOT / "ladder_jax").rglob("*.py"))


def module_of(path):
    """The first part below ladder_jax; data is one module to the outside."""
    return path.relative_to(ROOT / "ladder_jax").parts[0].removesuffix(".py")


def imports(path):
    """The modules that a file imports, as (package, module of ladder_jax or None)."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, *rest = name.split(".")
            yield package, rest[0] if package == "ladder_jax" and rest else None


def floor_of(module):
    found = [i for i, floor in enumerate(FLOORS) if module in floor]
    assert found, f"ladder_jax/{module}.py stands on no floor: add it to FLOORS"
    return found[0]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path):
    module = module_of(path)
    if module == "__init__":
        return
    for package, other in imports(path):
        assert package not in ("experiments", "benchmarks", "tests")
        if other is not None and other != module:
            below = floor_of(other) < floor_of(module)
            same = floor_of(other) == floor_of(module) == 1  # parts may use parts
            assert below or same, f"{module} imports {other}"


@pytest.mark.parametrize("path", [p for p in SOURCES if module_of(p) in CORE], ids=lambda p: p.stem)
def test_core_imports_little(path):
    packages = {package for package, _ in imports(path)} - set(sys.stdlib_module_names)
    assert packages <= CORE_PACKAGES


def test_data_takes_no_jax():
    for path in (ROOT / "ladder_jax" / "data").rglob("*.py"):
        assert not {"jax", "flax", "optax"} & {package for package, _ in imports(path)}, path


def test_import_loads_no_data_library():
    heavy = ["sklearn", "tensorflow", "tensorflow_datasets", "tqdm", "ml_collections"]
    heavy += ["matplotlib", "jinja2", "tensorboardX"]
    lines = f"import sys, ladder_jax.report; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_data_files_are_in_the_wheel():
    """Those that pyproject.toml names; there is no other way in."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    named = set()
    for package, patterns in tools["setuptools"]["package-data"].items():
        folder = ROOT.joinpath(*package.split("."))
        found = [set(folder.glob(pattern)) for pattern in patterns]
        assert all(found), package
        named.update(*found)
    files = {path for path in (ROOT / "ladder_jax").rglob("*") if path.is_file()}
    others = {p for p in files if p.suffix not in (".py", ".pyc")}
    assert others == named and tools["setuptools"]["include-package-data"] is False
