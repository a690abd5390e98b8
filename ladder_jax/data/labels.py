"""Kinds of labels: a class per row or per pixel, numbers, or several labels per row.

======== ==================== ====================== ===========================
kind     labels               no label               names
======== ==================== ====================== ===========================
classes  int32 ``[n]``        -1                     of the classes, or taken from text
pixels   int32 ``[n, H, W]``  -1, pixel by pixel     of the classes
numbers  float ``[n, d]``     NaN, number by number  of the columns
several  int32 ``[n, k]``     -1; else 0 or 1        of the labels
======== ==================== ====================== ===========================
"""

from __future__ import annotations

import collections
import math
from collections.abc import Collection, Sequence
from numbers import Real
from typing import Any

import numpy as np

from ladder_jax.data import base
from ladder_jax.errors import DataError

KINDS = ("classes", "pixels", "numbers", "several")
"""Kinds of labels that a data set may have."""

NO_LABEL = -1
"""The label of an example without one, as in scikit-learn."""

VOID = (NO_LABEL, 255)
"""Values of a mask that mean no label, unless others are given."""

_WANTED = {
    "classes": "class numbers as integers",
    "pixels": "masks of class numbers as integers, [rows, height, width]",
    "numbers": "numbers, [rows] or [rows, columns]",
    "several": "a matrix of 0, 1 and -1 (no label) as integers, [rows, labels]",
}
_NONE = {
    "classes": "all labels are -1 (no label); give some of each class",
    "pixels": "no pixel of any mask has a label; give some of each class",
    "numbers": "NaN everywhere (no label); give some numbers",
    "several": "all labels are -1 (no label); give some of each",
}
_MOST_LABEL = 2**31 - 2
_MISSING_TEXT = frozenset(("-1.0", "nan", "NaN", "NaT", "NA", "<NA>", "None", "NULL"))
"""Texts that other programs write for a missing label, and that are seldom names of classes."""


def is_text(y: np.ndarray) -> bool:
    """Returns whether labels, one per row, are text; some may be None, NaN or -1.

    Examples:
      >>> is_text(np.array(["cat", ""])), is_text(np.array(["cat", None], object))
      (True, True)
    """
    if y.ndim == 0 or y.size != len(y):
        return False
    if y.dtype != object:
        return y.dtype.kind in "UT"
    known = [value for value in y.ravel() if not _is_none(value)]
    return bool(known) and all(isinstance(value, str) for value in known)


def is_missing(value: Any) -> bool:
    """Returns whether a value is None, NaN, or pandas' NA or NaT; pandas is not imported."""
    is_nan = isinstance(value, float | np.floating) and value != value
    return value is None or is_nan or type(value).__name__ in ("NAType", "NaTType")


def _is_none(value: Any) -> bool:
    """Returns whether an item of text labels means no label."""
    is_mark = isinstance(value, str | Real) and value in ("", str(NO_LABEL), NO_LABEL)
    return is_missing(value) or is_mark


def as_array(name: str, y: Any, integer: float = math.nan) -> np.ndarray:
    """Returns labels as an array, of objects if NumPy would turn NaN among text into "nan".

    NumPy's ``StringDType``, which scikit-learn does not know, becomes objects too.

    Args:
      name: name of the labels, for messages.
      y: labels of any kind.
      integer: number in place of masked integers, as for ``base.unmask``.

    Raises:
      DataError: the rows of a list differ in length.

    Examples:
      >>> as_array("y", ["cat", float("nan")]).tolist(), as_array("y", ["cat", "dog"]).dtype.kind
      (['cat', nan], 'U')
    """
    labels = base.as_array(name, y, integer)
    if labels.dtype.kind == "T":
        return labels.astype(object)
    is_list = labels.dtype.kind == "U" and isinstance(y, list | tuple)
    return np.array(y, object) if is_list and any(map(is_missing, y)) else labels


