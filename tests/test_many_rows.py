"""Compiled results equal NumPy's for batches of more than 32,768 rows.

In jaxlib 0.10.2 on a CPU they did not: a compiled sum over that many rows was wrong in its
last rows (hence ``!=0.10.2``).
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ladder_jax import Batch, data, parallel, predictor, presets, training
from ladder_jax.report import measures
from ladder_jax.run import evaluation
from ladder_jax.types import Trained

ROWS = 32_769 + 40
NET = presets.mlp(3, [3, 2], denoising_cost=[10.0, 1.0, 0.1])


def test_sum_of_squares_of_a_product():
    numbers = np.arange(32_769.0)
    rows = jnp.asarray(np.stack([numbers, 0 * numbers, 0 * numbers], 1), jnp.float32)
    matrix = jnp.eye(3)
    squares = jax.jit(jax.vmap(lambda x: jnp.square(matrix @ x).sum()))(rows)
    np.testing.assert_allclose(squares, numbers**2, rtol=1e-6)


@pytest.fixture(scope="module")
def world():
    x = np.random.default_rng(0).normal(2.0, 3.0, (ROWS, 3)).astype(np.float32)
    x[-1] = 40.0  # the last rows were the wrong ones
    params = NET.init(jax.random.key(0))
    return params, x, numpy_pass(params, x.astype(np.float64))


def numpy_pass(params, x):
    """Returns means, variances and z per level, and the logits, in float64."""
    h = x
    mean, var, z_levels = [None], [None], [h]
    for level in params[1:]:
        z_pre = h @ np.asarray(level.up["kernel"], np.float64)
        mean, var = [*mean, z_pre.mean(0)], [*var, z_pre.var(0)]
        z = (z_pre - mean[-1]) / np.sqrt(var[-1] + 1e-10)
        z_levels.append(z)
        affine = z + np.asarray(level.activation["bias"])
        h = np.maximum(affine, 0)
    return mean, var, z_levels, affine


@pytest.mark.parametrize("make", [training.make_statistics, evaluation.make_statistics])
def test_statistics(world, make):
    params, x, (mean, var, _, _) = world
    statistics = make(NET)(params, x)
    for level in (1, 2):
        np.testing.assert_allclose(statistics.mean[level], mean[level], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(statistics.var[level], var[level], rtol=1e-4)


def test_prediction_and_error_rate(world):
    params, x, (_, _, _, logits) = world
    statistics = jax.jit(NET.statistics)(params, x)
    predicted = jax.jit(NET.predict)(params, statistics, x)
    np.testing.assert_allclose(predicted, logits, rtol=1e-3, atol=1e-3)
    y = np.arange(ROWS) % 2
    expected = np.mean(logits.argmax(-1) != y)
    error = float(training.make_error_rate(NET)(params, statistics, x, y))
    assert error == pytest.approx(expected, abs=3 / ROWS)
    sums = evaluation.make_measures(NET, parallel.make_mesh(), 1000)(params, statistics, x, y)
    error = NET.structure.target.summary(sums)["error"] / 100
    assert error == pytest.approx(expected, abs=3 / ROWS)
    trained = Trained(params, statistics, None)
    predictions = predictor.Predictor(NET, trained, ("a", "b"), (3,))(x)
    np.testing.assert_allclose(predictions.logits, logits, rtol=1e-3, atol=1e-3)
    score = measures.scores(y, predictions.classes, "ab")[0]
    assert score.n == ROWS and score.error / 100 == pytest.approx(expected, abs=3 / ROWS)


def test_costs(world):
    params, x, (mean, var, z, _) = world
    noise = NET.draw_noise(jax.random.key(1), 4, ROWS)
    batch = Batch(x[:4], jnp.arange(4) % 2, x)
    costs = jax.jit(NET.loss_given)(params, batch, noise)[1]["denoising"]
    # The gaussian combinator starts with z_hat = 0, whatever its inputs.
    for level in range(3):
        estimate = 0.0 if level == 0 else -mean[level] / np.sqrt(var[level] + 1e-10)
        expected = np.mean((estimate - z[level]) ** 2)
        np.testing.assert_allclose(costs[level], expected, rtol=1e-4)


def test_spread_of_columns():
    x = np.random.default_rng(0).normal(2.0, 3.0, (ROWS, 3))
    fitted = data.preprocessing.fit("standardize", data.Rows(x, np.arange(ROWS)))
    rows = data.preprocessing.apply(fitted, x)
    np.testing.assert_allclose(rows, (x - x.mean(0)) / x.std(0), atol=1e-4)
