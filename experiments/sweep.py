"""Tunes learning rate, noise and denoising costs on held-out examples, with Optuna.

  python -m experiments.sweep --validation=300                   digits, 24 trials
  python -m experiments.sweep --validation=300 --seeds=3 --trials=40 --batch=8
  python -m experiments.sweep --validation=300 --tune=denoising_cost
  python -m experiments.sweep --config=mnist:labels=100 --validation=1000 --data_dir=FOLDER

The first trial is the config itself. The search never uses the test set.
--batch trials are chosen at a time; on an accelerator they are trained as one program.

To resume a stopped sweep, repeat the command with --workdir=FOLDER; to extend a finished
one, give more --trials. A sweep prints a table and writes a plot (sweep.png, sweep.svg), all
trials (sweep.json) and the best trial as a config file (best.py).
Exit status 75: stopped by SIGTERM with progress saved; 130: the same for Ctrl-C.
"""

from __future__ import annotations

import pathlib
import shlex
import sys
import time
from collections.abc import Mapping, Sequence

from absl import flags

from experiments import cli, compare, settings, sweep_report
from experiments.knobs import Knob, knobs, turned
from experiments.members import seeded
from experiments.study import STUDY, Study, load_optuna, open_study
from ladder_jax import data
from ladder_jax.config import Config
from ladder_jax.errors import NotFiniteError
from ladder_jax.run import files, inputs, signals, workfolder

_TRIALS = flags.DEFINE_integer("trials", 24, "Number of trials.", lower_bound=1)
_BATCH = flags.DEFINE_integer(
    "batch",
    4,
    "Number of trials chosen at a time and, on an accelerator, trained together.",
    lower_bound=1,
)
_TUNE = flags.DEFINE_list("tune", list(Config.TRACED), "Settings to tune.")


def run(
    config: Config, dataset: data.Dataset, folder: pathlib.Path, tuned: Sequence[Knob]
) -> sweep_report.Sweep:
    """Trains all remaining trials, batch by batch.

    Args:
      config: the config to tune.
      dataset: data set without test examples.
      folder: folder of the sweep.
      tuned: knobs to tune, as returned by ``knobs``.

    Returns:
      The finished sweep.
    """
    seeds, batch = cli.SEEDS.value, _BATCH.value
    with open_study(folder, tuned, config.seed, {"seeds": seeds, "batch": batch}) as study:
        while True:
            trials = study.trials()
            waiting = any(not trial.done for trial in trials)
            if not waiting and len(trials) >= _TRIALS.value:
                return sweep_report.Sweep(config, tuned, trials, seeds, compare.in_percent(dataset))
            # Batches begin at multiples of their size, wherever the last sweep ended.
            begun = len(trials) - 1 if waiting else len(trials)
            for _ in range(len(trials), min(_TRIALS.value, (begun // batch + 1) * batch)):
                study.ask()
            chosen = {
                trial.number: {
                    f"trial-{trial.number}-{member.seed}": member
                    for member in seeded(turned(config, tuned, trial.values), seeds)
                }
                for trial in study.trials()
                if not trial.done
            }
            train_batch(study, chosen, folder, dataset)


def train_batch(
    study: Study,
    chosen: Mapping[int, Mapping[str, Config]],
    folder: pathlib.Path,
    dataset: data.Dataset,
) -> None:
    """Trains the members of several trials and reports their errors to the study.

    A loss that is not finite stops a whole population. Its trials are then trained one by one,
    and only the trials that cause it are recorded as failed, which is worse than any error.

    Args:
      study: the study that chose the trials.
      chosen: member configs by trial number and name.
      folder: folder of the sweep.
      dataset: data set without test examples.
    """

    def errors(members: Mapping[str, Config]) -> list[float]:
        together = cli.POPULATION.value
        return compare.train_all(
            members, folder, "validation", dataset, together=together, overwrite=False
        )

    all_members = {name: member for members in chosen.values() for name, member in members.items()}
    is_population = compare.is_population(all_members, cli.POPULATION.value)
    if is_population and study.apart.isdisjoint(chosen):
        try:
            values = iter(errors(all_members))
            for number, members in chosen.items():
                study.tell(number, [next(values) for _ in members])
            return
        except NotFiniteError as error:
            print(f"{error} These trials are trained one by one.")
            study.set_apart(list(chosen))
    for number, members in chosen.items():
        try:
            study.tell(number, errors(members))
        except NotFiniteError as error:
            print(f"trial {number}: {error}")
            study.tell(number, None)
    compare.remove_checkpoints(folder)  # left by failed populations


def main() -> None:
    """Reads the flags and runs the sweep; on a signal, stops and says how to resume."""
    config = settings.read_config()
    tuned = knobs(config, _TUNE.value)
    load_optuna()
    workdir = cli.WORKDIR.value or f"runs/sweep-{config.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    cli.local_path(workdir, f"a sweep, whose {STUDY} is SQLite's,")
    settings.keep_programs()
    with signals.at_once():
        # Bad data must stop the run before a folder is created.
        dataset = inputs.load_data(config)
        dataset = dataset._replace(x_test=dataset.x_test[:0], y_test=dataset.y_test[:0])
        settings.check_layers(config, dataset)
        task = inputs.prepare(config, dataset)
        settings.check_held_out("a sweep", task)
        settings.check_members([config], dataset, task)
        overwrite = settings.OVERWRITE.value
        settings.tell_followed(config)
        settings.tell_unsuited(config, dataset, task)
        with workfolder.open_run(workdir, config, task.checksums, overwrite=overwrite) as folder:
            if overwrite:
                compare.remove_runs(folder, "trial")
                for name in (STUDY, *sweep_report.OUTPUTS):
                    files.remove(folder / name)
            with settings.resumable(folder):
                sweep = run(config, dataset, folder, tuned)
            command = shlex.join(["python", "-m", "experiments.sweep", *sys.argv[1:]])
            print(sweep_report.write(folder, sweep, command))


if __name__ == "__main__":
    cli.run(
        main,
        config="digits",
        shared=settings.SHARED,
        about={"workdir": f"{cli.WORKDIR_HELP} Default: runs/sweep-NAME-TIME."},
    )
