"""The same numbers in other dtypes are brought to the scale of training, or refused."""

import numpy as np
import pytest

from experiments import new_examples
from ladder_jax import data, errors, loop, predictor
from ladder_jax.config import Config
from ladder_jax.data import SCALES, scale_of, to_scale

PIXELS = np.array([[0, 51, 255], [3, 0, 102]])
INTEGERS = (np.uint8, np.int16, np.uint16, np.int32, np.int64)
OTHERS = (*INTEGERS, np.float32, np.float64)


@pytest.mark.parametrize(
    ("x", "scale"),
    [
        (PIXELS.astype(np.uint8), "bytes"),
        (PIXELS, "pixels"),
        (PIXELS.astype(np.float32), "pixels"),
        (PIXELS / 255, "unit"),
        (PIXELS > 50, "binary"),
        ((PIXELS > 50).astype(np.uint8), "binary"),
        ((PIXELS > 50).astype(float), "binary"),
        (PIXELS - 1, "numbers"),
        (PIXELS + 0.5, "numbers"),
        (PIXELS.astype(np.uint16) * 257, "numbers"),
        (np.concatenate([np.zeros((1500, 3)), [[0, 0, 0.5]]]), "unit"),
        (PIXELS[:0], "unknown"),
    ],
)
def test_scale_of_training_rows(x, scale):
    assert scale_of(x) == scale and scale in SCALES
    same = to_scale("x", x, scale)
    np.testing.assert_allclose(same, x / 255 if scale == "bytes" else x, rtol=1e-6)


APPLIED = {
    # (scale of training, dtype of whole numbers): whether they are divided by 255
    **{("bytes", dtype): True for dtype in INTEGERS},
    **{("pixels", dtype): False for dtype in OTHERS},
    **{("numbers", dtype): False for dtype in OTHERS},
    ("unit", np.uint8): True,
    ("unit", np.float64): False,
    ("binary", np.float64): False,
    ("unknown", np.uint8): True,
    ("unknown", np.int64): False,
}


@pytest.mark.parametrize(("scale", "dtype"), APPLIED)
def test_whole_numbers_are_brought_to_scale(scale, dtype):
    wanted = PIXELS / 255 if APPLIED[scale, dtype] else PIXELS
    found = to_scale("x", PIXELS.astype(dtype), scale)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    # A single row is scaled as among others.
    np.testing.assert_array_equal(to_scale("x", PIXELS[:1].astype(dtype), scale), found[:1])


IMAGES = PIXELS[:, None]


@pytest.mark.parametrize(
    ("x", "scale", "message"),
    [
        (PIXELS + 1, "bytes", "int64 from 1 to 256, but in training bytes .*; give integers"),
        (-PIXELS, "bytes", "give integers from 0 to 255"),
        (PIXELS.astype(float), "bytes", "divide them by 255, or give integers"),
        (PIXELS * 0.99, "bytes", "divide them by 255"),
        (np.where(PIXELS == 3, -3.4e38, 0.5), "bytes", "divide them by 255"),
        (np.array([[0.0, 0.5], [0, 3]]), "bytes", "divide them by 255"),
        (PIXELS > 50, "bytes", None),
        ((PIXELS > 50).astype(int), "bytes", "is 1 white, or 1 of 255"),
        (PIXELS / 255 + 0.3, "bytes", None),  # with noise
        ((PIXELS > 50).astype(np.uint8), "unit", "is 1 white"),
        (PIXELS, "unit", "divide pixels by 255, and give other numbers as floats"),
        (PIXELS % 5, "unit", None),  # a table of small numbers
        (IMAGES % 5, "unit", "divide pixels by 255"),
        (PIXELS.astype(np.uint8), "binary", "divide pixels by 255"),
        (PIXELS % 5, "binary", None),
        (IMAGES / 255, "pixels", "multiply them by 255"),
        (PIXELS / 255, "pixels", None),
        (IMAGES.astype(np.uint8), "numbers", "scale them as in training"),
    ],
)
def test_ambiguous_rows_are_refused(x, scale, message):
    if message is None:
        np.testing.assert_array_equal(to_scale("x", x, scale), x)
        return
    with pytest.raises(errors.DataError, match=message) as raised:
        to_scale("x", x, scale)
    assert "\n" not in str(raised.value)


Y = np.arange(60) % 2
ROWS = np.random.default_rng(0).integers(0, 155, (60, 4)) + 100 * Y[:, None]
CONFIG = Config(
    units=(4,), epochs=30, labels=0, batch_labeled=20, batch_unlabeled=20, eval_every=30,
    learning_rate=0.02, preprocess="standardize",
)  # fmt: skip


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_error_is_the_same_for_all_integers(tmp_path, dtype):
    """From training through the run's folder to new rows; the test set has another dtype."""
    other = np.int64 if dtype == np.uint8 else np.uint8
    dataset = data.from_arrays(ROWS.astype(dtype), Y, ROWS.astype(other), Y)
    result = loop.train_and_evaluate(CONFIG, tmp_path / "run", dataset=dataset)
    assert result.summary["scale"] == ("bytes" if dtype == np.uint8 else "pixels")
    assert result.summary["test_error"] < 20
    predict = predictor.load(tmp_path / "run")
    wanted = predict(ROWS.astype(dtype)).logits
    assert 100 * np.mean(wanted.argmax(1) != Y) == pytest.approx(result.summary["test_error"])
    np.savetxt(tmp_path / "new.csv", ROWS, "%d", delimiter=",")
    from_csv = [part.x for part in new_examples.read(tmp_path / "new.csv", (4,))]
    for rows in (*map(ROWS.astype, INTEGERS), np.concatenate(from_csv)):
        np.testing.assert_allclose(predict(rows).logits, wanted, atol=1e-6)
        np.testing.assert_array_equal(predict(rows).classes, wanted.argmax(1))
