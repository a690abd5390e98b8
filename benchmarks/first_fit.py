"""Times an estimator's first fit in a fresh process, which is nearly all compilation.

python -m benchmarks.first_fit
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

from absl import flags

from benchmarks.workers import ROOT
from experiments import cli

_FITS = flags.DEFINE_integer("fits", 3, "How often each is timed.", lower_bound=1)

_FIT = """
import json, sys, time
import jax
from sklearn import datasets, preprocessing
from ladder_jax import LadderClassifier
events = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **_: events.append(event.split("/")[-1])
)
x, y = datasets.load_wine(return_X_y=True)
x = preprocessing.StandardScaler().fit_transform(x)
wall, cpu = time.perf_counter(), time.process_time()
LadderClassifier(**json.loads(sys.argv[1]), random_state=0).fit(x, y)
measured = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
print(json.dumps(measured | {"programs": events.count("backend_compile_duration")}))
"""


def fit(cache: str, settings: Mapping[str, Any]) -> dict[str, float]:
    """Fits scikit-learn's wine data in a separate process.

    Args:
      cache: folder of the user's caches.
      settings: settings of the classifier that differ from its defaults.

    Returns:
      Wall and CPU time in seconds, and the number of programs compiled or read.
    """
    environment = {name: value for name, value in os.environ.items() if "_CACHE" not in name}
    paths = os.pathsep.join([str(ROOT), *filter(None, [environment.get("PYTHONPATH")])])
    variables = environment | {"XDG_CACHE_HOME": cache, "PYTHONPATH": paths}
    command = [sys.executable, "-c", _FIT, json.dumps(settings)]
    output = subprocess.run(command, env=variables, stdout=subprocess.PIPE, check=True).stdout
    measured: dict[str, float] = json.loads(output)
    return measured


def measure(number: int, settings: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Returns the medians with an empty and with a filled cache, measured alternately."""
    fits_by_cache: dict[str, list[dict[str, float]]] = {"empty": [], "filled": []}
    for _ in range(number):
        with tempfile.TemporaryDirectory() as cache:
            for fits in fits_by_cache.values():
                fits.append(fit(cache, settings))
    return {
        name: {key: statistics.median(sample[key] for sample in fits) for key in fits[0]}
        for name, fits in fits_by_cache.items()
    }


def main() -> None:
    """Measures and prints the results."""
    result = measure(_FITS.value, {})
    print("LadderClassifier().fit of scikit-learn's wine in a fresh process")
    for name, medians in result.items():
        print(
            f"  {name:6} cache  {medians['wall']:6.2f} s  {medians['cpu']:6.2f} s of CPU time  "
            f"{medians['programs']:3.0f} programs"
        )


if __name__ == "__main__":
    cli.run(main)
