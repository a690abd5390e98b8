"""Study of a sweep: Optuna proposes values and receives errors, stored in SQLite.

The values of a trial are determined by the seed, its number and the trials before it, and are
stored before it is trained: a resumed study has the same trials as an uninterrupted one.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import math
import pathlib
import sqlite3
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.knobs import Knob
from ladder_jax.errors import ConfigError
from ladder_jax.report.measures import over_seeds
from ladder_jax.run import workfolder

STUDY = "study.db"


class Trial(NamedTuple):
    """Holds one trial: a choice of values and its errors.

    Attributes:
      number: number of the trial, from 0.
      values: tuned values by the names of the knobs.
      done: whether the trial has been trained.
      errors: one error per seed, in percent, or RMSE for numbers; None if a loss was not finite.
    """

    number: int
    values: dict[str, float]
    done: bool
    errors: list[float] | None

    @property
    def error(self) -> float:
        """Returns the mean error over the seeds, which the sweep minimises; infinity if None."""
        return math.inf if self.errors is None else over_seeds(self.errors).mean


def load_optuna() -> Any:
    """Imports Optuna, an optional package, with its output silenced.

    Raises:
      ConfigError: it is not installed.
    """
    if importlib.util.find_spec("optuna") is None:
        raise ConfigError(
            "optuna is not installed, and a sweep needs it: pip install -e '.[sweep]'."
        )
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


class Study:
    """Holds the trials of a sweep.

    Args:
      kept: the stored Optuna study.
      knobs: the numbers to tune.
      seed: seed of the trials.
    """

    def __init__(self, kept: Any, knobs: Sequence[Knob], seed: int) -> None:
        optuna = load_optuna()
        self._kept, self._seed = kept, seed
        self._first = {knob.name: knob.value for knob in knobs}
        self._space = {
            knob.name: optuna.distributions.FloatDistribution(*knob.range, log=True)
            for knob in knobs
        }

    def trials(self) -> list[Trial]:
        """Returns all trials, in order of their numbers."""
        errors = self._kept.user_attrs.get("errors", {})
        return [
            Trial(t.number, t.params, t.state.is_finished(), errors.get(str(t.number)))
            for t in self._kept.get_trials(deepcopy=False)
        ]

    def ask(self) -> None:
        """Adds a trial: the first has the config's values, the sampler chooses the others.

        The sampler treats unfinished trials as bad ones, so that it does not choose the same
        values again.
        """
        optuna = load_optuna()
        earlier = self._kept.get_trials()
        values = self._first
        if earlier:
            seed = np.random.SeedSequence([self._seed, len(earlier)]).generate_state(1)[0]
            with warnings.catch_warnings():
                # These options were experimental before version 5.
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                sampler = optuna.samplers.TPESampler(
                    seed=int(seed), multivariate=True, constant_liar=True
                )
            # Values are chosen one by one, in memory: an interruption must not store part of them.
            scratch = optuna.create_study(sampler=sampler)
            scratch.add_trials(earlier)
            values = scratch.ask(self._space).params
        running = optuna.trial.TrialState.RUNNING
        self._kept.add_trial(
            optuna.trial.create_trial(state=running, params=values, distributions=self._space)
        )

    def tell(self, number: int, errors: Sequence[float] | None) -> None:
        """Stores the errors of a trial.

        Args:
          number: number of the trial.
          errors: errors of the trial, as in ``Trial``; None is worse than any error.
        """
        known = self._kept.user_attrs.get("errors", {})
        error_list = None if errors is None else list(errors)
        self._kept.set_user_attr("errors", known | {str(number): error_list})
        self._kept.tell(number, Trial(number, {}, True, error_list).error)

    def set_apart(self, numbers: Sequence[int]) -> None:
        """Records that trials cannot be trained together with others."""
        self._kept.set_user_attr("apart", sorted({*self.apart, *numbers}))

    @property
    def apart(self) -> set[int]:
        """Returns the numbers of the trials that ``set_apart`` recorded."""
        return set(self._kept.user_attrs.get("apart", ()))


@contextlib.contextmanager
def open_study(
    folder: pathlib.Path, knobs: Sequence[Knob], seed: int, settings: Mapping[str, Any]
) -> Iterator[Study]:
    """Opens the study in a folder, to start or resume it.

    Args:
      folder: folder of the sweep.
      knobs: the numbers to tune.
      seed: seed of the trials.
      settings: settings of the sweep in addition to the config; a resumed study must have the
        same.

    Yields:
      A ``Study``.

    Raises:
      ConfigError: the folder's study has other settings or cannot be read, or a file cannot be
        written.
    """
    optuna = load_optuna()
    import sqlalchemy

    path = folder / STUDY
    # The tuned values themselves are checked as part of the config.
    requested = dict(settings) | {"tune": [knob.name for knob in knobs]}
    try:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            # Fails on a corrupt file, which Optuna would leave open.
            connection.execute("PRAGMA schema_version")
        # Some characters of a path would have a meaning in the URL.
        connect = functools.partial(sqlite3.connect, path, check_same_thread=False)
        storage = optuna.storages.RDBStorage(f"sqlite:///{STUDY}", {"creator": connect})
        try:
            kept = optuna.create_study(study_name="sweep", storage=storage, load_if_exists=True)
            workfolder.check_same(folder, kept.user_attrs.get("settings", requested), requested)
            kept.set_user_attr("settings", requested)
            yield Study(kept, knobs, seed)
        finally:  # the storage does not close its connections by itself
            storage.remove_session()
            storage.engine.dispose()
    except (
        sqlite3.Error,
        sqlalchemy.exc.SQLAlchemyError,
        optuna.exceptions.OptunaError,
    ) as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise ConfigError(
            f"{path} cannot be read or written ({reason}); give another folder, or --overwrite to "
            "replace what is in it."
        ) from error
