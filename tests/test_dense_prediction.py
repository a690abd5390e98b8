"""Layers for per-pixel classes: upsampling, dilation, any height and width, both presets."""

import functools
import itertools

import drawn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import export

from ladder_jax import Batch, conv, dense, global_mean_pool, ladder, layers, max_pool, presets
from ladder_jax.config import Config
from ladder_jax.errors import ConfigError
from ladder_jax.layers import upsample


def shapes(chain, input_shape):
    """Returns the shape of each level, the input's first."""

    def shape_above(shape, layer):
        shapes_above = []
        jax.eval_shape(
            lambda key: shapes_above.append(layer.init(key, shape)[1]), jax.random.key(0)
        )
        return tuple(shapes_above[0])

    return list(itertools.accumulate(chain, shape_above, initial=input_shape))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(2, 4))
def test_upsampling_fills_windows_and_its_way_down_averages_them(height, width, size):
    rng = np.random.default_rng(0)
    below = (-(-height // size), -(-width // size))
    layer = upsample(size, height, width)
    h = rng.standard_normal((2, *below, 3)).astype(np.float32)
    z_hat = rng.standard_normal((2, height, width, 3)).astype(np.float32)
    both = jax.jit(lambda h, z_hat: (layer.up({}, h), layer.down({}, z_hat, (*below, 3))))
    z, u = jax.device_get(both(h, z_hat))
    assert shapes([layer], (*below, 3))[-1] == z.shape[1:] == (height, width, 3)
    for i, j in np.ndindex(height, width):
        np.testing.assert_array_equal(z[:, i, j], h[:, i // size, j // size])
    assert u.shape == h.shape
    for i, j in np.ndindex(*below):
        window = z_hat[:, i * size : (i + 1) * size, j * size : (j + 1) * size]
        np.testing.assert_allclose(u[:, i, j], window.mean((1, 2)), rtol=1e-5, atol=1e-6)


def test_upsampling_is_inverted_by_pooling_and_by_its_way_down():
    h, pool = drawn.normal(0, (2, 3, 4, 2)), max_pool(3)

    @functools.partial(jax.jit, static_argnums=0)
    def all_ways(layer):
        z = layer.up({}, h)
        return z, layer.down({}, z, h.shape[1:]), pool.up({}, z), pool.down({}, h, z.shape[1:])

    for layer in (upsample(3), upsample(3, 7, 11)):
        z, down, pooled, pooled_down = all_ways(layer)
        np.testing.assert_allclose(down, h, rtol=1e-6)
        # Upsampling and the way down of pooling agree, and pooling inverts them.
        np.testing.assert_array_equal(pooled, h)
        np.testing.assert_array_equal(pooled_down, z)


def test_upsampling_keeps_the_dtype():
    with jax.enable_x64(True):
        for dtype in (jnp.float32, jnp.float64, jnp.bfloat16):
            z_hat = np.ones((2, 5, 4, 1), dtype)
            u = jax.jit(lambda z_hat: upsample(2, 5, 4).down({}, z_hat, (3, 2, 1)))(z_hat)
            assert u.dtype == dtype and (np.asarray(u) == 1).all()


@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 1, 2), (2, 2, 3), (3, 3, 1)])
def test_dilated_convolution_equals_a_loop_over_pixels(kernel, stride, dilation):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2, 8, 7, 2))
    weights = rng.standard_normal((kernel, kernel, 2, 3))
    reach = dilation * (kernel - 1) + 1
    rows, columns = ((n - reach) // stride + 1 for n in x.shape[1:3])
    wanted = np.zeros((2, rows, columns, 3))
    for i, j, a, b in np.ndindex(rows, columns, kernel, kernel):
        pixel = x[:, i * stride + a * dilation, j * stride + b * dilation]
        wanted[:, i, j] += pixel @ weights[a, b]
    layer = conv(3, kernel, stride, dilation=dilation)
    with jax.enable_x64(True):
        np.testing.assert_allclose(layer.up({"kernel": weights}, x), wanted, rtol=1e-12)
    assert shapes([layer], x.shape[1:])[-1] == wanted.shape[1:]


def test_names_without_dilation_are_unchanged_and_dilation_comes_last():
    names = "conv:3:3-conv:3:3:1:same-conv:3:3:2:valid-conv:3:3:1:valid:2-upsample:2-upsample:3:7:8"
    chain = layers.from_names(names)
    assert layers.to_names(chain) == names
    built = [conv(3, 3), conv(3, 3, padding="same"), conv(3, 3, 2), conv(3, 3, dilation=2)]
    assert layers.to_names([*built, upsample(2), upsample(3, 7, 8)]) == names
    assert layers.from_name("conv:3:3:1:same:1").name == "conv:3:3:1:same"


sides = st.integers(1, 40)


@settings(max_examples=20, deadline=None)
@given(sides, sides, st.integers(1, 4), st.integers(1, 4))
def test_hourglass_restores_the_size_of_its_input(height, width, scales, kernel):
    chain = presets.hourglass_layers((height, width, 2), 3, (4,) * scales, kernel)
    levels = shapes(chain, (height, width, 2))
    assert levels[-1] == (height, width, 3) and len(levels) == 4 * scales - 1
    sizes = [level[:2] for level in levels[:-1]]
    assert sizes == sizes[::-1]  # the same heights and widths up as down
    smallest = -(-height // 2 ** (scales - 1)), -(-width // 2 ** (scales - 1))
    assert sizes[len(sizes) // 2] == smallest
    assert shapes(layers.from_names(layers.to_names(chain)), levels[0]) == levels


@settings(max_examples=30, deadline=None)
@given(sides, sides, st.integers(2, 5))
def test_strides_and_pooling_agree_and_upsampling_restores_any_size(height, width, size):
    level = (height, width, 1)
    strided, pooled = conv(1, 3, stride=size, padding="same"), max_pool(size)
    restore = upsample(size, height, width)
    for below in (strided, pooled):
        assert shapes([below, restore], level)[-1] == level
    assert shapes([strided], level) == shapes([pooled], level)


@settings(max_examples=20, deadline=None)
@given(sides, sides, st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_fully_convolutional_net_keeps_every_size(height, width, dilations):
    chain = presets.fully_convolutional_layers(3, 4, dilations)
    assert {level[:2] for level in shapes(chain, (height, width, 2))} == {(height, width)}
    parsed = layers.from_names(layers.to_names(chain))
    assert shapes(parsed, (height, width, 2))[1:] == [(height, width, 4)] * len(dilations) + [
        (height, width, 3)
    ]


def test_receptive_field_follows_the_dilations():
    chain = presets.fully_convolutional_layers(2, 1, (1, 2, 4))
    x = jnp.zeros((1, 19, 19, 1)).at[0, 9, 9, 0].set(1)
    for layer in chain:
        kernel = layer.init(jax.random.key(0), x.shape[1:])[0].up["kernel"]
        x = layer.up({"kernel": jnp.ones_like(kernel)}, x)
    seen = np.abs(np.arange(19) - 9) <= 7
    np.testing.assert_array_equal(x[0, :, :, 0] > 0, np.outer(seen, seen))


PRESETS = {
    "hourglass": presets.hourglass_layers((7, 5, 1), 3, (2, 3)),
    "fully convolutional": presets.fully_convolutional_layers(3, (2, 3), (1, 2)),
}


@pytest.mark.parametrize("name", PRESETS)
def test_ladders_of_both_presets_train_on_every_level(name):
    """Ends in the mean over pixels, since the layers can be tested without masks."""
    net = ladder((7, 5, 1), [*PRESETS[name], global_mean_pool()])
    x = drawn.normal(2, (8, 7, 5, 1))
    batch, noise = Batch(x[:4], np.arange(4) % 3, x[4:]), drawn.noise(net, 4, 4)
    # Moved away from the start, where the combinators pass nothing on.
    params = drawn.moved(net.init(jax.random.key(0)))
    gradient = jax.jit(jax.grad(lambda params: net.loss_given(params, batch, noise)[0]))
    for level in gradient(params)[1:]:
        for leaf in jax.tree.leaves((level.up, level.down)):
            assert np.isfinite(leaf).all() and float(jnp.abs(leaf).max()) > 0


def test_dilation_and_upsampling_export_for_all_platforms_and_any_number_of_rows():
    chain = [conv(2, 2, 1, "same", 2), max_pool(2), upsample(2, 5, 4)]
    kernel = chain[0].init(jax.random.key(0), (5, 4, 1))[0].up
    x = jax.random.normal(jax.random.key(1), (3, 5, 4, 1))

    def gradients(kernel, x):
        def cost(kernel, x):
            h = chain[2].up({}, chain[1].up({}, chain[0].up(kernel, x)))
            return jnp.square(chain[2].down({}, jnp.sin(h), (3, 2, 2))).sum()

        return jax.grad(cost, (0, 1))(kernel, x)

    (batch,) = export.symbolic_shape("batch")
    like = jax.ShapeDtypeStruct((batch, 5, 4, 1), x.dtype)
    compiled = jax.jit(gradients)
    exported = export.export(compiled, platforms=("cpu", "cuda", "tpu"))(kernel, like)
    for a, b in zip(
        jax.tree.leaves(exported.call(kernel, x)), jax.tree.leaves(compiled(kernel, x)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: upsample(0), "upsample: size is 0; give a whole number, 2 or more"),
        (lambda: upsample(1), "size is 1"),
        (lambda: upsample(2.0), "size is 2.0"),
        (lambda: upsample(2, 0, 5), "height is 0"),
        (lambda: upsample(2, 5, True), "width is True"),
        (lambda: upsample(2, 5), "height is 5 and width None; give both or neither"),
        (lambda: ladder((3, 3, 1), [upsample(2, 4, 5), dense(2)]), "height from 5 to 6 and a wid"),
        (lambda: ladder((3, 3, 1), [upsample(2, 5, 7), dense(2)]), "a width from 5 to 6"),
        (lambda: ladder((6,), [upsample(2), dense(2)]), "wanted an image"),
        (lambda: conv(3, 3, dilation=0), "dilation is 0; give a whole number, 1 or more"),
        (lambda: conv(3, 3, dilation=1.5), "dilation is 1.5"),
        (
            lambda: ladder((6, 6, 1), [conv(3, 3, dilation=3), dense(2)]),
            "is 6 x 6, smaller than the kernel, 7 x 7 with dilation 3; give a smaller kernel or",
        ),
        (
            lambda: presets.hourglass_layers((27, 35), 3),
            "input_shape is \\(27, 35\\); give \\(height, width, channels\\)",
        ),
        (lambda: presets.hourglass_layers((27, 35, 1), 1), "classes is 1; give a whole number, 2"),
        (lambda: presets.hourglass_layers((27, 35, 1), 3, ()), "channels is \\(\\)"),
        (lambda: presets.hourglass_layers((27, 35, 1), 3, 4, 0), "kernel is 0"),
        (lambda: presets.fully_convolutional_layers(3, 4, (1, 0)), "dilations is \\(1, 0\\)"),
        (lambda: presets.fully_convolutional_layers(3, (4, 4), (1, 2, 3)), "channels is a list"),
        (lambda: presets.fully_convolutional_layers(True), "classes is True"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(build, message):
    with pytest.raises(ValueError, match=message) as error:
        build()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("upsample", "layer 'upsample' is not known"),
        ("upsample:2:3:4:5", "is not known"),
        ("upsample:two", "size is 'two'"),
        ("upsample:2:27", "give both or neither"),
        ("conv:8:3:1:same:0", "dilation is 0"),
        ("conv:8:3:1:same:2:2", "is not known"),
        ("conv:8:3:same:2", "stride is 'same'"),
        ("conv:8:3:1:2", "padding is 2"),
    ],
)
def test_config_refuses_unknown_layers(name, message):
    with pytest.raises(ConfigError, match=f"encoder: .*{message}") as error:
        Config(encoder=f"{name}-10")
    assert "\n" not in str(error.value)
