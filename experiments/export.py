"""Writes a finished run as one StableHLO file that JAX alone runs on CPU, GPU and TPU.

  python -m experiments.export --workdir=RUN
  python -m experiments.export --workdir=RUN --output=model.stablehlo

Parameters, statistics and preprocessing are inside; any batch size works. Next to it,
FILE.json names the classes and the shape of an example, and says what comes out: probabilities
of classes, of those of each pixel or of several labels, or numbers in their own units.
examples/load_exported.py loads it.
"""

from __future__ import annotations

from experiments import cli
from ladder_jax import exporting, predictor
from ladder_jax.run import signals

OUTPUT = "model.stablehlo"
_GIVEN = {
    "classes": "class probabilities",
    "pixels": "class probabilities of each pixel",
    "numbers": "numbers",
    "several": "label probabilities",
}
"""What a model gives, by what the labels are."""
_NAMED = {"classes": "class", "pixels": "class", "numbers": "column", "several": "label"}
"""What has names."""


def main() -> None:
    """Reads the flags, writes both files and prints their paths."""
    with signals.at_once():
        path = cli.output_path(OUTPUT)
        about = exporting.description_path(path)
        cli.check_output(about)
        ladder = predictor.load(cli.find_workdir())
        exporting.write(path, ladder)
    given, names = _GIVEN[ladder.target.kind], _NAMED[ladder.target.kind]
    print(f"{given} for {', '.join(exporting.PLATFORMS)} are in {path}")
    print(f"{names} names and the shape of an example are in {about}")


if __name__ == "__main__":
    about = {"workdir": cli.READS["workdir"], "output": f"File of the model. Default: {OUTPUT}."}
    cli.run(main, shared=(cli.WORKDIR, cli.OUTPUT, cli.OVERWRITE_OUTPUT), about=about)
