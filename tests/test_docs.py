"""The built documentation: pages, links to the source, equations, no network access."""

import functools
import os
import pathlib
import re
import runpy
import subprocess
import sys

import pytest
from pages import Page

from ladder_jax.combinators import COMBINATORS

pytest.importorskip("mkdocs", reason="the documentation needs the extra docs")
pytest.importorskip("latex2mathml", reason="the documentation needs the extra docs")

ROOT = pathlib.Path(__file__).parent.parent
HOOKS = runpy.run_path(str(ROOT / "docs" / "hooks.py"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, check=True)
    return folder


def own_pages(site):
    return [page for page in site.rglob("*.html") if "example" not in page.parts]


def test_modules_of_the_api(tmp_path, monkeypatch):
    for name in ("ladder.py", "_private.py", "data/__init__.py", "run/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("__all__ = []" if "data" in name else "")
    (tmp_path / "py.typed").touch()
    public = HOOKS["public_modules"]
    assert {"algorithm", "layers", "data", "training"} <= {name for name, _ in public()}
    monkeypatch.setitem(public.__globals__, "PACKAGE", tmp_path)
    assert [name for name, _ in public()] == ["data", "ladder"]


def test_page_per_module(site):
    index = (site / "api" / "index.html").read_text()
    for name, _ in HOOKS["public_modules"]():
        assert f'href="{name}/"' in index
        assert f"ladder_jax.{name}" in (site / "api" / name / "index.html").read_text()
    assert 'id="ladder_jax.layers.dense"' in (site / "api" / "layers" / "index.html").read_text()


def test_source_links_lead_to_definitions(site):
    found = 0
    for page in (site / "api").glob("*/index.html"):
        for link in Page(page).all("a"):
            if link.get("class") == "doc-source":
                path, anchor = link["href"].split("#")
                source = (page.parent / path / "index.html").resolve()
                assert (
                    f'name="{anchor}"' in source.read_text()
                    or f'id="{anchor}"' in source.read_text()
                )
                line = int(anchor.rpartition("-")[2])
                module = source.parent.relative_to(site / "api" / "source").with_suffix(".py")
                assert re.match(
                    r" *(@|class |def )", (ROOT / module).read_text().split("\n")[line - 1]
                )
                found += 1
    assert found > 100


def test_equations_are_typeset(site):
    page = (site / "mathematics" / "index.html").read_text()
    assert (
        page.count("<math ") == (ROOT / "docs" / "mathematics.md").read_text().count("$") // 2 - 1
    )
    for path in own_pages(site):
        text = path.read_text()
        assert 'class="arithmatex"' not in text
        for equation in re.findall(r"<math .*?</math>", text, re.DOTALL):
            assert "\\" not in equation  # an unconverted command


@pytest.mark.parametrize(
    ("tex", "display", "wanted"),
    [
        (r"\(a &lt; b\)", "inline", "<mi>a</mi><mo>&#x0003C;</mo><mi>b</mi>"),
        (r"\[\tilde z\]", "block", '<mover accent="true"><mi>z</mi>'),
        (r"\[\hat z\]", "block", '<mo stretchy="false">&#x0005E;</mo>'),
    ],
)
def test_equation(tex, display, wanted):
    tag = {"inline": "span", "block": "div"}[display]
    found = HOOKS["on_page_content"](f'<{tag} class="arithmatex">{tex}</{tag}>')
    assert wanted in found and f'display="{display}"' in found


def test_combinators_have_sections(site):
    page = Page(site / "combinators" / "index.html")
    text = (site / "combinators" / "index.html").read_text()
    plotted = {plot.stem for plot in (ROOT / "docs" / "combinators").iterdir()}
    for name, make in COMBINATORS.items():
        if isinstance(make, functools.partial):
            assert f"<code>{name}</code>" in text
        else:
            assert name in page.sections
            assert (f'src="{name}.svg"' in text) == (name in plotted)
    assert text.count('display="block"') > len(plotted)


def test_new_combinator_has_a_section(monkeypatch):
    def brand_new(slope=1.0):
        """Makes z_hat = c7_lat s(u) + z: a test.

        Of two lines::

            mu(u) = 2 u

        Start: c7 = 1.

        Examples:
          >>> 1
          1
        """

    monkeypatch.setitem(COMBINATORS, "brand_new", brand_new)
    section = HOOKS["combinator_sections"]().rpartition("## brand_new")[2]
    assert section == (
        "\n\n`combinators.brand_new(slope=1.0)`. A test."
        "\n\n$$\n\\hat z = c_{7}^\\mathrm{lat}\\, s(u) + z\n$$"
        "\n\nOf two lines:\n\n$$\n\\mu(u) = 2 u\n$$\n\nStart: $c_{7} = 1$."
    )


def test_results_page_has_the_figures_of_the_table(site):
    page = Page(site / "results" / "index.html")
    for line in (ROOT / "RESULTS.md").read_text().splitlines():
        if line.startswith("| own"):
            for figure in re.findall(r"\d+\.\d+", line):
                assert figure in page.text
    plots = [picture for picture in page.all("img") if picture["src"].endswith("mnist.svg")]
    assert plots
    for plot in plots:
        assert (site / "results" / plot["src"]).exists()


def test_captions_are_sentences(site):
    captions = []
    for page in own_pages(site):
        captions += re.findall("<figcaption>(.*?)</figcaption>", page.read_text())
    assert len(captions) > 10
    for caption in captions:
        assert re.fullmatch(r"[A-Z].{20,}\.", caption)


def test_pages_link_to_their_neighbours(site):
    text = (site / "mathematics" / "index.html").read_text()
    assert 'aria-label="Previous:' in text and 'aria-label="Next:' in text


def test_example_report_is_embedded(site):
    page = Page(site / "report" / "index.html")
    (frame,) = page.all("iframe")
    assert Page(site / "report" / frame["src"]).sections[0] == "curves"


def test_example_report_is_current():
    """BUILD.md says how to rebuild the example."""
    templates = ROOT / "ladder_jax" / "report" / "templates"
    pages = "".join((templates / name).read_text() for name in ("run.html", "classes.html"))
    anchors = re.findall(r'href="#(\w+)"', pages)
    assert set(Page(ROOT / "docs" / "example" / "ladder-0" / "report.html").sections) <= set(
        anchors
    )
    for page in (ROOT / "docs" / "example").rglob("report.html"):
        assert (templates / "style.css").read_text().strip() in page.read_text()


def test_nothing_is_fetched(site):
    for page in own_pages(site):
        for tag, attributes in Page(page).tags:
            if tag in ("script", "img", "iframe") or attributes.get("rel") == "stylesheet":
                address = attributes.get("src") or attributes.get("href") or ""
                assert "//" not in address
