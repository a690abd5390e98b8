"""Benchmarks: tables, resumption, bad flags, and the nets that are timed."""

import ast
import contextlib
import dataclasses
import doctest
import io
import itertools
import json
import math
import pathlib
import re
import subprocess
import sys
import types

import jax
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from benchmarks import (
    accelerator,
    conv,
    first_fit,
    growth,
    paper,
    rows,
    table,
    time_to_error,
    timers,
)
from benchmarks.sizes import Sizes
from benchmarks.workers import Worker, WorkerError
from experiments import relative_time, tables
from ladder_jax import Batch, data, layers, presets, targets
from ladder_jax.config import Config
from ladder_jax.errors import ConfigError
from ladder_jax.run.program import build_ladder

ROOT = pathlib.Path(__file__).parent.parent
TINY = Sizes((6, 10), 10, 2, 2, matrix=8, members=(2,), devices=(2,))
NUMBERS = ("ms", "ratio", "gflops", "peak", "footing")


def check_rows(rows):
    assert rows
    for row in rows:
        numbers = [value for name in NUMBERS if (value := getattr(row, name)) is not None]
        assert all(math.isfinite(value) and value > 0 for value in numbers)
        assert numbers or row.note.startswith("not measured")


@pytest.mark.parametrize(
    "module", [rows, table, time_to_error, timers], ids=lambda module: module.__name__
)
def test_examples(module):
    results = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert results.attempted and not results.failed


def test_timed_nets_equal_the_presets():
    build = lambda config: build_ladder(config, timers.PAPER[:1], targets.classes(timers.CLASSES))
    full, full_preset = build(timers.full_ladder()), presets.mnist_mlp(100, "full")
    np.testing.assert_array_equal(full.hyper.denoising_cost, full_preset.hyper.denoising_cost)
    np.testing.assert_array_equal(full.hyper.noise_std, full_preset.hyper.noise_std)
    supervised, supervised_preset = (
        build(timers.supervised_net()),
        presets.mnist_mlp(100, "supervised"),
    )
    np.testing.assert_array_equal(supervised.hyper.noise_std, supervised_preset.hyper.noise_std)
    for timed, preset in ((full, full_preset), (supervised, supervised_preset)):
        assert jax.eval_shape(timed.init, jax.random.key(0)) == jax.eval_shape(
            preset.init, jax.random.key(0)
        )


def test_paper_without_peers():
    ladder, peers = paper.paper_and_peers(TINY, 1, {})
    check_rows(ladder.rows)
    check_rows(peers.rows)
    supervised, scan, call, peak = ladder.rows
    assert scan.ratio == pytest.approx(scan.ms / supervised.ms)
    assert call.ratio == pytest.approx(call.ms / supervised.ms)
    assert scan.peak == pytest.approx(scan.gflops / peak.gflops)
    assert peers.rows[0].ratio == peers.rows[0].footing == 1.0
    assert [row.note for row in peers.rows[1:]] == [
        "not measured: give --torch_python=...",
        "not measured: give --torch_python=...",
        "not measured: give --lamda_python=...",
    ]


def test_time_to_error(monkeypatch, tmp_path, capsys):
    digits = data.load("digits")
    monkeypatch.setattr(time_to_error.data, "load", lambda name, folder: digits)
    tiny = Config(units=(4,), epochs=3, eval_every=1, validation=50, batch_unlabeled=700)
    configs_loaded = []

    def settings(model, seed, held_out, epochs):
        configs_loaded.append(time_to_error.configs.load(f"mnist:labels=100,model={model}"))
        return dataclasses.replace(tiny, seed=seed, compute_dtype=configs_loaded[-1].compute_dtype)

    monkeypatch.setattr(time_to_error, "settings", settings)
    flags.FLAGS.mark_as_parsed()
    output = tmp_path / "times.json"
    flag_values = {"models": ["full", "quick"], "workdir": str(tmp_path / "runs"), "error": 99.0}
    with flagsaver.flagsaver(**flag_values, output=str(output)):
        time_to_error.main()
        printed = capsys.readouterr().out
        output.unlink()
        time_to_error.main()  # trains nothing again
    repeated = capsys.readouterr().out
    assert repeated.splitlines()[:-1] == printed.splitlines()[:-1]  # the last line has the load
    assert "after" in printed and "never" not in printed
    full, quick = json.loads(output.read_text())["runs"]
    assert full["compute_dtype"] == "float32" and quick["compute_dtype"] in ("float32", "bfloat16")
    assert 0 < full["seconds_to_error"] <= full["seconds"]
    assert configs_loaded[1].epochs < configs_loaded[0].epochs


