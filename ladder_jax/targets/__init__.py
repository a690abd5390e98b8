"""Targets: the kind of labels, and so what the top level of a ladder learns.

A ladder denoises in the same way whatever it learns. Its target defines what the decoder starts
from, the cost of the noisy labelled rows, the measures of outputs and the predictions from them.
A target's name, e.g. ``"pixels:11"``, consists of its constructor's name and arguments.

Entries without a label count in neither cost nor measures. They are marked by -1 or, for numbers,
NaN. Any other value that is not a label raises an error where values are known; in a compiled
function, it marks an entry without a label.

To add a target, decorate its constructor with ``@registered``. Equal arguments return the same
object.
"""

from ladder_jax.targets.base import TARGETS, by_class, from_name, registered
from ladder_jax.targets.classification import (
    class_balance_cost,
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
    "class_balance_cost",
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
