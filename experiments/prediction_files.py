"""The files that predictions are written to: a table, a folder of masks, one of overlays."""

from __future__ import annotations

import contextlib
import csv
import itertools
import pathlib
from collections.abc import Callable, Iterator

import numpy as np

from ladder_jax import data
from ladder_jax.data import masks
from ladder_jax.data.base import MODES
from ladder_jax.data.images import is_image, is_png
from ladder_jax.errors import ConfigError, DataError
from ladder_jax.predictor import Outputs, Predictor
from ladder_jax.run import files

Write = Callable[[list[str], np.ndarray, Outputs], None]
"""Takes the names of some rows, the rows, and what is said of them."""


@contextlib.contextmanager
def table(ladder: Predictor, path: pathlib.Path) -> Iterator[Write]:
    """Yields what adds the lines of rows to a CSV file, which is there in the end or not at all.

    Args:
      ladder: that predicts.
      path: of the file.
    """
    # A file name may be no text.
    with (
        files.replacing(path) as new,
        new.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["row", *_columns(ladder)])

        def write(names: list[str], x: np.ndarray, outputs: Outputs) -> None:
            lines = zip(names, _cells(ladder, outputs), strict=True)
            writer.writerows([name, *cells] for name, cells in lines)
            file.flush()  # a full disk is found here

        yield write


def _columns(ladder: Predictor) -> list[str]:
    """Returns the names of the columns but the first."""
    names = list(ladder.class_names)
    if ladder.target.kind == "classes":
        return ["class", "probability", *(f"p_{name}" for name in names)]
    if ladder.target.kind == "several":
        return [*names, *(f"p_{name}" for name in names)]
    return [*names, *(f"sd_{name}" for name in names if ladder.target.size > len(names))]


def _cells(ladder: Predictor, outputs: Outputs) -> Iterator[list[str]]:
    """Yields the cells of each row but the first, with the digits that float32 has."""
    if outputs.scaling is not None:
        numbers, deviations = outputs.predictions, outputs.uncertainty
        numbers = numbers if deviations is None else np.hstack([numbers, deviations])
        # Of what was standardised: the mean may be large beside what numbers differ by.
        decimals = 7 - np.floor(np.log10(outputs.scaling.scale)).astype(int)
        for row in numbers:
            places = itertools.cycle(decimals.tolist())
            pairs = zip(row.tolist(), places, strict=False)
            yield [str(round(number, place)) for number, place in pairs]
        return
    texts = outputs.probabilities.astype(np.float32).astype(str).tolist()
    for said, cells in zip(outputs.predictions, texts, strict=True):
        if ladder.target.kind == "classes":
            yield [ladder.class_names[said], cells[said], *cells]
        else:
            yield [*map(str, said), *cells]


@contextlib.contextmanager
def mask_folder(ladder: Predictor, path: pathlib.Path) -> Iterator[Write]:
    """Yields what writes masks to a folder, which is there in the end or not at all.

    Args:
      ladder: that predicts.
      path: of the folder; what is in it is replaced.

    Raises:
      DataError: a mask cannot hold so many classes.
    """
    masks.check_classes(len(ladder.class_names))
    with files.replacing(path) as new:
        files.remove(new)  # of a command that was killed
        new.mkdir()

        def write(names: list[str], x: np.ndarray, outputs: Outputs) -> None:
            for name, mask in zip(names, outputs.predictions, strict=True):
                masks.write_png(_new_file(new, name), masks.as_bytes(mask))

        yield write


@contextlib.contextmanager
def overlay_folder(ladder: Predictor, path: pathlib.Path) -> Iterator[Write]:
    """Yields what writes images with their masks over them to a folder, as ``mask_folder`` does.

    Raises:
      ConfigError: the run is not one on masks of grey or coloured images.
    """
    if ladder.target.kind != "pixels" or ladder.example_shape[2] not in MODES:
        labels = f"{ladder.target.kind}, not masks"
        if ladder.target.kind == "pixels":
            labels = f"images of {ladder.example_shape[2]} channels, neither grey nor coloured"
        raise ConfigError(f"--overlay, but the run was trained on {labels}; leave it out.")
    with files.replacing(path) as new:
        files.remove(new)  # of a command that was killed
        new.mkdir()

        def write(names: list[str], x: np.ndarray, outputs: Outputs) -> None:
            shown = data.new_rows("x", x, ladder.example_shape, scale=ladder.fitted.scale)
            for name, image, mask in zip(names, shown, outputs.predictions, strict=True):
                shades = _shades(image, ladder.fitted.scale)
                masks.write_png(_new_file(new, name), masks.blend(shades, mask))

        yield write


def _shades(image: np.ndarray, scale: str) -> np.ndarray:
    """Returns an image on the scale of training as 0 to 1; of other numbers, from end to end."""
    ends = {"bytes": (0, 1), "unit": (0, 1), "binary": (0, 1), "pixels": (0, 255)}
    low, high = ends.get(scale) or (image.min(), image.max())
    shades: np.ndarray = np.interp(image, (low, high if high > low else low + 1), (0, 1))
    return shades


def _file_name(name: str) -> str:
    """Returns the name of an image's mask: its own, as PNG, or of a row its number's.

    Examples:
      >>> _file_name("cat.PNG"), _file_name("cat.jpg"), _file_name("7")
      ('cat.PNG', 'cat.png', '7.png')
    """
    path = pathlib.Path(name)
    if is_png(path):
        return name
    return f"{path.stem if is_image(path) else name}.png"


def _new_file(folder: pathlib.Path, name: str) -> pathlib.Path:
    """Returns the path of an image's mask.

    Raises:
      DataError: another image has that mask, as ``cat.jpg`` and ``cat.png`` do.
    """
    path = folder / _file_name(name)
    if path.exists():
        raise DataError(f"{name}: two images are named so but for the ending; rename one.")
    return path


def check_folder(path: pathlib.Path, replace: bool, given: str) -> None:
    """Checks that a folder of PNG files may be written.

    Args:
      path: of the folder.
      replace: whether PNG files in it may be replaced.
      given: the examples that are read.

    Raises:
      ConfigError: it holds files, or others than PNG files, or the examples.
    """
    if path.name in ("", ".."):
        raise ConfigError(f"--output={path}: give the name of a folder in it.")
    if path.exists() and not path.is_dir():
        raise ConfigError(f"--output={path} is a file; masks go to a folder: give its name.")
    if not files.is_bucket(path) and not path.parent.is_dir():
        raise ConfigError(f"--output={path}: {path.parent} is not a folder; make it first.")
    on_disk = path.exists() and not files.is_bucket(path)
    if on_disk and pathlib.Path(given).expanduser().resolve().is_relative_to(path.resolve()):
        raise ConfigError(f"--output={path} holds the examples; give another folder.")
    held = files.listed(path)
    if held and not replace:
        raise ConfigError(
            f"{path} holds files; give another --output, or --overwrite_output to replace them."
        )
    if others := [other for other in held if other.suffix.lower() != ".png"]:
        raise ConfigError(f"{path} holds {others[0].name}, no PNG file; give another --output.")
