"""What a finished run's ladder does with the examples that it is judged by."""

from __future__ import annotations

import functools
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np

from ladder_jax import data, tasks
from ladder_jax.config import Config, ConfigError
from ladder_jax.metrics_log import read_lines
from ladder_jax.predictor import Predictor, load
from ladder_jax.report.measures import Score
from ladder_jax.types import Array, Ladder, Params
from ladder_jax.workfolder import check_data, data_record, load_summary, read_config

_PART = 4096
"""Rows of which features and estimates are held at a time."""
_NOISY = 256
"""Rows of the noisy pass; its statistics are their own, as in training."""
_UNLABELED = 10_000
"""Unlabelled training examples that are tested, at most."""
_SAMPLE = 100_000
"""Values of a level that its range is taken from."""


class Findings(NamedTuple):
    """A run and what its ladder says.

    Attributes:
      config: the settings.
      summary: ``result.json``.
      lines: ``metrics.jsonl``.
      predictor: the ladder.
      name: of the examples: "test", "validation" or "training".
      rows: ``[n]``, their numbers within the test or the training set.
      x: the examples, read when asked for.
      y: ``[n]``, their classes.
      probabilities: ``[n, classes]``.
      labeled: the labelled training examples.
      y_labeled: their classes.
      unlabeled: how well training examples are recognised whose labels were kept from it;
        None where no label is known of those.
    """

    config: Config
    summary: dict[str, Any]
    lines: list[dict[str, Any]]
    predictor: Predictor
    name: str
    rows: np.ndarray
    x: data.Examples
    y: np.ndarray
    probabilities: np.ndarray
    labeled: data.Examples
    y_labeled: np.ndarray
    unlabeled: Score | None

    @property
    def decoded(self) -> list[int]:
        """The levels that have a combination function."""
        params = self.predictor.trained.params
        return [level for level, of_level in enumerate(params) if of_level.combinator is not None]

    @property
    def taken_for(self) -> np.ndarray:
        """``[n]``, the most probable classes."""
        found: np.ndarray = self.probabilities.argmax(1)
        return found


def _check_data(folder: pathlib.Path, predictor: Predictor, dataset: data.Dataset) -> None:
    """That a data set can be that of the run."""
    shape = tuple(dataset.x_train.shape[1:])
    if (predictor.example_shape, predictor.class_names) != (shape, tuple(dataset.class_names)):
        raise ConfigError(
            f"{folder} was trained on examples of shape {predictor.example_shape} and "
            f"{len(predictor.class_names)} classes, but {dataset.name} has {shape} and "
            f"{len(dataset.class_names)}; give the data that it was trained on."
        )


def _probabilities(predictor: Predictor, x: data.Examples) -> np.ndarray:
    parts = [predictor(x[i : i + _PART]).probabilities for i in range(0, len(x), _PART)]
    return np.concatenate(parts)


def _of_unlabeled(
    predictor: Predictor, dataset: data.Dataset, rows: np.ndarray, seed: int
) -> Score | None:
    """The score of rows that training had without their labels, or of some if there are many."""
    known = rows[dataset.y_train[rows] >= 0]
    if not len(known):
        return None
    some = np.sort(np.random.default_rng(seed).permutation(known)[:_UNLABELED])
    found = _probabilities(predictor, data.Rows(dataset.x_train, some)).argmax(1)
    drawn = f", drawn from {len(known)}" if len(some) < len(known) else ""
    return Score(
        f"unlabelled training examples{drawn}",
        int((found != dataset.y_train[some]).sum()),
        len(some),
    )


def find(folder: pathlib.Path, dataset: data.Dataset) -> Findings:
    """Asks the ladder of a finished run.

    Args:
      folder: of the run.
      dataset: what it was trained on.

    Raises:
      ConfigError: the folder holds no finished run, or one on other data.
    """
    predictor, config = load(folder), read_config(folder)
    _check_data(folder, predictor, dataset)
    labeled, kept, held_out = tasks.choose_rows(config, dataset)
    record = data_record(labeled, tasks.checksums(dataset))
    del record["test examples"]  # a sweep trains without any
    check_data(folder, record, "give the data that it was trained on")
    name, every, y, rows = "training", dataset.x_train, dataset.y_train, labeled
    if len(held_out):
        name, rows = "validation", held_out
    if len(dataset.y_test):
        name, every, y = "test", dataset.x_test, dataset.y_test
        rows = np.arange(len(y))
    x = data.Rows(every, rows)
    return Findings(
        config,
        load_summary(folder),
        read_lines(folder),
        predictor,
        name,
        rows,
        x,
        y[rows],
        _probabilities(predictor, x),
        data.Rows(dataset.x_train, labeled),
        dataset.y_train[labeled],
        _of_unlabeled(predictor, dataset, np.setdiff1d(kept, labeled), config.seed),
    )


class NoisyPass(NamedTuple):
    """What noise does to examples, and what the decoder makes of it.

    Attributes:
      clean: ``[n, *input_shape]``, as the ladder takes them.
      noisy: the same, noise added.
      estimate: z_hat of level 0, or None if that is not decoded.
      ranges: by level, the 1st and the 99th percentile of the noisy z.
    """

    clean: np.ndarray
    noisy: np.ndarray
    estimate: np.ndarray | None
    ranges: list[tuple[float, float]]

    def distance(self, x: np.ndarray) -> float:
        """The mean squared distance of inputs from the clean ones."""
        return float(np.mean(np.square(x - self.clean)))


def _pass(
    net: Ladder, params: Params, x: Array, noise: tuple[Array, ...]
) -> tuple[Array, Array | None, list[Array]]:
    """The noisy inputs, z_hat of level 0, and some of each level's noisy z."""
    clean, noisy = net.encode(params, x), net.encode(params, x, noise)
    some = [z.reshape(-1)[:: max(1, z.size // _SAMPLE)] for z in noisy.z]
    return noisy.z[0], net.decode(params, noisy, clean).z_hat[0], some


def noisy_pass(findings: Findings) -> NoisyPass | None:
    """Examples with the noise of a training step, normalised among themselves as there.

    Args:
      findings: of the run.

    Returns:
      A ``NoisyPass`` of the first 256 examples; None of a single one.
    """
    predictor = findings.predictor
    x = predictor.prepared(findings.x[:_NOISY])
    if len(x) < 2:
        return None
    rng = np.random.default_rng(findings.config.seed)  # in NumPy nothing is to be compiled
    noise = [rng.standard_normal((len(x), *shape), np.float32) for shape in predictor.net.shapes]
    once = jax.jit(functools.partial(_pass, predictor.net))
    noisy, estimate, some = once(predictor.trained.params, x, tuple(noise))
    estimate = None if estimate is None else np.asarray(estimate)
    ranges = [(float(np.percentile(z, 1)), float(np.percentile(z, 99))) for z in some]
    return NoisyPass(x, np.asarray(noisy), estimate, ranges)