def test_settings_of_time_to_error():
    config = time_to_error.settings("quick", 3, 0, None)
    assert (config.seed, config.validation, config.eval_every) == (3, 0, config.epochs)
    config = time_to_error.settings("full", 0, 10_000, 7)
    assert (config.epochs, config.validation, config.eval_every) == (7, 10_000, 1)


def test_first_fit():
    measured = first_fit.measure(1, {"units": [4], "epochs": 1})
    empty, filled = measured["empty"], measured["filled"]
    assert empty["programs"] == filled["programs"] > 0
    assert empty["cpu"] > filled["cpu"] > 0  # cached programs are not compiled


@pytest.fixture
def no_timing(monkeypatch):
    """Replaces timers by constants: 1, 2, 3 ms and so on, in the order of their creation."""
    numbers = itertools.count(1)

    def constant(*sizes):
        seconds = next(numbers) / 1000
        return lambda: seconds

    for name in ("epoch_timer", "members_timer", "call_timer", "matrix_timer"):
        monkeypatch.setattr(timers, name, constant)


@pytest.mark.parametrize("name", ["width", "depth", "batch", "members"])
def test_growth(name, no_timing):
    group = growth.GROWTH[name](Sizes(growth_steps=2), 1)
    check_rows(group.rows)
    assert group.title.startswith(name)
    assert len({row.name for row in group.rows}) == len(group.rows) == 4 + (name == "members")
    expected = np.arange(1.0, len(group.rows) + 1)
    assert [row.ms for row in group.rows] == pytest.approx(expected)
    assert [row.ratio for row in group.rows] == pytest.approx(expected)


@pytest.mark.parametrize("name", ["members", "devices"])
def test_members_and_devices_run(name):
    rows = growth.GROWTH[name](TINY, 1).rows
    check_rows(rows)
    row = rows[-1]
    assert row.name.startswith("2 ")
    operations = timers.useful_operations(10, (6, 10)) * (2 if name == "members" else 1)
    assert row.gflops == pytest.approx(operations / row.ms / 1e6)


def test_step_times_of_result_rows(monkeypatch, tmp_path, capsys):
    # Only the labels differ: one program, timed once.
    small = lambda row, seed: Config(units=(4,), labels=int(row.labels), combinators=("linear",))
    monkeypatch.setattr(tables.Row, "settings", small)
    table = [row for row in tables.TABLES["mnist"] if row.row == "full" and row.labels != "all"]
    step_ms = rows.measure([row for row in table if row.labels != "50"], 1000, rounds=1)
    names = [f"mnist:labels={labels},model=full" for labels in (100, 1000)]
    assert list(step_ms) == names and step_ms[names[0]] == step_ms[names[1]] > 0
    monkeypatch.setattr(rows, "measure", lambda chosen, *_: {r.config: 2.0 for r in chosen})
    flags.FLAGS.mark_as_parsed()
    with flagsaver.flagsaver(output=str(tmp_path / "times.json")):
        monkeypatch.setitem(tables.TABLES, "mnist", tuple(table))
        rows.main()
        assert "full      100 labels     2.00 ms per step" in capsys.readouterr().out
        with pytest.raises(ConfigError, match="is there already"):
            rows.main()
    assert relative_time.read(tmp_path) == {}
    (tmp_path / "times.json").rename(tmp_path / relative_time.FILE)
    assert relative_time.read(tmp_path) == {row.config: 2.0 for row in table}


