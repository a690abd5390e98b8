"""The peer's side of the exchange: one JSON line in and one out per timing."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

Timer = Callable[[], float]


def serve(prepare: Callable[[dict[str, Any]], tuple[dict[str, Timer], dict[str, str]]]) -> None:
    """Runs timers on request, until the end of standard input.

    The first line in holds the settings; the first line out holds the facts from
    ``prepare`` and the timers' names. Then each line in is a timer's name and each
    line out its seconds.

    Args:
      prepare: ``(settings) -> (timers, facts)``; each timer runs once before the
        first line goes out, so that no later timing includes compilation.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # keeps the output of libraries out of the answers

    def answer(value: dict[str, Any]) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    timers, facts = prepare(json.loads(sys.stdin.readline()))
    for timer in timers.values():
        timer()
    answer({"timers": list(timers), "facts": facts})
    for line in sys.stdin:
        answer({"seconds": timers[json.loads(line)]()})


def repeated(work: Callable[[int], object], times: int) -> Timer:
    """Makes a timer of ``work(0), work(1), ...`` that returns the seconds per call."""

    def run() -> float:
        started = time.perf_counter()
        for number in range(times):
            work(number)
        return (time.perf_counter() - started) / times

    return run
