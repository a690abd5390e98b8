"""Preprocessing fitted once, on training rows, and kept with the model.

A chain is written with plus signs: ``"contrast+zca"`` is the paper's for CIFAR-10
(Rasmus et al. 2015, section 4.3), ``"standardize"`` is for tables, ``"none"`` does
nothing. ``fit`` gives all that ``apply`` needs, as arrays. What is applied to rows
takes arrays of NumPy and of JAX alike, so that a program may have it inside.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from ladder_jax.data.base import DataError, Examples
from ladder_jax.data.npz import read_npz

CONTRAST_SCALE = 55.0
CONTRAST_EPSILON = 1e-8
ZCA_BIAS = 0.1
_CHUNK = 1000

Fitted = dict[str, np.ndarray]
Chunks = Callable[[], Iterator[np.ndarray]]


class Preprocessing(NamedTuple):
    """A chain with what was fitted.

    Attributes:
      chain: e.g. ``"contrast+zca"``.
      fitted: arrays by ``STEP/NAME``.
    """

    chain: str = "none"
    fitted: Fitted = {}  # noqa: RUF012 - never written to


class _Step(NamedTuple):
    """``fit``: (chunks of rows) -> arrays; ``apply``: (arrays, rows) -> rows."""

    fit: Callable[[Chunks], Fitted]
    apply: Callable[[Fitted, np.ndarray], np.ndarray]


def contrast_normalize(x: np.ndarray, scale: float = CONTRAST_SCALE) -> np.ndarray:
    """Global contrast normalisation: each row centred and brought to one length.

    ``scale (x - mean) / |x - mean|``, mean and length over all features of the
    row; a row without contrast becomes 0.

    Args:
      x: ``[n, ...]``.
      scale: the length of each row afterwards.

    Returns:
      An array of the shape of ``x``.

    Example:
      >>> import numpy as np
      >>> contrast_normalize(np.array([[1.0, 3.0], [2.0, 2.0]]), scale=np.sqrt(2)).tolist()
      [[-1.0, 1.0], [0.0, 0.0]]
    """
    xp = x.__array_namespace__()
    rows = x.reshape(x.shape[0], -1)
    rows = rows - rows.mean(1, keepdims=True)
    length = xp.sqrt(xp.square(rows).sum(1, keepdims=True)) / scale
    normalized: np.ndarray = (rows / xp.where(length < CONTRAST_EPSILON, 1, length)).reshape(
        x.shape
    )
    return normalized


def _moments(chunks: Chunks) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance of each feature, float64."""
    rows, total = 0, np.zeros(())
    for chunk in chunks():
        rows, total = rows + len(chunk), total + chunk.sum(0, dtype=np.float64)
    mean, squares = total / rows, np.zeros(())
    for chunk in chunks():
        squares = squares + np.square(chunk - mean).sum(0)
    return mean, squares / rows


def _fit_standardize(chunks: Chunks) -> Fitted:
    """A feature that does not vary (but for rounding) is centred alone."""
    mean, var = _moments(chunks)
    std = np.where(var > 1e-12 * np.square(mean), np.sqrt(var), 1.0)
    return {"mean": mean.astype(np.float32), "std": std.astype(np.float32)}


def _fit_zca(chunks: Chunks) -> Fitted:
    """matrix = E diag(values)^(-1/2) E^T, of the covariance with 0.1 added on its diagonal."""
    mean, _ = _moments(chunks)
    rows, cov = 0, np.zeros((mean.size, mean.size))
    for chunk in chunks():
        centred = (chunk - mean).reshape(len(chunk), -1)
        rows, cov = rows + len(chunk), cov + centred.T @ centred
    values, vectors = np.linalg.eigh(cov / rows + ZCA_BIAS * np.eye(mean.size))
    matrix = (vectors / np.sqrt(values)) @ vectors.T
    return {"mean": mean.astype(np.float32), "matrix": matrix.astype(np.float32)}


