"""The epochs of a run, or of a population: what is written down, and when it is saved."""

from __future__ import annotations

import contextlib
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from ladder_jax import guard, interrupts, parallel
from ladder_jax.checkpoints import Best, Checkpoints, Reached
from ladder_jax.config import Config
from ladder_jax.evaluation import Evaluation, Evaluator, evaluated
from ladder_jax.metrics_log import MetricsLog, metrics_line
from ladder_jax.stored import save_params
from ladder_jax.tasks import Task
from ladder_jax.training import Metrics, TrainState
from ladder_jax.workfolder import BEST

Line = dict[str, Any]
Progress = Callable[[Line], None]


def check_progress(progress: object) -> None:
    """Checks before training that the progress callback can be called.

    Raises:
      TypeError: it cannot.

    Examples:
      >>> check_progress(print)
    """
    if not callable(progress):
        raise TypeError(
            f"progress is of type {type(progress).__name__}; give a function of a line of metrics."
        )


class Member(NamedTuple):
    """One of the ladders that are trained together, or the only one.

    Attributes:
      config: its settings.
      folder: of its run.
      task: its examples.
      evaluator: of them.
    """

    config: Config
    folder: pathlib.Path
    task: Task
    evaluator: Evaluator


class Training(NamedTuple):
    """What is trained together.

    Attributes:
      members: at least one; what they share is in the config of each.
      saved: the checkpoints of all together.
      epoch: ``state -> (state, metrics)``.
      member_of: ``(tree, k) -> tree``, one member's part of a state or of metrics.
      wrong: ``(epoch, members) -> `` what to raise where numbers of these members are
        not finite.
    """

    members: Sequence[Member]
    saved: Checkpoints
    epoch: Callable[[TrainState], tuple[TrainState, Metrics]]
    member_of: Callable[[Any, int], Any]
    wrong: Callable[[int, list[int]], guard.NotFiniteError]

    @property
    def config(self) -> Config:
        """The settings that all members share."""
        return self.members[0].config

    def steps(self, state: TrainState) -> int:
        """How many each member has done."""
        return int(self.member_of(state.step, 0))

    def evaluate(self, state: TrainState) -> list[Evaluation]:
        """Each member as it is now."""
        return [
            m.evaluator.evaluate(evaluated(m.config, self.member_of(state, k)))
            for k, m in enumerate(self.members)
        ]


class Due(NamedTuple):
    """What is to be done after an epoch, the same in all processes.

    Attributes:
      save: whether a checkpoint is saved.
      best: whether it is the best on validation examples so far.
      better: members that are their own best so far.
      wrong: members whose numbers are not finite.
      signal: that asks to stop, or 0.
    """

    save: bool
    best: bool
    better: list[int]
    wrong: list[int]
    signal: int


def _improves(line: Line, best: Best | None) -> bool:
    """Whether a line has the least error on validation examples so far."""
    return "validation_error" in line and (best is None or line["validation_error"] < best[1])


def _means(lines: Sequence[Line]) -> Line:
    """Of each figure over the members."""
    means = {name: np.mean([line[name] for line in lines], 0).tolist() for name in lines[0]}
    return means | {"epoch": lines[0]["epoch"]}


def decide(
    training: Training,
    state: TrainState,
    lines: Sequence[Line],
    reached: Reached,
    *,
    late: bool,
    signal: int,
) -> Due:
    """The one policy of saving, for a run and for a population.

    Saved is what is late; what is best on validation examples, for a population by
    the mean error of its members; and what a signal stops. A state that is saved, and
    the last, must be finite.

    Args:
      training: what is trained.
      state: after the epoch.
      lines: of the epoch, one a member.
      reached: before it.
      late: whether the last checkpoint is old enough.
      signal: that came to this process, or 0.

    Returns:
      What any process finds to be due.
    """
    best = _improves(_means(lines), reached.best)
    bests = reached.bests or (None,) * len(lines)
    better = [_improves(line, own) for line, own in zip(lines, bests, strict=True)]
    finite = [bool(np.isfinite(line["loss"])) for line in lines]
    if late or best or signal or lines[0]["epoch"] == training.config.epochs:
        params = jax.device_get(state.params)
        parts = (training.member_of(params, k) for k in range(len(lines)))
        finite = [ok and guard.is_finite(part) for ok, part in zip(finite, parts, strict=True)]
    agreed = parallel.most(late, best, signal, *better, *(not ok for ok in finite))
    each = np.array(agreed[3:]).reshape(2, len(lines))
    return Due(
        save=any(agreed[:3]),
        best=bool(agreed[1]),
        better=np.flatnonzero(each[0]).tolist(),
        wrong=np.flatnonzero(each[1]).tolist(),
        signal=agreed[2],
    )


