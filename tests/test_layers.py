"""Layers: every registered one, geometry, inverses, convolutions as products, Flax modules."""

import inspect

import drawn
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ladder_jax import Batch, conv, dense, from_flax, global_mean_pool, ladder, layers, max_pool
from ladder_jax.layers import LAYERS

EXAMPLES = (*LAYERS, "conv:3:3:1:same:2", "conv:2:2:2:valid:3", "upsample:2:9:8", "upsample:2:10:7")


def example(name):
    """Returns a registered layer, with 3 for each required argument, or a layer by full name."""
    if name not in LAYERS:
        return layers.from_name(name)
    arguments = inspect.signature(LAYERS[name]).parameters.values()
    return LAYERS[name](*(3 for argument in arguments if argument.default is argument.empty))


def small(layer):
    """Returns an input shape that the layer takes: an image, a sequence or a vector."""
    for shape in ((5, 4, 2), (5, 4), (6,)):
        try:
            jax.eval_shape(lambda key, shape=shape: layer.init(key, shape)[0], jax.random.key(0))
        except (TypeError, ValueError):
            continue
        return shape
    raise AssertionError(f"{layer}: refuses images, sequences and vectors")


def init(layer, shape):
    """Returns a layer's initial parameters, drawn by one program, and the shape of its output."""
    params, out_shape = jax.jit(lambda key: layer.init(key, shape))(jax.random.key(0))
    return params, tuple(map(int, out_shape))


@pytest.mark.parametrize("name", EXAMPLES)
def test_shapes_name_and_vmap(name):
    layer = example(name)
    shape = small(layer)
    params, out_shape = init(layer, shape)
    x = drawn.normal(1, (2, 7, *shape))
    up = jax.jit(lambda x: layer.up(params.up, x))
    down = jax.jit(lambda z: layer.down(params.down, z, shape))
    z, u = jax.device_get((jax.vmap(up)(x), jax.vmap(down)(jax.vmap(up)(x))))
    assert z.shape == (2, 7, *out_shape) and u.shape == x.shape and z.dtype == u.dtype == x.dtype
    assert_same(z[1], up(x[1]))
    assert_same(z[0, :3], up(x[0, :3]))  # each example independently
    assert_same(u[1], down(z[1]))
    rebuilt = layers.from_name(layer.name)
    assert layer.name.split(":")[0] == name.split(":")[0] and rebuilt.name == layer.name
    assert rebuilt[3:] == layer[3:]
    assert_same(init(rebuilt, shape)[0], params)
    assert_same(jax.jit(rebuilt.up)(params.up, x[0]), z[0])
    assert_same(jax.jit(rebuilt.down, static_argnums=2)(params.down, z[0], shape), u[0])


@pytest.mark.parametrize("name", EXAMPLES)
def test_gradients_match_difference_quotients(name):
    layer = example(name)
    shape = small(layer)
    with jax.enable_x64(True):
        params, out_shape = init(layer, shape)
        x = drawn.normal(1, (2, *shape), np.float64)
        z = drawn.normal(2, (2, *out_shape), np.float64)
        params = jax.tree.map(np.float64, params)
        down = lambda params, z: layer.down(params, z, shape)
        for apply, args in ((layer.up, (params.up, x)), (down, (params.down, z))):
            compiled = jax.jit(apply)
            assert compiled(*args).dtype == np.float64
            check_grads(compiled, args, order=1, modes=["rev"], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", EXAMPLES)
def test_ladder_with_the_layer_trains(name):
    layer = example(name)
    net = ladder(small(layer), [layer, dense(3)], denoising_cost=1.0)
    params = drawn.moved(net.init(jax.random.key(0)))
    x, noise = drawn.normal(2, (14, *net.shapes[0])), drawn.noise(net, 6, 8)
    batch = Batch(x[:6], np.arange(6) % 3, x[6:])
    loss = jax.jit(jax.value_and_grad(lambda params: net.loss_given(params, batch, noise)[0]))
    before, grads = loss(params)
    for part in (grads[1].up, grads[1].down):
        assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(part))
    norm = np.sqrt(sum(np.square(leaf).sum() for leaf in jax.tree.leaves(grads)))
    params, grads = jax.device_get((params, grads))
    after, _ = loss(jax.tree.map(lambda p, g: p - 1e-3 / norm * g, params, grads))
    assert after < before


