"""Predictions of a finished run for the examples that it is judged by, and their statistics."""

from __future__ import annotations

import math
import pathlib
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from ladder_jax import data
from ladder_jax.config import Config
from ladder_jax.errors import ConfigError
from ladder_jax.predictor import Predictor, load
from ladder_jax.run import inputs
from ladder_jax.run.workfolder import LABELED, check_data, load_summary, read_config, read_lines
from ladder_jax.types import Array, Params

BINS = 15  # of equal width, to measure calibration in
_NOISY = 256  # examples in the noisy pass: one batch, as in training
_UNLABELED = 10_000  # maximum number of unlabelled training examples to test
_SAMPLE = 100_000  # values of a level to compute its range from


class Spread(NamedTuple):
    """Holds statistics over seeds; the standard deviation of a single value is None."""

    mean: float
    sd: float | None
    median: float
    min: float
    max: float

    def mean_and_sd(self) -> str:
        """Returns both with two digits, or only the mean if there is a single value.

        Examples:
          >>> over_seeds([1.0, 2.0]).mean_and_sd(), over_seeds([1.0]).mean_and_sd()
          ('1.50 ± 0.71', '1.00')
        """
        return f"{self.mean:.2f}" + ("" if self.sd is None else f" ± {self.sd:.2f}")


def over_seeds(values: Sequence[float]) -> Spread:
    """Computes mean, standard deviation, median and range over seeds."""
    sd = statistics.stdev(values) if len(values) > 1 else None
    return Spread(statistics.fmean(values), sd, statistics.median(values), min(values), max(values))


class Score(NamedTuple):
    """Holds how well one class, or all classes together, are recognised.

    Precision, recall and F1 are in percent, NaN where undefined, e.g. for a class that is
    never predicted; over all examples they are the means over the classes that occur.
    """

    name: str
    wrong: int  # number of examples
    n: int
    precision: float = math.nan
    recall: float = math.nan
    f1: float = math.nan

    @property
    def error(self) -> float:
        """Computes the error in percent; NaN for no examples."""
        return 100 * self.wrong / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Computes Wilson's 95 % interval of the error, in percent; 0 to 100 for no examples."""
        from scipy.stats import binomtest

        if self.n == 0:
            return 0.0, 100.0
        low, high = binomtest(self.wrong, self.n).proportion_ci(method="wilson")
        return 100 * float(low), 100 * float(high)


def scores(
    y: np.ndarray, predicted: np.ndarray, names: Sequence[str], every: str = "all"
) -> list[Score]:
    """Computes the score of all examples, named ``every``, and then that of each class."""
    from sklearn.metrics import precision_recall_fscore_support as score

    # As in scikit-learn, a class that is never predicted counts as 0 in the mean.
    precision, _, f1, _ = score(y, predicted, average="macro", zero_division=0)
    *each, n = score(y, predicted, labels=range(len(names)), zero_division=np.nan)
    mean = precision, np.nanmean(each[1]), f1  # recall as in the balanced accuracy
    wrong = np.bincount(y[y != predicted], minlength=len(names))
    rows = [(every, wrong.sum(), len(y), *mean), *zip(names, wrong, n, *each, strict=True)]
    return [
        Score(name, int(wrong), int(n), *(100 * float(value) for value in values))
        for name, wrong, n, *values in rows
    ]


def confusion(y: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts predictions by true and predicted class, ``[classes, classes]``.

    Examples:
      >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
      [[1, 1], [0, 1]]
    """
    pairs = y.astype(np.int64) * classes + predicted
    return np.bincount(pairs.ravel(), minlength=classes**2).reshape(classes, classes)


def sums_of(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Returns a confusion matrix as the sums that ``Target.summary`` of classes takes."""
    return {"correct": counts.diagonal(), "predicted": counts.sum(0), "true": counts.sum(1)}


class Calibration(NamedTuple):
    """Holds how often predictions of similar probability are right, per bin that is not empty."""

    confidence: np.ndarray  # [bins], the mean probability of the predicted class
    accuracy: np.ndarray  # [bins], the fraction of predictions that are right
    n: np.ndarray  # [bins], the number of examples
    error: float  # expected calibration error (ECE), in percent


def calibration(right: np.ndarray, confidence: np.ndarray) -> Calibration:
    """Compares the predicted classes' probabilities with how often they are right."""
    from sklearn.calibration import calibration_curve

    accuracy, mean = calibration_curve(right.astype(int), confidence, n_bins=BINS)
    n = np.bincount(np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], confidence))
    error = 100 * float(np.average(np.abs(accuracy - mean), weights=n[n > 0]))
    return Calibration(mean, accuracy, n[n > 0], error)