def _advanced(reached: Reached, lines: Sequence[Line], due: Due, seconds: float) -> Reached:
    """How far a run is after an epoch."""
    number, best, bests = lines[0]["epoch"], reached.best, reached.bests
    if due.best:
        best = number, float(_means(lines)["validation_error"])
    if due.better:  # at first, all are
        bests = tuple(
            (number, float(line["validation_error"])) if k in due.better else bests[k]
            for k, line in enumerate(lines)
        )
    return Reached(number, seconds, best, bests)


def _save(
    saved: Checkpoints, logs: Sequence[MetricsLog], state: TrainState, reached: Reached, due: Due
) -> None:
    """A checkpoint, if one is due, whose lines outlast the machine as it does."""
    if due.save:
        for log in logs:
            log.sync()
        error = reached.best[1] if due.best and reached.best else None
        saved.save(state, reached, error=error)
    if due.signal:
        saved.wait()


def train(
    training: Training, state: TrainState, reached: Reached, progress: Progress
) -> tuple[TrainState, Reached, list[Evaluation]]:
    """The epochs that are left, each with a line in every member's metrics file.

    Args:
      training: what is trained.
      state: of ``reached.epoch`` epochs; it is used up.
      reached: how far it is.
      progress: called after each epoch with the means over the members.

    Returns:
      The last state, how far it is, and its evaluation by member, which is empty if
      no epoch was left.

    Raises:
      Interrupted: a signal came; what is done is saved.
      NotFiniteError: of ``training.wrong``.
      WriteError: a file cannot be written.
    """
    config, saved, found = training.config, training.saved, list[Evaluation]()
    started = saved_at = time.perf_counter()
    before = reached.seconds
    with contextlib.ExitStack() as opened:
        stopped = opened.enter_context(interrupts.deferred())
        logs = [opened.enter_context(MetricsLog(m.folder, reached.epoch)) for m in training.members]
        for number in range(reached.epoch + 1, config.epochs + 1):
            state, metrics = training.epoch(state)
            metrics, found = jax.device_get(metrics), []
            lines = [metrics_line(number, training.member_of(metrics, k)) for k in range(len(logs))]
            if number % config.eval_every == 0 or number == config.epochs:
                found = training.evaluate(state)
                lines = [line | at.errors for line, at in zip(lines, found, strict=True)]
            now = time.perf_counter()
            late = now - saved_at >= config.checkpoint_seconds and not saved.busy
            due = decide(training, state, lines, reached, late=late, signal=stopped() or 0)
            if due.wrong:
                raise training.wrong(number, due.wrong)
            reached = _advanced(reached, lines, due, before + now - started)
            better = [(training.members[k], found[k]) for k in due.better]
            bests = [(m.folder / BEST, m.evaluator.trained(at)) for m, at in better]
            with parallel.together():
                for log, line in zip(logs, lines, strict=True):
                    log.append(line)
                progress(_means(lines) | {"seconds": round(reached.seconds, 2)})
                for path, trained in bests:
                    save_params(path, trained)
                _save(saved, logs, state, reached, due)
            saved_at = now if due.save else saved_at
            if due.signal:
                raise interrupts.Interrupted(due.signal, f"stopped after epoch {number}, saved")
    return state, reached, found
