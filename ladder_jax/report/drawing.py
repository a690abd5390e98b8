"""Pictures as ``data:`` addresses: SVG plots and small PNG images, without pyplot."""

from __future__ import annotations

import base64
import contextlib
import io
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ladder_jax.types import Shape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = (4.4, 3.1)
"""Of a plot, in inches: as wide as a telephone, so that its text is never shrunk much."""
_STYLE: Any = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "grid.alpha": 0.3,
    "legend.fontsize": 8,
    "svg.fonttype": "none",  # the reader's browser has glyphs that DejaVu has not
    "svg.hashsalt": "ladder_jax",
    "text.parse_math": False,  # names may hold a $
}


class Picture(NamedTuple):
    """An image within the page.

    Attributes:
      source: a ``data:`` address.
      alt: what it shows, in words.
      caption: a line below it.
      name: of its file beside the page; "" for none.
    """

    source: str
    alt: str
    caption: str = ""
    name: str = ""

    @property
    def content(self) -> bytes:
        """The bytes of its file."""
        return base64.b64decode(self.source.partition(",")[2])


def _address(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


@contextlib.contextmanager
def _styled() -> Iterator[None]:
    import matplotlib

    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def plot(
    draw: Callable[[Figure, Axes], None],
    name: str,
    alt: str,
    caption: str = "",
    *,
    size: tuple[float, float] = SIZE,
) -> Picture:
    """Draws a plot as SVG, the same bytes for the same figures, its legend below it.

    Args:
      draw: puts something on a figure and its axes.
      name: as for ``Picture``.
      alt: as for ``Picture``.
      caption: as for ``Picture``.
      size: in inches, without the legend.

    Example:
      >>> found = plot(lambda figure, axes: axes.plot([1, 2]) and None, "line", "a line")
      >>> found.source[:26], found.alt, found.content[:5]
      ('data:image/svg+xml;base64,', 'a line', b'<?xml')
    """
    from matplotlib.figure import Figure

    stream = io.BytesIO()
    with _styled():
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        draw(figure, axes)
        _legend(figure, *axes.get_legend_handles_labels())
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    return Picture(_address("svg+xml", stream.getvalue()), alt, caption, name)


def _legend(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Puts what is labelled below a plot, where it hides nothing, and makes room for it."""
    if not labels:
        return
    width, height = figure.get_size_inches()
    columns = min(len(labels), max(1, int(72 * width / 4.4) // (7 + max(map(len, labels)))))
    figure.set_size_inches(width, height + 0.17 * math.ceil(len(labels) / columns))
    figure.legend(
        *(handles, labels),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        columnspacing=1,
    )


def colors(n: int) -> np.ndarray:
    """So many colours that can be told apart, ``[n, 4]``.

    Example:
      >>> colors(3).shape, colors(30).shape
      ((3, 4), (30, 4))
    """
    from matplotlib import colormaps

    if n <= 10:
        return colormaps["tab10"](np.arange(n))
    return colormaps["turbo"](np.linspace(0.03, 0.97, n))


_LEAST, _LEAST_OF_A_ROW = 4, 8


def picture_shape(shape: Shape) -> Shape | None:
    """The height, the width and, of colours, the 3 of examples that can be seen.

    Args:
      shape: of an example: a picture with or without channels, or the values of a
        square one in a row.

    Returns:
      None where they are no pictures.

    Example:
      >>> picture_shape((28, 28, 1)), picture_shape((64,)), picture_shape((13,))
      ((28, 28), (8, 8), None)
    """
    if len(shape) == 1:
        side = round(shape[0] ** 0.5)
        return (side, side) if side**2 == shape[0] and side >= _LEAST_OF_A_ROW else None
    if len(shape) == 3 and shape[2] == 1:
        shape = shape[:2]
    seen = len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
    return shape if seen and _LEAST <= min(shape[:2]) >= max(shape[:2]) / 8 else None


def limits(x: np.ndarray) -> tuple[float, float]:
    """The values drawn black and white: all but the outermost 1 % of what is there."""
    low, high = np.percentile(x, [0.5, 99.5])
    return float(low), float(high) if high > low else float(low) + 1


def image(x: np.ndarray, shape: Shape, black_white: tuple[float, float], alt: str) -> Picture:
    """One example as PNG, a pixel a value.

    Args:
      x: the example.
      shape: of ``picture_shape``.
      black_white: of ``limits``.
      alt: as for ``Picture``.

    Example:
      >>> image(np.eye(8), (8, 8), (0, 1), "a line").source[:22]
      'data:image/png;base64,'
    """
    from matplotlib.image import imsave

    low, high = black_white
    stream = io.BytesIO()
    shades = np.clip((np.reshape(x, shape) - low) / (high - low), 0, 1)
    imsave(stream, shades, format="png", cmap="gray", vmin=0, vmax=1)
    return Picture(_address("png", stream.getvalue()), alt)