def number_text(
    name: str, y: np.ndarray, names: Sequence[str] = ()
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Numbers classes given as text.

    Args:
      name: name of the labels, for messages.
      y: class names ``[n]`` or ``[n, 1]``; "", "-1", -1, None and NaN mean no label.
      names: names of the classes, in order; if empty, those in ``y``, sorted.

    Returns:
      Integers of the shape of ``y``, and the class names.

    Raises:
      DataError: a label is not one of the names or, without names, is one that ``check_found``
        refuses.

    Examples:
      >>> numbers, names = number_text("y", np.array(["dog", "", "cat"]))
      >>> numbers.tolist(), names
      ([1, -1, 0], ('cat', 'dog'))
    """
    given = [str(NO_LABEL) if _is_none(value) else str(value) for value in y.ravel().tolist()]
    if not names:
        names = sorted(set(given) - {str(NO_LABEL)})
        check_found(name, names)
    numbers = {class_name: i for i, class_name in enumerate(names)} | {str(NO_LABEL): NO_LABEL}
    for row, label in enumerate(given):
        if label not in numbers:
            known = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
            raise DataError(f"{name}: label {label[:40]!r} in row {row}; the classes are {known}.")
    return np.array([numbers[label] for label in given], np.int64).reshape(y.shape), tuple(names)


def check_found(name: str, classes: Collection[str]) -> None:
    """Checks that names of classes found among the labels are not marks of missing labels.

    Raises:
      DataError: a name is one that other programs write where there is no label.

    Examples:
      >>> check_found("y", ["cat", "dog"])
    """
    for mark in sorted(_MISSING_TEXT.intersection(classes)):
        raise DataError(
            f"{name}: label {mark!r} may mean that there is none; leave it empty if so, or give "
            "the class another name."
        )


def kind_of(name: str, y: np.ndarray) -> str:
    """Returns the kind of labels, one of ``KINDS``, inferred from their shape and values.

    Integers are classes if ``[n]`` or ``[n, 1]``, several labels if ``[n, k]``, and
    masks if ``[n, height, width]``. Floats are numbers. Whole floats might be classes, so a
    ``DataError`` asks which they are; if some are NaN, only when the others are consecutive.

    Examples:
      >>> kind_of("y", np.array([0.5, 2.0])), kind_of("y", np.array([[0, 1], [1, 1]]))
      ('numbers', 'several')
    """
    if y.ndim > 2:
        return "pixels"
    if y.dtype.kind != "f":
        return "several" if y.ndim == 2 and y.shape[1] > 1 else "classes"
    known = y[np.isfinite(y)]
    values = np.unique(known)
    consecutive = bool((np.diff(values) == 1).all())
    if known.size and (known % 1 == 0).all() and (known.size == y.size or consecutive):
        raise DataError(
            f"{name}: dtype {y.dtype}, but only whole numbers; give integers if they are classes, "
            "or say kind='numbers'."
        )
    return "numbers"


def as_kind(name: str, y: np.ndarray, kind: str, ignore: Sequence[int] = VOID) -> np.ndarray:
    """Returns labels in the layout of their kind, classes as int64; ``check`` checks their values.

    Args:
      name: name of the labels, for messages.
      y: labels as given; masks and classes may have a last axis of size 1, numbers may be ``[n]``.
      kind: kind of the labels, one of ``KINDS``.
      ignore: values of a mask that mean no label.

    Raises:
      DataError: the shape or the dtype is wrong for this kind, or a label exceeds int32.

    Examples:
      >>> as_kind("y", np.array([[[0, 255]]]), "pixels").tolist()
      [[[0, -1]]]
      >>> as_kind("y", np.array([1, 2]), "numbers").tolist()
      [[1.0], [2.0]]
    """
    if kind not in KINDS:
        raise DataError(f"{name}: kind {kind!r}; give one of {', '.join(KINDS)}.")
    allowed = {"classes": "iu", "numbers": "biuf"}.get(kind, "biu")
    if y.dtype.kind not in allowed:
        raise DataError(f"{name}: dtype {y.dtype}; give {_WANTED[kind]}.")
    if kind == "classes" and y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if kind == "classes" and y.ndim != 1:
        raise DataError(f"{name}: shape {y.shape}; give one label per row, [rows].")
    if kind == "numbers" and y.ndim == 1:
        y = y[:, None]
    if kind == "pixels" and y.ndim == 4:
        if y.shape[-1] != 1:
            raise DataError(
                f"{name}: shape {y.shape}, {y.shape[-1]} values per pixel, like a colour; give the "
                "number of its class."
            )
        y = y[..., 0]
    if y.ndim != {"classes": 1, "pixels": 3}.get(kind, 2) or 0 in y.shape[1:]:
        raise DataError(f"{name}: shape {y.shape}; give {_WANTED[kind]}.")
    if kind == "numbers":
        return base.to_float(y)
    if y.size and not -(2**31) <= int(y.min()) <= int(y.max()) <= _MOST_LABEL:
        wrong = y.max() if y.max() > _MOST_LABEL else y.min()
        raise DataError(f"{name}: label {wrong}; number the classes from 0 without a gap.")
    if kind == "pixels":
        y = np.where(np.isin(y, ignore), NO_LABEL, y.astype(np.int32))
    return y.astype(np.int64 if kind == "classes" else np.int32, copy=False)


def has_label(y: np.ndarray, kind: str) -> np.ndarray:
    """Returns which rows have at least one label, bool ``[n]``.

    Examples:
      >>> has_label(np.array([[np.nan, 1.0], [np.nan, np.nan]]), "numbers").tolist()
      [True, False]
    """
    known = ~np.isnan(y) if kind == "numbers" else y >= 0
    return np.asarray(known.any(tuple(range(1, y.ndim))))


def count(y: np.ndarray, kind: str) -> int:
    """Returns the number of classes, columns or labels."""
    return y.shape[1] if kind in ("numbers", "several") else int(y.max(initial=NO_LABEL)) + 1


def check(
    name: str, x: np.ndarray, y: np.ndarray, kind: str, known: int, *, unlabeled: bool = False
) -> None:
    """Checks that examples match their labels, which ``as_kind`` returned.

    Args:
      name: name of the data, for messages.
      x: examples ``[n, ...]``.
      y: labels in the layout of ``kind``.
      kind: kind of the labels, one of ``KINDS``.
      known: number of classes, columns or labels.
      unlabeled: whether rows without any label are allowed.

    Raises:
      DataError: they do not match; the message says where.
    """
    if kind == "classes":
        base.check_examples(name, x, y, known, unlabeled=unlabeled)
        return
    base.check_lengths(name, x, y)
    if kind == "pixels" and (x.ndim not in (3, 4) or x.shape[1:3] != y.shape[1:]):
        size = "rows of features" if x.ndim < 3 else " x ".join(map(str, x.shape[1:3]))
        raise DataError(
            f"{name}: masks are {y.shape[1]} x {y.shape[2]}, but examples are {size}; give images "
            "and a class per pixel."
        )
    if kind != "pixels" and y.shape[1] != known:
        raise DataError(
            f"{name}: {y.shape[1]} labels per row; wanted {known}, as in training and in names."
        )
    if kind == "numbers":
        wrong, wanted = np.isinf(y), "give finite numbers, NaN where there is none"
    else:
        high = known - 1 if kind == "pixels" else 1
        wrong, wanted = (y < -1) | (y > high), f"labels run from 0 to {high} (or -1: no label)"
        wanted += "; if they are numbers, say kind='numbers'" if kind == "several" else ""
    bad = np.flatnonzero(wrong.any(tuple(range(1, y.ndim))))
    if bad.size:
        value, where = y[bad[0]][wrong[bad[0]]][0], base.place(wrong[bad[0]])
        raise DataError(f"{name}: label {value} in row {bad[0]}, {where}; {wanted}.")
    bare_rows = np.flatnonzero(~has_label(y, kind))
    if bare_rows.size and not unlabeled:
        raise DataError(f"{name}: no label in row {bare_rows[0]}; leave the row out.")
    base.check_finite(name, x)


def check_any(name: str, y: np.ndarray, kind: str) -> None:
    """Checks that not all rows are unlabelled."""
    if len(y) and not has_label(y, kind).any():
        raise DataError(f"{name}: {_NONE[kind]}.")


def check_training(
    name: str, y: np.ndarray, kind: str, known: int, names: Sequence[str] = ()
) -> None:
    """Checks that each class, column or label can be learned.

    Args:
      name: name of the data, for messages.
      y: training labels in the layout of ``kind``.
      kind: kind of the labels, one of ``KINDS``.
      known: number of classes, columns or labels.
      names: their names, if given; classes of pixels then need no examples.

    Raises:
      DataError: one cannot be learned, or a name is given twice.
    """
    for item, occurrences in collections.Counter(names).items():
        if occurrences > 1:
            raise DataError(f"{name}: class name {item!r} given twice; give each class its own.")
    if kind in ("numbers", "several"):
        check_varies(f"{name}, y", y, names)
        return
    present = np.unique(y[y != NO_LABEL])
    unit, hint = {
        "classes": ("example", "; if they are numbers, say kind='numbers'"),
        "pixels": ("pixel", "; class numbers, not grey levels"),
    }[kind]
    if len(present) < known and not (kind == "pixels" and names):
        # do not count up to the largest label, which may be anything
        missing = np.setdiff1d(np.arange(len(present) + 1), present)[0]
        raise DataError(
            f"{name}, y: no {unit} of class {missing}, though there are {known} classes; "
            f"number them from 0 without a gap, and give -1 where there is no label{hint}."
        )
    if min(known, len(present)) < 2:
        hint = "" if kind == "classes" else ", numbered from 0 (-1 and 255 mark no label)"
        raise DataError(f"{name}, y: only one class; give at least two{hint}.")


def check_varies(name: str, y: np.ndarray, names: Sequence[str] = ()) -> None:
    """Checks that each column of numbers or several labels has at least two distinct values.

    Examples:
      >>> check_varies("y", np.array([[0.5], [np.nan], [2.0]]))
    """
    for number, column in enumerate(y.T):
        known = column[~np.isnan(column) if y.dtype.kind == "f" else column >= 0]
        if len(known) and known.min() < known.max():
            continue
        given = f"always {known[0]:g}" if len(known) else "never given"
        label_name = repr(names[number]) if len(names) > number else number
        raise DataError(
            f"{name}: label {label_name} is {given}; give rows of different values, or leave "
            "it out."
        )
