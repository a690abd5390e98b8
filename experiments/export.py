"""Writes a finished run as one StableHLO file that JAX alone runs on CPU, GPU and TPU.

  python -m experiments.export --workdir=RUN
  python -m experiments.export --workdir=RUN --output=model.stablehlo

Parameters, statistics and preprocessing are inside; any batch size works. Next to it,
FILE.json says what it takes and gives; examples/load_exported.py loads it.
"""

from __future__ import annotations

from experiments import cli
from ladder_jax import exporting, predictor
from ladder_jax.run import signals

OUTPUT = "model.stablehlo"


def main() -> None:
    """Reads the flags, writes both files and prints their paths."""
    with signals.at_once():
        path = cli.output_path(OUTPUT)
        about = exporting.description_path(path)
        cli.check_output(about)
        exporting.write(path, predictor.load(cli.find_workdir()))
    print(f"the ladder for {', '.join(exporting.PLATFORMS)} is in {path}")
    print(f"what it takes and gives is said in {about}")


if __name__ == "__main__":
    about = {"workdir": cli.READS["workdir"], "output": f"File of the model. Default: {OUTPUT}."}
    cli.run(main, shared=(cli.WORKDIR, cli.OUTPUT, cli.OVERWRITE_OUTPUT), about=about)
