"""Learning-rate schedule, order of rows, training step and epoch."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ladder_jax import Batch, presets, training, transforms
from ladder_jax.training import BatchSizes, TrainData

NET = presets.mlp(4, [3, 2])
OPTIMIZER = optax.adam(0.01)
X = jax.random.normal(jax.random.key(1), (13, 4))
DATA = TrainData(X[:4], jnp.array([0, 1, 0, 1]), X)
STEP = training.make_train_step(NET, OPTIMIZER)


def fresh_state(seed=0):
    return training.create_train_state(NET, OPTIMIZER, jax.random.key(seed))


@pytest.mark.parametrize("decay_from", [0.0, 0.5, 0.67, 1.0])
def test_rate_is_constant_then_falls_to_0(decay_from):
    schedule = transforms.constant_then_linear(0.002, 1000, decay_from)
    for step in range(0, 1000, 50):
        part = step / 1000
        expected = 0.002 if part <= decay_from else 0.002 * (1 - part) / (1 - decay_from)
        assert float(schedule(step)) == pytest.approx(expected, rel=1e-4)
    if decay_from < 1:
        assert float(schedule(1000)) == 0


@pytest.mark.parametrize("bad", [(0.0, 10, 0.5), (0.1, 0, 0.5), (0.1, 10, 1.5)])
def test_bad_schedules(bad):
    with pytest.raises(ValueError, match="constant_then_linear"):
        transforms.constant_then_linear(*bad)


def test_learning_rate_reaches_the_parameters():
    """The original's last version lost its decay: at a rate of 0, no parameter may change."""
    schedule = transforms.constant_then_linear(0.01, 4, decay_from=0.5)
    optimizer = optax.adam(schedule)
    step = training.make_train_step(NET, optimizer)
    state = training.create_train_state(NET, optimizer, jax.random.key(0))
    moves = []
    for _ in range(6):
        before = state.params[1].up["kernel"]
        state, _ = step(state, Batch(DATA.labeled, DATA.labels, X))
        moves.append(float(jnp.abs(state.params[1].up["kernel"] - before).max()))
    assert moves[0] > 0.005 and 0 < moves[3] < moves[2]
    assert moves[4:] == [0, 0]


def test_optimizers_that_take_the_loss():
    batch = Batch(DATA.labeled, DATA.labels, X)
    optimizer = optax.chain(optax.adam(0.01), optax.contrib.reduce_on_plateau(patience=1))
    state = training.create_train_state(NET, optimizer, jax.random.key(0))
    plateau = training.make_train_step(NET, optimizer)(state, batch)[0]
    adam = training.create_train_state(NET, optax.adam(0.01), jax.random.key(0))
    plain, metrics = training.make_train_step(NET, optax.adam(0.01))(adam, batch)
    for a, b in zip(jax.tree.leaves(plateau.params), jax.tree.leaves(plain.params), strict=True):
        np.testing.assert_array_equal(a, b)
    assert plateau.opt_state[1].best_value == metrics["loss"]


def test_hyperparameters_may_follow_a_schedule():
    def noisier(step):
        return NET.hyper._replace(noise_std=jnp.where(step < 2, 0.0, NET.hyper.noise_std))

    batch = Batch(DATA.labeled, DATA.labels, X)
    quiet = training.make_train_step(NET, OPTIMIZER, noisier(0))
    scheduled = training.make_train_step(NET, OPTIMIZER, noisier)
    states = fresh_state(), fresh_state(), fresh_state()
    same = []
    for _ in range(3):
        states = tuple(
            step(state, batch)[0]
            for step, state in zip((quiet, STEP, scheduled), states, strict=True)
        )
        leaves = [jax.tree.leaves(state.params) for state in states]
        same.append([all(map(np.array_equal, leaves[2], other)) for other in leaves[:2]])
    assert same == [[True, False], [True, False], [False, False]]


@pytest.mark.parametrize(("rows", "steps", "batch"), [(6, 2, 3), (4, 5, 3), (13, 4, 3)])
def test_order_consists_of_whole_passes(rows, steps, batch):
    order = np.asarray(training.row_order(jax.random.key(0), rows, steps, batch)).ravel()
    for start in range(0, len(order) - rows + 1, rows):
        assert sorted(order[start : start + rows]) == list(range(rows))
    other = np.asarray(training.row_order(jax.random.key(1), rows, steps, batch)).ravel()
    assert not np.array_equal(order, other)


def test_epoch_of_fewer_rows_than_a_step_is_refused():
    with pytest.raises(ValueError, match=r"unlabeled has 80 row\(s\), fewer than the 100"):
        training.epoch_order(jax.random.key(0), 0, 20, 80, training.BatchSizes())


