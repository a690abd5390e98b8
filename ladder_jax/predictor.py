"""A trained ladder with its preprocessing and class names, for predictions on new examples."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from ladder_jax import data, errors
from ladder_jax.data import preprocessing
from ladder_jax.data.base import as_array, check_columns, chunks
from ladder_jax.errors import ConfigError
from ladder_jax.run import evaluation, multiprocess
from ladder_jax.run.files import as_path
from ladder_jax.run.inputs import Scaling, Spec, as_images, named_target
from ladder_jax.run.program import compile_program
from ladder_jax.run.workfolder import load_params, load_summary, read_config
from ladder_jax.types import Ladder, Shape, Target, Trained

ROWS = 256
"""Rows predicted at a time; fewer are padded, so that one compiled program serves any number.

For large images with a class per pixel, the number is smaller.
"""


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["logits", "features", "denoised"],
    meta_fields=["target", "scaling"],
)
@dataclasses.dataclass(frozen=True)
class Outputs:
    """Holds the outputs of a ladder for rows.

    Attributes:
      logits: the target's outputs: ``[n, classes]``, ``[n, height, width, classes]`` for
        masks, ``[n, d]`` for numbers, standardised, or ``[n, k]`` for several labels.
      features: ``[n, *shape]``, the activations of level L - 1.
      denoised: ``[n, *input_shape]``, the decoder's estimate of the preprocessed
        input, or None if the input is not decoded.
      target: the target of the ladder, i.e. the kind of its labels.
      scaling: mean and scale that convert numbers back to their units; None for other targets.
    """

    logits: np.ndarray
    features: np.ndarray
    denoised: np.ndarray | None
    target: Target
    scaling: Scaling | None = None

    @property
    def predictions(self) -> np.ndarray:
        """Returns the predictions.

        They are class numbers ``[n]``, masks of class numbers ``[n, height, width]``, numbers
        ``[n, d]`` in their own units, or zeros and ones ``[n, k]`` for several labels.
        """
        predicted: np.ndarray = self.target.predict(self.logits)
        scaling = self.scaling
        return predicted if scaling is None else predicted * scaling.scale + scaling.mean

    @property
    def probabilities(self) -> np.ndarray:
        """Computes the probability of each class or label, in the shape of the logits.

        Raises:
          ValueError: the ladder predicts numbers.
        """
        probabilities: np.ndarray | None = self.target.probabilities(self.logits)
        if probabilities is None:
            raise ValueError(
                "the ladder predicts numbers, which have no probabilities; take its predictions "
                "and their uncertainty."
            )
        return probabilities

    @property
    def uncertainty(self) -> np.ndarray | None:
        """Computes the uncertainty of each prediction, in the shape of the predictions.

        It is the probability of being wrong; for numbers, their standard deviation in their own
        units, or None if the run had no ``variance``.
        """
        values: np.ndarray | None = self.target.uncertainty(self.logits)
        return values if values is None or self.scaling is None else values * self.scaling.scale

    @property
    def classes(self) -> np.ndarray:
        """Returns the ``predictions``, which are class numbers."""
        return self.predictions


class Predictor:
    """Holds a trained ladder with the preprocessing and classes of its training.

    Args:
      net: the ladder.
      trained: the ladder's parameters and statistics.
      class_names: one name per class, or per number or label of a row.
      example_shape: shape of one row of the data.
      fitted: the fitted preprocessing.
      outputs: ``Program.evaluate.outputs`` if available; None compiles a new one.
      scaling: mean and scale with which numbers were standardised; None for other targets.
      feature_names: names of the columns in training; () if they had none. A data frame of new
        rows must have these columns in this order.

    Examples:
      >>> from ladder_jax import presets
      >>> net, x = presets.mlp(4, [3, 2]), np.eye(4, dtype=np.float32)
      >>> params = net.init(jax.random.key(0))
      >>> statistics = net.statistics(params, x)
      >>> u = net.decoder_statistics(params, statistics, x)
      >>> ladder = Predictor(net, Trained(params, statistics, u), ("a", "b"), (2, 2))
      >>> outputs = ladder(x.reshape(4, 2, 2))
      >>> outputs.probabilities.shape, outputs.features.shape, outputs.denoised.shape
      ((4, 2), (4, 3), (4, 4))
    """

    def __init__(
        self,
        net: Ladder,
        trained: Trained,
        class_names: tuple[str, ...],
        example_shape: Shape,
        fitted: preprocessing.Preprocessing = preprocessing.Preprocessing(),
        outputs: Callable[..., Any] | None = None,
        scaling: Scaling | None = None,
        feature_names: tuple[str, ...] = (),
    ) -> None:
        self.net, self.trained, self.class_names = net, trained, class_names
        self.example_shape, self.fitted, self.scaling = example_shape, fitted, scaling
        self.feature_names = feature_names
        self.target, self.rows = net.structure.target, evaluation.rows_at_once(net, ROWS)
        self._outputs = outputs or jax.jit(functools.partial(evaluation.outputs, net))

    def prepared(self, x: np.ndarray, name: str = "x", first: int = 0) -> np.ndarray:
        """Returns checked and preprocessed rows, as the ladder takes them.

        Args:
          x: ``[n, *example_shape]``, or with flat rows, on the scale of the training rows or
            one that can be converted to it (see ``data.SCALES``).
          name: name of the rows in error messages.
          first: number of the first row in error messages.

        Raises:
          DataError: the shape, the scale or the names of the columns differ from those in
            training, or a value is not finite before or after preprocessing.
        """
        check_columns(name, x, self.feature_names)
        x = data.new_rows(name, x, self.example_shape, first, self.fitted.scale)
        out = preprocessing.apply(self.fitted, x)
        preprocessing.check_applied(name, out, x, self.fitted.chain, first=first)
        return out.reshape(len(x), *self.net.shapes[0])

    def __call__(self, x: np.ndarray, name: str = "x", first: int = 0) -> Outputs:
        """Computes the outputs for rows, each independently of the others.

        Args:
          x: as for ``prepared``, with any number of rows.
          name: name of the rows in error messages.
          first: number of the first row in error messages.

        Returns:
          ``Outputs``, all finite.

        Raises:
          DataError: as ``prepared``, or the ladder gives NaN or infinity for a row.
          RuntimeError: raised by ``multiprocess.check_fork``.
        """
        parts = self._checked_parts(x, name, first)
        outputs: Outputs = jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)
        return outputs

    def parts(self, x: data.Examples, name: str = "x", first: int = 0) -> Iterator[Outputs]:
        """Yields the outputs of a call in parts of up to ``ROWS`` rows, to limit memory.

        Args:
          x: as for a call, or examples on disk.
          name: as for a call.
          first: as for a call.
        """
        multiprocess.check_fork()
        for part in chunks(x, self.rows, least=1):
            rows = self.prepared(part, name, first)
            padded = np.zeros((self.rows, *rows.shape[1:]), np.float32)
            padded[: len(rows)] = rows
            logits, features, denoised = self._outputs(self.trained, padded)
            outputs = Outputs(logits, features, denoised, self.target, self.scaling)
            outputs = jax.tree.map(lambda array, n=len(rows): np.asarray(array)[:n], outputs)
            _check_outputs(name, first, outputs)
            yield outputs
            first += len(rows)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Returns the predictions for rows, see ``Outputs.predictions``."""
        return np.concatenate([part.predictions for part in self._checked_parts(x)])

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Returns the probabilities for rows, see ``Outputs.probabilities``."""
        return np.concatenate([part.probabilities for part in self._checked_parts(x)])

    def uncertainty(self, x: np.ndarray) -> np.ndarray | None:
        """Returns the uncertainty of predictions for rows, see ``Outputs.uncertainty``."""
        parts = [part.uncertainty for part in self._checked_parts(x)]
        available = [part for part in parts if part is not None]
        return np.concatenate(available) if available else None

    def _checked_parts(self, x: np.ndarray, name: str = "x", first: int = 0) -> Iterator[Outputs]:
        multiprocess.check_fork()
        check_columns(name, x, self.feature_names)
        x = as_array(name, x)
        data.check_new(name, x, self.example_shape)
        return self.parts(x, name, first)


def _check_outputs(name: str, first: int, outputs: Outputs) -> None:
    """Checks that all outputs for rows are finite; the error names the first row that is not."""
    for array in jax.tree.leaves(outputs):
        if not np.isfinite(array).all():
            row = first + int(np.argwhere(~np.isfinite(array))[0, 0])
            raise errors.DataError(
                f"{name}: the ladder gives NaN or infinity for row {row}, whose "
                "values are too far from those of training; remove or scale it."
            )


def find_run(workdir: str | os.PathLike[str]) -> pathlib.Path:
    """Returns the folder of a finished run: ``workdir``, or the only one inside it.

    Args:
      workdir: folder written by ``loop.train_and_evaluate`` or by a command.

    Raises:
      ConfigError: the folder holds no finished run, or several.
    """
    folder = as_path(workdir)
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; give one that a run wrote.")
    if (folder / "result.json").exists():
        return folder
    runs = sorted(path.parent for path in folder.glob("ladder-*/result.json"))
    if len(runs) == 1:
        return runs[0]
    if runs:
        names = ", ".join(path.name for path in runs)
        raise ConfigError(f"{folder} holds several runs; give one of them: {names}.")
    raise ConfigError(f"{folder} holds no finished run; finish it first, or give another folder.")


def load(workdir: str | os.PathLike[str]) -> Predictor:
    """Loads the trained ladder of a finished run.

    Args:
      workdir: as for ``find_run``.

    Returns:
      A ``Predictor``. Runs of earlier versions did not record the scale of their training
      rows: bytes (uint8) are then divided by 255, and anything else is left unchanged.

    Raises:
      ConfigError: there is no finished run, or it is corrupt or of another version.
      DataError: the saved preprocessing is missing or corrupt.
      RuntimeError: raised by ``multiprocess.check_fork``.
    """
    multiprocess.check_fork()
    folder = find_run(workdir)
    config, summary = read_config(folder), load_summary(folder)
    try:
        names = tuple(map(str, summary["class_names"]))
        shape = tuple(map(int, summary["example_shape"]))
        scale, scaling = str(summary.get("scale", "unknown")), summary.get("scaling")
        target = named_target(summary.get("target", f"classes:{len(names)}"))
        if scaling is not None:
            scaling = Scaling(*(tuple(map(float, scaling[part])) for part in Scaling._fields))
        features = tuple(map(str, summary.get("feature_names", ())))
        if scale not in data.SCALES:
            raise ValueError(f"scale {scale!r}")
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{folder}/result.json lacks class names, shape or scale of examples ({error}): it is "
            "of another version of ladder_jax; train again."
        ) from error
    spec = Spec(shape if as_images(config, target) else (math.prod(shape),), target)
    program, fitted = compile_program(config, spec), preprocessing.Preprocessing()
    if config.preprocess != "none":
        fitted = _load_preprocessing(folder / "preprocess.npz", config.preprocess, shape)
    trained, fitted = load_params(folder, program.net), fitted._replace(scale=scale)
    arguments = program.net, trained, names, shape, fitted, program.evaluate.outputs
    return Predictor(*arguments, scaling, features)


def _load_preprocessing(
    path: pathlib.Path, chain: str, shape: Shape
) -> preprocessing.Preprocessing:
    """Loads the preprocessing that a run fitted, and tries it on a row."""
    fitted = preprocessing.load(path)
    try:
        row = preprocessing.apply(fitted, np.zeros((1, *shape), np.float32))
        if fitted.chain != chain or row.shape[1:] != shape:
            raise ValueError(f"{fitted.chain} of rows {row.shape[1:]}")
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path} is not the preprocessing of this run ({error}); train again."
        ) from error
    return fitted
