"""Trains one ladder: the loop of the project, and the folder that a run leaves behind."""

from __future__ import annotations

import contextlib
import os
import pathlib
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ladder_jax import data, parallel
from ladder_jax.checkpoints import Best, Checkpoints, RunProgress
from ladder_jax.config import Config
from ladder_jax.errors import ConfigError, Interrupted, NotFiniteError
from ladder_jax.run import files, multiprocess, nan_search, precision, signals, workfolder
from ladder_jax.run.evaluation import Evaluation, Evaluator
from ladder_jax.run.inputs import Task, prepare
from ladder_jax.run.program import Program, compile_program
from ladder_jax.training import Metrics, TrainState
from ladder_jax.types import Ladder, Params, Statistics

Line = dict[str, Any]
Progress = Callable[[Line], None]


def epochs(
    program: Program,
    state: TrainState,
    data: Any,
    *,
    start: int = 0,
    stop: int,
    together: bool = False,
) -> Iterator[tuple[int, TrainState, Metrics]]:
    """Yields the number of each epoch, the state after it and its metrics.

    The loop of the project: no files, no signals, no clock. A state that was yielded is
    donated to the next epoch.

    Args:
      program: of ``compile_program``.
      state: of ``start`` epochs.
      data: what the program's epoch takes.
      start: epochs done.
      stop: the last epoch.
      together: whether epochs of few steps are one program; the state yielded is then that
        after the last of them.
    """
    if together and program.together > 1:
        for before in range(start, stop, program.together):
            number = min(program.together, stop - before)
            state, several = program.epochs(state, data, number)
            several = jax.device_get(several)
            for i in range(number):
                yield before + i + 1, state, {name: all[i] for name, all in several.items()}
        return
    for epoch in range(start + 1, stop + 1):
        state, metrics = program.epoch(state, data)
        yield epoch, state, jax.device_get(metrics)


def metrics_line(epoch: int, metrics: Metrics) -> Line:
    """Returns a line of ``metrics.jsonl``: the epoch's number and its means over the steps."""
    figures = {name: np.asarray(value).round(7).tolist() for name, value in metrics.items()}
    return {"epoch": epoch} | figures


class Result(NamedTuple):
    """Holds what a run ends with.

    Attributes:
      params: of the ladder.
      statistics: what prediction is normalised with.
      decoder_statistics: what the decoder is, where examples come one by one.
      summary: figures and circumstances, as in ``result.json``.
    """

    params: Params
    statistics: Statistics
    decoder_statistics: Statistics
    summary: dict[str, Any]


class Member(NamedTuple):
    """Holds one of the ladders that are trained together, or the only one."""

    config: Config
    folder: pathlib.Path  # of its run
    evaluator: Evaluator  # of its task


class Run(NamedTuple):
    """Holds what is trained together, and where it is saved."""

    program: Program  # of all members
    members: Sequence[Member]  # at least one; what they share is in the config of each
    data: Any  # what the program's epoch takes
    saved: Checkpoints  # of all together

    def start(self) -> tuple[TrainState, RunProgress]:
        """Returns the newest good checkpoint, or the states that the seeds give."""
        keys = [jax.random.key(member.config.seed) for member in self.members]
        fresh = self.program.init(keys[0] if self.program.members is None else jnp.stack(keys))
        lines = min(workfolder.lines_in(member.folder) for member in self.members)
        return self.saved.restore(fresh, lines) or (fresh, RunProgress())

    def evaluate(self, state: TrainState) -> list[Evaluation]:
        """Evaluates each member as it is now."""
        return [
            member.evaluator.evaluate(self.program.params(self.program.member(state, k)))
            for k, member in enumerate(self.members)
        ]


class _Actions(NamedTuple):
    """Says what is to be done after an epoch, the same in all processes."""

    save: bool  # a checkpoint
    best: bool  # whether it is the best on validation examples so far
    better: list[int]  # members that are their own best so far
    wrong: list[int]  # members whose numbers are not finite
    signal: int  # that asks to stop, or 0


