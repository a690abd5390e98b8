"""Writes a finished run as one StableHLO file that needs only JAX on CPU, GPU and TPU.

  python -m experiments.export --workdir=RUN
  python -m experiments.export --workdir=RUN --output=model.stablehlo

The file includes parameters, statistics and preprocessing, and accepts one example or more. Next to
it, FILE.json gives the names of the classes, the shape of an example and the output: class
probabilities, per example or per pixel, label probabilities, or numbers in their own units.
examples/load_exported.py loads the file.
"""

from __future__ import annotations

from experiments import cli
from ladder_jax import exporting, predictor
from ladder_jax.run import signals

OUTPUT = "model.stablehlo"
_OUTPUTS = {
    "classes": "class probabilities",
    "pixels": "class probabilities of each pixel",
    "numbers": "numbers",
    "several": "label probabilities",
}
"""Outputs of a model, by kind of labels."""
_NAMED_ITEMS = {"classes": "class", "pixels": "class", "numbers": "column", "several": "label"}
"""What the names in the description belong to, by kind of labels."""


def main() -> None:
    """Reads the flags, writes both files and prints their paths."""
    with signals.at_once():
        path = cli.output_path(OUTPUT)
        about = exporting.description_path(path)
        cli.check_output(about)
        ladder = predictor.load(cli.find_workdir())
        exporting.write(path, ladder)
    outputs, names = _OUTPUTS[ladder.target.kind], _NAMED_ITEMS[ladder.target.kind]
    print(f"{outputs} for {', '.join(exporting.PLATFORMS)} are in {path}")
    print(f"{names} names and the shape of an example are in {about}")


if __name__ == "__main__":
    about = {"workdir": cli.READS["workdir"], "output": f"File of the model. Default: {OUTPUT}."}
    cli.run(main, shared=(cli.WORKDIR, cli.OUTPUT, cli.OVERWRITE_OUTPUT), about=about)
