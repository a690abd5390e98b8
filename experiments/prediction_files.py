"""Output files of predictions: a table, a folder of masks and a folder of overlays."""

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
"""Function that writes rows, given their names, the rows and their outputs."""


@contextlib.contextmanager
def table(ladder: Predictor, path: pathlib.Path) -> Iterator[Write]:
    """Yields a function that adds rows to a CSV file, which appears only when complete.

    Args:
      ladder: the trained ladder.
      path: the file to write.
    """
    # File names are not always valid text.
    with (
        files.replacing(path) as new,
        new.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["row", *_columns(ladder)])

        def write(names: list[str], x: np.ndarray, outputs: Outputs) -> None:
            lines = zip(names, _cells(ladder, outputs), strict=True)
            writer.writerows([name, *cells] for name, cells in lines)
            file.flush()  # raises here if the disk is full

        yield write


def _columns(ladder: Predictor) -> list[str]:
    """Returns the names of all columns except the first."""
    names = list(ladder.class_names)
    if ladder.target.kind == "classes":
        return ["class", "probability", *(f"p_{name}" for name in names)]
    if ladder.target.kind == "several":
        return [*names, *(f"p_{name}" for name in names)]
    return [*names, *(f"sd_{name}" for name in names if ladder.target.size > len(names))]


def _cells(ladder: Predictor, outputs: Outputs) -> Iterator[list[str]]:
    """Yields all cells of each row except the first, with float32 precision."""
    if outputs.scaling is not None:
        numbers, deviations = outputs.predictions, outputs.uncertainty
        numbers = numbers if deviations is None else np.hstack([numbers, deviations])
        # Precision of the standardised numbers: the mean may be much larger than the scale.
        decimals = 7 - np.floor(np.log10(outputs.scaling.scale)).astype(int)
        for row in numbers:
            places = itertools.cycle(decimals.tolist())
            pairs = zip(row.tolist(), places, strict=False)
            yield [str(round(number, place)) for number, place in pairs]
        return
    texts = outputs.probabilities.astype(np.float32).astype(str).tolist()
    for predicted, cells in zip(outputs.predictions, texts, strict=True):
        if ladder.target.kind == "classes":
            yield [ladder.class_names[predicted], cells[predicted], *cells]
        else:
            yield [*map(str, predicted), *cells]


@contextlib.contextmanager
def mask_folder(ladder: Predictor, path: pathlib.Path) -> Iterator[Write]:
    """Yields a function that writes masks to a folder, which appears only when complete.

    Args:
      ladder: the trained ladder.
      path: the folder to write; its content is replaced.

    Raises:
      DataError: there are more classes than a mask can hold.
    """
    masks.check_classes(len(ladder.class_names))
    with files.replacing(path) as new:
        files.remove(new)  # left by a killed command
        new.mkdir()

        def write(names: list[str], x: np.ndarray, outputs: Outputs) -> None:
            for name, mask in zip(names, outputs.predictions, strict=True):
                masks.write_png(_new_file(new, name), masks.as_bytes(mask))

        yield write


@contextlib.contextmanager
def overlay_folder(ladder: Predictor, path: pathlib.Path) -> Iterator[Write]:
    """Yields a function that writes images with masks over them to a folder, as ``mask_folder``.

    Raises:
      ConfigError: the run was not trained on masks of grey or coloured images.
    """
    if ladder.target.kind != "pixels" or ladder.example_shape[2] not in MODES:
        labels = f"{ladder.target.kind}, not masks"
        if ladder.target.kind == "pixels":
            labels = f"images of {ladder.example_shape[2]} channels, neither grey nor coloured"
        raise ConfigError(f"--overlay, but the run was trained on {labels}; leave it out.")
    with files.replacing(path) as new:
        files.remove(new)  # left by a killed command
        new.mkdir()

        def write(names: list[str], x: np.ndarray, outputs: Outputs) -> None:
            images = data.new_rows("x", x, ladder.example_shape, scale=ladder.fitted.scale)
            for name, image, mask in zip(names, images, outputs.predictions, strict=True):
                shades = _shades(image, ladder.fitted.scale)
                masks.write_png(_new_file(new, name), masks.blend(shades, mask))

        yield write


def _shades(image: np.ndarray, scale: str) -> np.ndarray:
    """Returns an image rescaled from the scale of training, or from its own range, to 0 to 1."""
    ranges = {"bytes": (0, 1), "unit": (0, 1), "binary": (0, 1), "pixels": (0, 255)}
    low, high = ranges.get(scale) or (image.min(), image.max())
    shades: np.ndarray = np.interp(image, (low, high if high > low else low + 1), (0, 1))
    return shades


def _file_name(name: str) -> str:
    """Returns the file name of a mask: the image's own, as PNG, or the number of the row.

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
      DataError: the path is taken by another image's mask, as for ``cat.jpg`` and ``cat.png``.
    """
    path = folder / _file_name(name)
    if path.exists():
        raise DataError(f"{name}: two images are named so, except for the ending; rename one.")
    return path


def check_folder(path: pathlib.Path, replace: bool, given: str) -> None:
    """Checks that a folder of PNG files can be written.

    Args:
      path: the folder.
      replace: whether PNG files in it may be replaced.
      given: path of the input examples.

    Raises:
      ConfigError: the path cannot be written; the folder holds files that may not be replaced,
        files that are not PNG files, or the examples.
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
    existing = [other for other in files.listed(path) if not other.name.startswith(".")]
    if existing and not replace:
        raise ConfigError(
            f"{path} holds files; give another --output, or --overwrite_output to replace them."
        )
    if others := [other for other in existing if other.suffix.lower() != ".png"]:
        raise ConfigError(f"{path} holds {others[0].name}, no PNG file; give another --output.")
