"""A trained ladder as one file of StableHLO, which JAX alone runs on CPU, GPU and TPU."""

from __future__ import annotations

import importlib.util
import os
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import export as jax_export

from ladder_jax import data
from ladder_jax.data import preprocessing
from ladder_jax.errors import ConfigError
from ladder_jax.predictor import Predictor
from ladder_jax.run.files import as_path, replacing, write_json
from ladder_jax.run.workfolder import versions
from ladder_jax.types import Array

PLATFORMS = ("cpu", "cuda", "tpu")
"""Those that one file serves."""


def predictions(predictor: Predictor) -> Callable[[Array], Array]:
    """Makes the whole way from an example to what is predicted of it a pure function.

    Preprocessing, encoder and softmax, or what else the target has; products are those of full
    float32 on every device, so that the answers are the same, unless the run itself computes in
    bfloat16.

    Args:
      predictor: a trained ladder.

    Returns:
      ``x [B, *example_shape] -> [B, ...]``, each row by itself: what ``description`` says; NaN
      everywhere where a row is not finite, after preprocessing or in the outputs.

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
    """Exports a program with its parameters, statistics and preprocessing inside.

    Args:
      predictor: a trained ladder.

    Returns:
      What ``jax.export.deserialize`` reads: a function from float32 ``[batch,
      *example_shape]``, any batch, to float32 ``[batch, classes]``, probabilities, or what else
      ``description`` says.

    Raises:
      ConfigError: flatbuffers, which JAX writes the file with, is not installed.
    """
    if importlib.util.find_spec("flatbuffers") is None:
        raise ConfigError(
            "flatbuffers is not installed, and JAX writes an exported program with it: pip install "
            "flatbuffers."
        )
    (batch,) = jax_export.symbolic_shape("batch")
    x = jax.ShapeDtypeStruct(  # type: ignore[no-untyped-call]
        (batch, *predictor.example_shape), jnp.float32
    )
    exported = jax_export.export(jax.jit(predictions(predictor)), platforms=PLATFORMS)(x)
    return bytes(exported.serialize())


_DIVIDED = {"bytes": 255, "unit": 255, "unknown": 255}
"""What a program's caller divides bytes by, by the scale of the training rows."""


_OUTPUT = {
    "classes": "[batch, classes], probabilities",
    "pixels": "[batch, height, width, classes], probabilities of each pixel",
    "several": "[batch, labels], probabilities, of each label by itself",
    "numbers": "[batch, numbers], in the units of the labels",
    "numbers with variance": "[batch, 2 numbers], in the units of the labels: the numbers, then "
    "the standard deviation of each",
}
"""What a program gives, by what the labels are."""


def description(predictor: Predictor) -> dict[str, Any]:
    """Describes what a program of ``export`` takes and gives, for JSON.

    Args:
      predictor: a trained ladder.
    """
    given = _OUTPUT[
        predictor.target.kind + " with variance" * predictor.target.name.endswith("variance")
    ]
    return {
        "target": predictor.target.name,
        "class_names": list(predictor.class_names),
        "example_shape": list(predictor.example_shape),
        "input": "float32 [batch, *example_shape], as in training before preprocessing: "
        f"{data.SCALES[predictor.fitted.scale]}. Digits that float32 does not hold, as of seconds "
        "since 1970, are lost before the program sees them.",
        "divide_bytes_by": _DIVIDED.get(predictor.fitted.scale, 1),
        "output": f"float32 {given}; all NaN for an example that is not finite after "
        "preprocessing, or too far from those of training: nothing is predicted of it",
        "scale": predictor.fitted.scale,
        "preprocess": predictor.fitted.chain,
        "platforms": list(PLATFORMS),
        "versions": versions(),
    }


def description_path(path: str | os.PathLike[str]) -> pathlib.Path:
    """Returns where the description of a program lies: beside it.

    Examples:
      >>> description_path("model.stablehlo").name
      'model.stablehlo.json'
    """
    program = as_path(path)
    return program.with_name(f"{program.name}.json")


def write(path: str | os.PathLike[str], predictor: Predictor) -> None:
    """Writes a program, and beside it, as JSON, its description.

    Args:
      path: of the program; replaced if it is there.
      predictor: a trained ladder.

    Raises:
      ConfigError: as ``export``.
      WriteError: a file cannot be written.
    """
    content = export(predictor)
    write_json(description_path(path), description(predictor))
    with replacing(as_path(path)) as temporary:
        temporary.write_bytes(content)