def _improves(line: Line, best: Best | None) -> bool:
    """Returns whether a line has the least error on validation examples so far."""
    return "validation_error" in line and (best is None or line["validation_error"] < best[1])


def _means(lines: Sequence[Line]) -> Line:
    """Returns the mean of each figure over the members."""
    means = {name: np.mean([line[name] for line in lines], 0).tolist() for name in lines[0]}
    return means | {"epoch": lines[0]["epoch"]}


def _next_actions(
    run: Run,
    state: TrainState,
    lines: Sequence[Line],
    reached: RunProgress,
    *,
    late: bool,
    signal: int,
) -> _Actions:
    """Decides what is saved: the one policy, for a run and for a population.

    Saved is what is late; what is best on validation examples, for a population by
    the mean error of its members; and what a signal stops. A state that is saved, and
    the last, must be finite.
    """
    best = _improves(_means(lines), reached.best)
    bests = reached.bests or (None,) * len(lines)
    better = [_improves(line, best) for line, best in zip(lines, bests, strict=True)]
    finite = [bool(np.isfinite(line["loss"])) for line in lines]
    if late or best or signal or lines[0]["epoch"] == run.members[0].config.epochs:
        params = jax.device_get(state.params)
        parts = (run.program.member(params, k) for k in range(len(lines)))
        finite = [ok and nan_search.is_finite(part) for ok, part in zip(finite, parts, strict=True)]
    agreed = multiprocess.all_reduce_max(late, best, signal, *better, *(not ok for ok in finite))
    each = np.array(agreed[3:]).reshape(2, len(lines))
    return _Actions(
        save=any(agreed[:3]),
        best=bool(agreed[1]),
        better=np.flatnonzero(each[0]).tolist(),
        wrong=np.flatnonzero(each[1]).tolist(),
        signal=agreed[2],
    )


def _advanced(
    reached: RunProgress, lines: Sequence[Line], actions: _Actions, seconds: float
) -> RunProgress:
    """Returns how far a run is after an epoch."""
    number, best, bests = lines[0]["epoch"], reached.best, reached.bests
    if actions.best:
        best = number, float(_means(lines)["validation_error"])
    if actions.better:  # at first, all are
        bests = tuple(
            (number, float(line["validation_error"])) if k in actions.better else bests[k]
            for k, line in enumerate(lines)
        )
    return RunProgress(number, seconds, best, bests)


def _train(run: Run, progress: Progress) -> tuple[TrainState, RunProgress, list[Evaluation]]:
    """Trains the epochs that are left, each with a line in every member's metrics file."""
    config, evaluations = run.members[0].config, list[Evaluation]()
    state, reached = run.start()
    started = saved_at = time.perf_counter()
    before, stop = reached.seconds, config.epochs
    with contextlib.ExitStack() as opened:
        stopped = opened.enter_context(signals.deferred())
        logs = [
            opened.enter_context(files.Log(member.folder / workfolder.METRICS, reached.epoch))
            for member in run.members
        ]
        left = epochs(run.program, state, run.data, start=reached.epoch, stop=stop)
        for epoch, state, metrics in left:
            evaluations = []
            lines = [metrics_line(epoch, run.program.member(metrics, k)) for k in range(len(logs))]
            if epoch % config.eval_every == 0 or epoch == stop:
                evaluations = run.evaluate(state)
                lines = [line | at.errors for line, at in zip(lines, evaluations, strict=True)]
            now = time.perf_counter()
            late = now - saved_at >= config.checkpoint_seconds and not run.saved.busy
            actions = _next_actions(run, state, lines, reached, late=late, signal=stopped() or 0)
            if actions.wrong:
                raise _not_finite(run, epoch, actions.wrong)
            reached = _advanced(reached, lines, actions, before + now - started)
            better = [(run.members[k], evaluations[k]) for k in actions.better]
            bests = [(m.folder / workfolder.BEST, m.evaluator.trained(at)) for m, at in better]
            with multiprocess.together():
                for log, line in zip(logs, lines, strict=True):
                    log.append(line)
                progress(_means(lines) | {"seconds": round(reached.seconds, 2)})
                for path, trained in bests:
                    workfolder.save_params(path, trained)
                if actions.save:
                    for log in logs:  # to outlast the machine as the checkpoint does
                        log.sync()
                    run.saved.save(state, reached)
                if actions.signal:
                    run.saved.wait()
            saved_at = now if actions.save else saved_at
            if actions.signal:
                raise Interrupted(actions.signal, f"stopped after epoch {epoch}, saved")
    return state, reached, evaluations


