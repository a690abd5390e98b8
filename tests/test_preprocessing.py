"""Preprocessing against the formulas written out in float64."""

import jax
import numpy as np
import pytest
import scipy.stats
from data_files import real_folder
from hypothesis import given, settings
from hypothesis import strategies as st

from ladder_jax import data, errors
from ladder_jax.data import idx, preprocessing
from ladder_jax.data.preprocessing import Preprocessing, apply, contrast_normalize, fit

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(2500, 4, 3)) @ RNG.normal(size=(3, 3)) + 5).astype(np.float32)


def contrast_direct(x, scale=55.0):
    out = []
    for row in x.reshape(len(x), -1).astype(np.float64):
        centred = row - row.mean()
        out.append(scale * centred / np.sqrt((centred**2).sum()))
    return np.array(out).reshape(x.shape)


def zca_direct(train, x):
    flat = train.reshape(len(train), -1).astype(np.float64)
    cov = np.cov(flat, rowvar=False, bias=True) + 0.1 * np.eye(flat.shape[1])
    # The inverse square root, computed differently from the library.
    left, values, right = np.linalg.svd(cov)
    centred = x.reshape(len(x), -1) - flat.mean(0)
    return (centred @ (left @ np.diag(values**-0.5) @ right)).reshape(x.shape)


def test_contrast():
    assert np.allclose(contrast_normalize(X), contrast_direct(X), atol=1e-4)
    assert contrast_normalize(X).dtype == np.float32
    assert not contrast_normalize(np.full((1, 4), 0.3)).any()


@given(st.floats(0.01, 100), st.floats(-10, 10))
def test_contrast_ignores_gain_and_brightness(gain, offset):
    x = X[:5].astype(np.float64)
    assert np.allclose(contrast_normalize(x * gain + offset), contrast_normalize(x), atol=1e-6)


def test_zca_and_the_papers_chain():
    train, new = X[:2300], X[2300:]
    assert np.allclose(apply(fit("zca", train), new), zca_direct(train, new), atol=1e-3)
    chain = fit("contrast+zca", train)
    wanted = zca_direct(contrast_direct(train), contrast_direct(new))
    assert np.allclose(apply(chain, new), wanted, atol=1e-3)


def test_zca_whitens_up_to_its_bias():
    flat = apply(fit("zca", X), X).reshape(len(X), -1).astype(np.float64)
    values = np.linalg.eigvalsh(np.cov(X.reshape(len(X), -1), rowvar=False, bias=True))
    whitened_values = np.linalg.eigvalsh(np.cov(flat, rowvar=False, bias=True))
    assert np.allclose(np.sort(values / (values + 0.1)), whitened_values, atol=1e-3)


def test_standardize():
    x = np.concatenate([X.reshape(len(X), -1), np.full((len(X), 1), 0.1, np.float32)], 1)
    out = apply(fit("standardize", x), x)
    assert np.allclose(out.mean(0), 0, atol=1e-5)
    assert np.allclose(out.std(0)[:-1], 1, atol=1e-4) and np.allclose(out[:, -1], 0)


def test_constant_columns_are_only_centred():
    """In float64, too, where sums of 0.1 are inexact; a spread of 1e-9 of the mean counts."""
    x = np.stack([np.full(3000, 0.1), 1e6 + 1e-3 * RNG.normal(size=3000)], 1)
    out = apply(fit("standardize", x), x)
    assert np.abs(out[:, 0]).max() < 1e-15 and np.allclose(out[:, 1].std(), 1, atol=1e-4)
    assert np.isclose(apply(fit("standardize", x), x[:1] + 1)[0, 0], 1)


def test_parameters_of_an_earlier_version():
    """They lack the part of the mean that float32 cannot hold."""
    fitted = {"standardize/mean": np.float32([1, 2]), "standardize/std": np.float32([2, 4])}
    found = apply(Preprocessing("standardize", fitted), np.array([[3, 10]], np.float32))
    assert found.tolist() == [[1, 2]]


