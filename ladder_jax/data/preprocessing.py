"""Preprocessing fitted once, on training rows, and kept with the model.

A chain joins steps with plus signs: ``"contrast+zca"`` is the paper's chain for CIFAR-10
(Rasmus et al. 2015, section 4.3), ``"standardize"`` and ``"tabular"`` are for tables, and
``"none"`` does nothing. ``fit`` returns everything that ``apply`` needs, as arrays. ``apply``
takes NumPy and JAX arrays alike, so that a compiled program may contain it.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

from ladder_jax.data.arrays import read_npz
from ladder_jax.data.base import Examples, chunks, not_finite, place, to_float
from ladder_jax.errors import DataError

CONTRAST_SCALE = 55.0
CONTRAST_EPSILON = 1e-8
ZCA_BIAS = 0.1
TABULAR_BOUND = 3.0
"""Bound on the features of "tabular", in standard deviations from the mean."""
TABULAR_SKEW = 1.0
"""Absolute skewness beyond which "tabular" gives a feature normal scores."""
_KNOTS = 33
"""Maximum number of knots of a normal-score curve."""
_SAMPLE = 10_000
"""Maximum number of rows that "tabular" is fitted on; lower if rows have many features."""

Fitted = dict[str, np.ndarray]
Chunks = Callable[[], Iterator[np.ndarray]]


class Preprocessing(NamedTuple):
    """Holds a chain and its fitted arrays."""

    chain: str = "none"  # e.g. "contrast+zca"
    fitted: Fitted = {}  # noqa: RUF012 - arrays by STEP/NAME, never written to
    scale: str = "unknown"  # of the training rows, one of ``data.SCALES``


def contrast_normalize(x: np.ndarray) -> np.ndarray:
    """Normalises global contrast: centres each row and scales it to the length 55.

    ``55 (x - mean) / |x - mean|``, with mean and length over all features of the
    row. A row without contrast becomes 0, one whose length overflows becomes NaN.
    """
    xp = x.__array_namespace__()
    rows = x.reshape(x.shape[0], -1)
    rows = rows - rows.mean(1, keepdims=True)
    length = xp.sqrt(xp.square(rows).sum(1, keepdims=True)) / CONTRAST_SCALE
    length = xp.where(xp.isfinite(length), length, xp.nan)  # dividing by infinity would give 0
    normalized: np.ndarray = rows / xp.where(length < CONTRAST_EPSILON, 1, length)
    return normalized.reshape(x.shape)


def _varies(mean: np.ndarray, var: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Returns which features vary by more than the rounding errors of their dtype."""
    varies: np.ndarray = var > np.square(8 * np.finfo(dtype).eps * mean)
    return varies


def _moments(read: Chunks) -> tuple[np.ndarray, np.ndarray]:
    """Returns each feature's mean and biased variance (0 if it varies only by rounding), float64.

    Differences from the first row are summed, so that a large mean costs no digits.
    """
    start = next(read())
    first = start[0].astype(np.float64)
    rows, total, squares = 0, np.zeros(()), np.zeros(())
    for chunk in read():
        rows, total = rows + len(chunk), total + (chunk - first).sum(0)
    mean = first + total / rows
    for chunk in read():
        squares = squares + np.square(chunk - mean).sum(0)
    var = squares / rows
    return mean, np.where(_varies(mean, var, start.dtype), var, 0.0)


def _float32(name: str, array: np.ndarray, least: float = 0.0) -> np.ndarray:
    """Returns fitted values as float32, as they are stored; refuses what float32 cannot hold."""
    kept = array.astype(np.float32)
    wrong = ~(np.isfinite(kept) & (np.abs(kept) >= least))
    if wrong.any():
        raise DataError(
            f"preprocess={name!r}: {place(wrong)} of the training rows has a mean or a spread "
            f"of {array[wrong][0]:.3g}, which float32 cannot hold; give it in another unit."
        )
    return kept


def _centre(name: str, mean: np.ndarray, scale: np.ndarray) -> Fitted:
    """Returns the arrays that centre and scale each feature.

    ``mean`` is the mean rounded to float32, ``shift`` the rounding error divided by the scale:
    without it, a mean that is large relative to the deviation would shift all rows.
    """
    std = _float32(name, scale, float(np.finfo(np.float32).tiny))
    high = _float32(name, mean)
    return {"mean": high, "std": std, "shift": ((mean - high) / std).astype(np.float32)}


def _fit_standardize(read: Chunks) -> Fitted:
    """Fits mean and deviation; a feature that is constant up to rounding is only centred."""
    mean, var = _moments(read)
    return _centre("standardize", mean, np.where(var > 0, np.sqrt(var), 1.0))


def _apply_standardize(fitted: Fitted, x: np.ndarray) -> np.ndarray:
    """Standardises rows, subtracting the mean in two parts; the first is exact near the mean."""
    scaled: np.ndarray = (x - fitted["mean"]) / fitted["std"] - fitted.get("shift", 0.0)
    return scaled


