"""Numbers: a linear top with squared error, or a Gaussian with a learnt variance per row."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ladder_jax import activations
from ladder_jax._checks import check_count, check_values
from ladder_jax.targets import base
from ladder_jax.types import Array, Shape, Sums, Target

_MAX_LOG_VARIANCE = 6.0  # standard deviations from 0.05 to 20 of a target of variance 1


def _is_number(labels: Any) -> Any:
    return abs(labels) < math.inf


def _check_labels(d: int, name: str, labels: Any, rows: int, shape: Shape) -> None:
    if not any(jnp.issubdtype(labels.dtype, kind) for kind in (jnp.floating, jnp.integer)):
        raise TypeError(f"{name} has dtype {labels.dtype}; give numbers, e.g. float32.")
    wanted = (rows,) if d == 1 and labels.ndim == 1 else (rows, d)
    base.check_shape(name, labels, wanted, f"numbers of shape {(rows, d)}")
    fits = lambda y: np.isnan(y) | _is_number(y)
    check_values(name, labels, fits, "finite numbers, or NaN where there is no label")


def _summary(d: int, sums: Sums, scale: Any = 1.0) -> dict[str, float]:
    """Computes RMSE, MAE and R2 from the sums of ``measures``, in units of ``scale``."""
    totals = base.on_host(sums)
    scale, n = np.broadcast_to(np.asarray(scale, np.float64), (d,)), totals["entries"]
    rmse = math.sqrt(base.share((scale**2 * totals["squared"]).sum(), n.sum()))
    spread = totals["sum_of_squares"] - totals["sum"] ** 2 / n.clip(1)
    varies = spread > 1e-6 * totals["sum_of_squares"]  # beyond the rounding of float32
    unexplained = totals["squared"][varies] / spread[varies]
    mae = base.share((scale * totals["absolute"]).sum(), n.sum())
    return {"error": rmse, "rmse": rmse, "mae": mae, "r2": base.nanmean(1 - unexplained)}


@base.registered
def numbers(d: int, variance: bool = False) -> Target:
    """Makes a target of d numbers per row: labels ``[N, d]``, or ``[N]`` if d is 1; NaN: no label.

    Labels should be standardised (``standardize``), as the top is normalised before its gain and
    bias. The cost, named ``"supervised"`` among the metrics, is half the mean squared error, or
    the negative log-likelihood of a Gaussian with a mean and a variance per row. The error is the
    root mean squared error (RMSE); further measures are the mean absolute error and R2, averaged
    over the d columns. The consistency cost counts every row: threshold and temperature do not
    apply to numbers.

    Args:
      d: numbers per row, 1 or more.
      variance: whether the top has 2 d outputs: d means, then d log-variances v, bounded as
        ``6 tanh(v / 6)``.

    Examples:
      >>> target = numbers(1)
      >>> outputs, labels = jnp.array([[0.0], [2.0], [1.0]]), jnp.array([0.0, 4.0, jnp.nan])
      >>> target.summary(target.measures(outputs, labels), scale=10.0)
      {'error': 14.142135623730951, 'rmse': 14.142135623730951, 'mae': 10.0, 'r2': 0.5}
    """
    check_count("numbers: d", d, 1)

    def moments(outputs: Any) -> tuple[Any, Any]:
        """Returns mean and log-variance, which is 0 without ``variance``."""
        if not variance:
            return outputs, 0.0 * outputs
        tanh = np.tanh if isinstance(outputs, np.ndarray) else jnp.tanh
        return outputs[..., :d], _MAX_LOG_VARIANCE * tanh(outputs[..., d:] / _MAX_LOG_VARIANCE)

    def residuals(outputs: Array, labels: Array) -> tuple[Array, Array, Array, Array]:
        """Returns labels, which of them are known, residuals and log-variances, all ``[N, d]``."""
        labels = jnp.asarray(labels).reshape(outputs.shape[0], d)
        labeled = _is_number(labels)
        safe = jnp.where(labeled, labels, 0).astype(outputs.dtype)
        mean, log_variance = moments(outputs)
        return safe, labeled, jnp.where(labeled, safe - mean, 0.0), log_variance

    def cost(outputs: Array, labels: Array, weight: Array | None = None) -> tuple[Array, Array]:
        _, labeled, residual, log_variance = residuals(outputs, labels)
        losses = 0.5 * jnp.square(residual)
        if variance:
            losses = losses * jnp.exp(-log_variance)
            losses += 0.5 * (log_variance + math.log(2 * math.pi))
        squared = base.mean(jnp.square(jax.lax.stop_gradient(residual)), labeled)
        return base.mean(losses, labeled, base.by_row(weight, 2)), jnp.sqrt(squared)

    def measures(outputs: Array, labels: Array) -> Sums:
        safe, labeled, residual, _ = residuals(outputs, labels)
        parts = {"entries": labeled, "squared": jnp.square(residual), "absolute": abs(residual)}
        parts |= {"sum": safe, "sum_of_squares": jnp.square(safe)}
        return {name: part.sum(0) for name, part in parts.items()}

    def uncertainty(outputs: Any) -> Any:
        exp = np.exp if isinstance(outputs, np.ndarray) else jnp.exp
        return exp(moments(outputs)[1] / 2) if variance else None

    def divergence(clean: Array, noisy: Array) -> Array:
        (mean, log_variance), (noisy_mean, noisy_log_variance) = moments(clean), moments(noisy)
        ratio = jnp.exp(log_variance - noisy_log_variance)
        squared = jnp.square(mean - noisy_mean) * jnp.exp(-noisy_log_variance)
        return 0.5 * jnp.mean(squared + ratio - 1 - (log_variance - noisy_log_variance))

    return Target(
        name=f"numbers:{d}:variance" if variance else f"numbers:{d}",
        size=2 * d if variance else d,
        top=activations.affine(),
        check_labels=functools.partial(_check_labels, d),
        cost=cost,
        measures=measures,
        summary=functools.partial(_summary, d),
        predict=lambda outputs: outputs[..., :d],
        probabilities=lambda outputs: None,
        uncertainty=uncertainty,
        divergence=divergence,
        consistency=lambda how, clean, noisy: divergence(jax.lax.stop_gradient(clean), noisy),
        cost_name="supervised",
        percent=False,
    )


class Standardized(NamedTuple):
    """Holds standardised numbers for training, and how to convert them back to their units.

    Attributes:
      labels: float32 with mean 0 and variance 1 per column; NaN marks a missing label.
      mean: mean per column, ``[d]``.
      scale: standard deviation per column, ``[d]``; predictions in the numbers' own units are
        ``outputs * scale + mean``.
    """

    labels: np.ndarray
    mean: np.ndarray
    scale: np.ndarray


def standardize(labels: Any, name: str = "labels") -> Standardized:
    """Standardises labels for ``numbers``, column by column.

    Args:
      labels: ``[n, d]``, or ``[n]`` for one number per row; NaN: no label.
      name: name of the labels in error messages.

    Raises:
      ValueError: a number is infinite, or a column is constant, all NaN, or has a variance that
        float64 cannot hold.

    Examples:
      >>> standardized = standardize(np.array([1.0, 5.0, np.nan]))
      >>> standardized.labels.tolist(), standardized.mean.tolist(), standardized.scale.tolist()
      ([-1.0, 1.0, nan], [3.0], [2.0])
    """
    values = np.asarray(labels, np.float64)
    check_values(name, values, lambda y: ~np.isinf(y), "finite numbers, or NaN for no label")
    columns = values.reshape(len(values), -1)
    mean, scale = np.zeros((2, columns.shape[1]))
    for i, column in enumerate(columns.T):
        known = column[~np.isnan(column)]
        where = name if values.ndim == 1 else f"{name}[:, {i}]"
        if not len(known):
            raise ValueError(f"{where} is NaN in every row; give a number to some.")
        if known.min() == known.max():
            raise ValueError(
                f"{where} is {known[0]} in every labelled row; give at least two different numbers."
            )
        with np.errstate(over="ignore"):
            mean[i], scale[i] = known.mean(), known.std()
        if not 0 < scale[i] < math.inf:
            raise ValueError(f"{where} has a variance that float64 cannot hold; rescale it.")
    standardized = ((columns - mean) / scale).reshape(values.shape)
    return Standardized(standardized.astype(np.float32), mean, scale)
