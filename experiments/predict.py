"""Predicts new examples with a finished run: their classes, masks, numbers or labels.

  python -m experiments.predict --workdir=RUN --input=new.npz
  python -m experiments.predict --workdir=RUN --input=new.csv --output=predictions.csv
  python -m experiments.predict --workdir=RUN --input=FOLDER_OF_IMAGES --denoised
  python -m experiments.predict --workdir=RUN --input=FOLDER_OF_IMAGES --overlay

The CSV file has one line per example: the row (its number, from 0, or the name of its file),
the class, its probability, and the probability of each class, p_NAME. For a run on numbers,
there is a column per number and, with variance, one for its standard deviation, sd_NAME; for
a run on several labels, a column of 0 or 1 per label and one for its probability, p_NAME.
--denoised also writes the decoder's estimate of each example to FILE.denoised.npz.

For a run on masks, a folder is written instead, with a PNG mask for each image under the
image's name (or ROW.png): class numbers with a colour palette, as experiments.train reads
them. --overlay adds FOLDER.overlay, with the colours of its mask laid over each image.

Values are scaled as in training. Trained on bytes (uint8, such as MNIST): whole numbers from
0 to 255 of any dtype, CSV cells and image files are divided by 255, and floats must be from
0 to 1. Trained on floats from 0 to 1: uint8 and image files are divided by 255. Trained on
other numbers: nothing is scaled. Ambiguous values are refused.
"""

from __future__ import annotations

import contextlib
import pathlib
import tempfile
from collections.abc import Iterable
from typing import IO

import numpy as np
from absl import flags

from experiments import cli, new_examples, prediction_files
from ladder_jax import predictor
from ladder_jax.data.images import is_image
from ladder_jax.errors import ConfigError
from ladder_jax.predictor import Outputs, Predictor
from ladder_jax.run import files, signals, workfolder

OUTPUT, FOLDER = "predictions.csv", "predictions"
"""Default paths of predictions and of masks."""

_INPUT = flags.DEFINE_string(
    "input",
    None,
    "New examples: an .npz file with x; a .csv file with one example per line, numbers separated "
    "by commas, semicolons or tabs, with or without a line of column names (--header); a PNG or "
    "JPEG file; or a folder of PNG or JPEG files.",
)
_HEADER = flags.DEFINE_enum(
    "header",
    "auto",
    new_examples.HEADERS,
    "Whether the first line of a .csv file names its columns. auto: yes if it contains no number; "
    "ambiguous rising numbers, such as wavelengths, are refused. The choice is printed.",
)
_DENOISED = flags.DEFINE_bool(
    "denoised",
    False,
    "Whether to write the decoder's estimate of each example too: array 'denoised' of an .npz "
    "file, in the units of the preprocessed data, with the CSV file's rows. Never CSV columns.",
)
_OVERLAY = flags.DEFINE_bool(
    "overlay",
    False,
    "For a run on masks: whether to write each image with the colours of its mask laid over it.",
)


_PLURALS = {"classes": "classes", "pixels": "masks", "numbers": "numbers", "several": "labels"}
"""Plural of what is predicted, by kind of labels."""


def denoised_path(output: pathlib.Path) -> pathlib.Path:
    """Returns the path of the file of the decoder's estimates.

    Examples:
      >>> denoised_path(pathlib.Path("predictions.csv")).name
      'predictions.denoised.npz'
    """
    return output.with_name(f"{output.stem}.denoised.npz")


def overlay_path(output: pathlib.Path) -> pathlib.Path:
    """Returns the path of the folder of images with their masks laid over them.

    Examples:
      >>> overlay_path(pathlib.Path("predictions")).name
      'predictions.overlay'
    """
    return output.with_name(f"{output.name}.overlay")