@pytest.mark.parametrize("padding", ["valid", "same", "full"])
@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "dilation"),
    [
        ((7, 6, 2), 3, 1, 1),
        ((8, 5, 1), 2, 2, 1),
        ((9, 9, 2), 4, 3, 1),
        ((5, 6, 3), 2, 3, 1),
        ((4, 4, 2), 1, 2, 1),
        ((7, 6, 2), 3, 1, 2),
        ((8, 5, 1), 2, 2, 3),
        ((9, 8, 2), 3, 3, 3),
    ],
)
def test_down_is_the_transposed_map(padding, shape, kernel, stride, dilation):
    """<up(x), z> = <x, down(z)> if the kernel of down is that of up, rotated by 180 degrees."""
    if padding == "valid" and dilation * (kernel - 1) >= min(shape[:2]):
        shape = (9, 10, shape[2])
    layer = conv(3, kernel, stride=stride, padding=padding, dilation=dilation)
    params, out_shape = init(layer, shape)
    x, z = drawn.normal(1, (2, *shape)), drawn.normal(2, (2, *out_shape))
    rotated = {"kernel": np.asarray(params.up["kernel"])[::-1, ::-1].swapaxes(2, 3)}
    assert rotated["kernel"].shape == params.down["kernel"].shape
    both = jax.jit(lambda up, down: (layer.up(up, x), layer.down(down, z, shape)))
    h, u = jax.device_get(both(params.up, rotated))
    assert h.shape == z.shape and u.shape == x.shape
    np.testing.assert_allclose((h * z).sum(), (x * u).sum(), rtol=1e-4, atol=1e-4)
    border = dilation * (kernel - 1)
    sizes = {"valid": [n - border for n in shape], "full": [n + border for n in shape]}
    expected = sizes.get(padding, shape)
    assert out_shape == (-(-expected[0] // stride), -(-expected[1] // stride), 3)


def test_conv_initialises_uniformly_within_the_fan_in_bound():
    params, _ = conv(50, 3).init(jax.random.key(0), (5, 5, 40))
    for kernel, inputs in ((params.up["kernel"], 40), (params.down["kernel"], 50)):
        bound = np.sqrt(3 / (9 * inputs))
        assert 0.99 * bound < float(jnp.abs(kernel).max()) <= bound


def test_residual_adds_a_small_map_and_stays_linear():
    layer = layers.residual()
    params, out_shape = layer.init(jax.random.key(0), (400,))
    w, v = (np.asarray(part["kernel"], np.float64) for part in params)
    assert out_shape == (400,) and layer.linear
    assert [float(m.std() * 20) for m in (w, v)] == pytest.approx([0.1, 0.1], rel=0.05)
    b, x = np.linspace(-1, 1, 400), np.asarray(jax.random.normal(jax.random.key(1), (3, 400)))
    z = layer.up(params.up | {"bias": np.float32(b)}, x)
    np.testing.assert_allclose(z, x + np.maximum(x + b, 0) @ w, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(layer.down(params.down, x, (400,)), x + x @ v, rtol=1e-5, atol=1e-5)


def test_max_pool_inverse_fills_windows_and_is_cropped():
    layer = max_pool(2)
    x = jax.random.normal(jax.random.key(0), (2, 5, 3, 4))
    params, out_shape = layer.init(jax.random.key(1), x.shape[1:])
    z = layer.up(params.up, x)
    assert z.shape[1:] == out_shape == (3, 2, 4)
    u = np.asarray(layer.down(params.down, z, x.shape[1:]))
    for i, j in np.ndindex(5, 3):
        window = np.asarray(x)[:, i // 2 * 2 : i // 2 * 2 + 2, j // 2 * 2 : j // 2 * 2 + 2]
        np.testing.assert_array_equal(u[:, i, j], window.max((1, 2)))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: conv(0, 3), "channels is 0"),
        (lambda: conv(3, 3, padding="half"), "padding is 'half'"),
        (lambda: max_pool(1), "size is 1"),
        (lambda: ladder((6,), [conv(3, 2), dense(2)]), "wanted an image"),
        (lambda: ladder((4, 4, 1), [global_mean_pool(), max_pool(2), dense(2)]), "wanted an image"),
        (lambda: ladder((4, 4, 1), [conv(3, 5), dense(2)]), "smaller than the kernel"),
        (lambda: ladder((4, 4, 1), [conv(3, 3)]), "wanted \\(classes,\\)"),
    ],
)
def test_bad_layers(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def assert_same(a, b, rtol=1e-4):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=1e-5), a, b)


