"""Figures of a report as ``data:`` URLs: SVG plots and small PNG images, without pyplot."""

from __future__ import annotations

import base64
import io
import math
import re
import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from ladder_jax.combinators import COMBINATORS
from ladder_jax.report.measures import BINS, Calibration, over_seeds
from ladder_jax.run.evaluation import error_name, error_text
from ladder_jax.types import Shape, Target

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIGNALS = (-2.0, 0.0, 2.0)  # values of u, in standard deviations, to draw functions for
POINTS = 61  # per curve of a combination function
Line = dict[str, Any]
Curve = tuple[tuple[Sequence[int], Sequence[float]], dict[str, Any]]
"""Epochs, values, and keyword arguments of ``Axes.plot``."""
_LEGEND, _NUMBERS = 12, 20
"""Maximum numbers of classes for which a plot shows names and numbers."""
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_STYLE: Any = {"axes.grid": True, "grid.alpha": 0.3, "font.size": 9, "legend.fontsize": 8}
_STYLE |= {"axes.spines.right": False, "axes.spines.top": False, "svg.hashsalt": "ladder_jax"}
_STYLE["svg.fonttype"] = "none"  # browsers have glyphs that DejaVu lacks
_STYLE["text.parse_math"] = False  # names may contain a $


def label(name: str, most: int = 24) -> str:
    """Returns a name for a plot: shortened, without characters that SVG cannot hold.

    Examples:
      >>> label("a name of more than twenty-four characters"), label("bell\\x07")
      ('a name of more than twe…', 'bell�')
    """
    name = _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", name)
    return name if len(name) <= most else f"{name[: most - 1]}\N{HORIZONTAL ELLIPSIS}"


