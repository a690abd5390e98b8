"""Labels as scikit-learn's users give them: numbers or strings, -1 where there is none."""

from __future__ import annotations

import numpy as np
from sklearn.utils.multiclass import check_classification_targets

from ladder_jax import data


def has_label(y: np.ndarray) -> np.ndarray:
    """Which rows have a label: those whose is not -1, nor, among strings, ``"-1"``.

    Args:
      y: ``[n]``, numbers, strings, or strings and -1 (of dtype object).

    Returns:
      bool ``[n]``.

    Example:
      >>> has_label(np.array([0, -1])).tolist(), has_label(np.array(["a", -1])).tolist()
      ([True, False], [True, False])
    """
    if y.dtype.kind in "biuf":
        return np.asarray(y != data.NO_LABEL)
    return np.array([str(label) != str(data.NO_LABEL) for label in y], bool)


def number_classes(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The classes, sorted, and the number of each row's; -1 where it has no label.

    Args:
      y: ``[n]``, as for ``has_label``.

    Returns:
      ``(classes [k], numbers [n])``.

    Raises:
      ValueError: there are fewer than two classes, or labels are neither whole
        numbers nor strings.

    Example:
      >>> classes, numbers = number_classes(np.array(["yes", "no", "-1"]))
      >>> classes.tolist(), numbers.tolist()
      (['no', 'yes'], [1, 0, -1])
    """
    labeled = has_label(y)
    known, numbers = y[labeled], np.full(len(y), data.NO_LABEL)
    if known.dtype == object and not all(isinstance(label, str) for label in known):
        raise ValueError(
            "Unknown label type: y has dtype object and labels that are not strings; give "
            "integers or strings, and -1 where there is no label."
        )
    if len(known):
        check_classification_targets(known)
    classes, numbers[labeled] = np.unique(known, return_inverse=True)
    if len(classes) < 2:
        found = f"one class alone, {classes[0]}," if len(classes) else "no class"
        raise ValueError(
            f"y has {found} beside -1, which means no label; give labels of at least two classes, "
            "other than -1."
        )
    return classes, numbers
