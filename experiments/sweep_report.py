"""Results of a sweep: a table, a plot, all trials as JSON and the best as a config file."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
import shlex
from collections.abc import Sequence
from typing import Any, NamedTuple

from experiments.knobs import Knob, turned
from experiments.study import Trial
from ladder_jax.config import Config
from ladder_jax.errors import NotFiniteError
from ladder_jax.run import files, workfolder
from ladder_jax.run.evaluation import error_name, error_text

BEST = "best.py"
OUTPUTS = (BEST, "sweep.json", "sweep.png", "sweep.svg")
_SHOWN = 5


class Sweep(NamedTuple):
    """Holds a finished sweep.

    Attributes:
      config: the tuned config.
      knobs: the numbers that were tuned.
      trials: all trials, in order of their numbers.
      seeds: number of seeds per trial.
      percent: whether errors are percentages.
    """

    config: Config
    knobs: Sequence[Knob]
    trials: list[Trial]
    seeds: int
    percent: bool = True

    def ranked(self) -> list[Trial]:
        """Returns the trials with finite losses, best first."""
        return sorted((t for t in self.trials if t.errors is not None), key=lambda t: t.error)


def write(folder: pathlib.Path, sweep: Sweep, command: str) -> str:
    """Writes the files named in ``OUTPUTS``.

    Args:
      folder: folder of the sweep.
      sweep: the finished sweep.
      command: the command that ran it.

    Returns:
      The text to print.

    Raises:
      NotFiniteError: no trial has an error.
    """
    files.write_json(folder / "sweep.json", as_json(sweep))
    if not sweep.ranked():
        raise NotFiniteError(
            f"NaN or infinity in each of {len(sweep.trials)} trials, the config's own included; "
            "train only the config with experiments.train, which says where it arises."
        )
    with files.replacing(folder / BEST) as path:
        # A folder's name may have bytes that are no text.
        path.write_bytes(config_file(sweep, command).encode("utf-8", "backslashreplace"))
    plot(folder, sweep)
    return (
        f"{table(sweep)}\n"
        f"the plot, all trials and the best as a config file are in {folder}; to train it:\n"
        f"  python -m experiments.train {shlex.quote(f'--config={folder / BEST}')}"
    )


def as_json(sweep: Sweep) -> dict[str, Any]:
    """Returns values, settings and errors of all trials; null errors if a loss was not finite."""
    trials = [
        {
            "trial": trial.number,
            "values": trial.values,
            "settings": {
                name: getattr(turned(sweep.config, sweep.knobs, trial.values), name)
                for name in dict.fromkeys(knob.setting for knob in sweep.knobs)
            },
            "validation_errors": trial.errors,
            "mean": None if trial.errors is None else trial.error,
        }
        for trial in sweep.trials
    ]
    best = [trial.number for trial in sweep.ranked()[:1]]
    return {
        "config": workfolder.as_json(sweep.config),
        "seeds": list(range(sweep.config.seed, sweep.config.seed + sweep.seeds)),
        "ranges": {knob.name: knob.range for knob in sweep.knobs},
        "best": best[0] if best else None,
        "trials": trials,
    }


def table(sweep: Sweep) -> str:
    """Formats the best trials, and the config's own if it is finite, as a table."""
    best = sweep.ranked()
    rows = best[:_SHOWN] + [trial for trial in best[_SHOWN:] if trial.number == 0]
    failed = len(sweep.trials) - len(best)
    heading = f"validation {error_name(sweep.percent)}, {sweep.config.dataset}, {sweep.seeds} "
    heading += f"seed(s): the best of {len(sweep.trials)} trials"
    heading += f", {failed} not finite" if failed else ""
    names = [knob.name for knob in sweep.knobs]
    lines = [heading, "  " + "  ".join(["trial", "error", *names])]
    for trial in rows:
        values = [f"{trial.values[name]:>{len(name)}.4g}" for name in names]
        note = "  the config's own" if trial.number == 0 else ""
        error = error_text(trial.error, sweep.percent).removesuffix(" %")
        lines.append("  ".join([f"  {trial.number:5}", f"{error:>5}", *values]) + note)
    return "\n".join(lines)


