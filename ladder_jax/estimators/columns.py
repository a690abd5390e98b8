"""``TableEncoder``: encodes the columns of a table as numbers, whatever they hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from ladder_jax.data.base import is_frame, unmask
from ladder_jax.data.labels import as_array, is_missing
from ladder_jax.errors import DataError

AUTO = "auto"
"""Value of an estimator's ``preprocess`` that has ``TableEncoder`` encode its columns."""
FLOATS = (np.float64, np.float32)
MAX_ENTRIES = 2**27
"""Most entries of a sparse matrix, or of a column's categories, made dense: 1 GiB of float64."""

_KINDS: dict[str, Any] = {
    "text": str,
    "truth values": (bool, np.bool_),
    "numbers": (Real, Decimal),
}
"""Types of the values that a column may hold; in this order, as a bool is a ``Real`` too."""


def missing(values: np.ndarray) -> np.ndarray:
    """Returns a mask of the values that are None, NaN, or pandas' NA or NaT.

    Examples:
      >>> missing(np.array(["a", None, float("nan")], object)).tolist()
      [False, True, True]
    """
    objects = values.dtype == object
    which = np.frompyfunc(is_missing, 1, 1)(values) if objects else np.isnan(values)
    return np.asarray(which, bool)


def fill(y: Any, value: float, name: str = "y") -> Any:
    """Replaces missing labels among floats or objects.

    Args:
      y: labels: an array, a list, or a pandas or polars column or data frame.
      value: what marks a missing label.
      name: name of the labels, for messages.

    Returns:
      An array; ``y`` itself if it is an array without missing labels, or a sparse matrix.

    Raises:
      DataError: the rows of a list differ in length.

    Examples:
      >>> fill(["a", None], -1).tolist(), fill([1.0, None], float("nan")).tolist()
      (['a', -1], [1.0, nan])
    """
    labels = as_array(name, y)
    if not labels.ndim:  # a sparse matrix has no axes here
        return y
    is_missing = missing(labels) if labels.dtype.kind in "fO" else np.zeros(0, bool)
    return np.where(is_missing, value, labels) if is_missing.any() else labels


def kind_of(value: Any) -> str:
    """Returns the kind of a value: "text", "truth values", "numbers", or "" for others."""
    return next((kind for kind, types in _KINDS.items() if isinstance(value, types)), "")


def _cells(column: Any) -> np.ndarray:
    """Returns a data frame's column as an array; categories that are intervals or dates as text."""
    dtype: Any = getattr(column, "dtype", None)
    if getattr(dtype, "name", "") != "category" or all(map(kind_of, dtype.categories)):
        return np.asarray(column)
    return np.array([None if is_missing(cell) else str(cell) for cell in column], object)


def _word(value: Any) -> str:
    """Returns the name of a category, which is the same for 1 and 1.0."""
    if kind_of(value) != "numbers":
        return str(value)
    is_whole = isinstance(value, Integral) or float(value).is_integer()
    return str(int(value) if is_whole else value)


def read(estimator: Any, X: Any, *, reset: bool) -> Any:  # noqa: N803
    """Checks a table and the number and names of its columns, as scikit-learn does.

    Args:
      estimator: the estimator that records the number and names, or compares them.
      X: rows: a pandas or polars data frame, an array of numbers or objects (masked
        entries are missing), or a sparse matrix.
      reset: whether to record the number and names instead of comparing them.

    Returns:
      A data frame unchanged, otherwise an array ``[n, features]`` of float64, float32 or
      objects.

    Raises:
      DataError: column names are not unique, there are no rows or columns, or a sparse matrix
        has more than ``MAX_ENTRIES`` entries, zeros included; or ``X`` is lazy.
      ValueError: ``X`` is not a table, or has another number of columns or other names.
    """
    if type(X).__name__ == "LazyFrame":
        raise DataError("X is a LazyFrame, which has no rows yet; give X.collect().")
    X = unmask(X)  # noqa: N806
    if getattr(getattr(X, "dtype", None), "kind", "") == "T":
        X = X.astype(object)  # noqa: N806 - scikit-learn refuses NumPy's StringDType
    if is_frame(X):
        names = list(X.columns)
        if len(set(names)) < len(names):
            duplicate = next(name for name in names if names.count(name) > 1)
            raise DataError(f"X has two columns named {duplicate!r}; give each a name of its own.")
        if 0 in X.shape:
            raise DataError(f"X has shape {X.shape}; give at least one row and one column.")
        return validate_data(estimator, X, reset=reset, skip_check_array=True)
    if sparse.issparse(X) and math.prod(X.shape) > MAX_ENTRIES:
        raise DataError(
            f"X is a sparse matrix of shape {X.shape}, which is made dense; give at most "
            f"{MAX_ENTRIES} entries, zeros included, e.g. by TruncatedSVD before."
        )
    checks = {"accept_sparse": "csr", "dtype": None, "ensure_all_finite": "allow-nan"}
    rows = validate_data(estimator, X, reset=reset, **checks)
    rows = rows.toarray() if sparse.issparse(rows) else rows
    if rows.dtype.kind in "biuf":
        return rows if rows.dtype in FLOATS else _as_float64(rows)
    # NumPy converts a list of text and numbers to text.
    return np.array(X, object) if isinstance(X, list | tuple) else rows


class TableEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Encodes the columns of a table as numbers, with scikit-learn's own transformers.

    - ``OneHotEncoder`` encodes columns of text, Booleans or categories as one column per
      category. A missing value is a category of its own; a category that was in no row of
      ``fit`` becomes all zeros.
    - ``SimpleImputer`` fills missing numbers with the median of their column, and adds an
      indicator column for each column with missing numbers in ``fit``.

    The output has the numbers in their original order, then the indicators, then the categories.
    An array of numbers without missing values is returned unchanged. Sparse matrices are made
    dense. Text columns of a data frame stay text; in an array, a text column whose values all
    parse as numbers is numeric.

    Attributes:
      kinds_: content of each column: () for numbers, the kinds of the values for categories.
      imputer_: the fitted ``SimpleImputer`` of all numbers, or None.
      encoder_: the fitted ``OneHotEncoder`` of all categories, or None.
      n_features_in_: number of columns.
      feature_names_in_: names of the columns, if ``X`` had any.

    Examples:
      >>> table = TableEncoder().fit(np.array([["red", 1], ["blue", None], ["red", 3]], object))
      >>> table.get_feature_names_out().tolist()
      ['x1', 'missingindicator_x1', 'x0_blue', 'x0_red']
      >>> table.transform(np.array([["green", None]], object)).tolist()
      [[2.0, 1.0, 0.0, 0.0]]
    """

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Determines the content of each column and fits the transformers.

        Args:
          X: table ``[n, features]``: a pandas or polars data frame, an array or a sparse matrix.
          y: not used.

        Raises:
          DataError: a column is empty or holds other values, such as dates or lists; a number is
            infinite; a column has too many categories, or a sparse matrix too many entries.
          ValueError: ``X`` is not a table.
        """
        table = read(self, X, reset=True)
        columns, names = self._columns(table), self._names()
        for name, column in zip(names, columns, strict=True):
            if missing(column).all():
                raise DataError(f"X: column {name} is missing (NaN) in every row; leave it out.")
        self.kinds_ = self._find_kinds(table, columns)
        if isinstance(table, np.ndarray) and table.dtype in FLOATS and np.isfinite(table).all():
            numbers, words = table, table[:, :0]  # avoids a copy
        else:
            numbers, words = self._parts(columns)
        plain = isinstance(table, np.ndarray) and not words.size and not np.isnan(numbers).any()
        self._fit_rest(numbers[:, :0] if plain else numbers, words)
        return self

    def _names(self) -> list[str]:
        """Returns the names of the columns, or x0, x1, ... if they have none."""
        numbered = [f"x{i}" for i in range(self.n_features_in_)]
        return list(getattr(self, "feature_names_in_", numbered))

    def _columns(self, table: Any) -> Sequence[np.ndarray]:
        """Returns the columns as arrays ``[n]`` of numbers or objects."""
        if isinstance(table, np.ndarray) and table.dtype in FLOATS:
            return list(table.T)
        frame = is_frame(table)
        columns = [_cells(table[name]) for name in table.columns] if frame else list(table.T)
        for i, (name, column) in enumerate(zip(self._names(), columns, strict=True)):
            if column.ndim != 1 or column.dtype.kind not in "biufOUT":
                dtype = getattr(table[table.columns[i]] if frame else column, "dtype", "")
                raise DataError(f"X: column {name} is of type {dtype}; {_WANTED}")
            if column.dtype.kind not in "iuf":
                columns[i] = column.astype(object)
        return columns

    def _find_kinds(self, table: Any, columns: Sequence[np.ndarray]) -> list[tuple[str, ...]]:
        """Determines ``kinds_``."""
        frame = is_frame(table)
        dtypes = table.dtypes if frame else [None] * len(columns)
        kinds: list[tuple[str, ...]] = []
        for name, column, dtype in zip(self._names(), columns, dtypes, strict=True):
            held, are_numbers = {"numbers"}, True
            if column.dtype == object:
                _check(name, column, lambda value: bool(kind_of(value)), _WANTED)
                present = column[~missing(column)]
                held, are_numbers = set(map(kind_of, present)), _is_number(present)
                if not frame and "text" in held and are_numbers:
                    held = {"numbers"}
            category = str(dtype).lower().startswith(("categor", "enum"))
            kinds.append(() if held == {"numbers"} and not category else tuple(sorted(held)))
            if not kinds[-1] and not are_numbers:
                _check(name, column, _is_number, "give numbers that float64 can hold.")
        return kinds

    def _parts(self, columns: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Returns numbers as float64, NaN if missing, and categories as str or None."""
        numbers = np.empty((len(columns[0]), self.kinds_.count(())))
        words = np.empty((len(columns[0]), len(columns) - numbers.shape[1]), object)
        number_columns, word_columns = iter(numbers.T), iter(words.T)
        for name, column, kinds in zip(self._names(), columns, self.kinds_, strict=True):
            if kinds:
                next(word_columns)[:] = _as_words(name, column, kinds)
            else:
                next(number_columns)[:] = _as_numbers(name, column)
        return numbers, words

    def _fit_rest(self, numbers: np.ndarray, words: np.ndarray) -> None:
        """Fits the imputer to the numbers and the encoder to the categories."""
        imputer = SimpleImputer(strategy="median", add_indicator=True)
        self.imputer_ = imputer.fit(numbers) if numbers.size else None
        encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        self.encoder_ = encoder.fit(words) if words.size else None
        if words.size:
            sizes = [len(categories) for categories in encoder.categories_]
            name = [n for n, kinds in zip(self._names(), self.kinds_, strict=True) if kinds]
            if max(sizes) * len(words) > MAX_ENTRIES:
                raise DataError(
                    f"X: column {name[int(np.argmax(sizes))]} has {max(sizes)} categories in "
                    f"{len(words)} rows; leave it out, or make fewer of them."
                )

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Encodes rows as numbers.

        Args:
          X: table ``[n, features]`` with the columns of ``fit``.

        Returns:
          Float64 ``[n, numbers]``; float32 for float32 arrays without missing values.

        Raises:
          DataError: a column holds values of a kind that it did not hold in ``fit``, or a number
            is infinite.
          ValueError: the number or the names of the columns differ from ``fit``.
        """
        check_is_fitted(self)
        table = read(self, X, reset=False)
        plain = self.imputer_ is None and self.encoder_ is None
        if plain and isinstance(table, np.ndarray) and table.dtype in FLOATS:
            numbers, words = table, table[:, :0]
        else:
            numbers, words = self._parts(self._columns(table))
        if self.imputer_ is not None:
            numbers = self.imputer_.transform(numbers)
        elif np.isnan(numbers).any():
            row, column = np.argwhere(np.isnan(numbers))[0]
            raise DataError(
                f"X: column {self._names()[column]} is missing (NaN) in row {row}, and none was "
                "in fit; fill it, or fit rows of which some miss a number."
            )
        if self.encoder_ is None:
            return numbers
        return np.hstack([numbers, self.encoder_.transform(words)])

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Returns the names of the columns that ``transform`` returns.

        Args:
          input_features: names of the input columns, if ``X`` had none.

        Raises:
          ValueError: their number is wrong, or they are not the names in ``fit``.
        """
        check_is_fitted(self)
        names = np.asarray(self._names(), object)
        if input_features is not None:
            given = np.asarray(input_features, object)
            if hasattr(self, "feature_names_in_") and not np.array_equal(given, names):
                raise ValueError("input_features is not equal to feature_names_in_")
            if len(given) != len(names):
                raise ValueError(
                    f"input_features should have length equal to number of features "
                    f"({len(names)}), got {len(given)}"
                )
            names = given
        encoded = np.array([bool(kinds) for kinds in self.kinds_])
        numbers: np.ndarray = names[~encoded]
        if self.imputer_ is not None:
            numbers = self.imputer_.get_feature_names_out(numbers)
        if self.encoder_ is not None:
            numbers = np.concatenate([numbers, self.encoder_.get_feature_names_out(names[encoded])])
        return numbers

    def state(self) -> dict[str, Any]:
        """Returns the fitted state in JSON form, for ``from_state``."""
        imputer, encoder = self.imputer_, self.encoder_
        return {
            "n_features_in": self.n_features_in_,
            "feature_names_in": getattr(self, "feature_names_in_", np.zeros(0)).tolist(),
            "kinds": self.kinds_,
            "medians": [] if imputer is None else imputer.statistics_.tolist(),
            "marked": [] if imputer is None else imputer.indicator_.features_.tolist(),
            "categories": [] if encoder is None else [c.tolist() for c in encoder.categories_],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Restores a transformer from its state, by fitting scikit-learn's transformers.

        Args:
          state: the return value of ``state``.
        """
        if state.get("quantiles"):
            raise ValueError("its skewed columns were made normal in another way")
        table = cls()
        table.n_features_in_ = state["n_features_in"]
        if state["feature_names_in"]:
            table.feature_names_in_ = np.array(state["feature_names_in"], object)
        table.kinds_ = [tuple(kinds) for kinds in state["kinds"]]
        # Rows with the same medians, indicators and categories.
        medians = np.array(state["medians"])
        numbers = np.stack([medians, medians])
        numbers[1, state["marked"]] = np.nan
        length = max(map(len, state["categories"]), default=0)
        words = np.array([np.resize(np.array(c, object), length) for c in state["categories"]]).T
        table._fit_rest(numbers, words)
        return table

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        accept_tables(tags)
        return tags


def accept_tables(tags: Tags) -> None:
    """Sets an estimator's input tags to what ``TableEncoder`` accepts."""
    for name in ("sparse", "categorical", "string", "allow_nan"):
        setattr(tags.input_tags, name, True)


_WANTED = "give numbers, text, truth values or categories, or leave it out."


def _check(name: str, column: np.ndarray, fits: Callable[[Any], bool], wanted: str) -> None:
    """Raises ``DataError`` naming the first value that is neither missing nor valid."""
    for row in np.flatnonzero(~missing(column)):
        if not fits(column[row]):
            text = " ".join(repr(column[row]).split())[:40]
            raise DataError(f"X: column {name} has {text} in row {row}; {wanted}")


def _is_number(value: Any) -> bool:
    """Returns whether a value, or every value of an array, converts to float, as text may."""
    values = np.asarray(value, object)
    try:
        _as_float64(values)
    except (OverflowError, TypeError, ValueError):
        return False
    # Python reads the text 1_2 as 12.
    return not any(isinstance(item, str) and "_" in item for item in values.ravel())


def _as_float64(numbers: np.ndarray) -> np.ndarray:
    """Returns numbers as float64; a long double may become infinite, which is reported later."""
    with np.errstate(over="ignore"):
        return numbers.astype(np.float64)


def _as_numbers(name: str, column: np.ndarray) -> np.ndarray:
    """Returns a column as float64, NaN for missing values."""
    if column.dtype == object:
        column = np.where(missing(column), np.nan, column)
        if not _is_number(column):
            _check(name, column, _is_number, "give numbers, which it had in fit.")
    numbers = _as_float64(column)
    infinite = np.flatnonzero(np.isinf(numbers))
    if infinite.size:
        raise DataError(
            f"X: column {name} is infinite in row {infinite[0]}; replace it, e.g. by NaN, which "
            "marks a missing number."
        )
    return numbers


def _as_words(name: str, column: np.ndarray, kinds: tuple[str, ...]) -> np.ndarray:
    """Returns a column of categories as str, None for missing values."""
    column = column.astype(object)
    is_known = lambda value: kind_of(value) in kinds
    _check(name, column, is_known, f"give {' or '.join(kinds)}, which it had in fit.")
    words = np.full(len(column), None, object)
    present = ~missing(column)
    words[present] = [_word(value) for value in column[present]]
    return words