def test_dense_ladder_equals_1_x_1_convolutions():
    rows = ladder((6,), [dense(5), dense(3)], denoising_cost=[10, 1, 0.5])
    maps = ladder((1, 1, 6), [conv(5, 1), conv(3, 1)], denoising_cost=[10, 1, 0.5])
    params = drawn.moved(rows.init(jax.random.key(0)))
    shapes = jax.eval_shape(maps.init, jax.random.key(0))
    flat = lambda tree, shapes: jax.tree.map(lambda a, b: a.reshape(b.shape), tree, shapes)
    x = jax.random.normal(jax.random.key(2), (14, 6))
    batch = Batch(x[:6], jnp.arange(6) % 3, x[6:])
    noise = rows.draw_noise(jax.random.key(3), 6, 8)
    image = lambda n: n[:, None, None, :]
    batch_maps = Batch(image(batch.labeled), batch.labels, image(batch.unlabeled))
    loss = jax.jit(jax.value_and_grad(rows.loss_given, has_aux=True))
    dense_loss, grads = loss(params, batch, noise)
    loss = jax.jit(jax.value_and_grad(maps.loss_given, has_aux=True))
    conv_loss, grads_maps = loss(flat(params, shapes), batch_maps, jax.tree.map(image, noise))
    assert_same(dense_loss, conv_loss)
    assert_same(grads, flat(grads_maps, grads))


def test_pooling_levels_are_linear_unless_at_the_top():
    net = ladder((4, 4, 1), [conv(3, 1), max_pool(2), global_mean_pool()], combinators=None)
    params = net.init(jax.random.key(0))
    assert [sorted(level.activation or {}) for level in params] == [
        [],
        ["bias"],
        [],
        ["bias", "gain"],
    ]


class WithStatistics(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.BatchNorm(use_running_average=False)(x)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (from_flax(WithStatistics(), nn.Dense(6)), "batch_stats"),
        (from_flax(nn.Dropout(0.5, deterministic=False), nn.Dense(6)), "draws random numbers"),
        (from_flax(nn.Dense(5), nn.Dense(7)), "wanted that of the level below"),
    ],
)
def test_unsuitable_modules_are_refused(layer, message):
    with pytest.raises(ValueError, match=message):
        ladder((6,), [layer, dense(2)])
    with pytest.raises(ValueError, match="up is"):
        from_flax(lambda x: x, nn.Dense(6))


def test_flax_dense_equals_dense():
    bare = lambda units: nn.Dense(units, use_bias=False)
    layer = dense(4)
    flax_layer = from_flax(bare(4), lambda in_shape: bare(in_shape[-1]), per_unit=True)
    params, _ = layer.init(jax.random.key(0), (6,))
    x = jax.random.normal(jax.random.key(1), (3, 6))
    np.testing.assert_array_equal(layer.up(params.up, x), flax_layer.up(params.up, x))
    z = layer.up(params.up, x)
    np.testing.assert_array_equal(
        layer.down(params.down, z, (6,)), flax_layer.down(params.down, z, (6,))
    )


class Attention(nn.Module):
    @nn.compact
    def __call__(self, x):
        return x + nn.MultiHeadDotProductAttention(num_heads=2)(x)


def test_attention_over_a_sequence_trains():
    net = ladder((5, 4), [from_flax(Attention(), Attention()), dense(3)], denoising_cost=[1, 1, 1])
    params = drawn.moved(net.init(jax.random.key(0)))
    x = jax.random.normal(jax.random.key(2), (10, 5, 4))
    batch = Batch(x[:4], jnp.arange(4) % 3, x[4:])
    grads = jax.jit(jax.grad(net.loss, has_aux=True))(params, batch, jax.random.key(3))[0]
    norms = [float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(grads[1].up)]
    assert all(np.isfinite(norms)) and min(norms) >= 0 and max(norms) > 0


@pytest.mark.parametrize("name", LAYERS)
def test_parameters_have_the_default_dtype(name):
    """With 64-bit JAX, the maps of a ladder must not stay in float32 when its biases do not."""
    layer = example(name)
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        net = ladder(small(layer), [layer, dense(3)], denoising_cost=1.0)
        params = jax.jit(net.init)(jax.random.key(0))
        x = drawn.normal(2, (14, *net.shapes[0]), np.float64)
        batch = Batch(x[:6], np.arange(6, dtype=np.int32) % 3, x[6:])
        gradients = jax.value_and_grad(net.loss, has_aux=True)
        result = jax.eval_shape(gradients, params, batch, jax.random.key(1))
    dtypes = {leaf.dtype for leaf in jax.tree.leaves((params, result))}
    assert dtypes == {np.dtype(np.float64)}


def test_strict_promotion_of_narrow_convolutions():
    layer = layers.compute_in(jnp.bfloat16, conv(2, 3))
    params, _ = init(layer, (5, 5, 1))
    up = lambda params, x: layer.up(params, x).sum()
    with jax.numpy_dtype_promotion("strict"):
        gradient = jax.eval_shape(jax.grad(up), params.up, jnp.ones((2, 5, 5, 1)))
    assert gradient["kernel"].dtype == jnp.float32