def _fit_zca(read: Chunks) -> Fitted:
    """Fits E diag(values)^(-1/2) E^T of the covariance, with 0.1 added to its diagonal."""
    mean, _ = _moments(read)
    high = _float32("zca", mean)
    rows, cov = 0, np.zeros((mean.size, mean.size))
    for chunk in read():
        centred = (chunk - mean).reshape(len(chunk), -1)
        rows, cov = rows + len(chunk), cov + centred.T @ centred
    _float32("zca", np.diag(cov).reshape(mean.shape))
    values, vectors = np.linalg.eigh(cov / rows + ZCA_BIAS * np.eye(mean.size))
    matrix = (vectors / np.sqrt(values)) @ vectors.T
    shift = (mean - high).reshape(-1) @ matrix
    arrays = {"mean": high, "matrix": matrix, "shift": shift}
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def _apply_zca(fitted: Fitted, x: np.ndarray) -> np.ndarray:
    white = (x - fitted["mean"]).reshape(x.shape[0], -1) @ fitted["matrix"]
    return (white - fitted.get("shift", 0.0)).reshape(x.shape)


def _sample(read: Chunks) -> np.ndarray:
    """Returns a sample of rows, evenly spaced and flat, ``[n, features]``."""
    sizes = [part.shape for part in read()]
    total = sum(rows for rows, *_ in sizes)
    features = int(np.prod(sizes[0][1:]))
    limit = max(1000, min(_SAMPLE, 2**26 // features))
    wanted = np.linspace(0, total - 1, min(total, limit)).astype(int)
    parts, first = [], 0
    for part in read():
        kept = wanted[(wanted >= first) & (wanted < first + len(part))] - first
        parts.append(part[kept].reshape(len(kept), -1))
        first += len(part)
    return np.concatenate(parts)


def _normal_scores(column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns ascending values of a column ``[n]``, the knots, and the normal score of each.

    ``score(v) = Phi^-1((rows below v + half of those equal to v) / n)``, clipped at plus and
    minus ``TABULAR_BOUND``; between knots it is nearly linear.
    """
    ordered, n = np.sort(column), len(column)
    last = ndtri(1 - 0.5 / n)
    knots = np.unique(ordered)
    if len(knots) > _KNOTS:
        knots = np.unique(ordered[(n * ndtr(np.linspace(-last, last, _KNOTS))).astype(int)])
    ranks = np.searchsorted(ordered, knots) + np.searchsorted(ordered, knots, "right")
    return knots, ndtri(ranks / (2 * n)).clip(-TABULAR_BOUND, TABULAR_BOUND)


def _fit_tabular(read: Chunks) -> Fitted:
    """Fits a line to each feature or, if it is skewed, a piecewise linear curve.

    ``order`` is each feature's index into all lines followed by the curves. Knots are in the
    units of the line's output, for the same reason as ``shift``.
    """
    sample = _sample(read)
    rows = sample.astype(np.float64)
    mean, var, low, high = rows.mean(0), rows.var(0), rows.min(0), rows.max(0)
    varies = _varies(mean, var, sample.dtype)
    binary = varies & ((rows == low) | (rows == high)).all(0)
    scale = np.where(binary, (high - low) / 2, np.where(varies, np.sqrt(var), 1.0))
    rows = (rows - mean) / scale
    curved = np.flatnonzero(~binary & (np.abs((rows**3).mean(0)) > TABULAR_SKEW))
    curves = [_normal_scores(column) for column in rows.T[curved]]
    pieces = np.zeros((3, _KNOTS - 1, len(curved)))
    pieces[1] = 1.0
    for i, (knots, scores) in enumerate(curves):
        pieces[:, : len(knots) - 1, i] = knots[:-1], np.diff(knots), np.diff(scores)
    order = np.arange(rows.shape[1])
    order[curved] = rows.shape[1] + np.arange(len(curved))
    tiny = float(np.finfo(np.float32).tiny)
    return _centre("tabular", mean, scale) | {
        "curved": curved.astype(np.int32),
        "knots": pieces[0].astype(np.float32),
        "widths": np.maximum(pieces[1], tiny).astype(np.float32),
        "rises": pieces[2].astype(np.float32),
        "start": np.array([scores[0] for _, scores in curves], np.float32),
        "order": order.astype(np.int32),
    }


def _apply_tabular(fitted: Fitted, x: np.ndarray) -> np.ndarray:
    """Maps each feature by its line, clipped at ``TABULAR_BOUND``, or by its curve."""
    xp = x.__array_namespace__()
    rows = _apply_standardize(fitted, x.reshape(x.shape[0], -1))
    mapped = xp.clip(rows, -TABULAR_BOUND, TABULAR_BOUND)
    if fitted["curved"].size:
        score = fitted["start"]
        skewed = rows[:, fitted["curved"]]
        for knot, width, rise in zip(
            *(fitted[n] for n in ("knots", "widths", "rises")), strict=True
        ):
            score = score + rise * xp.clip((skewed - knot) / width, 0, 1)
        mapped = xp.concatenate([mapped, score], 1)[:, fitted["order"]]
    # Keeps non-finite values, which are refused later; clipping would hide them.
    finite: np.ndarray = xp.where(xp.isfinite(rows), mapped, xp.nan)
    return finite.reshape(x.shape)


_Step = tuple[Callable[[Chunks], Fitted], Callable[[Fitted, np.ndarray], np.ndarray]]

STEPS: dict[str, _Step] = {
    "contrast": (lambda read: {}, lambda fitted, x: contrast_normalize(x)),
    "standardize": (_fit_standardize, _apply_standardize),
    "tabular": (_fit_tabular, _apply_tabular),
    "zca": (_fit_zca, _apply_zca),
}
"""Steps of a chain by name, as pairs of ``fit(read)`` and ``apply(arrays, rows)``."""


def check_chain(chain: str) -> list[str]:
    """Returns the steps of a chain; a ``DataError`` says what a chain may contain."""
    words = [] if chain == "none" else chain.split("+")
    for word in words:
        if word not in STEPS or words.count(word) > 1:
            raise DataError(
                f"preprocess={chain!r}: give 'none', or any of {', '.join(STEPS)} once, joined "
                "by +, e.g. contrast+zca."
            )
    return words


def fit(chain: str, x: Examples) -> Preprocessing:
    """Fits a chain; each step sees the output of the steps before it.

    x holds the training rows ``[n, ...]`` and no others; they are read in parts.

    Examples:
      >>> fitted = fit("standardize", np.array([[1.0], [3.0]]))
      >>> apply(fitted, np.array([[5.0]], np.float32)).tolist()
      [[3.0]]
    """
    words, fitted = check_chain(chain), Fitted()
    for i, word in enumerate(words):
        before = Preprocessing("+".join(words[:i]) or "none", fitted)

        def prepared(before: Preprocessing = before) -> Iterator[np.ndarray]:
            return (_run(before, to_float(np.asarray(part))) for part in chunks(x, least=1))

        with np.errstate(over="ignore", invalid="ignore"):  # non-finite values are refused
            arrays = STEPS[word][0](prepared)
        fitted = fitted | {f"{word}/{name}": array for name, array in arrays.items()}
    return Preprocessing(chain, fitted)


def _run(preprocessing: Preprocessing, x: np.ndarray) -> np.ndarray:
    for word in check_chain(preprocessing.chain):
        arrays, prefix = preprocessing.fitted.items(), f"{word}/"
        fitted = {name.removeprefix(prefix): a for name, a in arrays if name.startswith(prefix)}
        x = STEPS[word][1](fitted, x)
    return x


def apply(preprocessing: Preprocessing, x: np.ndarray) -> np.ndarray:
    """Returns rows ``[n, ...]`` (NumPy or JAX) preprocessed for the model.

    NumPy rows are computed in parts, in the precision of ``x``, and become float32;
    values that float32 cannot hold become non-finite.
    """
    if not isinstance(x, np.ndarray):
        return _run(preprocessing, x)
    if preprocessing.chain == "none" and x.dtype == np.float32:
        return x
    out = np.empty(x.shape, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for part, kept in zip(chunks(x), chunks(out), strict=True):
            kept[:] = _run(preprocessing, part)
    return out


def check_applied(
    name: str,
    out: Examples,
    x: Examples,
    chain: str,
    numbers: np.ndarray | None = None,
    first: int = 0,
) -> None:
    """Checks that rows are still finite after preprocessing; the error names the original value.

    ``out`` holds the preprocessed rows, read in parts, and ``x`` the original ones, all
    finite. ``numbers`` gives the row of x for each row of out (None: the same row); messages
    number the rows of x from ``first``.
    """
    numbers = np.arange(len(out)) if numbers is None else numbers
    for part, rows in zip(chunks(out), chunks(numbers), strict=True):
        bad = not_finite(np.asarray(part))
        if bad.size:
            number = int(rows[bad[0]])
            row = np.asarray(x[number : number + 1])[0]
            wrong = ~np.isfinite(part[bad[0]]).reshape(row.shape)
            farthest = wrong & (np.abs(row) == np.abs(row)[wrong].max())
            raise DataError(
                f"{name}: {row[farthest][0]:.6g} in row {first + number}, {place(farthest)}, is "
                f"not finite in float32 after preprocess={chain!r}; remove or replace it, if it "
                "marks a missing value."
            )


def save(path: str | pathlib.Path, preprocessing: Preprocessing) -> None:
    """Writes a fitted chain as an ``.npz`` file, for ``load``."""
    np.savez(path, chain=np.array(preprocessing.chain), **preprocessing.fitted)  # type: ignore[arg-type]


def load(path: str | pathlib.Path) -> Preprocessing:
    """Loads a chain written by ``save``; a ``DataError`` says if it is missing or corrupt."""
    arrays = read_npz(pathlib.Path(path) if isinstance(path, str) else path)
    chain = str(arrays.pop("chain", ""))
    check_chain(chain)
    return Preprocessing(chain, arrays)