def test_save_and_load(tmp_path):
    fitted = fit("standardize+contrast+zca", X)
    preprocessing.save(tmp_path / "p.npz", fitted)
    stored = preprocessing.load(tmp_path / "p.npz")
    assert stored.chain == fitted.chain
    assert np.array_equal(apply(stored, X), apply(fitted, X))
    (tmp_path / "p.npz").write_bytes(b"no file")
    with pytest.raises(errors.DataError, match=r"not an \.npz file"):
        preprocessing.load(tmp_path / "p.npz")


def test_none_changes_nothing():
    assert fit("none", X) == Preprocessing() and apply(Preprocessing(), X) is X


@pytest.mark.slow
def test_real_cifar10():
    x, _ = idx.read_cifar10(real_folder("cifar10"))["train"]
    x = data.Rows(x, transform=lambda part: part / np.float32(255))
    white = apply(fit("contrast+zca", x), x[:5000]).reshape(5000, -1)
    assert abs(white.mean()) < 0.01 and np.isfinite(white).all()
    # The bias of 0.1 leaves faint directions below variance 1 and none above.
    assert 0.2 < white.var(0).mean() < 1.05


def various_columns(rows=31):
    """Draws columns: skewed, skewed with ties, binary, normal, normal far from 0, constant."""
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(rows, 2))
    spread = np.exp(2 * rng.normal(size=rows))
    tied = np.maximum(spread - 1, 0)
    return np.stack(
        [spread, tied, np.arange(rows) % 5 == 0, *(normal * [1, 1e-3] + [0, 1e6]).T, np.ones(rows)],
        1,
    )


def test_tabular():
    x = various_columns()
    fitted = fit("tabular", x)
    found = apply(fitted, x)
    ranks = scipy.stats.rankdata(x[:, :2], axis=0)  # ties share their mean rank
    wanted = scipy.stats.norm.ppf((ranks - 0.5) / len(x))
    np.testing.assert_allclose(found[:, :2], wanted, atol=1e-5)
    assert np.unique(found[:, 2]).size == 2 and np.ptp(found[:, 2]) == pytest.approx(2)
    standardized = (x[:, 3:5] - x[:, 3:5].mean(0)) / x[:, 3:5].std(0)
    np.testing.assert_allclose(found[:, 3:5], standardized, atol=1e-5)
    assert not found[:, 5].any()
    compiled = jax.jit(lambda rows: apply(fitted, rows))
    rows = x.astype(np.float32)
    np.testing.assert_allclose(compiled(rows), apply(fitted, rows), atol=1e-3)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 5), st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=9))
def test_tabular_is_bounded_and_monotonic(column, values):
    x = various_columns()
    rows = np.tile(x[:1], (len(values), 1))
    rows[:, column] = np.sort(values)
    found = apply(fit("tabular", x), rows)
    assert (np.diff(found[:, column]) >= 0).all() and (abs(found) <= 3).all()


def test_tabular_on_seconds_since_1970():
    """The result is that of standardised seconds."""
    seconds = 1.7e9 + 60 * various_columns()[:, :2]
    rescaled = (seconds - seconds.mean(0)) / seconds.std(0)
    found, wanted = (apply(fit("tabular", x), x) for x in (seconds, rescaled))
    np.testing.assert_allclose(found, wanted, atol=1e-3)


def test_tabular_ignores_rounding_noise():
    x = np.where(np.arange(30)[:, None] % 2, 0.1 + 0.2, [0.3, 0.3])
    assert abs(apply(fit("tabular", x), x)).max() < 1e-9


def test_tabular_is_fitted_on_a_sample_of_many_rows():
    x = np.random.default_rng(0).exponential(size=(25_000, 1))
    found = apply(fit("tabular", x), x)
    wanted = scipy.stats.norm.ppf((scipy.stats.rankdata(x) - 0.5) / len(x))
    assert abs(found[:, 0] - wanted).mean() < 0.02


def test_tabular_maps_infinity_to_nan():
    fitted = fit("tabular", various_columns())
    rows = various_columns()[:2]
    rows[1, 0] = np.inf
    assert np.isnan(apply(fitted, rows)[1, 0])
