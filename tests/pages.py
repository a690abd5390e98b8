"""Parses HTML pages for the tests."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """The tags and the text of a page.

    Attributes:
      tags: name and attributes of each start tag.
      text: all shown text, and the style sheet.
    """

    def __init__(self, path):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def sections(self):
        return [heading["id"] for heading in self.all("h2")]


def assert_stands_alone(page):
    """Checks that pictures are embedded and described, nothing is fetched and anchors resolve."""
    assert page.all("img")
    for picture in page.all("img"):
        assert picture["src"].startswith(("data:image/svg+xml;base64,", "data:image/png;base64,"))
        assert picture["alt"].strip()
    assert not page.all("script")
    assert [link["href"] for link in page.all("link")] == ["data:,"]
    for _, attributes in page.tags:
        for name in ("src", "href", "srcset", "poster", "data"):
            assert "//" not in (attributes.get(name) or "").partition("base64,")[0]
    assert "@import" not in page.text and "url(" not in page.text
    anchors = [link["href"][1:] for link in page.all("a") if link["href"].startswith("#")]
    assert set(anchors) == set(page.sections)
