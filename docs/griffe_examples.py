"""Adapts docstrings to the documentation's builder: "Example:", and "::" before formulas."""

from __future__ import annotations

from typing import Any

import griffe


class OneExample(griffe.Extension):
    """Rewrites "Example:" as "Examples:", and "::" as ":".

    Google's style knows only the plural; doctests in an "Example:" would be read as Markdown.
    """

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrites each docstring."""
        if obj.docstring is not None:
            text = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
            obj.docstring.value = text.replace("::\n", ":\n")