def _apply_zca(fitted: Fitted, x: np.ndarray) -> np.ndarray:
    return ((x - fitted["mean"]).reshape(x.shape[0], -1) @ fitted["matrix"]).reshape(x.shape)


STEPS = {
    "contrast": _Step(lambda chunks: {}, lambda fitted, x: contrast_normalize(x)),
    "standardize": _Step(_fit_standardize, lambda fitted, x: (x - fitted["mean"]) / fitted["std"]),
    "zca": _Step(_fit_zca, _apply_zca),
}
"""What a chain may be made of: one entry each."""


def _words(chain: str) -> list[str]:
    words = [] if chain == "none" else chain.split("+")
    for word in words:
        if word not in STEPS or words.count(word) > 1:
            raise DataError(
                f"preprocess={chain!r}: give 'none', or any of {', '.join(STEPS)} once, joined "
                "by +, e.g. contrast+zca."
            )
    return words


def check_chain(chain: str) -> None:
    """That a chain is one.

    Raises:
      DataError: it is not.

    Example:
      >>> check_chain("contrast+zca")
    """
    _words(chain)


def fit(chain: str, x: Examples) -> Preprocessing:
    """Fits a chain; each step sees what the ones before it make of the rows.

    Args:
      chain: of ``STEPS``, joined by plus signs, or "none".
      x: ``[n, ...]``, the training rows and no others; read a part at a time.

    Returns:
      A ``Preprocessing`` for ``apply`` and ``save``.

    Raises:
      DataError: the chain is not known.

    Example:
      >>> import numpy as np
      >>> fitted = fit("standardize", np.array([[1.0], [3.0]]))
      >>> apply(fitted, np.array([[5.0]], np.float32)).tolist()
      [[3.0]]
    """
    words = _words(chain)
    preprocessing = Preprocessing()
    for i, word in enumerate(words):
        before = preprocessing

        def chunks(before: Preprocessing = before) -> Iterator[np.ndarray]:
            for start in range(0, len(x), _CHUNK):
                yield apply(before, np.asarray(x[start : start + _CHUNK]))

        arrays = {f"{word}/{name}": array for name, array in STEPS[word].fit(chunks).items()}
        preprocessing = Preprocessing("+".join(words[: i + 1]), before.fitted | arrays)
    return preprocessing


def apply(preprocessing: Preprocessing, x: np.ndarray) -> np.ndarray:
    """Rows as the model wants them.

    Args:
      preprocessing: as fitted.
      x: ``[n, ...]``, rows of the shape that it was fitted to, of NumPy or JAX.

    Returns:
      An array of the shape of ``x``.

    Example:
      >>> import numpy as np
      >>> apply(Preprocessing(), np.ones((1, 2))).tolist()
      [[1.0, 1.0]]
    """
    for word in _words(preprocessing.chain):
        prefix = f"{word}/"
        arrays = preprocessing.fitted.items()
        own = {name.removeprefix(prefix): a for name, a in arrays if name.startswith(prefix)}
        x = STEPS[word].apply(own, x)
    return x


def save(path: str | pathlib.Path, preprocessing: Preprocessing) -> None:
    """Writes a fitted chain as ``.npz``, for ``load``."""
    np.savez(path, chain=np.array(preprocessing.chain), **preprocessing.fitted)  # type: ignore[arg-type]


def load(path: str | pathlib.Path) -> Preprocessing:
    """A fitted chain that ``save`` wrote.

    Args:
      path: of the file.

    Returns:
      A ``Preprocessing``.

    Raises:
      DataError: the file is missing or damaged.

    Example:
      >>> import pathlib, tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     save(pathlib.Path(folder) / "preprocess.npz", Preprocessing())
      ...     load(pathlib.Path(folder) / "preprocess.npz").chain
      'none'
    """
    arrays = read_npz(pathlib.Path(path) if isinstance(path, str) else path)
    chain = str(arrays.pop("chain", ""))
    check_chain(chain)
    return Preprocessing(chain, arrays)
