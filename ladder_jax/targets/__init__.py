"""Targets: what the labels say, and so what the top level of a ladder learns.

A ladder denoises the same way whatever it learns; its target says what the decoder starts from,
what the noisy labelled rows cost, how outputs are measured and what they predict. A target's
name, as ``"pixels:11"``, is that of its constructor and its arguments.

Entries without a label count in neither cost nor measure. They are marked by -1 or, of numbers,
NaN. Where the values of labels are known, others that are no label are refused; in a compiled
function they count as none.

To add one, decorate its constructor with ``@registered``. Equal arguments give the same value.
"""

from ladder_jax.targets.base import TARGETS, by_class, from_name, registered
from ladder_jax.targets.classification import (
    class_weights,
    classes,
    consistency_cost,
    pixels,
    supervised_cost,
)
from ladder_jax.targets.multilabel import several
from ladder_jax.targets.regression import Standardized, numbers, standardize

__all__ = [
    "TARGETS",
    "Standardized",
    "by_class",
    "class_weights",
    "classes",
    "consistency_cost",
    "from_name",
    "numbers",
    "pixels",
    "registered",
    "several",
    "standardize",
    "supervised_cost",
]
