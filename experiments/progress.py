"""Shows the progress of a run: a bar on a terminal or in a notebook, otherwise plain lines."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from tqdm import TqdmWarning
from tqdm import tqdm as text_bar

from ladder_jax.loop import Progress
from ladder_jax.run import multiprocess
from ladder_jax.run.evaluation import error_text

EVERY = 10.0
"""Minimum number of seconds between lines without a bar."""
COMPILING = "compiling ..."
"""Text shown until the first epoch is done."""


def _bar_class() -> Any:
    """Returns the class that draws a bar on this terminal or notebook, or None for neither."""
    if sys.stderr.isatty():
        # tqdm hides its bar on a terminal of unknown size, as in some containers.
        return text_bar if os.get_terminal_size(sys.stderr.fileno()).lines else None
    if "IPython" not in sys.modules:  # imported in every notebook
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TqdmWarning)  # without ipywidgets, lines are printed
        from tqdm.auto import tqdm
        from tqdm.notebook import tqdm_notebook
    return tqdm if issubclass(tqdm, tqdm_notebook) else None


def errors_of(metrics: dict[str, Any], percent: bool = True) -> dict[str, str]:
    """Returns the errors in a line of metrics as text.

    Args:
      metrics: metrics of an epoch, as passed to ``loop.Progress``.
      percent: whether errors are percentages.

    Examples:
      >>> errors_of({"epoch": 3, "test_error": 2.0})
      {'test_error': '2.00 %'}
    """
    return {k: error_text(v, percent) for k, v in metrics.items() if k.endswith("_error")}


def _drawn(bar: Any, percent: bool) -> Progress:
    begun = False
    bar.set_postfix_str(COMPILING)

    def progress(metrics: dict[str, Any]) -> None:
        nonlocal begun
        if not begun:  # excludes the first epoch, which compiles, from the rate
            bar.n = bar.initial = bar.last_print_n = metrics["epoch"]
            bar.unpause()
            bar.set_postfix_str("")
            begun = True
        bar.update(metrics["epoch"] - bar.n)
        if errors := errors_of(metrics, percent):
            bar.set_postfix(errors)

    return progress


def lines(
    title: str,
    epochs: int,
    *,
    write: Callable[[str], object],
    percent: bool = True,
    clock: Callable[[], float] = time.monotonic,
) -> Progress:
    """Prints progress as lines of text, at most one per ``EVERY`` seconds and one at the end.

    Rate and time left exclude the first epoch, which compiles.

    Args:
      title: title of the run.
      epochs: total number of epochs.
      write: function that writes a line.
      percent: whether errors are percentages.
      clock: function that returns the time in seconds.

    Returns:
      A function to call after each epoch.

    Examples:
      >>> times = iter([0.0, 20.0, 40.0])
      >>> progress = lines("a", 4, write=print, clock=lambda: next(times))
      a: compiling ...
      >>> progress({"epoch": 1, "test_error": 5.0})
      a: epoch 1 of 4, test error 5.00 %
      >>> progress({"epoch": 2})
      a: epoch 2 of 4, 0.05 epochs/s, 00:40 left, test error 5.00 %
    """
    write(f"{title}: {COMPILING}")
    begun = last = clock()
    first: int | None = None
    errors: dict[str, str] = {}

    def progress(metrics: dict[str, Any]) -> None:
        nonlocal begun, first, last
        done, now = metrics["epoch"], clock()
        if first is None:
            first, begun = done, now
        errors.update(errors_of(metrics, percent))
        if now - last < EVERY and done < epochs:
            return
        last = now
        parts = [f"epoch {done} of {epochs}"]
        if done > first:
            rate = (done - first) / max(now - begun, 1e-9)
            left = text_bar.format_interval((epochs - done) / rate)
            parts += [f"{rate:.2f} epochs/s", f"{left} left"]
        parts += [f"{name.replace('_', ' ')} {error}" for name, error in errors.items()]
        write(f"{title}: {', '.join(parts)}")

    return progress


def _write(line: str) -> None:
    """Writes a line to stderr; training goes on if nobody reads it any more."""
    with contextlib.suppress(BrokenPipeError):
        print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def shown(
    title: str, epochs: int, *, done: bool = False, percent: bool = True
) -> Iterator[Progress]:
    """Shows the progress of a run, with rate and time left.

    Args:
      title: title of the run.
      epochs: total number of epochs.
      done: whether the run is finished already; nothing is then shown.
      percent: whether errors are percentages.

    Yields:
      A function to call after each epoch.
    """
    if done or not multiprocess.is_primary():
        yield lambda metrics: None
        return
    draw = _bar_class()
    if draw is None:
        yield lines(title, epochs, write=_write, percent=percent)
        return
    with draw(total=epochs, desc=title, unit="epoch", mininterval=0.5) as bar:
        yield _drawn(bar, percent)
