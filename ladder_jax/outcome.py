"""What a run writes down beside its metrics: its rows before, its result after."""

from __future__ import annotations

import pathlib
import time
from typing import Any, NamedTuple

from ladder_jax import parallel
from ladder_jax.checkpoints import Best
from ladder_jax.data import preprocessing
from ladder_jax.epochs import Member
from ladder_jax.evaluation import Evaluation
from ladder_jax.files import replacing, write_json
from ladder_jax.stored import load_params, save_params
from ladder_jax.tasks import Task
from ladder_jax.types import Ladder, Params, Statistics
from ladder_jax.workfolder import commit, load_summary, origin, versions


class Result(NamedTuple):
    """What a run ends with.

    Attributes:
      params: of the ladder.
      statistics: what prediction is normalised with.
      decoder_statistics: what the decoder is, where rows come one by one.
      summary: figures and circumstances, as in ``result.json``.
    """

    params: Params
    statistics: Statistics
    decoder_statistics: Statistics
    summary: dict[str, Any]


def begin(folder: pathlib.Path, task: Task, chain: str) -> None:
    """Writes down what the rows of a run have been through.

    Args:
      folder: of the run.
      task: its data.
      chain: the config's ``preprocess``.
    """
    commit()  # kept: that of the start, as files may change while it trains
    with parallel.together():
        if chain != "none":
            with replacing(folder / "preprocess.npz") as path:
                preprocessing.save(path, task.preprocessing)


def finish(
    member: Member, found: Evaluation, steps: int, seconds: float, best: Best | None
) -> Result:
    """Tests a ladder and writes down what came of its run.

    Args:
      member: of what was trained.
      found: its last evaluation.
      steps: of its last state.
      seconds: of training.
      best: its best evaluation on validation examples.
    """
    started = time.perf_counter()
    config, folder, task, evaluator = member
    trained = evaluator.trained(found)
    summary = {
        "dataset": config.dataset,
        "labels": len(task.labeled),
        "seed": config.seed,
        "class_names": task.class_names,
        "example_shape": task.example_shape,
        "scale": task.preprocessing.scale,
        **evaluator.errors(found),
        **({} if best is None else {"best_epoch": best[0]}),
        "steps": steps,
        "seconds": round(seconds + time.perf_counter() - started, 2),
        **origin(),
        "versions": versions(),
    }
    with parallel.together():
        save_params(folder / "params.npz", trained)
        write_json(folder / "result.json", summary)
    return Result(*trained, summary)


def is_done(folder: pathlib.Path) -> bool:
    """Whether the run in a folder is."""
    return (folder / "result.json").exists()


def load(folder: pathlib.Path, net: Ladder) -> Result:
    """The result of a run that is done.

    Args:
      folder: of the run.
      net: its ladder.
    """
    return Result(*load_params(folder, net), load_summary(folder))
