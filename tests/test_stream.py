"""Streamed training against resident training: the same batches, the same numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ladder_jax import data, errors, loop, parallel, presets, training
from ladder_jax.config import Config
from ladder_jax.data.base import chunks
from ladder_jax.run import evaluation, inputs
from ladder_jax.training import BatchSizes, TrainData

pytest.importorskip("grain", reason="needs the extra stream: pip install 'ladder_jax[stream]'")

X = np.random.default_rng(0).normal(size=(23, 4)).astype(np.float32)
Y = np.arange(23) % 3


def make_recorder():
    """Returns a training step that learns nothing and reports its batch, and a state for it."""

    def train_step(state, batch):
        return state._replace(step=state.step + 1), batch._asdict()

    return train_step, training.TrainState(jnp.zeros((), jnp.int32), (), (), jax.random.key(3))


@pytest.mark.parametrize("sizes", [BatchSizes(2, 5), BatchSizes(7, 4), BatchSizes(4, 4, tied=True)])
def test_streamed_batches_match_resident_ones(sizes):
    n_labeled = 23 if sizes.tied else 7
    train_step, state = make_recorder()
    steps = 23 // sizes.unlabeled
    weight = np.arange(n_labeled, dtype=np.float32)
    x_labeled = X if sizes.tied else X[:n_labeled]
    host = TrainData(x_labeled, Y[:n_labeled], X, weight)
    resident = TrainData(*map(jnp.asarray, host))
    for epoch in range(3):
        state = state._replace(step=jnp.int32(epoch * steps))
        order = training.epoch_order(state.key, state.step, n_labeled, 23, sizes)
        streamed = list(inputs.epoch_batches(state, host, sizes))
        assert len(streamed) == steps
        for step, batch in enumerate(streamed):
            assert np.array_equal(batch.labeled, resident.labeled[order[0][step]])
            assert np.array_equal(batch.labels, resident.labels[order[0][step]])
            assert np.array_equal(batch.unlabeled, resident.unlabeled[order[1][step]])
            assert np.array_equal(batch.weight, resident.weight[order[0][step]])
        # Resident epochs report means over their steps; so do streamed ones.
        after, from_stream = inputs.make_streamed_epoch(train_step, sizes)(state, host)
        _, from_memory = training.make_epoch(train_step, sizes)(
            jax.tree.map(jnp.copy, state), resident
        )
        for name in from_stream:
            assert np.allclose(from_stream[name], from_memory[name], atol=1e-6)
        assert int(after.step) == (epoch + 1) * steps


def test_every_step_of_an_epoch_gives_the_same_order():
    key, sizes = jax.random.key(0), BatchSizes(2, 5)
    first = training.epoch_order(key, 4, 7, 23, sizes)
    assert all(
        np.array_equal(a, b)
        for step in (5, 6, 7)
        for a, b in zip(first, training.epoch_order(key, step, 7, 23, sizes), strict=True)
    )
    assert not np.array_equal(first[1], training.epoch_order(key, 8, 7, 23, sizes)[1])


def test_statistics_and_error_rate(monkeypatch):
    monkeypatch.setattr(evaluation, "chunks", functools.partial(chunks, rows=5))
    net = presets.mlp(4, [6, 5, 3])
    params = net.init(jax.random.key(0))
    rows = data.Rows(X * 10 + 3)
    from_stream = evaluation.make_statistics(net)(params, rows)
    from_memory = net.statistics(params, jnp.asarray(rows[:]))
    assert jax.tree.structure(from_stream) == jax.tree.structure(from_memory)
    for a, b in zip(jax.tree.leaves(from_stream), jax.tree.leaves(from_memory), strict=True):
        assert np.allclose(a, b, rtol=1e-4, atol=1e-5)
    monkeypatch.undo()
    sums = evaluation.make_measures(net, parallel.make_mesh(), rows=5)(params, from_memory, rows, Y)
    error = net.structure.target.summary(sums)["error"] / 100
    assert np.isclose(error, training.make_error_rate(net)(params, from_memory, rows[:], Y))


def test_pooled_statistics():
    """Exact at level 1 for any chunks; above, they only approximate those of one pass."""
    net = presets.mlp(4, [6, 5, 3])
    params, rows = net.init(jax.random.key(0)), data.Rows(X * 10 + 3)
    from_stream = evaluation.make_pooled_statistics(net, rows=5)(params, rows)
    from_memory = net.statistics(params, jnp.asarray(rows[:]))
    assert jax.tree.structure(from_stream) == jax.tree.structure(from_memory)
    for a, b in (
        (from_stream.mean[1], from_memory.mean[1]),
        (from_stream.var[1], from_memory.var[1]),
    ):
        assert np.allclose(a, b, rtol=1e-4, atol=1e-5)


def test_streamed_run_matches_a_resident_one(tmp_path):
    """Parameters agree up to rounding, errors as closely as the statistics do."""
    results = []
    for resident in (True, False):
        config = Config(labels=50, units=(6,), epochs=2, preprocess="contrast", resident=resident)
        result = loop.train_and_evaluate(config, tmp_path / str(resident))
        results.append(result)
    for a, b in zip(*(jax.tree.leaves(result.params) for result in results), strict=True):
        assert np.allclose(a, b, atol=1e-6)
    assert abs(results[0].summary["test_error"] - results[1].summary["test_error"]) <= 0.4


def test_missing_grain_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(errors.DataError, match=r"ladder_jax\[stream\]"):
        inputs.prepare(Config(resident=False))