def look(index: int) -> dict[str, Any]:
    """Returns the colour and line style of a curve, different for the first thirty."""
    return {"c": f"C{index}", "ls": ("-", "--", ":")[index // 10 % 3]}


class Picture(NamedTuple):
    """Holds an SVG or PNG image of a page, and the name of its file beside the page, if any."""

    kind: str
    content: bytes
    alt: str
    caption: str = ""
    name: str = ""

    @property
    def source(self) -> str:
        """Returns the image as a ``data:`` URL."""
        return f"data:image/{self.kind};base64,{base64.b64encode(self.content).decode()}"


def plot(
    draw: Callable[[Axes], None],
    name: str,
    alt: str,
    caption: str = "",
    *,
    size: tuple[float, float] = (4.4, 3.1),
) -> Picture:
    """Draws a plot as SVG, the same bytes for the same data, with its legend below it.

    The size, in inches, excludes the legend; a phone's width keeps text legible.
    """
    import matplotlib
    from matplotlib.figure import Figure

    stream = io.BytesIO()
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        handles, names = axes.get_legend_handles_labels()
        if names:
            columns = max(1, min(len(names), int(72 * size[0] / 4.4) // (7 + max(map(len, names)))))
            figure.set_figheight(size[1] + 0.17 * math.ceil(len(names) / columns))
            options: Any = {"frameon": False, "columnspacing": 1}
            figure.legend(handles, names, loc="outside lower center", ncols=columns, **options)
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    return Picture("svg+xml", stream.getvalue(), alt, caption, name)


def picture_shape(shape: Shape) -> Shape | None:
    """Returns the shape in which to draw examples; None if they are not pictures.

    A picture has height, width and optionally one or three channels; a row of values may be
    a square.
    """
    if len(shape) == 1:
        side = math.isqrt(shape[0])
        return (side, side) if side**2 == shape[0] and side >= 8 else None
    if len(shape) == 3 and shape[2] == 1:
        shape = shape[:2]
    drawable = len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
    return shape if drawable and 4 <= min(shape[:2]) >= max(shape[:2]) / 8 else None


def images(x: np.ndarray, shape: Shape, alts: Sequence[str], like: np.ndarray) -> list[Picture]:
    """Draws examples as PNG, one pixel per value, in a shape from ``picture_shape``.

    Black and white are the ends of the range of ``like``, without its outermost 1 %.
    """
    from matplotlib.image import imsave

    low, high = np.percentile(like, [0.5, 99.5])
    ends, pictures = (low, high if high > low else low + 1), []
    for example, alt in zip(x, alts, strict=True):
        stream = io.BytesIO()
        shades = np.interp(np.reshape(example, shape), ends, (0, 1))
        imsave(stream, shades, format="png", cmap="gray", vmin=0, vmax=1)
        pictures.append(Picture("png", stream.getvalue(), alt))
    return pictures


def logarithmic(axes: Axes) -> None:
    """Makes the y axis logarithmic with plain numbers, more of them over a small range."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    subs = range(1, 10) if high < 5 * low else (1, 2, 5) if high < 1000 * low else (1,)
    axes.yaxis.set_major_locator(LogLocator(subs=subs))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def from_zero(highest: float) -> tuple[float, float | None]:
    """Returns limits of an axis from 0 to just above the highest value, so that no dot is cut."""
    return 0.0, 1.05 * highest or None


def series(lines: Sequence[Line], name: str, scale: float = 1) -> tuple[list[int], list[Any]]:
    """Returns epochs and values of a metric that not every line of ``metrics.jsonl`` has."""
    lines = [line for line in lines if name in line]
    return [line["epoch"] for line in lines], [scale * line[name] for line in lines]


def _by_epoch(curves: Sequence[Curve], ylabel: str, *words: str, log: bool = False) -> Picture:
    """Draws curves over epochs, single points as dots; ``words`` are name, alt and caption."""

    def draw(axes: Axes) -> None:
        from matplotlib.ticker import MaxNLocator

        for (epochs, values), options in curves:
            axes.plot(epochs, values, **{"marker": "" if len(epochs) > 1 else "o", **options})
        axes.set(xlabel="epoch", ylabel=ylabel)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        known = [value for (_, values), _ in curves for value in values]
        lowest, highest = min(known, default=0), max(known, default=0)
        if log and lowest > 0:
            logarithmic(axes)
        elif lowest >= 0:  # a log-likelihood may be negative
            axes.set_ylim(*from_zero(highest))

    return plot(draw, *words)


def learning_curves(
    lines: Sequence[Line], decoded: Sequence[int], target: Target, scale: float | None = 100
) -> list[Picture]:
    """Draws ``metrics.jsonl``: errors, the cost of the labels and those of decoded levels.

    Args:
      lines: lines of the file.
      decoded: decoded levels.
      target: target of the ladder.
      scale: factor that converts a step's error to the units of the test error; None: no
        factor does, and the step's error is left out.
    """
    if not lines:
        return []
    measured = [s for s in ("validation", "test") if any(f"{s}_error" in line for line in lines)]
    errors: list[Curve] = []
    if scale is not None:
        noisy = {"c": "#999999", "label": "labelled, noisy"}
        errors.append((series(lines, "error", scale), noisy))
    errors += [(series(lines, f"{s}_error"), {"marker": ".", "label": s}) for s in measured]
    pictures = []
    if errors:
        names = [*["training"] * (scale is not None), *measured]
        alt = f"error by epoch: {', '.join(f'{name} error' for name in names)}"
        pictures.append(_by_epoch(errors, error_name(target.percent), "error", alt, "Error"))
    epochs, cost = series(lines, target.cost_name)
    what, unit = "Cost", ""
    if target.cost_name == "cross_entropy":
        what, unit = "Cross-entropy", " in nats"
    caption = f"{what} of the noisy labelled examples"
    alt = f"{caption} by epoch, {cost[-1]:.3g}{unit.replace(' in', '')} at the end"
    words = f"{what.lower()}{unit}", target.cost_name, alt, caption
    pictures.append(_by_epoch([((epochs, cost), {})], *words, log=True))
    if decoded:
        epochs, costs = series(lines, "denoising")
        curves = [
            ((epochs, [cost[k] for cost in costs]), {"label": f"level {k}", **look(i)})
            for i, k in enumerate(decoded)
        ]
        ends = ", ".join(f"level {k} {costs[-1][k]:.3g}" for k in decoded)
        alt = f"denoising cost by epoch; at the end {ends}"
        words = "mean squared error", "denoising_cost", alt, "Denoising cost, unweighted"
        pictures.append(_by_epoch(curves, *words, log=True))
    return pictures


def error_curves(
    runs: Mapping[str, Sequence[Sequence[Line]]], measured: str, percent: bool = True
) -> Picture:
    """Draws the "test" or "validation" error during training, one colour per trained model."""
    curves: list[Curve] = []
    for index, (name, runs_of_model) in enumerate(runs.items()):
        for number, lines in enumerate(runs_of_model):
            shown = name if number == 0 and len(runs) <= _LEGEND else None
            options = {**look(index), "alpha": 0.6, "lw": 1, "label": shown}
            curves.append((series(lines, f"{measured}_error"), options))
    words = f"{measured} error by epoch of {len(curves)} runs", "Error during training, per run"
    return _by_epoch(curves, f"{measured} {error_name(percent)}", "error_by_epoch", *words)


def confusion(counts: np.ndarray, names: Sequence[str], what: str = "examples") -> Picture:
    """Draws a confusion matrix, shaded by the fraction of the true class.

    Its numbers are counts or, if these are too long to read, percentages of the true class.
    """
    n = len(names)
    long = n <= _NUMBERS and counts.max(initial=0) > 9999
    parts = counts / np.maximum(counts.sum(1, keepdims=True), 1)

    def draw(axes: Axes) -> None:
        axes.imshow(parts, cmap="Blues", vmin=0, vmax=1)
        axes.grid(visible=False)
        ticks = range(0, n, 1 + n // 30)
        labels = [label(names[tick]) for tick in ticks]
        axes.set_xticks(ticks, labels, rotation=90 if max(map(len, labels)) > 3 else 0)
        axes.set_yticks(ticks, labels)
        axes.set(xlabel="predicted class", ylabel="true class")
        for row, column in np.argwhere(counts) if n <= _NUMBERS else ():
            options: Any = {"ha": "center", "va": "center", "fontsize": 7}
            shade = "white" if parts[row, column] > 0.6 else "black"
            share = f"{100 * parts[row, column]:.0f}"
            axes.text(
                column, row, share if long else f"{counts[row, column]}", color=shade, **options
            )

    right, total = int(np.trace(counts)), int(counts.sum())
    alt = f"confusion matrix of {n} classes, {right} of {total} {what} on its diagonal"
    caption = f"Confusion matrix of the {what}, in % of the true class"
    caption = caption if long else "Confusion matrix"
    return plot(draw, "confusion", alt, caption, size=(4.4, 4.2))


def calibration(measured: Calibration) -> Picture:
    """Draws how often predictions are right over their probability (a reliability diagram)."""
    confidence, accuracy = 100 * measured.confidence, 100 * measured.accuracy

    def draw(axes: Axes) -> None:
        axes.plot([0, 100], [0, 100], ":", color="#999999")
        axes.plot(confidence, accuracy, color="C0", lw=1)
        axes.scatter(confidence, accuracy, 8 + 80 * measured.n / measured.n.max(), color="C0")
        axes.set(xlabel="probability of the predicted class, in %", xlim=(0, 102))
        axes.set(ylabel="of these right, in %", ylim=(-4, 104))

    caption = f"Calibration: expected calibration error (ECE) {measured.error:.2f} %, {BINS} bins "
    caption += "of equal width; larger dots stand for more examples; dotted: perfect calibration"
    alt = f"reliability diagram, expected calibration error {measured.error:.2f} % in {BINS} bins"
    return plot(draw, "calibration", alt, caption, size=(4.4, 4.2))


def combination(
    name: str, params: Any, shape: Shape, ends: Sequence[float] | np.ndarray, level: int, title: str
) -> Picture:
    """Draws the combination function that a level learned, for z between ``ends``.

    At each z, the line is the median of the level's units and the band their middle half.
    """
    combinator = COMBINATORS[name]()
    if not any(np.shape(leaf) == shape for leaf in params.values()):
        shape = shape[-1:]  # one function per channel, or one for all
    z, signals = np.linspace(ends[0], ends[1], POINTS), SIGNALS if combinator.uses_u else (0.0,)
    # [signals, points, units], the signals as a batch of rows of points.
    u, grid, _ = np.meshgrid(signals, z, np.arange(math.prod(shape)), indexing="ij")
    flat = [np.float32(a).reshape(-1, *shape) for a in (grid, u)]
    z_hat = np.broadcast_to(jax.jit(combinator.apply)(params, *flat), flat[0].shape)
    quartiles = np.percentile(z_hat.reshape(grid.shape), [25, 50, 75], axis=2)

    def draw(axes: Axes) -> None:
        axes.plot(z, z, ":", color="#999999")
        looks = ("C0", "--"), ("C7", "-"), ("C3", "-.")
        lines = zip(signals, looks, *quartiles, strict=False)
        for signal, (color, style), low, middle, high in lines:
            axes.fill_between(z, low, high, color=color, alpha=0.15, lw=0)
            shown = f"u = {signal:g}" if combinator.uses_u else None
            axes.plot(z, middle, style, color=color, label=shown)
        axes.set(xlabel="noisy z", ylabel="estimate of z")

    for_u = f" for u of {', '.join(f'{u:g}' for u in SIGNALS)}" if combinator.uses_u else ""
    alt = f"combination function of {title}, {name}: estimate over noisy z{for_u}"
    caption = f"{title}: {name}".capitalize()
    return plot(draw, f"combination_level_{level}", alt, caption, size=(4.4, 2.8))


def feature_map(
    places: np.ndarray, y: np.ndarray, labeled: np.ndarray, names: Sequence[str], *words: str
) -> Picture:
    """Draws examples at places ``[n, 2]``, labelled ones as stars; words are alt and caption."""
    from matplotlib import colormaps

    n = len(names)
    few, many = colormaps["tab10"](range(n)), colormaps["turbo"](np.linspace(0.03, 0.97, n))
    shades = few if n <= 10 else many

    def draw(axes: Axes) -> None:
        for chosen, size, marker, edge in ((~labeled, 9, "o", 0.0), (labeled, 36, "*", 0.4)):
            options: Any = {"marker": marker, "edgecolors": "black", "linewidths": edge}
            axes.scatter(places[chosen, 0], places[chosen, 1], size, shades[y[chosen]], **options)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        if n <= _LEGEND:
            for name, shade in zip(names, shades, strict=True):
                # A zero-width space, as matplotlib omits labels that begin with "_".
                shown = "\u200b" * name.startswith("_") + label(name, 16)
                axes.plot([], [], "o", color=shade, ms=4, label=shown)

    return plot(draw, "map", *words, size=(5, 4.2))


def spread(
    errors_of: Mapping[str, Sequence[float]], measured: str, percent: bool = True
) -> Picture:
    """Draws the errors of each trained model: a dot per seed, and a bar at their mean."""
    means = {name: over_seeds(errors).mean for name, errors in errors_of.items()}

    def draw(axes: Axes) -> None:
        for index, (name, errors) in enumerate(errors_of.items()):
            color = f"C{index}"
            axes.plot(errors, [index] * len(errors), "o", color=color, alpha=0.6)
            axes.plot([means[name]] * 2, [index - 0.3, index + 0.3], color=color, lw=2)
        axes.set_yticks(range(len(means)), [textwrap.fill(name, 28) for name in means])
        highest = max(max(errors) for errors in errors_of.values())
        axes.set(ylim=(len(means) - 0.5, -0.5), xlim=from_zero(highest))
        axes.set(xlabel=f"{measured} {error_name(percent)}")

    in_words = ", ".join(f"{name} {error_text(mean, percent)}" for name, mean in means.items())
    words = f"{measured} error of every seed; means: {in_words}", "A dot is a seed, a bar the mean"
    return plot(draw, "spread", *words, size=(5, 0.8 + 0.4 * len(means)))


def dots_and_means(
    axes: Axes,
    errors_of: Mapping[int, Sequence[float]] | Mapping[float, Sequence[float]],
    label: str,
    shade: str,
    style: str = ".-",
) -> None:
    """Draws a dot per run over the varied quantity, and a line that joins the means."""
    ordered = sorted(errors_of.items())
    for varied, errors in ordered:
        axes.plot([varied] * len(errors), errors, "o", c=shade, alpha=0.4, ms=4)
    means = [over_seeds(errors).mean for _, errors in ordered]
    axes.plot([varied for varied, _ in ordered], means, style, c=shade, label=label)


def error_over_labels(
    kinds: Mapping[str, Mapping[int, Sequence[float]]],
    measured: str,
    name: str = "labels",
    percent: bool = True,
) -> Picture:
    """Draws the errors of each trained model over the number of labels, and their means."""
    counts = sorted({labels for errors in kinds.values() for labels in errors})

    def draw(axes: Axes) -> None:
        from matplotlib.ticker import NullLocator

        for index, (kind, errors_of) in enumerate(kinds.items()):
            dots_and_means(axes, errors_of, kind, f"C{index}", f".{look(index)['ls']}")
        axes.set(xscale="log", xlabel="labelled examples")
        axes.set(ylabel=f"{measured} {error_name(percent)}")
        axes.set_xticks(counts, [str(count) for count in counts])
        axes.xaxis.set_minor_locator(NullLocator())
        if all(min(errors) > 0 for by_labels in kinds.values() for errors in by_labels.values()):
            logarithmic(axes)

    alt = f"{measured} error over the number of labelled examples, {', '.join(map(str, counts))}"
    return plot(draw, name, alt, "Error over the number of labels; dots are runs, lines join means")
