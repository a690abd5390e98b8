"""Docstrings: first lines begin with a verb, sections have their usual names."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent
SOURCES = [
    path
    for part in ("ladder_jax", "experiments", "benchmarks")
    for path in (ROOT / part).rglob("*.py")
]
SECTIONS = {"Args", "Attributes", "Examples", "Raises", "References", "Returns", "Yields"}


def docstrings(source):
    """Yields name and docstring of each function, and of each class that is not an error."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef) and re.search("Error|Interrupted", node.name):
            continue
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and (text := ast.get_docstring(node)):
            yield node.name, text


def faults(source):
    for name, text in docstrings(source):
        if not re.match(r"[A-Z][a-z]+s\b", text) or re.match("Its|This|Whether", text):
            yield name, text.splitlines()[0]
        for section in re.findall(r"^([A-Z][a-z]+):$", text, re.M):
            if section not in SECTIONS:
                yield name, section


def test_faults_are_found():
    bad = '''
def one():
    """Return one."""
def two():
    """Returns two.

    Example:
      >>> two()
    """
'''
    assert list(faults(bad)) == [("one", "Return one."), ("two", "Example")]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_docstrings(path):
    assert not list(faults(path.read_text(encoding="utf-8")))
