"""Imports go one way only, and the core imports little."""

import ast
import pathlib
import subprocess
import sys
import tomllib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
ORDER = [
    *("errors", "types", "_checks", "_noise", "normalization", "activations", "_convolution"),
    *("_products", "_streams", "layers", "combinators", "targets", "algorithm", "adversarial"),
    *("presets", "flax_modules", "augmentations", "data", "parallel", "training", "transforms"),
    *("config", "run.multiprocess", "run.signals", "run.files", "run.compilation_cache"),
    *("run.workfolder", "run.inputs", "run.nan_search", "run.evaluation", "run.program"),
    *("run.precision", "checkpoints", "loop", "population", "predictor", "exporting", "report"),
    "estimators",
]
"""Modules, each of which imports only earlier ones; ``data`` and ``report`` count as one each."""
CORE = ORDER[: ORDER.index("algorithm") + 1]
CORE_PACKAGES = {"jax", "flax", "optax", "numpy", "ladder_jax"}
SOURCES = sorted((ROOT / "ladder_jax").rglob("*.py"))


def module_name(words):
    """Returns a module's name within ladder_jax; data and report count as one module each."""
    return ".".join(words[: 2 if words[0] == "run" else 1]) if words else ""


def module_of(path):
    """Returns the name of a file's module within ladder_jax."""
    return module_name(path.relative_to(ROOT / "ladder_jax").with_suffix("").parts)


def imports(path):
    """Yields the imports of a file as pairs (package, module of ladder_jax or "")."""
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
            yield package, module_name(rest) if package == "ladder_jax" else ""


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path):
    module = module_of(path)
    if module.endswith("__init__"):
        return
    assert module in ORDER, f"add {module} to ORDER"
    for package, other in imports(path):
        assert package not in ("experiments", "benchmarks", "tests")
        if other and other != module:
            assert other in ORDER[: ORDER.index(module)], f"{module} imports {other}"


@pytest.mark.parametrize("path", [p for p in SOURCES if module_of(p) in CORE], ids=lambda p: p.stem)
def test_core_imports_little(path):
    packages = {package for package, _ in imports(path)} - set(sys.stdlib_module_names)
    assert packages <= CORE_PACKAGES


def test_data_imports_no_jax():
    for path in (ROOT / "ladder_jax" / "data").rglob("*.py"):
        assert not {"jax", "flax", "optax"} & {package for package, _ in imports(path)}, path


@pytest.mark.parametrize(
    "modules, light",
    [
        (["ladder_jax.report"], ["tqdm", "ml_collections", "jinja2"]),
        # These start as fast as they can; importing scikit-learn alone takes a second.
        ([f"experiments.{name}" for name in ("train", "sweep", "predict", "evaluate")], []),
    ],
    ids=["the library", "commands"],
)
def test_import_loads_no_data_library(modules, light):
    heavy = ["sklearn", "scipy.stats", "tensorflow", "tensorflow_datasets", "matplotlib"]
    heavy += ["orbax.checkpoint", "tensorboardX", *light]
    lines = f"import sys, {', '.join(modules)}; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_exist_and_hide_no_module():
    lines = """
import sys, ladder_jax
light = "ladder_jax.estimators" not in sys.modules and "sklearn" not in sys.modules
found = {name: getattr(ladder_jax, name) for name in ladder_jax.__all__}
import importlib, importlib.util, types
hidden = [name for name, value in found.items() if not isinstance(value, types.ModuleType)
          and importlib.util.find_spec("ladder_jax." + name)]
print(light, hidden, set(found) <= set(dir(ladder_jax)), hasattr(ladder_jax, "nothing"))
"""
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "True [] True False"


def test_data_files_are_in_the_wheel():
    """Files enter the wheel only if pyproject.toml names them."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    declared = set()
    for package, patterns in tools["setuptools"]["package-data"].items():
        folder = ROOT.joinpath(*package.split("."))
        matches = [set(folder.glob(pattern)) for pattern in patterns]
        assert all(matches), package
        declared.update(*matches)
    files = {path for path in (ROOT / "ladder_jax").rglob("*") if path.is_file()}
    others = {p for p in files if p.suffix not in (".py", ".pyc")}
    assert others == declared and tools["setuptools"]["include-package-data"] is False