def _finish(
    member: Member, evaluation: Evaluation, reached: RunProgress, steps: int, k: int
) -> Result:
    """Tests a ladder and writes down what came of its run."""
    started = time.perf_counter()
    config, folder, evaluator = member
    task, trained = evaluator.task, evaluator.trained(evaluation)
    best = reached.bests[k] if reached.bests else None
    scaling = task.scaling and {"mean": task.scaling.mean, "scale": task.scaling.scale}
    summary = {
        "dataset": config.dataset,
        "labels": len(task.labeled),
        "seed": config.seed,
        "class_names": task.class_names,
        **({"feature_names": task.feature_names} if task.feature_names else {}),
        "example_shape": task.example_shape,
        "scale": task.preprocessing.scale,
        "target": task.target.name,
        **({} if scaling is None else {"scaling": scaling}),
        **evaluator.errors(evaluation),
        **({} if best is None else {"best_epoch": best[0]}),
        "steps": steps,
        "seconds": round(reached.seconds + time.perf_counter() - started, 2),
        **workfolder.origin(),
        "versions": workfolder.versions(),
    }
    with multiprocess.together():
        workfolder.save_params(folder / "params.npz", trained)
        files.write_json(folder / "result.json", summary)  # it is done then
    return Result(*trained, summary)


def train_members(run: Run, progress: Progress) -> list[Result]:
    """Trains what is left, tests it and leaves no checkpoint but the best."""
    for member in run.members:
        workfolder.begin(member.folder, member.evaluator.task.preprocessing)
    state, reached, evaluations = _train(run, progress)
    evaluations = evaluations or run.evaluate(state)
    steps = int(run.program.member(state.step, 0))
    results = [
        _finish(member, at, reached, steps, k)
        for k, (member, at) in enumerate(zip(run.members, evaluations, strict=True))
    ]
    with multiprocess.together():
        run.saved.finish(reached.best and reached.best[0])
    return results


def check_progress(progress: object) -> None:
    """Checks before training that the progress callback can be called."""
    if not callable(progress):
        raise TypeError(
            f"progress is of type {type(progress).__name__}; give a function of the epoch's "
            "metrics."
        )


def check_processes(config: Config, *, together: bool = False) -> None:
    """Checks that several processes, if there are, can train this, alone or ``together``."""
    if multiprocess.is_multiprocess() and not config.resident:
        raise ConfigError(
            "resident is False; several processes train on resident data alone: leave it out, or "
            "start one process."
        )
    if multiprocess.is_multiprocess() and together:
        raise ConfigError(
            "a population is trained by one process alone; train its members one after another, "
            "each on all devices."
        )


def _share(config: Config, task: Task, program: Program) -> Task:
    """Makes the examples arrays of all processes, which must have read the same."""
    mark = zlib.crc32(repr(workfolder.deciding(config)).encode())
    arrays = task.train, task.test, task.validation
    for leaf in jax.tree.leaves(arrays):
        mark = zlib.crc32(np.ascontiguousarray(leaf).data, mark)
    mark >>= 1  # to int32
    high, low = multiprocess.all_reduce_max(mark, -mark)
    if high != -low:
        raise ConfigError(
            "the processes have different data or settings; start all of them with the same "
            "settings and the same data files."
        )
    train, test, validation = parallel.replicate(program.mesh, arrays)
    if task.train.labeled is task.train.unlabeled:  # held once
        train = train._replace(labeled=train.unlabeled)
    return task._replace(train=train, test=test, validation=validation)


