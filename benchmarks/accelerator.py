"""Measures ladders on an accelerator, in one command of less than nine minutes.

  python -m benchmarks.accelerator --workdir=DIR --data_dir=FOLDER
  python -m benchmarks.accelerator --workdir=DIR --torch_python=../peer-torch/bin/python

Measures the step of the paper's ladder, of the supervised net and of compiled PyTorch in
float32, tf32 and bfloat16, next to the card's matrix product; the kernels that take
longest; and the training of several seeds as one population: MNIST with 100 labels, or
the digits without --data_dir. Each part is a JSON file in --workdir. A part whose file
exists is not measured again; running the same command again measures the parts that
--limit_s left no time for.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import importlib.util
import itertools
import json
import pathlib
import signal
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from absl import flags

from benchmarks import paper, table, timers
from benchmarks.sizes import Sizes
from benchmarks.workers import Worker, WorkerError
from experiments import cli, configs, members
from ladder_jax import data
from ladder_jax.config import Config
from ladder_jax.errors import ConfigError, Interrupted
from ladder_jax.population import train_population
from ladder_jax.run import files, workfolder

_LIMIT = flags.DEFINE_float("limit_s", 540.0, "Seconds that the command may take.", lower_bound=1)
_MODEL = flags.DEFINE_enum(
    "model",
    "full",
    ["full", "tuned", "wide"],
    "Which row of MNIST is trained: the paper's, or ours.",
)
_MEMBERS = flags.DEFINE_integer("members", 10, "Seeds trained together.", lower_bound=1)
_PYTHON = flags.DEFINE_string(
    "torch_python", None, "A Python that has PyTorch. Default: this one, if it has PyTorch."
)

Part = dict[str, Any]
Left = Callable[[], float]

ROUNDS = 5
"""Number of rounds in which each step is timed."""
LEAST = 60.0
"""Seconds that must be left to begin a part: compilation cannot be interrupted."""
KERNELS = 5
"""Number of kernels reported."""
_MATRIX = 8192
"""Side of the matrices on an accelerator: a smaller product ends before the next is sent."""


class Precision(NamedTuple):
    """Holds the settings of a matrix product's precision.

    Attributes:
      products: value of ``jax.default_matmul_precision``.
      dtype: dtype of the factors, the value of ``Config.compute_dtype``.
    """

    products: str
    dtype: str


PRECISIONS = {
    "float32": Precision("float32", "float32"),
    "tf32": Precision("tensorfloat32", "float32"),
    "bfloat16": Precision("default", "bfloat16"),
}


def in_precision(timer: timers.Timer, precision: Precision) -> timers.Timer:
    """Returns the timer, run with matrix products in that precision."""

    def run() -> float:
        with jax.default_matmul_precision(precision.products):
            return timer()

    return run


def start_torch(
    name: str, sizes: Sizes, python: str | None, stack: contextlib.ExitStack
) -> Worker | str:
    """Starts the PyTorch worker in a precision, or returns the reason that it cannot run."""
    if python is None and importlib.util.find_spec("torch") is None:
        return "not measured: give --torch_python=..."
    try:
        settings = paper.peer_settings(sizes) | {"precision": name}
        worker = Worker("benchmarks.peers.torch_precision_worker", settings, python)
    except WorkerError as error:
        return f"not measured: {error}"
    stack.callback(worker.close)
    return worker


def measure_steps(name: str, sizes: Sizes, rounds: int, python: str | None) -> Part:
    """Times the steps and the matrix products of one precision in the same rounds."""
    precision, rows = PRECISIONS[name], sizes.rows
    examples = timers.random_data(sizes.steps * rows, sizes.widths[0], rows)
    nets = {
        "ladder": timers.full_ladder(sizes.widths),
        "supervised": timers.supervised_net(sizes.widths),
    }
    jax_timers = {"peak": timers.matrix_timer(sizes.matrix, 10, precision.dtype)} | {
        net: timers.epoch_timer(
            dataclasses.replace(config, compute_dtype=precision.dtype), examples, rows
        )
        for net, config in nets.items()
    }
    all_timers = {net: in_precision(timer, precision) for net, timer in jax_timers.items()}
    with contextlib.ExitStack() as stack:
        torch = start_torch(name, sizes, python, stack)
        if isinstance(torch, Worker):
            all_timers |= {f"torch:{timer}": torch.timer(timer) for timer in ("peak", "step")}
        medians = timers.interleaved(all_timers, rounds)
        facts = {} if isinstance(torch, str) else torch.facts
        note = torch if isinstance(torch, str) else ", ".join(map(" ".join, facts.items()))
    return {"group": step_rows(name, sizes, medians, note).as_json()}


def step_rows(
    name: str, sizes: Sizes, medians: Mapping[str, float], torch_note: str
) -> table.Group:
    """Makes the rows of one precision.

    Args:
      name: name of the precision.
      sizes: sizes that were timed.
      medians: seconds by timer; PyTorch's may be missing.
      torch_note: note on PyTorch's row.
    """
    operations = timers.useful_operations(sizes.rows, sizes.widths)

    def row(title: str, seconds: float, peak: float | None, note: str = "") -> table.Row:
        rate = None if peak is None else timers.gflops(operations, seconds)
        part = None if rate is None or peak is None else rate / peak
        ratio = seconds / medians["ladder"]
        return table.Row(title, 1000 * seconds, ratio, rate, part, note=note)

    product = 2 * sizes.matrix**3
    peaks = {
        library: timers.gflops(product, medians[timer])
        for library, timer in (("XLA's", "peak"), ("PyTorch's", "torch:peak"))
        if timer in medians
    }
    rows = [
        row("ladder", medians["ladder"], peaks["XLA's"]),
        row("supervised net", medians["supervised"], None),
    ]
    title = "PyTorch, compiled"
    if "torch:step" in medians:
        rows.append(row(title, medians["torch:step"], peaks["PyTorch's"], torch_note))
    else:
        rows.append(table.Row(title, note=torch_note))
    rows += [
        table.Row(f"{library} matrix peak ({sizes.matrix}^3)", gflops=peak, peak=1.0)
        for library, peak in peaks.items()
    ]
    return table.Group(name, "the ladder", rows)


def kernel_times(profile: pathlib.Path) -> dict[str, float]:
    """Returns the seconds of each kernel in a profile; on a CPU, of each XLA operation.

    Args:
      profile: ``.xplane.pb`` file written by ``jax.profiler.trace``.
    """
    planes = list(jax.profiler.ProfileData.from_file(str(profile)).planes)
    devices = [plane for plane in planes if plane.name.startswith("/device:")]
    seconds: collections.Counter[str] = collections.Counter()
    for plane in devices or planes:
        for line in plane.lines:
            if devices and not line.name.startswith("Stream"):  # the other lines are sums of these
                continue
            for event in line.events:
                if any(name == "hlo_op" for name, _ in event.stats):
                    seconds[event.name] += event.duration_ns / 1e9
    return dict(seconds)


def measure_kernels(sizes: Sizes) -> Part:
    """Profiles one epoch of the ladder in float32 and returns the kernels that take longest."""
    examples = timers.random_data(sizes.steps * sizes.rows, sizes.widths[0], sizes.rows)
    timer = timers.epoch_timer(timers.full_ladder(sizes.widths), examples, sizes.rows)
    timer()  # compiles
    with tempfile.TemporaryDirectory() as name:
        with jax.profiler.trace(name):
            timer()
        (profile,) = pathlib.Path(name).rglob("*.xplane.pb")
        with warnings.catch_warnings():
            # Python 3.12 warns so about a type in jaxlib 0.11.
            warnings.filterwarnings("ignore", ".*has no __module__", DeprecationWarning)
            seconds = kernel_times(profile)
    largest = sorted(seconds, key=lambda kernel: -seconds[kernel])[:KERNELS]
    total = sum(seconds.values())
    return {
        "kernels": {kernel: 1000 * seconds[kernel] / sizes.steps for kernel in largest},
        "shares": {kernel: seconds[kernel] / total for kernel in largest},
        "from": "a trace of jax.profiler",
    }


def train(
    population: Mapping[str, Config], folder: pathlib.Path, dataset: data.Dataset, left: Left
) -> Part:
    """Trains the seeds as one population until they finish or time runs out.

    Args:
      population: configs by name.
      folder: folder of their runs; an interrupted population is resumed.
      dataset: data that the seeds are trained and tested on.
      left: returns the seconds left.
    """
    lines: list[dict[str, Any]] = []
    times, stop_epochs = [time.monotonic()], list[int]()

    def progress(line: dict[str, Any]) -> None:
        lines.append(line)
        times.append(time.monotonic())
        # Training stops after the next epoch and saves a checkpoint.
        if not stop_epochs and left() < 3 * (times[-1] - times[-2]):
            stop_epochs.append(line["epoch"])
            signal.raise_signal(signal.SIGTERM)

    epochs = next(iter(population.values())).epochs
    try:
        results = train_population(population, folder, dataset=dataset, progress=progress)
    except Interrupted as stop:
        if not stop_epochs or stop.number != signal.SIGTERM:
            raise
        errors = [line["test_error"] for line in lines if "test_error" in line]
        outcome = {"epochs": lines[-1]["epoch"], "seconds": lines[-1]["seconds"]}
        outcome |= {"test_error": errors[-1]} if errors else {}
    else:
        test_errors = [result.summary["test_error"] for result in results.values()]
        seconds = max(result.summary["seconds"] for result in results.values())
        outcome = {
            "epochs": epochs,
            "seconds": seconds,
            "test_error": statistics.fmean(test_errors),
        }
        outcome |= {"errors": test_errors}
    epoch_times = [after - previous for previous, after in itertools.pairwise(times[1:])]
    outcome |= {"epoch_seconds": statistics.median(epoch_times)} if epoch_times else {}
    return outcome | {"of": epochs, "seeds": len(population), "done": "errors" in outcome}


def read(path: pathlib.Path, device: str) -> Part | None:
    """Reads a measured part; returns None if its file does not exist.

    Raises:
      ConfigError: the part was measured on another device, or cannot be read.
    """
    text = files.read_bytes(path)
    if text is None:
        return None
    try:
        part: Part = json.loads(text)
        other = part["device"]
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path} is not of this command; remove it.") from error
    if other != device:
        raise ConfigError(f"{path} was measured on {other}, this is {device}; give another folder.")
    return part


def work_through(
    parts: Mapping[str, Callable[[], Part]], folder: pathlib.Path, device: str, left: Left
) -> dict[str, Part]:
    """Measures the missing parts that time allows; returns all parts measured so far.

    Args:
      parts: functions that measure, by name of the part.
      folder: folder of the results.
      device: name of the device.
      left: returns the seconds left.
    """
    paths = {name: folder / f"{name}.json" for name in parts}
    measured = {name: read(path, device) for name, path in paths.items()}
    about = {"device": device, "versions": workfolder.versions()}
    for name, measure in parts.items():
        previous = measured[name]
        if (previous is None or not previous.get("done", True)) and left() >= LEAST:
            measured[name] = part = measure() | about
            files.write_json(paths[name], part)
    return {name: part for name, part in measured.items() if part is not None}


def as_group(group: Mapping[str, Any]) -> table.Group:
    """Restores a group from the result of ``Group.as_json``."""
    return table.Group(**{**group, "rows": [table.Row(**row) for row in group["rows"]]})


def _training_line(name: str, part: Part) -> str:
    """Describes the training of a population in one line."""
    error = f"{part['test_error']:.2f} % test error" if "test_error" in part else "not tested yet"
    pace = f", {part['epoch_seconds']:.2f} s per epoch of all" if "epoch_seconds" in part else ""
    return (
        f"{name}: {part['seeds']} seeds as one population, {part['epochs']} of {part['of']} epochs "
        f"in {part['seconds']:.0f} s{pace}, {error}"
    )


def text(parts: Mapping[str, Part], wanted: list[str], device: str) -> str:
    """Returns the results so far as text, and the parts still to be measured."""
    groups, lines = [], [f"{device}; of own peak: useful operations over its matrix product's"]
    for name, part in parts.items():
        if "group" in part:
            groups.append(as_group(part["group"]))
        elif "kernels" in part:
            lines.append(f"largest kernels of the float32 ladder, from {part['from']}:")
            lines += [
                f"  {kernel[:60]:60} {ms:8.3f} ms per step {100 * part['shares'][kernel]:5.1f} %"
                for kernel, ms in part["kernels"].items()
            ]
        else:
            lines.append(_training_line(name, part))
    unfinished = [n for n in wanted if n not in parts or not parts[n].get("done", True)]
    if unfinished:
        lines.append(f"to come: {', '.join(unfinished)}; the same command resumes")
    return table.text(groups, lines)


def plan(
    config: Config, dataset: data.Dataset, folder: pathlib.Path, left: Left
) -> dict[str, Callable[[], Part]]:
    """Returns the measurements that the flags request, by name and in order."""
    on_cpu = jax.default_backend() == "cpu"
    sizes = Sizes(matrix=timers.MATRIX if on_cpu else _MATRIX)
    trained, seeds = f"population-{config.name}", members.seeded(config, _MEMBERS.value)
    population = {f"seed-{member.seed}": member for member in seeds}
    steps = functools.partial(measure_steps, sizes=sizes, rounds=ROUNDS, python=_PYTHON.value)
    suffix = "-torch" if _PYTHON.value else ""  # a part without PyTorch is not one with it
    return {
        **{f"steps-{name}{suffix}": functools.partial(steps, name) for name in PRECISIONS},
        "kernels": functools.partial(measure_kernels, sizes),
        trained: functools.partial(train, population, folder / trained, dataset, left),
    }


def main() -> None:
    """Measures the missing parts and prints all results."""
    end = time.monotonic() + _LIMIT.value
    left = lambda: end - time.monotonic()
    if not cli.WORKDIR.value:
        raise ConfigError("--workdir is not given; name a folder for the results.")
    folder, data_dir = cli.local_path(cli.WORKDIR.value, "--workdir"), cli.DATA_DIR.value
    config = configs.load(f"mnist:labels=100,model={_MODEL.value}" if data_dir else "digits")
    config = dataclasses.replace(config, epochs=cli.EPOCHS.value or config.epochs)
    dataset = data.load(config.dataset, data_dir or "")
    with files.writing(folder):
        files.make_writable(folder)
    device = jax.devices()[0]
    kind = table.machine() if device.platform == "cpu" else device.device_kind
    parts = plan(config, dataset, folder, left)
    print(text(work_through(parts, folder, kind, left), list(parts), kind))


if __name__ == "__main__":
    about = {
        "workdir": "Folder of the results; given again, the command resumes.",
        "data_dir": "Folder with MNIST's files. Default: none, and the digits are trained.",
    }
    cli.run(main, shared=(cli.WORKDIR, cli.DATA_DIR, cli.EPOCHS), about=about)