def predict(
    ladder: Predictor,
    parts: Iterable[new_examples.Part],
    output: pathlib.Path,
    denoised: pathlib.Path | None = None,
    overlay: pathlib.Path | None = None,
) -> int:
    """Writes a ladder's predictions for examples; on any error, writes nothing.

    Args:
      ladder: the trained ladder.
      parts: parts of the examples, as ``new_examples.read`` yields them.
      output: the CSV file, or the folder of masks.
      denoised: the ``.npz`` file of the decoder's estimates; None to omit it.
      overlay: the folder of images with their masks laid over them; None to omit it.

    Returns:
      The number of examples.

    Raises:
      ConfigError: the ladder does not decode its input, or has no masks to lay over images.
      DataError: an example is invalid.
      WriteError: a file cannot be written.
    """
    rows, positions = 0, ladder.target.positions
    with contextlib.ExitStack() as stack:
        opened = prediction_files.mask_folder if positions else prediction_files.table
        writes = [stack.enter_context(opened(ladder, output))]
        if overlay is not None:
            writes.append(stack.enter_context(prediction_files.overlay_folder(ladder, overlay)))
        raw: IO[bytes] | None = None
        if denoised is not None:
            near = None if files.is_bucket(output) else output.parent
            raw = stack.enter_context(tempfile.TemporaryFile(dir=near))
        for part in parts:
            first = 0
            for outputs in ladder.parts(part.x, part.source, part.first):
                last = first + len(outputs.logits)
                for write in writes:
                    write(part.names[first:last], part.x[first:last], outputs)
                first = last
                if raw is not None:
                    raw.write(_estimates(outputs).tobytes())
            rows += len(part.x)
        if raw is not None and denoised is not None:
            raw.flush()
            shape = (rows, *ladder.example_shape)
            with files.replacing(denoised) as path, path.open("wb") as archive:
                np.savez(archive, denoised=np.memmap(raw, np.float32, "r", shape=shape))
    return rows


def _estimates(outputs: Outputs) -> np.ndarray:
    if outputs.denoised is None:
        raise ConfigError("the run does not decode its input; leave --denoised out.")
    return outputs.denoised


def output_of(ladder: Predictor, given: str) -> pathlib.Path:
    """Returns the path to write: a file, or a folder of masks.

    Args:
      ladder: the trained ladder.
      given: path of the input examples.

    Raises:
      ConfigError: the path cannot be written or exists already.
    """
    if not ladder.target.positions:
        return cli.output_path(OUTPUT)
    path = files.as_path(cli.OUTPUT.value or FOLDER)
    prediction_files.check_folder(path, cli.OVERWRITE_OUTPUT.value, given)
    return path


def left_out(path: pathlib.Path) -> int:
    """Counts the files in a folder that are not read, except hidden ones."""
    if not path.is_dir():
        return 0
    visible = [p for p in path.iterdir() if not p.name.startswith(".")]
    return sum(not is_image(p) for p in visible)


def main() -> None:
    """Reads the flags, predicts and prints where the predictions are."""
    if not _INPUT.value:
        raise ConfigError("--input is not given; name an .npz or .csv file, an image or a folder.")
    with signals.at_once():
        folder = predictor.find_run(cli.find_workdir())
        ladder, fit = predictor.load(folder), workfolder.read_config(folder).image_size > 0
        output = output_of(ladder, _INPUT.value)
        denoised = denoised_path(output) if _DENOISED.value else None
        if denoised is not None:
            cli.check_output(denoised)
        overlay = overlay_path(output) if _OVERLAY.value else None
        if overlay is not None:
            prediction_files.check_folder(overlay, cli.OVERWRITE_OUTPUT.value, _INPUT.value)
        names = workfolder.load_summary(folder).get("feature_names", ())
        options = {"header": _HEADER.value, "tell": print, "fit": fit, "names": names}
        parts = new_examples.read(_INPUT.value, ladder.example_shape, **options)
        rows = predict(ladder, parts, output, denoised, overlay)
    print(f"{_PLURALS[ladder.target.kind]} of {rows} example(s) are in {output}")
    if skipped := left_out(pathlib.Path(_INPUT.value).expanduser()):
        print(f"{skipped} file(s) in {_INPUT.value} are not PNG or JPEG files and were skipped")
    if overlay is not None:
        print(f"the images with their masks over them are in {overlay}")
    if denoised is not None:
        units = f" (in the units of {ladder.fitted.chain})" if ladder.fitted.chain != "none" else ""
        print(f"the decoder's estimates{units} are in {denoised}")


if __name__ == "__main__":
    about = {
        "workdir": cli.READS["workdir"],
        "output": f"File of the predictions, or folder of masks. Default: {OUTPUT} or {FOLDER}.",
    }
    cli.run(main, shared=(cli.WORKDIR, cli.OUTPUT, cli.OVERWRITE_OUTPUT), about=about)
