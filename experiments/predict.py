"""Predicts the classes of new examples with a finished run.

  python -m experiments.predict --workdir=RUN --input=new.npz
  python -m experiments.predict --workdir=RUN --input=new.csv --output=predictions.csv
  python -m experiments.predict --workdir=RUN --input=FOLDER_OF_PNG_FILES --denoised

The CSV file has one line per example: its row (its number, from 0, or the name of its
file), the class, its probability, and the probability of each class, p_NAME. --denoised
also writes the decoder's estimate of each example to FILE.denoised.npz.

Numbers are read as those of training were. Trained on bytes (uint8, MNIST and its like):
whole numbers from 0 to 255 of any dtype, CSV cells and PNG files are divided by 255, and
floats must be from 0 to 1. Trained on floats from 0 to 1: uint8 and PNG files are divided
by 255. Trained on other numbers: nothing is scaled. What is ambiguous is refused.
"""

from __future__ import annotations

import contextlib
import csv
import pathlib
import tempfile
from collections.abc import Iterable
from typing import IO

import numpy as np
from absl import flags

from experiments import cli, new_examples
from ladder_jax import predictor
from ladder_jax.data.png import is_png
from ladder_jax.errors import ConfigError
from ladder_jax.predictor import Outputs, Predictor
from ladder_jax.run import files, signals

OUTPUT = "predictions.csv"
_INPUT = flags.DEFINE_string(
    "input",
    None,
    "New examples: an .npz file with x; a .csv file, one example a line, its numbers separated by "
    "commas, with or without a line of column names (--header); or a folder of PNG files.",
)
_HEADER = flags.DEFINE_enum(
    "header",
    "auto",
    new_examples.HEADERS,
    "Whether the first line of a .csv file names its columns. auto: it does if there is no number "
    "in it, and rising numbers, as of wavelengths, are refused. What was taken is printed.",
)
_DENOISED = flags.DEFINE_bool(
    "denoised",
    False,
    "Whether to write the decoder's estimate of each example too: array 'denoised' of an .npz "
    "file, in the units that preprocessing gives, rows as in the CSV file. Never CSV columns.",
)


def denoised_path(output: pathlib.Path) -> pathlib.Path:
    """Returns where the decoder's estimates go.

    Example:
      >>> denoised_path(pathlib.Path("predictions.csv")).name
      'predictions.denoised.npz'
    """
    return output.with_name(f"{output.stem}.denoised.npz")


def predict(
    ours: Predictor,
    parts: Iterable[new_examples.Part],
    output: pathlib.Path,
    denoised: pathlib.Path | None = None,
) -> int:
    """Writes a ladder's predictions for examples; on any error, nothing.

    Args:
      ours: the ladder.
      parts: the examples, of ``new_examples.read``.
      output: the CSV file.
      denoised: the ``.npz`` file of the decoder's estimates; None for none.

    Returns:
      How many examples there were.

    Raises:
      ConfigError: the ladder does not decode its input.
      DataError: an example is wrong.
      WriteError: a file cannot be written.
    """
    rows = 0
    with contextlib.ExitStack() as stack:
        table = stack.enter_context(files.replacing(output))
        # A file name may be no text.
        file = stack.enter_context(
            table.open("w", encoding="utf-8", errors="surrogateescape", newline="")
        )
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["row", "class", "probability", *(f"p_{n}" for n in ours.class_names)])
        raw: IO[bytes] | None = None
        if denoised is not None:
            raw = stack.enter_context(tempfile.TemporaryFile(dir=table.parent))
        for part in parts:
            found = ours(part.x, part.source, part.first)
            writer.writerows(_lines(ours, part, found))
            rows += len(part.x)
            if raw is not None:
                if found.denoised is None:
                    raise ConfigError("the run does not decode its input; leave --denoised out.")
                raw.write(found.denoised.tobytes())
        if raw is not None and denoised is not None:
            file.flush()
            raw.flush()
            shape = (rows, *ours.example_shape)
            with files.replacing(denoised) as path, path.open("wb") as archive:
                np.savez(archive, denoised=np.memmap(raw, np.float32, "r", shape=shape))
    return rows


def _lines(ours: Predictor, part: new_examples.Part, found: Outputs) -> Iterable[list[str]]:
    """The cells of each row; a probability has the digits that float32 has."""
    texts = found.probabilities.astype(np.float32).astype(str)
    for name, number, cells in zip(part.names, found.classes, texts, strict=True):
        yield [name, ours.class_names[number], cells[number], *cells]


def left_out(path: pathlib.Path) -> int:
    """Returns how many files of a folder are not read, not counting hidden ones."""
    if not path.is_dir():
        return 0
    seen = [p for p in path.iterdir() if not p.name.startswith(".")]
    return sum(not is_png(p) for p in seen)


def main() -> None:
    """Reads the flags, predicts and prints where the predictions are."""
    if not _INPUT.value:
        raise ConfigError("--input is not given; name an .npz or .csv file, or a folder of PNGs.")
    with signals.at_once():
        output = cli.output_path(OUTPUT)
        denoised = denoised_path(output) if _DENOISED.value else None
        if denoised is not None:
            cli.check_output(denoised)
        ours = predictor.load(cli.find_workdir())
        parts = new_examples.read(_INPUT.value, ours.example_shape, _HEADER.value, print)
        rows = predict(ours, parts, output, denoised)
    print(f"classes of {rows} example(s) are in {output}")
    if others := left_out(pathlib.Path(_INPUT.value).expanduser()):
        print(f"{others} file(s) in {_INPUT.value} are no PNG files and were left out")
    if denoised is not None:
        units = f" (in the units of {ours.fitted.chain})" if ours.fitted.chain != "none" else ""
        print(f"the decoder's estimates{units} are in {denoised}")


if __name__ == "__main__":
    about = {
        "workdir": cli.READS["workdir"],
        "output": f"File of the predictions. Default: {OUTPUT}.",
    }
    cli.run(main, shared=(cli.WORKDIR, cli.OUTPUT, cli.OVERWRITE_OUTPUT), about=about)
