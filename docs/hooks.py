"""MkDocs hooks that build pages from the checkout: API, combinators, results, equations."""

from __future__ import annotations

import ast
import functools
import html
import inspect
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / "ladder_jax"


def public_modules() -> Iterator[tuple[str, pathlib.Path]]:
    """Yields name and file of each documented top-level module.

    Names with a leading underscore and packages that export nothing are left out.
    """
    for path in sorted(PACKAGE.iterdir()):
        source = path / "__init__.py" if path.is_dir() else path
        if path.name.startswith("_") or source.suffix != ".py" or not source.exists():
            continue
        if path.is_file() or "__all__" in source.read_text(encoding="utf-8"):
            yield path.stem, source


def api_page(name: str, source: pathlib.Path) -> str:
    """Returns the Markdown of a module's page."""
    path = source.relative_to(ROOT)
    return (
        f"::: ladder_jax.{name}\n    options:\n      heading_level: 1\n\n"
        f"The source is in [`{path}`](source/{path.with_suffix('.md')}).\n"
    )


def api_index() -> str:
    """Returns the Markdown of the page that lists the modules."""
    rows = []
    for name, source in public_modules():
        summary = (
            ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
        ).partition("\n")[0]
        rows.append(f"| [`{name}`]({name}.md) | {summary.replace('|', '&#124;')} |")
    return "\n".join(
        [
            "# API",
            "",
            "One page per module of `ladder_jax`.",
            "",
            "| module | holds |",
            "|---|---|",
            *rows,
        ]
    )


def source_page(source: pathlib.Path) -> str:
    """Returns the Markdown of a page that shows a file with numbered lines."""
    path = source.relative_to(ROOT)
    return (
        f"---\ntitle: {path}\nsearch:\n  exclude: true\nhide: [toc]\n---\n\n# `{path}`\n\n"
        f'~~~~~~ {{ .python linenums="1" }}\n{source.read_text(encoding="utf-8")}~~~~~~\n'
    )


def generated_pages() -> Iterator[tuple[str, str]]:
    """Yields path and Markdown of each page that is not a file of this folder."""
    yield "api/index.md", api_index()
    for name, source in public_modules():
        yield f"api/{name}.md", api_page(name, source)
    for source in sorted(PACKAGE.rglob("*.py")):
        yield f"api/source/{source.relative_to(ROOT).with_suffix('.md')}", source_page(source)
    results = (ROOT / "RESULTS.md").read_text(encoding="utf-8").replace("](experiments/", "](")
    yield "results.md", f"---\nhide: [toc]\n---\n\n{results}"


def tex(formula: str) -> str:
    r"""Returns a formula of a docstring as TeX.

    Examples:
      >>> tex("z_hat = a1 + w10_lat mu(u)")
      '\\hat z = a_{1} + w_{10}^\\mathrm{lat}\\, \\mu(u)'
    """

    def symbol(match: re.Match[str]) -> str:
        parts = re.fullmatch(r"(\w+?)(\d*)(?:_(?!hat)(\w+))?(_hat)?", match[0])
        assert parts  # the first group matches any name
        letter, digits, kind, hat = parts.groups()
        if letter in ("alpha", "beta", "gamma", "delta", "mu", "nu", "sigma", "tau", "phi"):
            letter = f"\\{letter}"
        elif len(letter) > 1:
            letter = rf"\mathrm{{{letter}}}"
        index = f"_{{{digits}}}" if digits else ""
        above = rf"^\mathrm{{{kind}}}" if kind else ""
        return (r"\hat " if hat else "") + letter + index + above

    spaced = re.sub(r"(?<=[\w)]) (?=\w*[(\[])", r"\, ", formula)  # before a function
    return re.sub(r"[A-Za-z]\w*", symbol, spaced)