def _not_finite(run: Run, epoch: int, wrong: Sequence[int]) -> NotFiniteError:
    """Returns what to say of an epoch that went wrong; a single run goes through it again."""
    program, saved = run.program, run.saved
    if program.members is not None:
        names = ", ".join(run.members[k].folder.name for k in wrong)
        kept = f"; checkpoints up to epoch {saved.epochs[-1]} are kept" if saved.epochs else ""
        return NotFiniteError(
            f"NaN or infinity in epoch {epoch} of {names}{kept}. Train such a member alone to "
            "learn the step and the level, or leave it out."
        )
    state, reached = run.start()
    for _ in range(reached.epoch + 1, epoch):
        state, _ = program.epoch(state, run.data)
    config, _, evaluator = run.members[0]
    sizes = evaluator.task.sizes
    origin = nan_search.find_origin(
        program.trained_net, program.step, state, run.data, sizes, program.batch
    )
    good = saved.folder / str(reached.epoch) if reached.epoch else None
    largest = nan_search.largest_input(run.data)
    return NotFiniteError(
        multiprocess.broadcast_from_primary(
            lambda: nan_search.message(origin, epoch, good, config, largest)
        )
    )


def train_and_evaluate(
    config: Config,
    workdir: str | os.PathLike[str],
    *,
    dataset: data.Dataset | None = None,
    overwrite: bool = False,
    progress: Progress = lambda metrics: None,
) -> Result:
    """Trains one ladder, tests it and writes all of it down.

    Into the folder go ``config.json``, ``labels.json`` (the numbers of the labelled
    rows), ``examples.json`` (checksums of the data), ``metrics.jsonl`` (a line per
    epoch), ``params.npz``, ``preprocess.npz`` (where there is any) and ``result.json``;
    ``best.npz``, the parameters that were best on validation examples, if any are held
    out; ``checkpoints`` while it trains, and after it the one that was best on them.

    Of several processes the first has the folder, the others a temporary one; all
    have the result.

    A folder in which the same run was begun is resumed, to the same numbers as without
    the stop; one in which it is done gives its result.

    Args:
      config: the settings.
      workdir: the folder.
      dataset: the data, instead of those that the config names; your own arrays are
        made one by ``data.from_arrays``.
      overwrite: whether to start again where it holds an earlier run.
      progress: called after each epoch with its line of metrics and the seconds so far.

    Returns:
      A ``Result``.

    Raises:
      ConfigError: a setting is wrong, or the folder holds something else.
      DataError: the data are.
      Interrupted: SIGTERM or Ctrl-C; what is done is saved.
      NotFiniteError: NaN or infinity in the loss.
      PeerError: another process of the job failed.
      WriteError: a file cannot be written.
    """
    check_progress(progress)
    check_processes(config)
    task = prepare(config, dataset)
    return train_task(config, workdir, task, overwrite=overwrite, progress=progress)


def train_task(
    config: Config,
    workdir: str | os.PathLike[str],
    task: Task,
    *,
    overwrite: bool = False,
    progress: Progress = lambda metrics: None,
) -> Result:
    """Does what ``train_and_evaluate`` does, on data that are prepared already."""
    config = precision.settle(config, task.spec, None if overwrite else workdir)
    program = compile_program(config, task.spec)
    with workfolder.open_run(workdir, config, task.record, overwrite=overwrite) as folder:
        done = multiprocess.broadcast_from_primary(
            lambda: load_result(folder, program.net) if workfolder.is_done(folder) else None
        )
        if done is not None:
            return done
        if multiprocess.is_multiprocess():
            task = _share(config, task, program)
        with Checkpoints(folder / workfolder.CHECKPOINTS, config.keep) as saved:
            evaluator = Evaluator(program.evaluate, task, config.norm_statistics)
            run = Run(program, [Member(config, folder, evaluator)], task.train, saved)
            return train_members(run, progress)[0]


def load_result(folder: pathlib.Path, net: Ladder) -> Result:
    """Reads the result of a run that is done."""
    return Result(*workfolder.load_params(folder, net), workfolder.load_summary(folder))
