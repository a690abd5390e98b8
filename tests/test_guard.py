"""Numbers that are no longer finite: errors name the step and the level."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ladder_jax import Batch, combinators, data, errors, ladder, layers, loop, training
from ladder_jax.checkpoints import Checkpoints
from ladder_jax.config import Config
from ladder_jax.run import nan_search
from ladder_jax.training import BatchSizes, TrainData

X = np.random.default_rng(0).normal(size=(24, 4)).astype(np.float32)
Y = np.arange(24) % 2
SIZES = BatchSizes(4, 6)
RESIDENT = TrainData(jnp.asarray(X[:8]), jnp.asarray(Y[:8]), jnp.asarray(X))
HOST = TrainData(X[:8], Y[:8], X)


def poisoned(level, *, gradient=False):
    """Returns a ladder; one combinator gives NaN once its parameter ``count`` exceeds 1."""
    plain = combinators.gaussian()

    def init(key, shape):
        return {"plain": plain.init(key, shape), "count": jnp.zeros(())}

    def apply(params, z_noisy, u):
        z_hat = plain.apply(params["plain"], z_noisy, u)
        count = jax.lax.stop_gradient(params["count"])
        if gradient:  # adds 0, but its derivative is not finite from the start
            return z_hat + 0 * jnp.sqrt(jnp.abs(params["count"]))
        return jnp.where(count > 1, jnp.nan, 1.0) * z_hat

    gs = [plain, plain, plain]
    gs[level] = plain._replace(init=init, apply=apply)
    return ladder((4,), [layers.dense(3), layers.dense(2)], combinators=gs)


def find(net, optimizer, state, examples):
    step = training.make_train_step(net, optimizer)
    return nan_search.find_origin(net, step, state, examples, SIZES)


def counting():
    """Returns an optimizer that adds 1 to parameters named count and changes nothing else."""

    def update(updates, state, params=None):
        def change(path, leaf):
            is_count = getattr(path[-1], "key", None) == "count"
            return jnp.ones_like(leaf) if is_count else jnp.zeros_like(leaf)

        return jax.tree_util.tree_map_with_path(change, updates), state

    return optax.GradientTransformation(lambda params: (), update)


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("examples", [RESIDENT, HOST], ids=["resident", "streamed"])
def test_names_step_and_level(level, examples):
    net, optimizer = poisoned(level), counting()
    state = training.create_train_state(net, optimizer, jax.random.key(0))
    origin = find(net, optimizer, state, examples)
    assert origin == nan_search.Origin(2, level, "z_hat")  # after two updates the count is 2


def test_names_a_gradient():
    net, optimizer = poisoned(1, gradient=True), optax.sgd(0.1)
    state = training.create_train_state(net, optimizer, jax.random.key(0))
    assert find(net, optimizer, state, RESIDENT) == nan_search.Origin(0, 1, "gradient")


def test_names_parameters_examples_and_update():
    net, optimizer = poisoned(0), optax.sgd(0.1)
    state = training.create_train_state(net, optimizer, jax.random.key(0))
    kernel = state.params[2].up["kernel"].at[0, 0].set(jnp.inf)
    broken = (
        *state.params[:2],
        state.params[2]._replace(up=state.params[2].up | {"kernel": kernel}),
    )
    origin = find(net, optimizer, state._replace(params=broken), RESIDENT)
    assert origin == nan_search.Origin(0, 2, "parameters")
    examples = RESIDENT._replace(labeled=RESIDENT.labeled.at[:, 0].set(jnp.nan))
    assert find(net, optimizer, state, examples)[1:] == (0, "examples")
    wild = optax.GradientTransformation(
        lambda params: (), lambda g, s, p=None: (jax.tree.map(lambda x: x + jnp.inf, g), s)
    )
    assert find(net, wild, state, RESIDENT) == nan_search.Origin(0, None, "the optimizer's update")


def test_finite_training_has_no_origin():
    net, optimizer = poisoned(0), optax.sgd(0.1)
    state = training.create_train_state(net, optimizer, jax.random.key(0))
    assert find(net, optimizer, state, RESIDENT).step is None


@pytest.mark.parametrize("decoded", [True, False])
def test_quantities_match_the_loss(decoded):
    gs = combinators.gaussian() if decoded else None
    net = ladder((4,), [layers.dense(3), layers.dense(2)], combinators=gs)
    params, batch = net.init(jax.random.key(0)), Batch(X[:4], Y[:4], X[:6])
    noise = net.draw_noise(jax.random.key(1), 4, 6)

    @jax.jit
    def both(params, noise):
        found = nan_search.quantities(net, params, batch, noise)
        terms = {(level, name): value for level, name, value in found}
        return terms, net.loss_given(params, batch, noise)[1]

    terms, metrics = both(params, noise)
    assert float(terms[2, "cross-entropy"].mean()) == pytest.approx(float(metrics["cross_entropy"]))
    for level in range(3 if decoded else 0):
        cost = float(terms[level, "cost"])
        assert cost == pytest.approx(float(metrics["denoising"][level]), rel=1e-5)
    assert nan_search.is_finite(terms) and ((0, "cost") in terms) == decoded


def test_run_stops_and_keeps_what_is_finite(tmp_path):
    """The learning rate takes the parameters out of float32 within an epoch or two."""
    dataset = data.from_arrays(X, Y, X, Y)
    config = Config(
        dataset="own",
        labels=8,
        units=(3,),
        batch_labeled=4,
        batch_unlabeled=24,
        epochs=9,
        checkpoint_seconds=0.0,
        learning_rate=3e37,
        compute_dtype="bfloat16",
    )
    for _ in range(2):  # repeating the run gives the same error
        with pytest.raises(errors.NotFiniteError) as caught:
            loop.train_and_evaluate(config, tmp_path, dataset=dataset)
        message = str(caught.value)
        lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
        assert lines and f"at epoch {len(lines) + 1}, step {len(lines)}, first in level" in message
        assert "learning_rate below 3e+37" in message and "compute_dtype=float32" in message
        saved = Checkpoints(tmp_path / "checkpoints", keep=2).epochs
        assert str(tmp_path / "checkpoints" / str(saved[-1])) in message
        assert "NaN" not in lines[-1] and "\n" not in message
        assert not (tmp_path / "params.npz").exists()


def test_message_without_a_checkpoint():
    message = nan_search.message(
        nan_search.Origin(7, 1, "z_hat"), 3, None, Config(denoising_cost=(1, 2, 3, 4))
    )
    assert message == (
        "NaN or infinity at epoch 3, step 7, first in level 1, z_hat; there is no checkpoint yet. "
        "Try a learning_rate below 0.002, or a denoising_cost of level 1 below 2."
    )


def test_unscaled_inputs_are_named_as_the_cause(tmp_path):
    """Their squares overflow at any learning rate; smaller inputs are not mentioned."""
    config = Config(labels=8, units=(3,), batch_labeled=4, batch_unlabeled=24, epochs=2)
    with pytest.raises(errors.NotFiniteError) as caught:
        loop.train_and_evaluate(config, tmp_path, dataset=data.from_arrays(X * 1e25, Y))
    assert 'Try preprocess="standardize", as inputs are as large as' in str(caught.value)
    assert "learning_rate" not in str(caught.value)
    assert nan_search.largest_input(HOST) == nan_search.largest_input(RESIDENT) == np.abs(X).max()
    assert nan_search.hints(config, 300.0) == [
        "a learning_rate below 0.002",
        "a lower denoising_cost",
    ]
