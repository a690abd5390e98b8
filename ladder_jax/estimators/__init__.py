"""Ladders as scikit-learn estimators: for classes, several labels, numbers and pixel classes."""

from ladder_jax.estimators.classifier import LadderClassifier, has_label, number_classes
from ladder_jax.estimators.columns import TableEncoder
from ladder_jax.estimators.regressor import LadderRegressor
from ladder_jax.estimators.segmenter import LadderSegmenter

__all__ = [
    "LadderClassifier",
    "LadderRegressor",
    "LadderSegmenter",
    "TableEncoder",
    "has_label",
    "number_classes",
]