def config_file(sweep: Sweep, command: str) -> str:
    """Returns the best trial as a config file like those in ``experiments/configs``.

    Args:
      sweep: the finished sweep.
      command: the command that ran it.
    """
    best, first = sweep.ranked()[0], sweep.trials[0]
    config = turned(sweep.config, sweep.knobs, best.values)
    settings = [
        f"            {field.name}={_literal(getattr(config, field.name))},\n"
        for field in dataclasses.fields(Config)
        if getattr(config, field.name) != field.default
    ]
    before = "not finite" if first.errors is None else error_text(first.error, sweep.percent)
    least = error_text(best.error, sweep.percent)
    return f'''"""{_in_docstring(sweep.config.name)}, tuned: {least} validation error.

{_in_docstring(command)}

Trial {best.number} of {len(sweep.trials)}, chosen by the mean over {sweep.seeds} seed(s);
{before} with the settings that the sweep began with. The least of many such errors is
lower than that of new examples. To train on those held out as well: --validation=0.
"""

from ml_collections import ConfigDict

from experiments.configs import base
from ladder_jax.config import Config


def get_config() -> ConfigDict:
    """Returns the settings of trial {best.number}."""
    return base.config_dict(
        Config(
{"".join(settings)}        )
    )
'''


def _in_docstring(text: str) -> str:
    """Escapes text for a docstring."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _literal(value: object) -> str:
    """Returns a value as a Python literal, strings in double quotes.

    Examples:
      >>> _literal('a "b"'), _literal((1.0,))
      ('"a \\\\"b\\\\""', '(1.0,)')
    """
    # JSON's escapes are Python's, but for characters beyond 16 bits, which stay as they are.
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def plot(folder: pathlib.Path, sweep: Sweep) -> None:
    """Plots the error against each tuned value."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    across = min(3, len(sweep.knobs))
    down = math.ceil(len(sweep.knobs) / across)
    with rc_context({"svg.hashsalt": "ladder_jax", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(2.4 + 2.5 * across, 0.7 + 2.3 * down), layout="constrained")
        panels = figure.subplots(down, across, sharey=True, squeeze=False)
        drawn = [
            _panel(panel, knob, sweep)
            for panel, knob in zip(panels.flat, sweep.knobs, strict=False)
        ]
        for panel in panels.flat[len(sweep.knobs) :]:
            panel.set_axis_off()
        for panel in panels[:, 0]:
            panel.set_ylabel(f"validation {error_name(sweep.percent)}")
        integers = MaxNLocator(integer=True)
        figure.colorbar(drawn[0], ax=panels, label="trial, early to late", ticks=integers, pad=0.02)
        labels = panels.flat[0].get_legend_handles_labels()
        columns = 3 if across == 1 else len(labels[0])
        figure.legend(*labels, loc="outside upper center", ncols=columns, frameon=False)
        for kind, metadata in (("png", {}), ("svg", {"Date": None})):
            with files.replacing(folder / f"sweep.{kind}") as path:
                figure.savefig(path, format=kind, dpi=150, metadata=metadata)


def _panel(panel: Any, knob: Knob, sweep: Sweep) -> Any:
    """Draws the panel of one tuned value and returns its dots, one per trial.

    The best trial and the config's own are marked.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    best = sweep.ranked()
    x, y = [t.values[knob.name] for t in best], [t.error for t in best]
    if sweep.seeds > 1:
        ends = [[f(t.errors or ()) for t in best] for f in (min, max)]
        panel.vlines(x, *ends, color="#999999", alpha=0.4, linewidth=1, label="range of its seeds")
    numbers = [t.number for t in best]
    dots = panel.scatter(x, y, 26, numbers, cmap="viridis_r", label="trial", zorder=2)
    panel.plot(x[0], y[0], "*", color="#dd3322", markersize=13, label="best")
    if 0 in numbers:
        first = numbers.index(0)
        panel.plot(
            x[first], y[first], "s", ms=9, mfc="none", mec="#222222", label="the config's own"
        )
    failed = [t.values[knob.name] for t in sweep.trials if t.errors is None]
    if failed:
        at_top, height = panel.get_xaxis_transform(), [0.96] * len(failed)
        panel.plot(failed, height, "x", color="#888888", transform=at_top, label="not finite")
    low, high = knob.range
    panel.set_xscale("log")
    panel.set_xlim(low / 1.1, high * 1.1)
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    panel.set_xlabel(knob.name)
    axes = [panel.xaxis]
    if y[-1] > 5 * y[0] > 0:
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.append(panel.yaxis)
    for axis in axes:
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
    panel.margins(y=0.12)
    panel.grid(alpha=0.25, linewidth=0.5)
    panel.set_axisbelow(True)
    return dots
