"""A sweep's study: Optuna proposes values and is told errors; all is kept in SQLite.

The values of a trial follow from the seed, its number and the trials before it, and are
stored before it is trained: a study that was stopped resumes with the same trials as one
that was not.
"""

from __future__ import annotations

import contextlib
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
    """Holds one choice of values.

    Attributes:
      number: from 0 on.
      values: by the names of the knobs.
      done: whether it has been trained.
      errors: in percent, one per seed; None where a loss was not finite.
    """

    number: int
    values: dict[str, float]
    done: bool
    errors: list[float] | None

    @property
    def error(self) -> float:
        """Returns the mean over the seeds, which the sweep minimises; infinite without errors."""
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
      kept: Optuna's study.
      knobs: what is tuned.
      seed: that trials follow from.
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
        """Returns all trials, by number."""
        errors = self._kept.user_attrs.get("errors", {})
        return [
            Trial(t.number, t.params, t.state.is_finished(), errors.get(str(t.number)))
            for t in self._kept.get_trials(deepcopy=False)
        ]

    def ask(self) -> None:
        """Adds a trial: the first has the config's values, the sampler chooses the others.

        It takes the trials that are not done for bad ones, so as not to choose the
        same again.
        """
        optuna = load_optuna()
        earlier = self._kept.get_trials()
        values = self._first
        if earlier:
            seed = np.random.SeedSequence([self._seed, len(earlier)]).generate_state(1)[0]
            with warnings.catch_warnings():
                # Before version 5 these were experiments.
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                sampler = optuna.samplers.TPESampler(
                    seed=int(seed), multivariate=True, constant_liar=True
                )
            # Values are chosen one by one: not in the file, where a stop could part them.
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
          number: of it.
          errors: in percent, one per seed; None where a loss was not finite, which is
            worse than any error.
        """
        known = self._kept.user_attrs.get("errors", {})
        listed = None if errors is None else list(errors)
        self._kept.set_user_attr("errors", known | {str(number): listed})
        self._kept.tell(number, Trial(number, {}, True, listed).error)

    def set_apart(self, numbers: Sequence[int]) -> None:
        """Notes that trials cannot be trained with others."""
        self._kept.set_user_attr("apart", sorted({*self.apart, *numbers}))

    @property
    def apart(self) -> set[int]:
        """Returns the numbers of the trials that ``set_apart`` noted."""
        return set(self._kept.user_attrs.get("apart", ()))


@contextlib.contextmanager
def open_study(
    folder: pathlib.Path, knobs: Sequence[Knob], seed: int, settings: Mapping[str, Any]
) -> Iterator[Study]:
    """Opens the study in a folder, new or to be resumed.

    Args:
      folder: of the sweep.
      knobs: what is tuned.
      seed: that trials follow from.
      settings: of the sweep, besides the config; those of the study must be the same.

    Yields:
      A ``Study``.

    Raises:
      ConfigError: the folder's study is of other settings or cannot be read, or a file
        cannot be written.
    """
    optuna = load_optuna()
    import sqlalchemy

    path = folder / STUDY
    # The values themselves are checked as a part of the config.
    asked = dict(settings) | {"tune": [knob.name for knob in knobs]}
    try:
        with contextlib.closing(sqlite3.connect(path)) as opened:
            opened.execute("PRAGMA schema_version")  # Optuna leaves one that it cannot read open
        storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
        try:
            kept = optuna.create_study(study_name="sweep", storage=storage, load_if_exists=True)
            workfolder.check_same(folder, kept.user_attrs.get("settings", asked), asked)
            kept.set_user_attr("settings", asked)
            yield Study(kept, knobs, seed)
        finally:  # it does not close its connections by itself
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
