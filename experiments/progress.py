"""How far a run is: a bar on a terminal and in a notebook, plain lines in a pipe."""

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

from ladder_jax import parallel
from ladder_jax.epochs import Progress

EVERY = 10.0
"""Seconds between lines where there is no bar."""


def _bar_class() -> Any:
    """What draws a bar here: for a terminal, for a notebook, or None."""
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


def errors_of(metrics: dict[str, Any]) -> dict[str, str]:
    """The errors in a line of metrics, as text.

    Example:
      >>> errors_of({"epoch": 3, "test_error": 2.0})
      {'test_error': '2.00 %'}
    """
    return {k: f"{v:.2f} %" for k, v in metrics.items() if k.endswith("_error")}


def _drawn(bar: Any) -> Progress:
    def progress(metrics: dict[str, Any]) -> None:
        bar.update(metrics["epoch"] - bar.n)
        if errors := errors_of(metrics):
            bar.set_postfix(errors)

    return progress


def lines(
    title: str,
    epochs: int,
    *,
    write: Callable[[str], object],
    clock: Callable[[], float] = time.monotonic,
) -> Progress:
    """Progress as a line of text, at most one in ``EVERY`` seconds and one at the end.

    Args:
      title: of the run.
      epochs: of the whole run.
      write: where lines go.
      clock: in seconds.

    Returns:
      What is called after each epoch.

    Example:
      >>> times = iter([0.0, 20.0])
      >>> progress = lines("a", 3, write=print, clock=lambda: next(times))
      >>> progress({"epoch": 1, "test_error": 5.0})
      a: epoch 1 of 3, 0.05 epochs/s, 00:40 left, test error 5.00 %
    """
    begun = last = clock()
    first: int | None = None
    errors: dict[str, str] = {}

    def progress(metrics: dict[str, Any]) -> None:
        nonlocal first, last
        done = metrics["epoch"]
        first = done - 1 if first is None else first
        errors.update(errors_of(metrics))
        now = clock()
        if now - last < EVERY and done < epochs:
            return
        last, rate = now, (done - first) / max(now - begun, 1e-9)
        left = text_bar.format_interval((epochs - done) / rate)
        parts = [f"epoch {done} of {epochs}", f"{rate:.2f} epochs/s", f"{left} left"]
        parts += [f"{name.replace('_', ' ')} {error}" for name, error in errors.items()]
        write(f"{title}: {', '.join(parts)}")

    return progress


@contextlib.contextmanager
def shown(title: str, epochs: int) -> Iterator[Progress]:
    """Shows how far a run is, with rate and time left.

    Args:
      title: of the run.
      epochs: of the whole run.

    Yields:
      What is to be called after each epoch.
    """
    if not parallel.is_first():
        yield lambda metrics: None
        return
    draw = _bar_class()
    if draw is None:
        yield lines(title, epochs, write=lambda line: print(line, file=sys.stderr, flush=True))
        return
    with draw(total=epochs, desc=title, unit="epoch", mininterval=0.5) as bar:
        yield _drawn(bar)