@pytest.mark.parametrize(
    ("data", "sizes", "message"),
    [
        (DATA._replace(labels=DATA.labels[:3]), BatchSizes(2, 5), "labels has 3 row.*labeled 4"),
        (DATA._replace(weight=jnp.ones(5)), BatchSizes(2, 5), "weight has 5 row.*labeled 4"),
        (TrainData(X[:0], DATA.labels[:0], X), BatchSizes(2, 5), "labeled has no rows"),
        (DATA, BatchSizes(2, 0), "unlabeled is 0; give a whole number"),
        (DATA, BatchSizes(5, 5, tied=True), "tied is True, but labeled has 4 .* unlabeled 13"),
    ],
    ids=["labels", "weight", "no labels", "size", "tied"],
)
def test_unfit_data_are_refused(data, sizes, message):
    """JAX would clamp indices that are out of range, and so give rows the label of another."""
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(training.make_epoch(STEP, sizes), fresh_state(), data)


def test_epoch_is_deterministic_and_compiled_once():
    epoch = training.make_epoch(STEP, BatchSizes(4, 5))
    ends = []
    for _ in range(2):
        state = fresh_state()
        for _ in range(3):
            state, metrics = epoch(state, DATA)
        ends.append(jax.tree.leaves((state.params, metrics)))
    assert all(bool(jnp.array_equal(a, b)) for a, b in zip(*ends, strict=True))
    assert int(state.step) == 6
    assert epoch._cache_size() == 1


def test_step_depends_on_seed_and_step_only():
    batch = Batch(DATA.labeled, DATA.labels, X)
    state, first = STEP(fresh_state(), batch)
    _, again = STEP(fresh_state(), batch)
    assert float(first["loss"]) == float(again["loss"])
    _, other_step = STEP(fresh_state()._replace(step=state.step), batch)
    _, other_seed = STEP(fresh_state()._replace(key=jax.random.key(7)), batch)
    losses = [float(m["denoising"][1]) for m in (first, other_step, other_seed)]
    cross_entropies = [float(m["cross_entropy"]) for m in (first, other_step, other_seed)]
    assert len(set(cross_entropies)) == 3, (losses, cross_entropies)


def test_tied_halves_are_the_same_rows():
    seen = []

    def spy(state, batch):
        return state._replace(step=state.step + 1), {
            "same": jnp.all(batch.labeled == batch.unlabeled).astype(float),
            "label": jnp.all(batch.labels == batch.unlabeled[:, 0]).astype(float),
        }

    data = TrainData(X.at[:, 0].set(jnp.arange(13)), jnp.arange(13), X.at[:, 0].set(jnp.arange(13)))
    for tied in (True, False):
        _, metrics = training.make_epoch(spy, BatchSizes(4, 4, tied))(fresh_state(), data)
        seen.append((float(metrics["same"]), float(metrics["label"])))
    assert seen[0] == (1, 1) and seen[1] != (1, 1)


def test_learns():
    x = jnp.concatenate([X, X + 4.0 * jnp.sign(X)])
    y = (x[:, 0] > 0).astype(jnp.int32)
    data = TrainData(x, y, x)
    epoch = training.make_epoch(STEP, BatchSizes(13, 13))
    state = fresh_state()
    first = None
    for _ in range(40):
        state, metrics = epoch(state, data)
        first = first or float(metrics["loss"])
    assert float(metrics["loss"]) < 0.7 * first
    error = training.make_error_rate(NET)(state.params, NET.statistics(state.params, x), x, y)
    assert float(error) < 0.2


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_lowers_for_every_platform(platform):
    batch = Batch(DATA.labeled, DATA.labels, X)
    for function, args in (
        (jax.jit(NET.loss), (fresh_state().params, batch, jax.random.key(0))),
        (STEP, (fresh_state(), batch)),
    ):
        exported = jax.export.export(function, platforms=[platform])(*args)
        assert exported.platforms == (platform,)
        assert "stablehlo" in exported.mlir_module()


def test_epochs_together_match_single_epochs():
    epoch = training.make_epoch(STEP, BatchSizes(2, 6))
    epochs = training.make_epochs(epoch, most=4)
    state, lines = fresh_state(), []
    for _ in range(5):
        state, metrics = epoch(state, DATA)
        lines.append(metrics)
    found, first = epochs(fresh_state(), DATA, 3)
    found, second = epochs(found, DATA, 2)
    for one, other in zip(*map(jax.tree.leaves, (found.params, state.params)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    assert int(found.step) == int(state.step) == 10
    for name in lines[0]:
        expected = np.stack([line[name] for line in lines])
        done = np.concatenate([first[name][:3], second[name][:2]])
        np.testing.assert_allclose(done, expected, 1e-5)
        assert not first[name][3:].any() and not second[name][2:].any()
    assert epochs._cache_size() == 1
