"""Shows the progress of a run: a bar on a terminal and in a notebook, plain lines in a pipe."""

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
"""Seconds between lines where there is no bar."""
COMPILING = "compiling ..."
"""What is said until the first epoch is done."""


def _bar_class() -> Any:
    """Returns what draws a bar here: for a terminal, for a notebook, or None."""
    if sys.stderr.isatty():
        # tqdm hides its bar on a terminal that does not know its size, as in some containers.
        return text_bar if os.get_terminal_size(sys.stderr.fileno()).lines else None
    if "IPython" not in sys.modules:  # as it is in every notebook
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TqdmWarning)  # no ipywidgets: lines will do
        from tqdm.auto import tqdm
        from tqdm.notebook import tqdm_notebook
    return tqdm if issubclass(tqdm, tqdm_notebook) else None


def errors_of(metrics: dict[str, Any], percent: bool = True) -> dict[str, str]:
    """Returns the errors in a line of metrics as text.

    Args:
      metrics: as ``loop.Progress`` takes them.
      percent: whether the errors are percentages.

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
        if not begun:  # the rate is that of the epochs after the one that compiled
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

    The first epoch compiles; rate and time left are those of the epochs after it.

    Args:
      title: of the run.
      epochs: of the whole run.
      write: where lines go.
      percent: whether errors are percentages.
      clock: in seconds.

    Returns:
      What is called after each epoch.

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


@contextlib.contextmanager
def shown(
    title: str, epochs: int, *, done: bool = False, percent: bool = True
) -> Iterator[Progress]:
    """Shows the progress of a run, with rate and time left.

    Args:
      title: of the run.
      epochs: of the whole run.
      done: whether nothing is left of it, and nothing is shown.
      percent: whether errors are percentages.

    Yields:
      What is to be called after each epoch.
    """
    if done or not multiprocess.is_primary():
        yield lambda metrics: None
        return
    draw = _bar_class()
    if draw is None:
        write = lambda line: print(line, file=sys.stderr, flush=True)
        yield lines(title, epochs, write=write, percent=percent)
        return
    with draw(total=epochs, desc=title, unit="epoch", mininterval=0.5) as bar:
        yield _drawn(bar, percent)
