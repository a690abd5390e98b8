"""The paper's ladder compared with the supervised net, the matrix peak and peers."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from benchmarks import timers
from benchmarks.sizes import Sizes
from benchmarks.table import Group, Row
from benchmarks.workers import Worker, WorkerError


class Peer(NamedTuple):
    """Describes another library's ladder, or the same mathematics in another library.

    Attributes:
      module: module of the worker.
      steps: titles in the table, by name of the step timer.
      note: differences from our ladder.
    """

    module: str
    steps: Mapping[str, str]
    note: str


PEERS = {
    "torch": Peer(
        "benchmarks.peers.torch_worker",
        {"eager": "plain PyTorch, eager", "compiled": "plain PyTorch, torch.compile"},
        "The same maths: one matrix product a level for the three streams, fused Adam; compiled: "
        "loss and gradient, with fallback_random.",
    ),
    "lamda": Peer(
        "benchmarks.peers.lamda_worker",
        {"step": "LAMDA-SSL's ladder"},
        "Does less: no gradient through the clean targets and their statistics, which saves that "
        "of the clean pass. Does more: a product a stream, noise drawn by NumPy in float64, once "
        "more a level for the variance of the targets, running averages. Softmax taken twice in "
        "the cross-entropy. Timed without its data loader.",
    ),
}


def peer_settings(sizes: Sizes) -> dict[str, Any]:
    """Returns the settings that tell a peer which ladder to time."""
    return {
        "widths": list(sizes.widths),
        "rows": sizes.rows,
        "steps": sizes.steps,
        "matrix": sizes.matrix,
        "denoising_cost": list(timers.full_ladder(sizes.widths).denoising_cost),
    }


def start_peers(
    sizes: Sizes, pythons: Mapping[str, str | None], stack: contextlib.ExitStack
) -> tuple[dict[str, Worker], dict[str, str]]:
    """Starts the peers' workers; returns them, and the reasons for those that cannot run."""
    workers, missing = {}, {}
    settings = peer_settings(sizes)
    for name, peer in PEERS.items():
        python = pythons.get(name)
        if python is None:
            missing[name] = f"not measured: give --{name}_python=..."
            continue
        try:
            workers[name] = Worker(peer.module, settings, python)
            stack.callback(workers[name].close)
        except WorkerError as error:
            missing[name] = f"not measured: {error}"
    return workers, missing


def _matrix_row(library: str, sizes: Sizes, seconds: float) -> Row:
    side = sizes.matrix
    rate = timers.gflops(2 * side**3, seconds)
    return Row(f"{library} matrix peak ({side}^3, float32)", gflops=rate, peak=1.0)


def peer_rows(
    sizes: Sizes,
    medians: Mapping[str, float],
    workers: Mapping[str, Worker],
    missing: Mapping[str, str],
) -> list[Row]:
    """Makes the rows of the epoch scan and of every peer's steps and matrix peak."""
    operations = timers.useful_operations(sizes.rows, sizes.widths)
    product = 2 * sizes.matrix**3
    ladder_seconds = medians["ladder"]
    our_share = operations / ladder_seconds / (product / medians["peak"])
    rows = [
        Row(
            "ladder_jax, the epoch scan",
            1000 * ladder_seconds,
            1.0,
            timers.gflops(operations, ladder_seconds),
            our_share,
            1.0,
        )
    ]
    for name, peer in PEERS.items():
        if name in missing:
            rows += [Row(title, note=missing[name]) for title in peer.steps.values()]
            continue
        facts = ", ".join(f"{key} {value}" for key, value in workers[name].facts.items())
        peak = medians[f"{name}:peak"]
        for step, title in peer.steps.items():
            seconds = medians[f"{name}:{step}"]
            share = operations / seconds / (product / peak)
            numbers = (
                1000 * seconds,
                seconds / ladder_seconds,
                timers.gflops(operations, seconds),
                share,
            )
            rows.append(Row(title, *numbers, our_share / share))
        rows[-1] = rows[-1]._replace(note=f"{peer.note} ({facts})")
        rows.append(_matrix_row("its PyTorch's", sizes, peak))
    return rows


def paper_and_peers(sizes: Sizes, rounds: int, pythons: Mapping[str, str | None]) -> list[Group]:
    """Measures the ladder, the supervised net, the matrix peak and peers in the same rounds."""
    data = timers.random_data(sizes.steps * sizes.rows, sizes.widths[0], sizes.rows)
    ladder = timers.full_ladder(sizes.widths)
    supervised = timers.supervised_net(sizes.widths)
    with contextlib.ExitStack() as stack:
        workers, missing = start_peers(sizes, pythons, stack)
        all_timers: dict[str, timers.Timer] = {
            "peak": timers.matrix_timer(sizes.matrix),
            "supervised": timers.epoch_timer(supervised, data, sizes.rows),
            "ladder": timers.epoch_timer(ladder, data, sizes.rows),
            "call": timers.call_timer(ladder, data, sizes.rows, sizes.steps),
        }
        for name, worker in workers.items():
            for step in ("peak", *PEERS[name].steps):
                all_timers[f"{name}:{step}"] = worker.timer(step)
        medians = timers.interleaved(all_timers, rounds)
    operations = timers.useful_operations(sizes.rows, sizes.widths)
    peak = 2 * sizes.matrix**3 / medians["peak"]
    ladder_rows = [Row("supervised net, the epoch scan", 1000 * medians["supervised"], 1.0)]
    for name, title in (("ladder", "ladder, the epoch scan"), ("call", "ladder, a call per step")):
        seconds = medians[name]
        ratio = seconds / medians["supervised"]
        rate = timers.gflops(operations, seconds)
        ladder_rows.append(Row(title, 1000 * seconds, ratio, rate, 1e9 * rate / peak))
    ladder_rows.append(_matrix_row("XLA's", sizes, medians["peak"]))
    title = f"{'-'.join(map(str, sizes.widths))}, {sizes.rows} + {sizes.rows} rows"
    rows = peer_rows(sizes, medians, workers, missing)
    return [
        Group(title, "the supervised net", ladder_rows),
        Group("peers, the same sizes and rounds", "ladder_jax", rows),
    ]
