"""Several labels per row, each present or absent: one sigmoid per label."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ladder_jax import activations
from ladder_jax._checks import check_count
from ladder_jax.targets import base
from ladder_jax.types import Array, Consistency, Shape, Sums, Target


def _probability(outputs: Any) -> Any:
    if isinstance(outputs, np.ndarray):
        return np.exp(-np.logaddexp(0.0, -outputs.astype(np.float64)))
    return jax.nn.sigmoid(outputs)


def _bernoulli_divergence(clean: Array, noisy: Array) -> Array:
    """Computes KL(p_clean || p_noisy) of each entry's probability, averaged over all entries."""
    log_p = jax.nn.log_sigmoid
    p = jax.nn.sigmoid(clean)
    true, false = log_p(clean) - log_p(noisy), log_p(-clean) - log_p(-noisy)
    return jnp.mean(p * true + (1 - p) * false)


def _bernoulli_consistency(how: Consistency, clean: Array, noisy: Array) -> Array:
    """Computes ``consistency_cost`` per entry; its threshold applies to the likelier of 0 and 1."""
    clean = jax.lax.stop_gradient(clean)
    confident = jax.nn.sigmoid(abs(clean)) >= how.threshold
    target = jax.nn.sigmoid(clean / how.temperature)
    return jnp.where(confident, optax.sigmoid_binary_cross_entropy(noisy, target), 0.0).mean()


@base.registered
def several(k: int) -> Target:
    """Makes a target of any of k labels per row: labels ``[N, k]``, 1 or 0; -1 if unlabelled.

    The cost is the mean binary cross-entropy over the labelled entries, the error the percentage
    of wrong entries. Further measures are macro F1, over the labels that occur, and the
    percentage of rows whose labelled entries are all correct (``exact_match``).

    Args:
      k: number of labels, 1 or more.

    Examples:
      >>> target = several(2)
      >>> outputs, labels = jnp.array([[9.0, -9.0], [9.0, 9.0]]), jnp.array([[1, 0], [1, 0]])
      >>> target.summary(target.measures(outputs, labels))
      {'error': 25.0, 'macro_f1': 50.0, 'exact_match': 50.0}
    """
    check_count("several: k", k, 1)
    entries = functools.partial(base.is_class, k=2)

    def check_labels(name: str, labels: Any, rows: int, shape: Shape) -> None:
        fits = lambda y: (base.whole(y) == -1) | entries(y)
        value = "0 or 1, or -1 where there is no label"
        base.check_labels(name, labels, (rows, k), fits, f"0 or 1 of shape {(rows, k)}", value)

    def wrong(outputs: Array, labels: Array) -> Array:
        return ((outputs > 0) != (labels == 1)) | jnp.isnan(outputs)

    def cost(outputs: Array, labels: Array, weight: Array | None = None) -> tuple[Array, Array]:
        labeled = entries(labels)
        safe = jnp.where(labeled, labels, 0).astype(outputs.dtype)
        losses = optax.sigmoid_binary_cross_entropy(outputs, safe)
        error = base.mean(wrong(outputs, labels).astype(outputs.dtype), labeled)
        return base.mean(losses, labeled, base.by_row(weight, 2)), error

    def measures(outputs: Array, labels: Array) -> Sums:
        labels = jnp.asarray(labels)
        labeled, true = entries(labels), labels == 1
        right = labeled & ~wrong(outputs, labels)
        predicted = labeled & (true == right)
        has_any = labeled.any(-1)
        parts = {"correct": right & true, "predicted": predicted, "true": true, "entries": labeled}
        parts |= {"rows": has_any, "rows_right": has_any & (right == labeled).all(-1)}
        return {name: part.sum(0) for name, part in parts.items()}

    def summary(sums: Sums, scale: Any = 1.0) -> dict[str, float]:
        del scale
        totals = base.on_host(sums)
        wrong = totals["predicted"] + totals["true"] - 2 * totals["correct"]
        return {
            "error": 100 * base.share(wrong.sum(), totals["entries"].sum()),
            "macro_f1": 100 * base.nanmean(base.by_class(sums)["f1"]),
            "exact_match": 100 * base.share(totals["rows_right"], totals["rows"]),
        }

    def uncertainty(outputs: Any) -> Any:
        return 1 - _probability(abs(outputs))

    return Target(
        name=f"several:{k}",
        size=k,
        top=activations.sigmoid(),
        check_labels=check_labels,
        cost=cost,
        measures=measures,
        summary=summary,
        predict=lambda outputs: (outputs > 0).astype("int32"),
        probabilities=_probability,
        uncertainty=uncertainty,
        divergence=_bernoulli_divergence,
        consistency=_bernoulli_consistency,
    )
