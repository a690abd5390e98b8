"""A trained ladder as one StableHLO file, which only needs JAX to run on CPU, GPU and TPU."""

from __future__ import annotations

import importlib.util
import os
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export

from ladder_jax import data
from ladder_jax.data import preprocessing
from ladder_jax.errors import ConfigError
from ladder_jax.predictor import Predictor
from ladder_jax.run.files import as_path, replacing, write_json
from ladder_jax.run.workfolder import versions
from ladder_jax.types import Array

PLATFORMS = ("cpu", "cuda", "tpu")
"""Platforms that one file supports."""


def predictions(predictor: Predictor) -> Callable[[Array], Array]:
    """Makes a pure function from examples to their predictions.

    It applies preprocessing, the encoder and the softmax, or whatever else the target has. Matrix
    products use full float32 precision on every device, so that results agree, unless the run
    itself computes in bfloat16.

    Args:
      predictor: a trained ladder.

    Returns:
      ``x [B, *example_shape] -> [B, ...]``, each row independently, with the output that
      ``description`` describes; all NaN for a row that is not finite after preprocessing or in
      the outputs.

    Examples:
      >>> import numpy as np
      >>> from ladder_jax import predictor, presets
      >>> net, x = presets.mlp(4, [3, 2]), np.eye(4, dtype=np.float32)
      >>> params = net.init(jax.random.key(0))
      >>> trained = predictor.Trained(params, net.statistics(params, x), None)
      >>> ladder = Predictor(net, trained, ("no", "yes"), (2, 2))
      >>> predictions(ladder)(x.reshape(4, 2, 2)).sum(1).round(3).tolist()
      [1.0, 1.0, 1.0, 1.0]
    """
    params, statistics, _ = predictor.trained
    target, scaling = predictor.target, predictor.scaling

    def predict(x: Array) -> Array:
        with jax.default_matmul_precision("highest"):
            rows: Any = preprocessing.apply(predictor.fitted, x)  # type: ignore[arg-type]
            rows = rows.reshape(x.shape[0], *predictor.net.shapes[0])
            outputs = predictor.net.predict(params, statistics, rows)
            finite = _finite(rows) & _finite(outputs)
            return jnp.where(
                finite.reshape(-1, *(1,) * (outputs.ndim - 1)), from_outputs(outputs), jnp.nan
            )

    def from_outputs(outputs: Array) -> Array:
        if scaling is None:
            probabilities: Array = target.probabilities(outputs)
            return probabilities
        scale, mean = (jnp.asarray(part, jnp.float32) for part in (scaling.scale, scaling.mean))
        predicted, std = target.predict(outputs) * scale + mean, target.uncertainty(outputs)
        return predicted if std is None else jnp.concatenate([predicted, std * scale], -1)

    return predict


def _finite(rows: Array) -> Array:
    """Returns which rows are finite, bool ``[B]``."""
    return jnp.isfinite(rows).all(tuple(range(1, rows.ndim)))


def export(predictor: Predictor) -> bytes:
    """Exports a program that includes its parameters, statistics and preprocessing.

    Args:
      predictor: a trained ladder.

    Returns:
      Bytes for ``jax.export.deserialize``: a function from float32 ``[batch, *example_shape]``,
      for one example or more, to float32 probabilities ``[batch, classes]``, or another output that
      ``description`` describes.

    Raises:
      ConfigError: flatbuffers, with which JAX writes the file, is not installed; or numbers need
        more digits than the program's float32 has.
    """
    if importlib.util.find_spec("flatbuffers") is None:
        raise ConfigError(
            "flatbuffers is not installed, and JAX writes an exported program with it: pip install "
            "flatbuffers."
        )
    if (scaling := predictor.scaling) is not None:
        with np.errstate(over="ignore"):
            mean, scale = (np.asarray(part, np.float32) for part in scaling)
        if not (np.spacing(np.abs(mean)) < 0.01 * scale).all() or np.isinf(scale).any():
            raise ConfigError(
                f"numbers with the mean {scaling.mean} and the standard deviation {scaling.scale} "
                "have more digits than float32, in which an exported program computes; subtract a "
                "constant from the labels, or give them in another unit."
            )
    (batch,) = jax_export.symbolic_shape("batch")
    x = jax.ShapeDtypeStruct(  # type: ignore[no-untyped-call]
        (batch, *predictor.example_shape), jnp.float32
    )
    exported = jax_export.export(jax.jit(predictions(predictor)), platforms=PLATFORMS)(x)
    return bytes(exported.serialize())


_BYTE_DIVISORS = {"bytes": 255, "unit": 255, "unknown": 255}
"""Divisors for bytes, which the program's caller applies, by the scale of the training rows."""


_OUTPUTS = {
    "classes": "[batch, classes], probabilities",
    "pixels": "[batch, height, width, classes], probabilities of each pixel",
    "several": "[batch, labels], probabilities, of each label by itself",
    "numbers": "[batch, numbers], in the units of the labels",
    "numbers with variance": "[batch, 2 numbers], in the units of the labels: the numbers, then "
    "the standard deviation of each",
}
"""Shape and meaning of a program's output, by the kind of labels."""


def description(predictor: Predictor) -> dict[str, Any]:
    """Describes the input and output of a program from ``export``, for JSON.

    Args:
      predictor: a trained ladder.
    """
    target = predictor.target
    kind = target.kind + " with variance" * target.name.endswith("variance")
    output = _OUTPUTS.get(kind, "[batch, ...], the probabilities that the target defines")
    return {
        "target": target.name,
        "class_names": list(predictor.class_names),
        "example_shape": list(predictor.example_shape),
        "input": "float32 [batch, *example_shape], as in training before preprocessing: "
        f"{data.SCALES[predictor.fitted.scale]}. Digits that float32 cannot hold, e.g. in "
        "seconds since 1970, are lost before the program sees them.",
        "divide_bytes_by": _BYTE_DIVISORS.get(predictor.fitted.scale, 1),
        "output": f"float32 {output}; all NaN for an example that is not finite after "
        "preprocessing, or too far from those of training: nothing is predicted of it",
        "scale": predictor.fitted.scale,
        "preprocess": predictor.fitted.chain,
        "platforms": list(PLATFORMS),
        "versions": versions(),
    }


def description_path(path: str | os.PathLike[str]) -> pathlib.Path:
    """Returns the path of a program's description, a file beside it.

    Examples:
      >>> description_path("model.stablehlo").name
      'model.stablehlo.json'
    """
    program = as_path(path)
    return program.with_name(f"{program.name}.json")


def write(path: str | os.PathLike[str], predictor: Predictor) -> None:
    """Writes a program and, beside it, its description as JSON.

    Args:
      path: path of the program; an existing file is overwritten.
      predictor: a trained ladder.

    Raises:
      ConfigError: as ``export``.
      WriteError: a file cannot be written.
    """
    content = export(predictor)
    write_json(description_path(path), description(predictor))
    with replacing(as_path(path)) as temporary:
        temporary.write_bytes(content)
