"""Training loop for one ladder or a population, and the run folder that it writes."""

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
from ladder_jax.run.inputs import Task, check_spread, known_labels, prepare, with_labels
from ladder_jax.run.program import Program, compile_program
from ladder_jax.training import BatchSizes, Metrics, TrainState
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

    The only training loop of the project: no files, no signals, no clock. A yielded state
    is donated to the next epoch.

    Args:
      program: result of ``compile_program``.
      state: state after ``start`` epochs.
      data: training data, as ``program.epoch`` takes them.
      start: number of epochs already done.
      stop: number of the last epoch.
      together: whether to run epochs of few steps as one program; the yielded state is then
        the one after the last of them.
    """
    if together and program.together > 1:
        for before in range(start, stop, program.together):
            number = min(program.together, stop - before)
            state, stacked = program.epochs(state, data, number)
            stacked = jax.device_get(stacked)
            for i in range(number):
                yield before + i + 1, state, {name: values[i] for name, values in stacked.items()}
        return
    for epoch in range(start + 1, stop + 1):
        state, metrics = program.epoch(state, data)
        yield epoch, state, jax.device_get(metrics)


def metrics_line(epoch: int, metrics: Metrics) -> Line:
    """Returns a line of ``metrics.jsonl``: the epoch's number and its mean metrics."""
    rounded = {name: np.asarray(value).round(7).tolist() for name, value in metrics.items()}
    return {"epoch": epoch} | rounded


class Result(NamedTuple):
    """Holds the result of a run.

    Attributes:
      params: parameters of the ladder.
      statistics: batch statistics that normalise predictions.
      decoder_statistics: batch statistics that normalise the decoder's signals u, for
        examples one at a time.
      summary: errors, settings and origin of the run, as in ``result.json``.
    """

    params: Params
    statistics: Statistics
    decoder_statistics: Statistics
    summary: dict[str, Any]


class Member(NamedTuple):
    """Holds one of several ladders that are trained together, or the only one."""

    config: Config
    folder: pathlib.Path  # of the member's run
    evaluator: Evaluator  # for the member's task


class Run(NamedTuple):
    """Holds the members that are trained together, and their checkpoints."""

    program: Program  # shared by all members
    members: Sequence[Member]  # at least one; the config of each has the shared settings
    data: Any  # as ``program.epoch`` takes them
    sizes: BatchSizes  # rows per step
    saved: Checkpoints  # of all members together

    def start(self) -> tuple[TrainState, RunProgress]:
        """Returns the newest good checkpoint, or the initial state of the seeds."""
        keys = [jax.random.key(member.config.seed) for member in self.members]
        fresh = self.program.init(keys[0] if self.program.members is None else jnp.stack(keys))
        lines = min(workfolder.lines_in(member.folder) for member in self.members)
        return self.saved.restore(fresh, lines) or (fresh, RunProgress())

    def evaluate(self, state: TrainState) -> list[Evaluation]:
        """Evaluates each member of a state."""
        return [
            member.evaluator.evaluate(self.program.params(self.program.member(state, k)))
            for k, member in enumerate(self.members)
        ]


class _Actions(NamedTuple):
    """Lists the actions due after an epoch; the same in all processes."""

    save: bool  # whether to save a checkpoint
    best: bool  # whether the validation error is the lowest so far
    better: list[int]  # members whose own validation error is their lowest so far
    wrong: list[int]  # members with non-finite values
    signal: int  # number of the signal to stop, or 0


def _improves(line: Line, best: Best | None) -> bool:
    """Returns whether a line has the lowest validation error so far."""
    return "validation_error" in line and (best is None or line["validation_error"] < best[1])


