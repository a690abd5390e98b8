"""Predictions of a trained ladder on new examples."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_predictors import rows, tiny

from ladder_jax import data, errors, loop, predictor, presets, targets
from ladder_jax.config import Config
from ladder_jax.errors import ConfigError
from ladder_jax.run import evaluation
from ladder_jax.run.program import build_ladder
from ladder_jax.types import Trained

CONFIG = Config(units=(8,), epochs=1, labels=-1, batch_labeled=4, batch_unlabeled=20, eval_every=9)


def examples(rows=60, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % 3
    # The second feature has a standard deviation below 1.
    x = (rng.normal(size=(rows, 2, 3)) + y[:, None, None]) * [1, 0.1, 1]
    x = x.astype(np.float32)
    return x, y


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Returns the folder and the result of a tiny run on partly labelled examples."""
    x, y = examples()
    dataset = data.from_arrays(x, np.where(np.arange(60) < 12, y, -1), *examples(30, 1))
    folder = tmp_path_factory.mktemp("run") / "ladder-0"
    config = Config.create(vars(CONFIG) | {"preprocess": "standardize"})
    return folder, loop.train_and_evaluate(config, folder, dataset=dataset)


def test_error_matches_the_run(trained):
    folder, result = trained
    x, y = examples(30, 1)
    found = predictor.load(folder.parent)(x)  # the only run in the command's folder
    assert 100 * np.mean(found.classes != y) == pytest.approx(result.summary["test_error"])
    np.testing.assert_allclose(found.probabilities.sum(1), 1, rtol=1e-5)


def test_rows_do_not_depend_on_their_batch(trained):
    predict = predictor.load(trained[0])
    x = examples(600)[0]
    full, flat = predict(x), predict(x[:300].reshape(300, 6))
    single = predict(x[299:300])
    for name in ("logits", "features", "denoised"):
        np.testing.assert_array_equal(getattr(full, name)[299:300], getattr(single, name))
        np.testing.assert_array_equal(getattr(full, name)[:300], getattr(flat, name))
    assert len(predict(x[:0]).classes) == 0


def test_denoised_is_the_decoders_estimate():
    net = presets.mlp(4, [3, 2])
    x = jax.random.normal(jax.random.key(0), (50, 4))
    params = jax.tree.map(lambda p: p + 0.1, net.init(jax.random.key(1)))
    statistics = net.statistics(params, x)
    clean = net.encode(params, x)
    decoder_statistics = net.decoder_statistics(params, statistics, x)
    # On the rows that gave the statistics, it equals the decoder of training.
    ours = jax.jit(lambda x: net.denoise(Trained(params, statistics, decoder_statistics), x))(x)
    np.testing.assert_allclose(ours, net.decode(params, clean, clean).z_hat[0], atol=1e-5)
    sorted_rows = jnp.arange(3000)
    assert evaluation.sample_rows(sorted_rows).mean() == pytest.approx(1499.5, abs=2)


def test_ladder_without_input_decoder_does_not_denoise():
    config = Config.create(vars(CONFIG) | {"combinators": ("none",), "denoising_cost": (0.0,)})
    net = build_ladder(config, (6,), targets.classes(3))
    params, x = net.init(jax.random.key(0)), jnp.ones((4, 6))
    statistics = net.statistics(params, x)
    decoder_statistics = net.decoder_statistics(params, statistics, x)
    assert net.denoise(Trained(params, statistics, decoder_statistics), x) is None


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 5)), r"x has shape \(2, 5\); wanted \[n, 2, 3\] or \[n, 6\]"),
        (np.zeros(6), r"x has shape \(6,\)"),
        (np.full((2, 6), np.nan), "NaN or infinite values in 2 row"),
        (np.full((2, 6), 1e300), r"x: 1e\+300 in row 0, position \(0, 0\), is not finite"),
        (
            np.where(np.arange(1800) == 1705, -3.4e38, 1).reshape(300, 6),
            r"x: -3\.4e\+38 in row 284, position \(0, 1\), .* preprocess='standardize'",
        ),
        (np.full((2, 6), "a"), "x has dtype <U1; give numbers"),
    ],
)
def test_bad_rows(trained, x, message):
    with pytest.raises(errors.DataError, match=message):
        predictor.load(trained[0])(x)


