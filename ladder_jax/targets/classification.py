"""One class per row or per position: a softmax over the last axis of the top level."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ladder_jax import _checks, activations
from ladder_jax.targets import base
from ladder_jax.types import Array, Consistency, Shape, Sums, Target

Weights = tuple[float, ...] | None
"""One weight per class; None: equal weights."""


def _check_weights(name: str, weights: Any, k: int) -> None:
    """Checks that there is one weight per class, unless ``weights`` is None."""
    if weights is None:
        return
    if not isinstance(weights, tuple) or len(weights) != k:
        raise ValueError(f"{name} is {weights!r}; give a tuple of {k} numbers, one per class.")
    for i, weight in enumerate(weights):
        if not (isinstance(weight, int | float) and math.isfinite(weight) and weight >= 0):
            raise ValueError(f"{name}[{i}] is {weight!r}; give a finite number, 0 or more.")
    if not any(weights):
        raise ValueError(f"{name} is 0 for every class; give a number above 0 to one of them.")


def cross_entropy(
    logits: Array, labels: Array, weight: Array | None = None, class_weight: Weights = None
) -> Array:
    """Computes the mean cross-entropy over the labelled entries.

    A label that is not a class, e.g. -1, marks an entry without a label. The mean is 0 if no entry
    has one.

    Args:
      logits: ``[..., k]``.
      labels: ``[...]``, integers.
      weight: weights of rows ``[N]``, the first axis; None: equal weights.
      class_weight: k weights; with either kind, the mean is ``sum w loss / sum w``.

    Examples:
      >>> logits = jnp.array([[0.0, 0.0], [9.0, 0.0]])
      >>> round(float(cross_entropy(logits, jnp.array([1, -1]))), 4)
      0.6931
    """
    labels = base.whole(labels)
    labeled = base.is_class(labels, logits.shape[-1])
    safe = jnp.where(labeled, labels, 0)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, safe)
    weights = base.by_row(weight, labels.ndim)
    if class_weight is not None:
        weight_of_label = jnp.asarray(class_weight, losses.dtype)[safe]
        weights = weight_of_label if weights is None else weights * weight_of_label
    return base.mean(losses, labeled, weights)


def supervised_cost(
    logits: Array, labels: Array, weight: Array | None = None, class_weight: Weights = None
) -> tuple[Array, Array]:
    """Computes the cross-entropy and the error rate of the labelled rows.

    A label that is not a class, e.g. -1, marks a row without a label, which counts in neither
    mean. Both are 0 if no row has a label.

    Args:
      logits: ``[B, classes]``.
      labels: ``[B]``, integers.
      weight: as for ``cross_entropy``; the error rate is not weighted.
      class_weight: likewise.

    Returns:
      ``(cross_entropy, error)``, scalars.

    Examples:
      >>> cost, error = supervised_cost(jnp.array([[0.0, 0.0], [9.0, -9.0]]), jnp.array([1, -1]))
      >>> round(float(cost), 4), float(error)
      (0.6931, 1.0)
    """
    labels = base.whole(jnp.asarray(labels))
    labeled = base.is_class(labels, logits.shape[-1])
    predicted = logits.argmax(-1).astype(labels.dtype)
    wrong = (predicted != labels) | jnp.isnan(logits).any(-1)
    error = base.mean(wrong.astype(logits.dtype), labeled)
    return cross_entropy(logits, labels, weight, class_weight), error


def consistency_cost(how: Consistency, clean: Array, noisy: Array) -> Array:
    """Computes the cross-entropy of noisy predictions with the sharpened clean ones as targets.

    It is the mean over all B rows (and positions), with p_clean = softmax(clean), of::

        [max p_clean >= threshold] H(softmax(clean / temperature), softmax(noisy))

    without its weight in the loss. No gradient flows through the target: the noisy pass follows
    the clean one, never the reverse. These are pseudo-labels as in FixMatch (Sohn et al. 2020),
    with the noise of the ladder's levels in place of augmentations.

    Args:
      how: threshold and temperature.
      clean: logits ``[B, ..., classes]`` of the clean pass.
      noisy: logits of the noisy pass over the same rows.

    Returns:
      A scalar, 0 or more.

    Examples:
      >>> clean, noisy = jnp.array([[9.0, 0.0], [0.1, 0.0]]), jnp.array([[0.0, 0.0], [5.0, 0.0]])
      >>> round(float(consistency_cost(Consistency(), clean, noisy)), 3)  # the first row: log(2)
      0.347
    """
    clean = jax.lax.stop_gradient(clean)
    confident = jax.nn.softmax(clean).max(-1) >= how.threshold
    target = jax.nn.softmax(clean / how.temperature)
    return jnp.where(confident, optax.softmax_cross_entropy(noisy, target), 0.0).mean()


def class_balance_cost(noisy: Array) -> Array:
    """Computes how far the mean prediction is from equal frequencies of the k classes.

    With the mean p of the predictions softmax(noisy) over all rows (and positions), it is::

        KL(p || uniform) = log k + sum_c p_c log p_c

    Few labels leave room for a class whose examples are taken for another's; its frequency among
    the predictions shows that. This is the first term of the mutual information of inputs and
    predictions that regularized information maximization (Krause et al. 2010) maximises; the
    second, the entropy of each prediction, is left out.

    Args:
      noisy: logits ``[B, ..., classes]`` of the noisy pass.

    Returns:
      A scalar, 0 (equal frequencies) to log k (a single class).

    Examples:
      >>> logits = jnp.array([[9.0, 0.0], [9.0, 0.0]])
      >>> round(float(class_balance_cost(logits)), 3), float(class_balance_cost(logits - logits))
      (0.692, 0.0)

    References:
      Krause, Perona and Gomes, `Discriminative clustering by regularized information maximization
      <https://papers.nips.cc/paper/2010/hash/42998cf32d552343bc8e460416382dca-Abstract.html>`_,
      2010.
    """
    log_p = jax.nn.log_softmax(noisy).reshape(-1, noisy.shape[-1])  # [N, k]
    log_mean = jax.nn.logsumexp(log_p, axis=0) - math.log(len(log_p))
    return jnp.exp(log_mean) @ log_mean + math.log(noisy.shape[-1])


def softmax_divergence(clean: Array, noisy: Array) -> Array:
    """Computes KL(softmax(clean) || softmax(noisy)), averaged over rows and positions.

    Examples:
      >>> float(softmax_divergence(jnp.ones((2, 3)), jnp.ones((2, 3))))
      0.0
    """
    log_clean = jax.nn.log_softmax(clean)
    difference = log_clean - jax.nn.log_softmax(noisy)
    return (jnp.exp(log_clean) * difference).sum(-1).mean()


def _counts(outputs: Array, labels: Array) -> Sums:
    """Counts labelled entries per class: true ones, predicted ones, and correct ones (both)."""
    labels, k = base.whole(jnp.asarray(labels)), outputs.shape[-1]
    predicted_class = jnp.where(jnp.isnan(outputs).any(-1), -1, outputs.argmax(-1))
    labeled = base.is_class(labels, k)[..., None]
    true = labeled & (labels[..., None] == jnp.arange(k, dtype=labels.dtype))
    predicted = labeled & (predicted_class[..., None] == jnp.arange(k))
    parts = {"correct": true & predicted, "predicted": predicted, "true": true}
    return {name: part.sum(tuple(range(labels.ndim))) for name, part in parts.items()}


def _mean_iou(sums: Sums) -> Any:
    """Computes the mean IoU, from 0 to 1, over the classes that occur in labels or predictions."""
    union = sums["predicted"] + sums["true"] - sums["correct"]
    iou = sums["correct"] / union.clip(1)
    return iou.sum() / (union > 0).sum().clip(1).astype(iou.dtype)


def _softmax(outputs: Any) -> Any:
    if not isinstance(outputs, np.ndarray):
        return jax.nn.softmax(outputs)
    logits = outputs.astype(np.float64)  # in NumPy, nothing is compiled for a new n
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def _argmax(outputs: Any) -> Any:
    return outputs.argmax(-1)


def _uncertainty(outputs: Any) -> Any:
    return 1 - _softmax(outputs).max(-1)


@base.registered
def classes(k: int, *, class_weight: Weights = None) -> Target:
    """Makes a target of one of k classes per row: labels ``[N]``, integers from 0; -1: no label.

    The cost is the cross-entropy of the softmax, the error the percentage of rows assigned to a
    wrong class. Further measures, in percent over the classes that occur, are the balanced error,
    100 minus the mean recall, and macro F1.

    Args:
      k: number of classes, 2 or more.
      class_weight: weight of each class in the cost, a weighted mean; None: equal weights.

    Examples:
      >>> target = classes(3)
      >>> outputs, labels = jnp.eye(3)[jnp.array([0, 1, 1, 2])], jnp.array([0, 1, 2, -1])
      >>> {name: round(value, 1) for name, value in target.summary(
      ...     target.measures(outputs, labels)).items()}
      {'error': 33.3, 'balanced_error': 33.3, 'macro_f1': 55.6}
    """
    _checks.check_count("classes: k", k, 2)
    _check_weights("classes: class_weight", class_weight, k)

    def check_labels(name: str, labels: Any, rows: int, shape: Shape) -> None:
        give = f"classes from 0 to {k - 1}, or -1 where there is no label"
        fits = lambda y: (base.whole(y) == -1) | base.is_class(y, k)
        base.check_labels(name, labels, (rows,), fits, "one label per row", give)

    def summary(sums: Sums, scale: Any = 1.0) -> dict[str, float]:
        del scale
        totals, scores = base.on_host(sums), base.by_class(sums)
        rows = totals["true"].sum()
        return {
            "error": 100 * base.share(rows - totals["correct"].sum(), rows),
            "balanced_error": 100 * (1 - base.nanmean(scores["recall"])),
            "macro_f1": 100 * base.nanmean(scores["f1"]),
        }

    return Target(
        name=f"classes:{k}",
        size=k,
        top=activations.softmax(),
        check_labels=check_labels,
        cost=functools.partial(supervised_cost, class_weight=class_weight),
        measures=_counts,
        summary=summary,
        predict=_argmax,
        probabilities=_softmax,
        uncertainty=_uncertainty,
        divergence=softmax_divergence,
        consistency=consistency_cost,
        class_balance=class_balance_cost,
    )


@base.registered
def pixels(k: int, ignore: tuple[int, ...] = (-1, 255), *, class_weight: Weights = None) -> Target:
    """Makes a target of one of k classes per position: labels ``[N, H, W]``, integers from 0.

    The top is ``[H, W, k]``, a softmax at each position. The cost is the mean cross-entropy over
    the labelled pixels of a batch; an image whose pixels are all ignored is unlabelled. The error
    is 100 minus the mean IoU in percent, over the classes that occur in labels or predictions,
    from all pixels together. In a step's metrics it is a fraction, from the step's own pixels.

    Args:
      k: number of classes, 2 or more.
      ignore: values that mark a pixel without a label.
      class_weight: as for ``classes``.

    Examples:
      >>> target = pixels(2)
      >>> masks = jnp.array([[[0, 1], [1, 255]]])
      >>> target.summary(target.measures(jnp.eye(2)[jnp.array([[[0, 1], [0, 0]]])], masks))
      {'error': 50.0, 'mean_iou': 50.0, 'pixel_accuracy': 66.66666666666666}
    """
    _checks.check_count("pixels: k", k, 2)
    _check_weights("pixels: class_weight", class_weight, k)
    values: Any = ignore  # callers may pass other types
    values = values if isinstance(values, tuple) else (None,)
    if not all(_checks.is_whole(value, -(2**31)) for value in values):
        raise ValueError(f"pixels: ignore is {ignore}; give whole numbers, e.g. (-1, 255).")
    for value in ignore:
        if 0 <= value < k:
            raise ValueError(
                f"pixels: ignore has {value}, but the classes are 0 to {k - 1}; ignore a value "
                "that is no class, e.g. ignore=(-1,)."
            )

    def check_labels(name: str, labels: Any, rows: int, shape: Shape) -> None:
        wanted = (rows, *shape[:-1])
        give = f"masks {wanted}, one class number (no colours) for each position of the top"
        ignored_values = " or ".join(map(str, ignore)) or "nothing else"
        fits = lambda y: base.is_class(y, k) | np.isin(y, ignore)
        value = f"classes from 0 to {k - 1}, or {ignored_values} where there is no label"
        base.check_labels(name, labels, wanted, fits, give, value)

    def cost(outputs: Array, labels: Array, weight: Array | None = None) -> tuple[Array, Array]:
        sums = _counts(outputs, labels)
        error = jnp.where(sums["true"].any(), 1 - _mean_iou(sums), 0.0).astype(outputs.dtype)
        return cross_entropy(outputs, labels, weight, class_weight), error

    def summary(sums: Sums, scale: Any = 1.0) -> dict[str, float]:
        del scale
        totals = base.on_host(sums)
        mean_iou = 100 * base.nanmean(base.by_class(sums)["iou"])
        accuracy = 100 * base.share(totals["correct"].sum(), totals["true"].sum())
        return {"error": 100 - mean_iou, "mean_iou": mean_iou, "pixel_accuracy": accuracy}

    return classes(k)._replace(
        name=f"pixels:{k}",
        check_labels=check_labels,
        cost=cost,
        summary=summary,
        positions=True,
    )


def class_weights(
    class_weight: str | Mapping[Any, float] | Sequence[float] | None,
    labels: Any,
    names: int | Sequence[Any],
) -> Weights:
    """Returns class weights in the form that ``classes`` and ``pixels`` take.

    Args:
      class_weight: None; ``"balanced"``: as in scikit-learn, ``n / (k count)`` for n labels
        of the k classes that occur, and 1 for a class that does not occur; a dict, where missing
        classes have weight 1; or one number per class.
      labels: class numbers of any shape; other values, e.g. -1, do not count.
      names: names of the classes, the keys of the dict; a number k: 0 to k - 1.

    Raises:
      ValueError: a weight is negative or not finite, a class is unknown, or no label is given
        to balance the classes.

    Examples:
      >>> class_weights("balanced", np.array([0, 0, 0, 1, -1]), 2)
      (0.6666666666666666, 2.0)
      >>> class_weights({"yes": 3}, np.array([]), ("no", "yes"))
      (1.0, 3.0)
    """
    names = list(range(names)) if isinstance(names, int) else list(names)
    k = len(names)
    if class_weight is None:
        return None
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(
                f"class_weight is {class_weight!r}; give 'balanced', or a dict of weights by class."
            )
        known = np.asarray(labels).ravel()
        known = known[base.is_class(known, k)].astype(np.int64)
        if not len(known):
            raise ValueError("class_weight is 'balanced', but no label is given; give labels.")
        counts = np.bincount(known, minlength=k)
        balanced = len(known) / ((counts > 0).sum() * counts.clip(1))
        return tuple(np.where(counts > 0, balanced, 1.0).tolist())
    if isinstance(class_weight, Mapping):
        unknown = [name for name in class_weight if name not in names]
        if unknown:
            some_names = ", ".join(map(repr, names[:10])) + ", ..." * (k > 10)
            raise ValueError(f"class_weight has {unknown[0]!r}; give classes of {some_names}.")
        per_class = [class_weight.get(name, 1.0) for name in names]
    elif np.ndim(class_weight) == 1:
        per_class = list(class_weight)
    else:
        raise ValueError(
            f"class_weight is {class_weight!r}; give None, 'balanced', a dict of weights by class, "
            "or one number per class."
        )
    weights = tuple(w.item() if isinstance(w, np.generic) else w for w in per_class)
    _check_weights("class_weight", weights, k)
    return tuple(map(float, weights))
