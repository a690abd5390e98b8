"""Growth of the step time with each size."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence

from benchmarks import timers
from benchmarks.sizes import Sizes
from benchmarks.table import Group, Row
from benchmarks.workers import Worker


def growth(title: str, named: Mapping[str, tuple[timers.Timer, int]], rounds: int) -> Group:
    """Returns a row for each timer and its useful operations, with the ratio to the first."""
    medians = timers.interleaved({name: timer for name, (timer, _) in named.items()}, rounds)
    first = next(iter(medians.values()))
    rows = [
        Row(name, 1000 * seconds, seconds / first, timers.gflops(named[name][1], seconds))
        for name, seconds in medians.items()
    ]
    return Group(title, "the first", rows)


def _ladders(
    all_widths: Mapping[str, Sequence[int]], sizes: Sizes
) -> dict[str, tuple[timers.Timer, int]]:
    """Returns a timer and the useful operations of each ladder."""
    named = {}
    for name, widths in all_widths.items():
        data = timers.random_data(sizes.growth_steps * sizes.rows, widths[0], sizes.rows)
        timer = timers.epoch_timer(timers.full_ladder(widths), data, sizes.rows)
        named[name] = timer, timers.useful_operations(sizes.rows, widths)
    return named


def width(sizes: Sizes, rounds: int) -> Group:
    """Measures five layers of increasing width."""
    ladders = {f"{units} units": timers.equal_widths(5, units) for units in sizes.hidden}
    return growth("width: 5 layers", _ladders(ladders, sizes), rounds)


def depth(sizes: Sizes, rounds: int) -> Group:
    """Measures an increasing number of layers of the same width."""
    units = sizes.depth_width
    ladders = {f"{layers} layers": timers.equal_widths(layers, units) for layers in sizes.depths}
    return growth(f"depth: {units} units a level", _ladders(ladders, sizes), rounds)


def batch(sizes: Sizes, rounds: int) -> Group:
    """Measures an increasing number of rows per step."""
    ladder, named = timers.full_ladder(sizes.widths), {}
    for rows in sizes.batches:
        data = timers.random_data(sizes.growth_steps * rows, sizes.widths[0], rows)
        operations = timers.useful_operations(rows, sizes.widths)
        named[f"{rows} + {rows} rows"] = timers.epoch_timer(ladder, data, rows), operations
    return growth("batch: the ladder above", named, rounds)


def members(sizes: Sizes, rounds: int) -> Group:
    """Measures an increasing number of ladders under ``vmap``; a step advances all of them."""
    ladder = timers.full_ladder(sizes.widths)
    data = timers.random_data(sizes.growth_steps * sizes.rows, sizes.widths[0], sizes.rows)
    operations = timers.useful_operations(sizes.rows, sizes.widths)
    named = {"1 without vmap": (timers.epoch_timer(ladder, data, sizes.rows), operations)}
    for count in sizes.members:
        timer = timers.members_timer(ladder, data, count, sizes.rows)
        named[f"{count} under vmap"] = timer, count * operations
    return growth("members: the ladder above, all in a step", named, rounds)


def devices(sizes: Sizes, rounds: int) -> Group:
    """Measures the cost of sharding over more virtual devices on the same cores."""
    settings = {
        "widths": list(sizes.widths),
        "rows": sizes.rows,
        "steps": sizes.growth_steps,
    }
    operations = timers.useful_operations(sizes.rows, sizes.widths)
    with contextlib.ExitStack() as stack:
        named: dict[str, tuple[timers.Timer, int]] = {}
        for count in sizes.devices:
            flags = os.environ.get("XLA_FLAGS", "")
            environment = {
                "JAX_PLATFORMS": "cpu",
                "XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count={count}",
            }
            worker = Worker("benchmarks.devices_worker", settings, environment=environment)
            stack.callback(worker.close)
            named[f"{worker.facts['devices']} virtual"] = worker.timer("step"), operations
        return growth("devices: the ladder above, rows spread over virtual ones", named, rounds)


GROWTH: dict[str, Callable[[Sizes, int], Group]] = {
    "width": width,
    "depth": depth,
    "batch": batch,
    "members": members,
    "devices": devices,
}
"""Measurements by the names that ``--only`` uses."""