def flat_map(features: np.ndarray) -> tuple[np.ndarray, str]:
    """Maps features ``[n, ...]`` to ``[n, 2]`` by t-SNE, and names the method.

    Features too few or too similar for t-SNE are mapped by their principal components.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    rows = features.reshape(len(features), -1).astype(float)
    pca = PCA(min(50, *rows.shape), svd_solver="full")  # 50, as the authors of t-SNE advise
    # So few rows gain nothing from threads, which wait for each other on busy cores.
    with threadpool_limits(1), np.errstate(invalid="ignore"):  # features may all be the same
        components: np.ndarray = pca.fit_transform(rows)
        scale = pca.singular_values_
        if len(rows) < 50 or (scale > 1e-6 * scale[0]).sum() < 3:
            padded = np.pad(components, ((0, 0), (0, 1)))  # a single feature gives a line
            return padded[:, :2], "their two principal components"
        perplexity = min(30, len(rows) // 4)
        # For a few hundred rows, the default of twice as many iterations gives the same picture.
        tsne = TSNE(perplexity=perplexity, max_iter=500, random_state=0)
        components = tsne.fit_transform(components)
    return components, f"t-SNE of perplexity {perplexity}"


class Findings(NamedTuple):
    """Holds a run and the examples that it is judged by."""

    config: Config
    summary: dict[str, Any]  # result.json
    lines: list[dict[str, Any]]  # metrics.jsonl
    predictor: Predictor
    name: str  # of the examples: "test", "validation" or "training"
    rows: np.ndarray  # [n], their indices in the test or the training set
    x: data.Examples  # read when indexed
    y: np.ndarray  # [n, ...], their labels
    labeled: data.Examples  # labelled training examples
    y_labeled: np.ndarray
    unlabeled: Score | None  # of training examples whose classes training did not see


def gathered(ladder: Predictor, x: data.Examples, name: str = "x") -> np.ndarray:
    """Computes probabilities, part by part."""
    return np.concatenate([part.probabilities for part in ladder.parts(x, name)])


def find(folder: pathlib.Path, dataset: data.Dataset) -> Findings:
    """Finds the examples that a finished run, trained on ``dataset``, is judged by."""
    ladder, config = load(folder), read_config(folder)
    shape, names = tuple(dataset.x_train.shape[1:]), tuple(dataset.class_names)
    if ladder.target.kind != dataset.kind:
        raise ConfigError(
            f"{folder} was trained on labels that are {ladder.target.kind}, but those of "
            f"{dataset.name} are {dataset.kind}; give the data that it was trained on."
        )
    if (ladder.example_shape, ladder.class_names) != (shape, names):
        raise ConfigError(
            f"{folder} was trained on examples of shape {ladder.example_shape} and "
            f"{len(ladder.class_names)} classes, but {dataset.name} has {shape} and {len(names)}; "
            "give the data that it was trained on."
        )
    labeled, kept, held_out = inputs.choose_rows(config, dataset)
    record = {LABELED: labeled.tolist(), **inputs.checksums(dataset)}
    del record["test examples"]  # a sweep trains without test examples
    check_data(folder, record, "give the data that it was trained on")
    withheld, unlabeled = np.setdiff1d(kept, labeled), None
    if dataset.kind == "classes":
        withheld = withheld[dataset.y_train[withheld] >= 0]
    if dataset.kind == "classes" and len(withheld):
        sample = np.sort(np.random.default_rng(config.seed).permutation(withheld)[:_UNLABELED])
        predicted = gathered(ladder, data.Rows(dataset.x_train, sample)).argmax(1)
        wrong = predicted != dataset.y_train[sample]
        drawn = f", drawn from {len(withheld)}" if len(sample) < len(withheld) else ""
        unlabeled = Score(f"unlabelled training examples{drawn}", int(wrong.sum()), len(sample))
    name, x, y, rows = "training", dataset.x_train, dataset.y_train, labeled
    if len(held_out):
        name, rows = "validation", held_out
    if len(dataset.y_test):
        name, x, y, rows = "test", dataset.x_test, dataset.y_test, np.arange(len(dataset.y_test))
    x = data.Rows(x, rows)
    run = config, load_summary(folder), read_lines(folder), ladder
    trained_on = data.Rows(dataset.x_train, labeled), dataset.y_train[labeled]
    return Findings(*run, name, rows, x, y[rows], *trained_on, unlabeled)


class NoisyPass(NamedTuple):
    """Holds inputs without and with noise, and the decoder's estimate of them."""

    clean: np.ndarray  # [n, *input_shape]
    noisy: np.ndarray
    estimate: np.ndarray | None  # z_hat of level 0, if it is decoded
    ranges: list[np.ndarray]  # per level, the 1st and the 99th percentile of the noisy z


def noisy_pass(findings: Findings) -> NoisyPass | None:
    """Passes a batch through the ladder with noise, as in training; None for a single example."""
    net, params = findings.predictor.net, findings.predictor.trained.params
    x = findings.predictor.prepared(findings.x[: min(_NOISY, findings.predictor.rows)])
    if len(x) < 2:
        return None

    @jax.jit
    def program(params: Params, x: Array, noise: tuple[Array, ...]) -> tuple[Any, ...]:
        clean, noisy = net.encode(params, x), net.encode(params, x, noise)
        sample = [z.reshape(-1)[:: max(1, z.size // _SAMPLE)] for z in noisy.z]
        return noisy.z[0], net.decode(params, noisy, clean).z_hat[0], sample

    rng = np.random.default_rng(findings.config.seed)  # NumPy draws without compiling
    noise = tuple(rng.standard_normal((len(x), *shape), np.float32) for shape in net.shapes)
    noisy, estimate, sample = jax.device_get(program(params, x, noise))
    return NoisyPass(x, noisy, estimate, [np.percentile(z, [1, 99]) for z in sample])