def test_overflow_within_the_ladder():
    """Rows are finite, also after preprocessing, but their products are not."""
    with pytest.raises(errors.DataError, match="r: the ladder gives NaN or infinity for row 7"):
        tiny()(np.full((2, 6), 3e38), "r", 7)


def test_run_without_a_scale(trained, tmp_path):
    """In runs of earlier versions, bytes are divided by 255 and other dtypes left as they are."""
    folder = copy_edited(
        trained[0], tmp_path, "result.json", lambda r: {k: v for k, v in r.items() if k != "scale"}
    )
    old, x = predictor.load(folder), np.arange(6)[None] * 50
    assert old.fitted.scale == "unknown"
    pixels, wanted = old(x.astype(np.uint8)).logits, old(x / np.float32(255)).logits
    np.testing.assert_allclose(pixels, wanted, rtol=1e-5)
    np.testing.assert_array_equal(old(x).logits, old(x.astype(float)).logits)


def copy_edited(folder, tmp_path, name, change):
    """Copies the run's folder with one JSON file changed; returns the copy."""
    for path in folder.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    path = tmp_path / name
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    return tmp_path


def test_folders_without_a_single_run(trained, tmp_path):
    with pytest.raises(ConfigError, match="no such folder"):
        predictor.load(tmp_path / "none")
    with pytest.raises(ConfigError, match="holds no finished run"):
        predictor.load(tmp_path)
    for name in ("ladder-0", "ladder-1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").touch()
    with pytest.raises(ConfigError, match="several runs; give one of them: ladder-0, ladder-1"):
        predictor.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("config.json", lambda c: c | {"colour": 1}),
        ("config.json", lambda c: c | {"units": [9]}),
        ("result.json", lambda r: {k: v for k, v in r.items() if k != "example_shape"}),
        ("result.json", lambda r: r | {"scale": "furlongs"}),
    ],
)
def test_runs_of_other_versions(trained, tmp_path, name, change):
    with pytest.raises(ConfigError, match=r"of this version|another version"):
        predictor.load(copy_edited(trained[0], tmp_path, name, change))


def test_corrupt_parameters(trained, tmp_path):
    folder = copy_edited(trained[0], tmp_path, "config.json", lambda c: c)
    full = (folder / "params.npz").read_bytes()
    (folder / "params.npz").write_bytes(full[: len(full) // 2])
    with pytest.raises(ConfigError, match=r"params\.npz is not the parameters of this run"):
        predictor.load(folder)


@pytest.mark.parametrize(
    ("shape", "given"),
    [((8, 8, 1), (8, 8)), ((8, 8, 1), (1, 8, 8)), ((8, 8), (8, 8, 1)), ((3,), (3, 1))],
)
def test_axes_of_size_one_may_be_omitted(shape, given):
    x = np.random.default_rng(0).normal(size=(5, *given)).astype(np.float32)
    found = data.new_rows("x", x, shape)
    assert found.shape == (5, *shape) and np.array_equal(found.ravel(), x.ravel())


@pytest.mark.parametrize("given", [(3, 2), (3, 2, 1), (2, 3, 2), (6, 6), (2, 3, 1, 2)])
def test_other_shapes_are_refused(given):
    with pytest.raises(errors.DataError, match=r"wanted \[n, 2, 3, 1\] or \[n, 6\]"):
        data.new_rows("x", np.zeros((5, *given)), (2, 3, 1))


def test_images_without_channel_axis():
    ours, x = tiny((2, 3, 1)), rows((2, 3, 1), 4)
    np.testing.assert_array_equal(ours(x[..., 0]).logits, ours(x).logits)