def _means(lines: Sequence[Line]) -> Line:
    """Returns the mean of each metric over the members."""
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
    """Decides what to save; the same policy for a run and for a population.

    A state is saved when a checkpoint is due (``late``), when its validation error (for a
    population, the mean over the members) is the lowest so far, and when a signal stops
    the run. A state that is saved must be finite, and so must the last one.
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
    flags = np.array(agreed[3:]).reshape(2, len(lines))
    return _Actions(
        save=any(agreed[:3]),
        best=bool(agreed[1]),
        better=np.flatnonzero(flags[0]).tolist(),
        wrong=np.flatnonzero(flags[1]).tolist(),
        signal=agreed[2],
    )


def _advanced(
    reached: RunProgress, lines: Sequence[Line], actions: _Actions, seconds: float
) -> RunProgress:
    """Returns the progress of a run after an epoch."""
    number, best, bests = lines[0]["epoch"], reached.best, reached.bests
    if actions.best:
        best = number, float(_means(lines)["validation_error"])
    if actions.better:  # the first time, all members are
        bests = tuple(
            (number, float(line["validation_error"])) if k in actions.better else bests[k]
            for k, line in enumerate(lines)
        )
    return RunProgress(number, seconds, best, bests)


def _spread_labels(run: Run, state: TrainState, share: float, epoch: int) -> np.ndarray:
    """Spreads the labels of a run to a share of its rows, from the features after an epoch."""
    evaluator = run.members[0].evaluator
    features = evaluator.features(run.program.params(state))
    if not nan_search.is_finite(features):
        raise NotFiniteError(
            f"NaN or infinity in the activations after epoch {epoch}, whose neighbours "
            "spread_labels needs; give a lower learning rate or noise."
        )
    return data.spread_labels(features, known_labels(evaluator.task), share)


def _at_stage(run: Run, state: TrainState, epoch: int) -> Run:
    """Returns a run as it goes on after an epoch, with the labels of its stage.

    A stage that begins spreads the labels anew and writes them to the run's folder, from where a
    run that resumes within the stage reads them.
    """
    config, folder, evaluator = run.members[0]
    begun = [stage for stage in config.spread_stages if stage[0] <= epoch]
    if not begun:
        return run
    first, share = begun[-1]
    if first < epoch:
        labels = workfolder.read_spread(folder, first)
    else:
        labels = _spread_labels(run, state, share, epoch)
        workfolder.write_spread(folder, first, labels)
    task = with_labels(config, evaluator.task, labels)
    program = compile_program(config, task.spec)
    return run._replace(program=program, data=task.train, sizes=task.sizes)


def _stages(
    run: Run, state: TrainState, *, start: int, stop: int
) -> Iterator[tuple[int, TrainState, Metrics]]:
    """Yields what ``epochs`` does; with ``spread_labels``, each stage has its own labels."""
    begins = [epoch for epoch, _ in run.members[0].config.spread_stages]
    while start < stop:
        stage = _at_stage(run, state, start)
        end = min([epoch for epoch in begins if epoch > start], default=stop)
        trained = epochs(stage.program, state, stage.data, start=start, stop=min(end, stop))
        for start, state, metrics in trained:
            yield start, state, metrics


def _train(run: Run, progress: Progress) -> tuple[TrainState, RunProgress, list[Evaluation]]:
    """Trains the remaining epochs, each with a line in every member's metrics file."""
    config, evaluations = run.members[0].config, list[Evaluation]()
    state, reached = run.start()
    started = saved_at = time.perf_counter()
    before, stop = reached.seconds, config.epochs
    with contextlib.ExitStack() as stack:
        stopped = stack.enter_context(signals.deferred())
        logs = [
            stack.enter_context(files.Log(member.folder / workfolder.METRICS, reached.epoch))
            for member in run.members
        ]
        remaining = _stages(run, state, start=reached.epoch, stop=stop)
        for epoch, state, metrics in remaining:
            evaluations = []
            lines = [metrics_line(epoch, run.program.member(metrics, k)) for k in range(len(logs))]
            if epoch % config.eval_every == 0 or epoch == stop:
                evaluations = run.evaluate(state)
                lines = [
                    line | evaluated.errors
                    for line, evaluated in zip(lines, evaluations, strict=True)
                ]
            now = time.perf_counter()
            late = now - saved_at >= config.checkpoint_seconds and not run.saved.busy
            actions = _next_actions(run, state, lines, reached, late=late, signal=stopped() or 0)
            if actions.wrong:
                raise _not_finite(run, epoch, actions.wrong)
            reached = _advanced(reached, lines, actions, before + now - started)
            better = [(run.members[k], evaluations[k]) for k in actions.better]
            bests = [
                (m.folder / workfolder.BEST, m.evaluator.trained(evaluated))
                for m, evaluated in better
            ]
            with multiprocess.together():
                for log, line in zip(logs, lines, strict=True):
                    log.append(line)
                progress(_means(lines) | {"seconds": round(reached.seconds, 2)})
                for path, trained in bests:
                    workfolder.save_params(path, trained)
                if actions.save:
                    for log in logs:  # to survive a crash, like the checkpoint
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
    """Tests a ladder and writes its parameters and ``result.json``."""
    started = time.perf_counter()
    config, folder, evaluator = member
    task, trained = evaluator.task, evaluator.trained(evaluation)
    best = reached.bests[k] if reached.bests else None
    scaling = task.scaling and {"mean": task.scaling.mean, "scale": task.scaling.scale}
    summary = {
        "dataset": task.dataset,
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
        files.write_json(folder / "result.json", summary)  # marks the run as done
    return Result(*trained, summary)


def train_members(run: Run, progress: Progress) -> list[Result]:
    """Trains the remaining epochs, tests each member and keeps only the best checkpoint."""
    for member in run.members:
        workfolder.begin(member.folder, member.evaluator.task.preprocessing)
    state, reached, evaluations = _train(run, progress)
    evaluations = evaluations or run.evaluate(state)
    steps = int(run.program.member(state.step, 0))
    results = [
        _finish(member, evaluated, reached, steps, k)
        for k, (member, evaluated) in enumerate(zip(run.members, evaluations, strict=True))
    ]
    with multiprocess.together():
        run.saved.finish(reached.best and reached.best[0])
    return results


def check_progress(progress: object) -> None:
    """Checks, before training, that the progress callback is callable."""
    if not callable(progress):
        raise TypeError(
            f"progress is of type {type(progress).__name__}; give a function of the epoch's "
            "metrics."
        )


def check_processes(config: Config, *, together: bool = False) -> None:
    """Checks that a job of several processes can train this run, or population (``together``)."""
    if multiprocess.is_multiprocess() and not config.resident:
        raise ConfigError(
            "resident is False; several processes train only on resident data: leave it out, or "
            "start one process."
        )
    if multiprocess.is_multiprocess() and config.spread_labels:
        raise ConfigError(
            f"spread_labels is {config.spread_labels!r}; several processes keep the labels that "
            "they have: leave it out, or start one process."
        )
    if multiprocess.is_multiprocess() and together:
        raise ConfigError(
            "a population is trained by a single process; train its members one after another, "
            "each on all devices."
        )


def _share(config: Config, task: Task, program: Program) -> Task:
    """Replicates the examples over all processes, which must have read the same ones."""
    checksum = zlib.crc32(repr(workfolder.deciding(config)).encode())
    arrays = task.train, task.test, task.validation
    for leaf in jax.tree.leaves(arrays):
        checksum = zlib.crc32(np.ascontiguousarray(leaf).data, checksum)
    checksum >>= 1  # to fit int32
    high, low = multiprocess.all_reduce_max(checksum, -checksum)
    if high != -low:
        raise ConfigError(
            "the processes have different data or settings; start all of them with the same "
            "settings and the same data files."
        )
    train, test, validation = parallel.replicate(program.mesh, arrays)
    if task.train.labeled is task.train.unlabeled:  # stored only once
        train = train._replace(labeled=train.unlabeled)
    return task._replace(train=train, test=test, validation=validation)


def _not_finite(run: Run, epoch: int, wrong: Sequence[int]) -> NotFiniteError:
    """Returns the error for a non-finite epoch; a single run repeats it to find the origin."""
    program, saved = run.program, run.saved
    if program.members is not None:
        names = ", ".join(run.members[k].folder.name for k in wrong)
        note = f"; checkpoints up to epoch {saved.epochs[-1]} are kept" if saved.epochs else ""
        return NotFiniteError(
            f"NaN or infinity in epoch {epoch} of {names}{note}. Train such a member by "
            "itself to learn the step and the level, or leave it out."
        )
    state, reached = run.start()
    for _, later, _ in _stages(run, state, start=reached.epoch, stop=epoch - 1):
        state = later
    stage = _at_stage(run, state, epoch - 1)
    program = stage.program
    origin = nan_search.find_origin(
        program.trained_net, program.step, state, stage.data, stage.sizes, program.batch
    )
    good = saved.folder / str(reached.epoch) if reached.epoch else None
    largest = nan_search.largest_input(run.data)
    return NotFiniteError(
        multiprocess.broadcast_from_primary(
            lambda: nan_search.message(origin, epoch, good, run.members[0].config, largest)
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
    """Trains one ladder, tests it and writes everything to a folder.

    The folder gets ``config.json``, ``labels.json`` (indices of the labelled rows),
    ``examples.json`` (checksums of the data), ``metrics.jsonl`` (one line per epoch),
    ``params.npz``, ``preprocess.npz`` (if examples are preprocessed) and ``result.json``.
    If validation examples are held out, ``best.npz`` holds the parameters with the lowest
    validation error. ``spread_labels`` holds the classes that rows have in each stage of
    ``config.spread_labels``. ``checkpoints`` exist during training; after it, only the best on
    validation remains.

    With several processes, the first one has the folder and the others a temporary one;
    all return the result.

    If the folder holds the same run, unfinished, training resumes and gives the same
    numbers as without the interruption; if that run is done, its result is returned.

    Args:
      config: settings of the run.
      workdir: folder of the run.
      dataset: data set to use instead of the one that the config names;
        ``data.from_arrays`` makes one from your own arrays.
      overwrite: whether to start afresh if the folder holds an earlier run.
      progress: function called after each epoch with its line of metrics and the seconds
        so far.

    Returns:
      A ``Result``.

    Raises:
      ConfigError: a setting is wrong, or the folder holds something else.
      DataError: the data are wrong.
      Interrupted: SIGTERM or Ctrl-C arrived; the finished epochs are saved.
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
    """Trains as ``train_and_evaluate`` does, on data that are already prepared."""
    check_spread(config, task)
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
            members = [Member(config, folder, evaluator)]
            run = Run(program, members, task.train, task.sizes, saved)
            return train_members(run, progress)[0]


def load_result(folder: pathlib.Path, net: Ladder) -> Result:
    """Loads the result of a finished run."""
    return Result(*workfolder.load_params(folder, net), workfolder.load_summary(folder))
