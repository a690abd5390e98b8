"""Has the documentation's builder read our docstrings: "Example:" and "::" before formulas."""

from __future__ import annotations

from typing import Any

import griffe


class OneExample(griffe.Extension):
    """Google's style has it in the plural alone; else doctests would be read as Markdown."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrites each docstring."""
        if obj.docstring is not None:
            text = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
            obj.docstring.value = text.replace("::\n", ":\n")
