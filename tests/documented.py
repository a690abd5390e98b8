"""Shell commands in the README, the documentation and the commands' help."""

import ast
import pathlib
import re
import shlex
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "BUILD.md", *sorted((ROOT / "docs").glob("*.md"))]
MODULES = [
    path
    for folder in ("experiments", "experiments/configs", "benchmarks")
    for path in sorted((ROOT / folder).glob("*.py"))
]
_BEGINS = re.compile(r"([A-Z_]+=\S+ )*(python|pip|git|tensorboard|ruff|mypy|mkdocs) ")


class Command(NamedTuple):
    """A command as written, and the file that contains it."""

    place: str
    text: str

    @property
    def environment(self):
        return dict(word.split("=", 1) for word in self._words[: self._first])

    @property
    def words(self):
        """The program and its arguments."""
        return self._words[self._first :]

    @property
    def module(self):
        """The module of this project that the command runs, or None."""
        python, option, name = [*self.words, "", ""][:3]
        is_ours = option == "-m" and name.split(".")[0] in ("experiments", "benchmarks")
        return name if python == "python" and is_ours else None

    @property
    def _words(self):
        return shlex.split(self.text, comments=True)

    @property
    def _first(self):
        return next(i for i, word in enumerate(self._words) if not re.match(r"[A-Z_]+=", word))


def _in_lines(text):
    """Yields commands on lines of their own; text after two spaces is a remark."""
    joined = re.sub(r" *\\\n *", " ", text)
    for line in joined.splitlines():
        line = re.split(r" {2,}", line.strip())[0]
        found = [part.strip() for part in line.split(" && ")]
        yield from (part for part in found if _BEGINS.match(f"{part} "))


def _in_page(path):
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    indented = "".join(re.findall(r"^ {4}.*\n", text, re.MULTILINE))
    quoted = re.findall(r"`([^`\n]+)`", re.sub(r"^ {4}.*\n", "", text, flags=re.MULTILINE))
    # Within a sentence, a command may be abbreviated.
    complete = [part for part in quoted if _BEGINS.match(f"{part} ") and part[-1] not in ".="]
    return [*_in_lines(indented), *complete]


def commands():
    """Returns all commands, each once per file."""
    found = [(path, text) for path in PAGES for text in _in_page(path)]
    for path in MODULES:
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        found += [(path, text) for text in _in_lines(docstring)]
    return [Command(str(path.relative_to(ROOT)), text) for path, text in dict.fromkeys(found)]