def test_only_one_module_makes_steps_and_epochs():
    """Searches the package, experiments and benchmarks, doctests excepted."""
    call = re.compile(r"^(?!\s*(>>>|\.\.\.)).*\bmake_(?:train_step|epoch)\(", re.MULTILINE)
    callers = [
        str(path.relative_to(ROOT))
        for folder in ("ladder_jax", "experiments", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        for match in call.finditer(path.read_text(encoding="utf-8"))
        if "def make_" not in match[0]
    ]
    assert callers == ["ladder_jax/run/program.py"] * 2


FAKE = """
from benchmarks.peers.serve import repeated, serve

def prepare(settings):
    print("what a library says")
    again = repeated(lambda number: None, settings["steps"])
    timers = {name: again for name in ("peak", "eager", "compiled")}
    timers["eager"] = lambda: 6e-3
    return timers, {"torch": "9.9"}

if __name__ == "__main__":
    serve(prepare)
"""


def test_peers_are_timed(no_timing, monkeypatch, tmp_path):
    (tmp_path / "fake_worker.py").write_text(FAKE)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    peer = paper.PEERS["torch"]._replace(module="fake_worker")
    monkeypatch.setitem(paper.PEERS, "torch", peer)
    broken = paper.PEERS["lamda"]._replace(module="no_worker")
    monkeypatch.setitem(paper.PEERS, "lamda", broken)
    _, group = paper.paper_and_peers(TINY, 2, dict.fromkeys(paper.PEERS, str(python)))
    ladder, eager, compiled, peak, lamda = group.rows
    assert eager.ms == pytest.approx(6.0) and eager.ratio == pytest.approx(6.0 / ladder.ms)
    assert eager.footing == pytest.approx(ladder.peak / eager.peak)
    assert eager.peak == pytest.approx(eager.gflops / peak.gflops)
    assert "torch 9.9" in compiled.note
    assert lamda.note == "not measured: ImportError: No module named no_worker"


def test_worker_that_does_not_start():
    with pytest.raises(WorkerError, match=r"no_such_program: No such file"):
        Worker("benchmarks.peers.torch_worker", {}, "/no_such_program")


def test_peers_do_not_import_the_package():
    for path in (ROOT / "benchmarks" / "peers").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.split(".")[0] not in ("ladder_jax", "experiments", "jax"), path
                assert not name.startswith("benchmarks") or name.startswith("benchmarks.peers")


INSTANT = """
import runpy
from benchmarks import timers

timers.epoch_timer = lambda *sizes: lambda: 0.0123
runpy.run_module("benchmarks", run_name="__main__", alter_sys=True)
"""


def start(*arguments):
    """Starts the benchmarks with an epoch timer that returns 12.3 ms per step."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", INSTANT, *arguments], cwd=ROOT, **pipes)


def test_command(tmp_path):
    page, file = tmp_path / "page.md", tmp_path / "table.json"
    flags = ["--only=width,depth", "--rounds=1", f"--markdown={page}", f"--json={file}"]
    command = start(*flags)
    output, errors = command.communicate()
    assert command.returncode == 0, errors
    result = json.loads(file.read_text())
    groups = result["groups"]
    assert [group["title"].split(":")[0] for group in groups] == ["width", "depth"]
    assert result["machine"] and result["versions"]["jax"] == jax.__version__
    for row in groups[0]["rows"] + groups[1]["rows"]:
        assert row["ms"] == pytest.approx(12.3) and f"{row['name']} " in output
        assert f"| {row['name']} | 12.30 | 1.00 |" in page.read_text()
    assert jax.__version__ in output and jax.__version__ in page.read_text()


def test_bad_flags():
    expected = {
        "--only=breadth": "--only=breadth: there is no such part",
        "--torch_python=/no/python": "--torch_python=/no/python: not a program",
        "--json=/no/folder/table.json": "its folder does not exist",
    }
    for command, message in [(start(flag), message) for flag, message in expected.items()]:
        _, errors = command.communicate()
        assert command.returncode == 1
        assert message in errors and "Traceback" not in errors


def test_torch_ladder_equals_ladder():
    torch = pytest.importorskip("torch", reason="PyTorch is in an environment of its own")
    from benchmarks.peers import torch_ladder

    widths, rows = (8, 7, 6, 5), 9
    net = build_ladder(timers.full_ladder(widths), widths[:1], targets.classes(widths[-1]))
    params = net.init(jax.random.key(0))
    leaves, tree = jax.tree.flatten(params)
    # Moved away from the start, where the estimates and many gradients are 0.
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [p + 0.3 * jax.random.normal(k, p.shape) for p, k in zip(leaves, keys, strict=True)]
    params = jax.tree.unflatten(tree, moved)
    x = jax.random.normal(jax.random.key(2), (2 * rows, widths[0]))
    batch = Batch(x[:rows], np.arange(rows) % widths[-1], x[rows:])
    noise = net.draw_noise(jax.random.key(3), rows, rows)
    loss, gradient = jax.jit(
        jax.value_and_grad(lambda params: net.loss_given(params, batch, noise)[0])
    )(params)

    def named(level):
        maps = {k: getattr(level, k) for k in ("up", "down")}
        kernels = {k: layer["kernel"] for k, layer in maps.items() if layer is not None}
        return (level.activation or {}) | level.combinator | kernels

    def tensor(array):
        return torch.from_numpy(np.array(array))

    torch_params = [
        {name: tensor(value).requires_grad_() for name, value in named(level).items()}
        for level in params
    ]
    halves = tuple([tensor(n) for n in half] for half in noise)
    labels = tensor(batch.labels).long()
    costs = net.hyper.denoising_cost.tolist()
    value = torch_ladder.loss(
        torch_params, tensor(batch.labeled), labels, tensor(batch.unlabeled), halves, 0.3, costs
    )
    assert value.item() == pytest.approx(float(loss), rel=1e-5)
    value.backward()
    for level, level_gradient in zip(torch_params, gradient, strict=True):
        assert set(level) == set(named(level_gradient))
        for name, wanted in named(level_gradient).items():
            scale = np.abs(wanted).max()
            np.testing.assert_allclose(level[name].grad.numpy(), wanted, atol=1e-4 * scale)
    fresh = torch_ladder.init(widths)
    shapes = [{name: tuple(value.shape) for name, value in level.items()} for level in fresh]
    assert shapes == [{n: v.shape for n, v in named(level).items()} for level in params]


MEMBERS = {
    f"seed-{seed}": Config(units=(4,), labels=20, epochs=3, batch_unlabeled=500, seed=seed)
    for seed in (0, 1)
}
"""Settings of a population that trains in moments."""


@pytest.fixture(scope="module")
def accelerator_runs(tmp_path_factory):
    """Runs the command twice; returns the folder of its results and both outputs."""
    folder = tmp_path_factory.mktemp("accelerator")
    flags.FLAGS.mark_as_parsed()
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setattr(accelerator, "Sizes", lambda matrix: TINY)
        patch.setattr(accelerator, "ROUNDS", 1)
        patch.setattr(accelerator.configs, "load", lambda name: MEMBERS["seed-0"])
        stack.enter_context(flagsaver.flagsaver(workdir=str(folder), members=2))
        outputs = []
        for _ in range(2):
            with contextlib.redirect_stdout(io.StringIO()) as output:
                accelerator.main()
            outputs.append(output.getvalue())
            measured_once = lambda *_, **__: pytest.fail("measured again")
            patch.setattr(accelerator, "measure_steps", measured_once)
            patch.setattr(accelerator, "measure_kernels", measured_once)
            patch.setattr(accelerator, "train_population", measured_once)
    return folder, outputs


@pytest.mark.parametrize("precision", accelerator.PRECISIONS)
def test_accelerator_steps(precision, accelerator_runs):
    folder, (output, _) = accelerator_runs
    part = json.loads((folder / f"steps-{precision}.json").read_text())
    group = accelerator.as_group(part["group"])
    check_rows(group.rows)
    ladder, supervised, torch, peak = group.rows
    assert group.title == precision and precision in output
    assert ladder.ratio == peak.peak == 1.0 and torch.note.startswith("not measured: give --torch")
    assert ladder.peak == pytest.approx(ladder.gflops / peak.gflops)
    assert supervised.ratio == pytest.approx(supervised.ms / ladder.ms)
    assert part["device"] and part["versions"]["jax"] == jax.__version__


def test_accelerator_resumes(accelerator_runs):
    folder, (first, again) = accelerator_runs
    assert first == again and "to come" not in first
    kernels = json.loads((folder / "kernels.json").read_text())
    assert 1 <= len(kernels["kernels"]) <= accelerator.KERNELS
    assert all(ms > 0 for ms in kernels["kernels"].values())
    assert 0 < sum(kernels["shares"].values()) <= 1 + 1e-9
    trained = json.loads((folder / "population-digits.json").read_text())
    assert trained["done"] and trained["epochs"] == trained["of"] == 3
    results = [
        json.loads((folder / "population-digits" / name / "result.json").read_text())
        for name in MEMBERS
    ]
    assert trained["errors"] == [result["test_error"] for result in results]
    assert "2 seeds as one population, 3 of 3 epochs" in first


def test_accelerator_stops_in_time(tmp_path):
    dataset = data.load("digits")
    part = accelerator.train(MEMBERS, tmp_path, dataset, left=lambda: 0.0)
    # A request to stop in the first epoch takes effect after the next one.
    assert part["epochs"] == 2 and not part["done"]
    part = accelerator.train(MEMBERS, tmp_path, dataset, left=lambda: math.inf)
    assert part["epochs"] == 3 and part["done"] and len(part["errors"]) == 2
    assert len((tmp_path / "seed-1" / "metrics.jsonl").read_text().splitlines()) == 3


def test_accelerator_stopped_in_the_last_epoch_is_not_done(tmp_path):
    seconds = iter([math.inf, 0.0])
    part = accelerator.train(MEMBERS, tmp_path, data.load("digits"), left=lambda: next(seconds))
    assert part["epochs"] == part["of"] == 3 and not part["done"] and "errors" not in part


def test_accelerator_parts_with_pytorch_are_parts_of_their_own(tmp_path):
    flags.FLAGS.mark_as_parsed()
    plan = lambda: accelerator.plan(MEMBERS["seed-0"], data.load("digits"), tmp_path, lambda: 0.0)
    with flagsaver.flagsaver(torch_python="python"):
        steps = {name for name in plan() if name.startswith("steps-")}
    assert steps == {f"steps-{precision}-torch" for precision in accelerator.PRECISIONS}
    assert not steps & set(plan())


def test_accelerator_parts(tmp_path):
    numbers = itertools.count()
    parts = {
        "once": lambda: {"number": next(numbers)},
        "twice": lambda: {"number": (number := next(numbers)), "done": number > 1},
    }
    work = lambda left: accelerator.work_through(parts, tmp_path, "a card", lambda: left)
    assert work(accelerator.LEAST - 1) == {}
    for expected in ({"once": 0, "twice": 1}, {"once": 0, "twice": 2}, {"once": 0, "twice": 2}):
        assert {name: part["number"] for name, part in work(100.0).items()} == expected
    with pytest.raises(ConfigError, match="was measured on a card, this is another"):
        accelerator.work_through(parts, tmp_path, "another", lambda: 100.0)
    (tmp_path / "once.json").write_text("{")
    with pytest.raises(ConfigError, match="is not of this command; remove it"):
        work(100.0)


@pytest.mark.parametrize("name", accelerator.PRECISIONS)
def test_timers_run_in_their_precision(name):
    precision = accelerator.PRECISIONS[name]
    seen = []
    timer = lambda: seen.append(jax.config.jax_default_matmul_precision)
    accelerator.in_precision(timer, precision)()
    assert seen == [precision.products]


def test_kernel_times_of_a_card(monkeypatch):
    """Sums the kernels of the card's streams; other lines and host threads repeat them."""
    event = lambda name, ns: types.SimpleNamespace(
        name=name, duration_ns=ns, stats=[("hlo_op", name)]
    )
    line = lambda name, *events: types.SimpleNamespace(name=name, events=events)
    plane = lambda name, *lines: types.SimpleNamespace(name=name, lines=lines)
    copy = types.SimpleNamespace(name="MemcpyH2D", duration_ns=7.0, stats=[])
    stream = line("Stream #13(Compute)", event("gemm", 3e9), event("add", 1e9), copy)
    other = line("Stream #14(Compute)", event("gemm", 2e9))
    card = plane("/device:GPU:0", stream, other, line("XLA Ops", event("gemm", 5e9)))
    planes = [plane("/host:CPU", line("a thread", event("gemm", 9e9))), card]
    profile = types.SimpleNamespace(planes=planes)
    monkeypatch.setattr(jax.profiler.ProfileData, "from_file", lambda path: profile)
    assert accelerator.kernel_times(pathlib.Path("trace")) == {"gemm": 5.0, "add": 1.0}


def test_convolutional_ladders(monkeypatch, capsys):
    """Trains a tiny preset: the loss falls, and a time and a share of the peak are reported."""
    maps = (layers.conv(2, 3), layers.max_pool(2), layers.conv(10, 1), layers.global_mean_pool())
    tiny = presets.Settings((6, 6, 1), maps, (True,) * 5, (1.0,) * 5, (0.3,) * 5)
    monkeypatch.setitem(presets.CONV, "mnist_tiny", tiny)
    monkeypatch.setattr(conv, "convolution_peak", lambda: 1e9)
    monkeypatch.setattr(conv, "_PRESET", types.SimpleNamespace(value=["mnist_tiny"]))
    flags.FLAGS.mark_as_parsed()
    with flagsaver.flagsaver(json=True, steps=100, batch_rows=10):
        conv.main()
    (result,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert result["finite"] and result["last_loss"] < result["first_loss"]
    assert result["step_ms"] > 0
    share = result["useful_gflop"] / (result["step_ms"] / 1000)  # of 1 GFLOP/s
    assert result["peak_fraction"] == pytest.approx(share)