def combinator_section(name: str, make: Callable[..., Any], others: list[str]) -> str:
    """Returns the Markdown of a combinator: its docstring and, if one exists, its plot.

    Args:
      name: its name in ``COMBINATORS``.
      make: the function of that name.
      others: its further names, which stand for other arguments.
    """
    signature = inspect.signature(make)
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    call = signature.replace(parameters=bare, return_annotation=signature.empty)
    doc = re.split(r"\n\n\w+:\n", inspect.getdoc(make) or "", maxsplit=1)[0]
    # "Makes z_hat = formula: about." or "Makes something."
    doc = re.sub(r"^Makes (z_hat = [^:\n]+?)(: .+)?\.\n*", r"Makes \2.\n\n    \1\n\n", doc + "\n")
    summary, *paragraphs = doc.removeprefix("Makes ").removeprefix(": ").strip("\n").split("\n\n")
    summary = summary.rstrip(".")
    summary = f" {summary[0].upper()}{summary[1:]}." if summary else ""
    lines = [f"## {name}", f"`combinators.{name}{call}`.{summary}"]
    for paragraph in paragraphs:
        if paragraph.startswith("    "):
            lines += [f"$$\n{tex(line.strip())}\n$$" for line in paragraph.split("\n")]
        else:
            equations = r"\b\w+(?: = \w+(?: / \d+)?)+"
            text = re.sub(equations, lambda match: f"${tex(match[0])}$", paragraph)
            lines.append(re.sub("::$", ":", text))
    if others:
        lines.append("Also by name: " + ", ".join(f"`{other}`" for other in others) + ".")
    if (ROOT / "docs" / "combinators" / f"{name}.svg").exists():
        lines.append(
            f"![The lines show the estimate of {name} over z for five signals u from above, on "
            f"the left at the start and on the right after training.](combinators/{name}.svg)"
        )
    return "\n\n".join(lines)


def combinator_sections() -> str:
    """Returns the Markdown of every registered combinator."""
    from ladder_jax.combinators import COMBINATORS

    sections = []
    for name, make in COMBINATORS.items():
        if not isinstance(make, functools.partial):
            others = [n for n, m in COMBINATORS.items() if getattr(m, "func", None) is make]
            sections.append(combinator_section(name, make, others))
    return "\n\n".join(sections)


def on_page_markdown(markdown: str, page: Page, **kwargs: Any) -> str:
    """Appends the combinators to their page."""
    is_combinators = page.file.src_uri == "combinators.md"
    return f"{markdown}\n\n{combinator_sections()}\n" if is_combinators else markdown


def on_config(config: MkDocsConfig) -> None:
    """Adds the modules to the navigation, below "API"."""
    assert config.nav is not None
    section = next(item["API"] for item in config.nav if "API" in item)
    section.extend({name: f"api/{name}.md"} for name, _ in public_modules())


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Adds the generated pages and the plots of results to the files of this folder."""
    for path, text in generated_pages():
        files.append(File.generated(config, path, content=text))
    for plot in sorted((ROOT / "experiments" / "results").glob("*.svg")):
        files.append(File.generated(config, f"results/{plot.name}", abs_src_path=str(plot)))


def equation(match: re.Match[str]) -> str:
    r"""Converts an equation between ``\(`` and ``\)`` or ``\[`` and ``\]`` to MathML."""
    display = "block" if match["open"] == "[" else "inline"
    mathml: str = convert(html.unescape(match["tex"]).strip(), display=display)
    # The converter's tildes are not accents and float too high; its hats stretch.
    mathml = re.sub(r"<mover>(?=<mi>\w</mi><mo [^>]*>&#x0007E;)", '<mover accent="true">', mathml)
    return mathml.replace("<mo>&#x0005E;", '<mo stretchy="false">&#x0005E;')


def on_page_content(html: str, **kwargs: Any) -> str:
    """Typesets equations and puts the description of each picture below it."""
    math = r'<(?P<tag>span|div) class="arithmatex">\\(?P<open>[(\[])(?P<tex>.*?)\\[)\]]</(?P=tag)>'
    html = re.sub(math, equation, html, flags=re.DOTALL)
    picture = r'<p>(<img alt="([^"]+)"[^>]*>)</p>'
    return re.sub(picture, r"<figure>\1<figcaption>\2</figcaption></figure>", html)
