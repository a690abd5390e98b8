"""The plots of a report."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from ladder_jax.combinators import COMBINATORS
from ladder_jax.report.drawing import Picture, colors, plot
from ladder_jax.report.measures import BINS, Calibration
from ladder_jax.types import Shape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIGNALS = (-2.0, 0.0, 2.0)
"""u, in standard deviations, that a combination function is drawn for."""
POINTS = 61
"""At which a combination function is drawn."""
_LEGEND, _NUMBERS = 12, 20
"""Classes from which on names and numbers are left out of a plot."""
Line = dict[str, Any]


def series(lines: Sequence[Line], name: str, scale: float = 1) -> tuple[list[int], list[float]]:
    """Epochs and values of a figure that not every line has.

    Example:
      >>> series([{"epoch": 1}, {"epoch": 2, "error": 0.5}], "error", 100)
      ([2], [50.0])
    """
    found = [line for line in lines if name in line]
    return [line["epoch"] for line in found], [scale * line[name] for line in found]


def _marker(lines: Sequence[Any]) -> str:
    """How a curve is drawn: that of a single epoch is a dot."""
    return "-" if len(lines) > 1 else "o"


def _by_epoch(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _logarithmic(axes: Axes) -> None:
    """A logarithmic scale with plain numbers, more of them where it spans little."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    subs = range(1, 10) if high < 5 * low else (1, 2, 5) if high < 1000 * low else (1,)
    axes.yaxis.set_major_locator(LogLocator(subs=subs))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def errors(lines: Sequence[Line]) -> Picture:
    """Error in percent by epoch, on noisy labelled rows and on those kept back."""
    kept_back = [f"{name}_error" for name in ("validation", "test")]
    shown = [name for name in kept_back if any(name in line for line in lines)]

    def draw(figure: Figure, axes: Axes) -> None:
        axes.plot(
            *series(lines, "error", 100), _marker(lines), c="#999999", label="labelled, noisy"
        )
        for name in shown:
            axes.plot(*series(lines, name), ".-", label=name.removesuffix("_error"))
        axes.set(ylabel="error in %", ylim=(0, None))
        _by_epoch(axes)

    measured = [name.replace("_", " ") for name in shown]
    alt = f"error by epoch: {', '.join(['training error', *measured])}"
    return plot(draw, "error", alt, "Error")


def cross_entropy(lines: Sequence[Line]) -> Picture:
    """Cross-entropy of the noisy labelled rows by epoch."""

    def draw(figure: Figure, axes: Axes) -> None:
        axes.plot(*series(lines, "cross_entropy"), _marker(lines))
        axes.set_ylabel("cross-entropy in nats")
        _by_epoch(axes)
        _logarithmic(axes)

    last = lines[-1]["cross_entropy"]
    alt = f"cross-entropy of the noisy labelled examples by epoch, {last:.3g} nats at the end"
    return plot(draw, "cross_entropy", alt, "Cross-entropy of the noisy labelled examples")


def denoising(lines: Sequence[Line], levels: Sequence[int]) -> Picture:
    """Each decoded level's denoising cost by epoch, before it is weighted."""
    costs = np.array([line["denoising"] for line in lines])
    epochs = [line["epoch"] for line in lines]

    def draw(figure: Figure, axes: Axes) -> None:
        for level in levels:
            axes.plot(epochs, costs[:, level], _marker(lines), label=f"level {level}")
        axes.set_ylabel("mean squared error")
        _by_epoch(axes)
        _logarithmic(axes)

    last = ", ".join(f"level {level} {costs[-1, level]:.3g}" for level in levels)
    alt = f"denoising cost by epoch; at the end {last}"
    return plot(draw, "denoising_cost", alt, "Denoising cost, unweighted")


def confusion(counts: np.ndarray, names: Sequence[str]) -> Picture:
    """Which classes were taken for which, shaded by the part of the true class."""
    n = len(names)
    parts = counts / np.maximum(counts.sum(1, keepdims=True), 1)

    def draw(figure: Figure, axes: Axes) -> None:
        axes.imshow(parts, cmap="Blues", vmin=0, vmax=1)
        axes.grid(visible=False)
        ticks = range(0, n, 1 + n // 30)
        labels = [names[tick] for tick in ticks]
        long = max(map(len, labels)) > 3
        axes.set_xticks(ticks, labels, rotation=90 if long else 0)
        axes.set_yticks(ticks, labels)
        axes.set(xlabel="taken for", ylabel="true class")
        for row, column in np.argwhere(counts) if n <= _NUMBERS else ():
            shade = "white" if parts[row, column] > 0.6 else "black"
            text = f"{counts[row, column]}"
            axes.text(column, row, text, ha="center", va="center", color=shade, fontsize=7)

    right, total = int(np.trace(counts)), int(counts.sum())
    alt = f"confusion matrix of {n} classes, {right} of {total} examples on its diagonal"
    return plot(draw, "confusion", alt, "Classes taken for each other", size=(4.4, 4.2))


def calibration(found: Calibration) -> Picture:
    """Draws how often predictions are right over how sure they are (a reliability diagram).

    Args:
      found: of ``measures.calibration``.
    """

    def draw(figure: Figure, axes: Axes) -> None:
        axes.plot([0, 100], [0, 100], ":", color="#999999")
        axes.plot(100 * found.confidence, 100 * found.accuracy, color="C0", lw=1)
        area = 8 + 80 * found.n / found.n.max()
        axes.scatter(100 * found.confidence, 100 * found.accuracy, area, color="C0")
        axes.set(xlabel="probability of the class taken for, in %", ylabel="of these right, in %")
        axes.set(xlim=(0, 102), ylim=(0, 104))

    caption = (
        f"Calibration: expected calibration error (ECE) {found.error:.2f} %, {BINS} bins of equal "
        "width; the larger a dot, the more examples; dotted: as often right as said"
    )
    alt = f"reliability diagram, expected calibration error {found.error:.2f} % in {BINS} bins"
    return plot(draw, "calibration", alt, caption, size=(4.4, 4.2))


def combination(
    name: str, params: Any, shape: Shape, ends: tuple[float, float], level: int, title: str
) -> Picture:
    """Draws a level's learned combination function: z_hat over z, for several u.

    At each z, the line is the median of the level's units, the band their middle half.

    Args:
      name: of the function, a key of ``COMBINATORS``.
      params: its parameters.
      shape: of the level.
      ends: the least and the greatest z to draw.
      level: its number.
      title: what the level is.
    """
    combinator = COMBINATORS[name]()
    if not any(np.shape(leaf) == shape for leaf in params.values()):
        shape = shape[-1:]  # a function for each channel, or one for all
    z, signals = np.linspace(ends[0], ends[1], POINTS), SIGNALS if combinator.uses_u else (0.0,)
    # [signals, points, units], the signals as a batch of rows of points.
    grid = np.broadcast_to(z[:, None], (len(signals), POINTS, math.prod(shape)))
    u = np.broadcast_to(np.array(signals)[:, None, None], grid.shape)
    flat = [np.float32(a).reshape(-1, *shape) for a in (grid, u)]
    z_hat = np.broadcast_to(jax.jit(combinator.apply)(params, *flat), flat[0].shape)
    quartiles = np.percentile(z_hat.reshape(grid.shape), [25, 50, 75], axis=2)

    def draw(figure: Figure, axes: Axes) -> None:
        axes.plot(z, z, ":", color="#999999")
        for k, color in zip(range(len(signals)), ("C0", "C7", "C3"), strict=False):
            low, middle, high = quartiles[:, k]
            axes.fill_between(z, low, high, color=color, alpha=0.15, lw=0)
            label = f"u = {signals[k]:g}" if combinator.uses_u else None
            axes.plot(z, middle, color=color, label=label)
        axes.set(xlabel="noisy z", ylabel="estimate of z")

    of_u = f"for u of {', '.join(f'{u:g}' for u in SIGNALS)}" if combinator.uses_u else ""
    alt = f"combination function of {title}, {name}: estimate over noisy z {of_u}".strip()
    caption = f"{title}: {name}".capitalize()
    return plot(draw, f"combination_level_{level}", alt, caption, size=(4.4, 2.8))


def feature_map(
    places: np.ndarray, y: np.ndarray, labeled: np.ndarray, names: Sequence[str], alt: str
) -> Picture:
    """Examples as dots and labelled ones as stars, coloured by their class.

    Args:
      places: ``[n, 2]``.
      y: ``[n]``, classes.
      labeled: ``[n]``, whether an example is one of the labelled.
      names: of the classes.
      alt: as for ``Picture``.
    """
    shades = colors(len(names))

    def draw(figure: Figure, axes: Axes) -> None:
        x, height = places.T
        for chosen, size, marker, edge in ((~labeled, 9, "o", 0.0), (labeled, 36, "*", 0.4)):
            shade = shades[y[chosen]]
            axes.scatter(
                *(x[chosen], height[chosen], size, shade),
                marker=marker,
                edgecolors="black",
                linewidths=edge,
            )
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        if len(names) <= _LEGEND:
            for name, shade in zip(names, shades, strict=True):
                axes.plot([], [], "o", color=shade, ms=4, label=name[:16])

    return plot(draw, "map", alt, size=(5, 4.2))


def spread(errors_of: Mapping[str, Sequence[float]], measured: str) -> Picture:
    """A dot for every seed of every row, and a bar at their mean.

    Args:
      errors_of: in percent, by what was trained.
      measured: on "test" or "validation" examples.
    """

    def draw(figure: Figure, axes: Axes) -> None:
        for place, found in enumerate(errors_of.values()):
            axes.plot(found, [place] * len(found), "o", color=f"C{place % 10}", alpha=0.6)
            mean = float(np.mean(found))
            axes.plot([mean, mean], [place - 0.3, place + 0.3], color=f"C{place % 10}", lw=2)
        axes.set_yticks(range(len(errors_of)), [textwrap.fill(name, 28) for name in errors_of])
        axes.set(ylim=(len(errors_of) - 0.5, -0.5), xlim=(0, None))
        axes.set_xlabel(f"{measured} error in %")

    means = ", ".join(f"{name} {np.mean(found):.2f} %" for name, found in errors_of.items())
    height = 0.8 + 0.4 * len(errors_of)
    alt = f"{measured} error of every seed; means: {means}"
    return plot(draw, "spread", alt, "A dot is a seed, a bar the mean", size=(5, height))


def error_curves(runs: Mapping[str, Sequence[Sequence[Line]]], measured: str) -> Picture:
    """The error of every run while it trained, a colour for each kind.

    Args:
      runs: the lines of metrics of each run, by kind.
      measured: as for ``spread``.
    """

    def draw(figure: Figure, axes: Axes) -> None:
        for place, (kind, found) in enumerate(runs.items()):
            for number, lines in enumerate(found):
                label = kind if number == 0 and len(runs) <= _LEGEND else None
                shade = f"C{place % 10}"
                epochs, values = series(lines, f"{measured}_error")
                axes.plot(epochs, values, _marker(epochs), c=shade, alpha=0.6, lw=1, label=label)
        axes.set(ylabel=f"{measured} error in %", ylim=(0, None))
        _by_epoch(axes)

    alt = f"{measured} error by epoch of {sum(map(len, runs.values()))} runs"
    return plot(draw, "error_by_epoch", alt, "While training, a line a run")


def error_over_labels(
    kinds: Mapping[str, Mapping[int, Sequence[float]]], measured: str, name: str = "labels"
) -> Picture:
    """Draws the error over the number of labels: a dot a run, a line through the means.

    Args:
      kinds: errors in percent by number of labels, by what was trained.
      measured: as for ``spread``.
      name: as for ``Picture``.
    """
    counts = sorted({labels for found in kinds.values() for labels in found})

    def draw(figure: Figure, axes: Axes) -> None:
        from matplotlib.ticker import NullLocator

        for place, (kind, found) in enumerate(kinds.items()):
            shade, known = f"C{place % 10}", sorted(found)
            for labels in known:
                axes.plot(
                    [labels] * len(found[labels]), found[labels], "o", c=shade, alpha=0.4, ms=4
                )
            means = [np.mean(found[labels]) for labels in known]
            axes.plot(known, means, ".-", c=shade, label=kind)
        axes.set(xscale="log", xlabel="labelled examples", ylabel=f"{measured} error in %")
        axes.set_xticks(counts, [str(count) for count in counts])
        axes.xaxis.set_minor_locator(NullLocator())
        if min(min(errors) for found in kinds.values() for errors in found.values()) > 0:
            _logarithmic(axes)

    numbers = ", ".join(map(str, counts))
    alt = f"{measured} error over the number of labelled examples, {numbers}"
    return plot(
        draw, name, alt, "Error over the number of labels; a dot is a run, lines join means"
    )
