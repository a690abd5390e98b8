"""Convolutions and max pooling: values and gradients of all orders equal XLA's everywhere."""

import functools
import itertools
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import export, lax
from jax.test_util import check_grads

from ladder_jax import conv, max_pool
from ladder_jax._convolution import convolve, largest, pads_down, pads_up

PLAIN = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}


def xla_convolve(x, kernel, strides, padding, lhs_dilation, rhs_dilation):
    return lax.conv_general_dilated(
        x, kernel, strides, padding, lhs_dilation, rhs_dilation, **PLAIN
    )


def operands(shape, kernel, channels, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape).astype(dtype)
    return x, rng.standard_normal((kernel, kernel, shape[-1], channels)).astype(dtype)


def ours_and_xla(strides=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), kernel_dilation=(1, 1)):
    window = {"strides": strides, "padding": padding, "lhs_dilation": dilation}
    window["rhs_dilation"] = kernel_dilation
    return [functools.partial(f, **window) for f in (convolve, xla_convolve)]


def curved(f):
    """Returns a scalar whose first and second derivatives depend on both operands of a map."""
    return lambda x, kernel: jnp.sum(jnp.sin(f(x, kernel)))


def assert_close(ours, theirs, rtol):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        a, b = np.float64(a), np.float64(b)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max(initial=0.0))


@settings(max_examples=30, deadline=None)
@given(
    st.tuples(st.integers(1, 6), st.integers(1, 7), st.integers(1, 7), st.integers(1, 3)),
    st.integers(1, 4),
    st.sampled_from([1, 5]),
    st.integers(1, 3),
    st.sampled_from(["valid", "same", "full"]),
    st.booleans(),
    st.integers(1, 3),
)
def test_gradients_equal_xla_in_float64(shape, kernel, channels, stride, padding, down, dilation):
    if padding == "valid":
        kernel = min(kernel, (min(shape[1:3]) - 1) // dilation + 1)
    reach, steps, ones = dilation * (kernel - 1) + 1, (stride, stride), (1, 1)
    pads = pads_up(reach, stride, padding, shape[1:])
    window = (steps, pads, ones, (dilation, dilation))
    if down:
        layer = conv(1, kernel, stride, padding, dilation)
        out_shape = layer.init(jax.random.key(0), shape[1:])[1]
        pads = pads_down(reach, stride, pads, shape[1:], out_shape)
        window = (ones, pads, steps, (dilation, dilation))
        shape = (shape[0], *out_shape[:2], shape[-1])
    with jax.enable_x64(True):
        ours, wanted = (
            jax.jit(jax.value_and_grad(curved(f), argnums=(0, 1)))(
                *operands(shape, kernel, channels, np.float64)
            )
            for f in ours_and_xla(*window)
        )
        assert_close(ours, wanted, rtol=1e-12)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (conv(3, 3, padding="full"), (3, 5, 4, 2)),
        (conv(5, 2, stride=2, padding="same"), (2, 5, 4, 2)),
        (conv(2, 2, stride=2, padding="same", dilation=2), (2, 5, 4, 2)),
    ],
)
def test_gradients_equal_finite_differences_to_second_order(layer, shape):
    with jax.enable_x64(True):
        params, out_shape = layer.init(jax.random.key(0), shape[1:])
        params = jax.tree.map(np.float64, params)
        x, z = (np.float64(operands(s, 1, 1)[0]) for s in (shape, (shape[0], *out_shape)))
        maps = (
            (lambda params, x: layer.up(params, x), (params.up, x)),
            (lambda params, z: layer.down(params, z, shape[1:]), (params.down, z)),
        )
        for apply, args in maps:
            smooth = jax.jit(lambda *args, apply=apply: jnp.sin(apply(*args)))
            check_grads(smooth, args, order=2, modes=["fwd", "rev"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("channels", "dilation"), [(1, 1), (7, 1), (3, 2)])
def test_vmap_and_second_derivatives(channels, dilation):
    """Includes the case that each member of a population has its own kernel."""
    pairs = [operands((3, 5, 5, 2), 3, channels, seed=seed) for seed in range(2)]
    x, kernel = (jnp.stack(arrays) for arrays in zip(*pairs, strict=True))
    full = ours_and_xla(padding=((2, 2), (2, 2)), kernel_dilation=(dilation, dilation))

    def slope(f):
        gradient = jax.grad(curved(f), argnums=1)
        return lambda x, kernel: jnp.square(gradient(x, kernel)).sum()

    for derive in (jax.grad, jax.jacfwd):
        ours, wanted = (jax.jit(jax.vmap(derive(slope(f), (0, 1))))(x, kernel) for f in full)
        assert_close(ours, wanted, rtol=1e-4)


def test_bfloat16_accumulates_in_float32():
    """A sum in bfloat16 would stay at 256, as 256 + 1 is rounded to 256."""
    x, kernel = jnp.ones((4096, 3, 3, 1), jnp.bfloat16), jnp.ones((1, 1, 1, 1), jnp.bfloat16)
    gradient = jax.jit(jax.grad(lambda kernel: jnp.float32(ours_and_xla()[0](x, kernel)).sum()))(
        kernel
    )
    assert gradient.dtype == jnp.bfloat16 and float(gradient[0, 0, 0, 0]) == 9 * 4096


def lowered(f, *args):
    """Returns the lowered program for each platform."""
    traced = jax.jit(f).trace(*args)
    return {p: traced.lower(lowering_platforms=(p,)).as_text() for p in ("cpu", "cuda", "tpu")}


def operations(text):
    return [text.count(f"stablehlo.{name}") for name in ("convolution", "dot_general", "while")]


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (3, 1), (2, 3)])
def test_kernel_gradients_are_products_on_cpu_only(kernel, dilation):
    args = operands((4, 6, 6, 2), kernel, 2)
    pair = ours_and_xla(kernel_dilation=(dilation, dilation))
    ours, wanted = (lowered(jax.grad(curved(f), (0, 1)), *args) for f in pair)
    for platform in ("cuda", "tpu"):
        assert operations(ours[platform]) == operations(wanted[platform]) == [3, 0, 0]
    assert operations(ours["cpu"]) == [2, kernel, 1]
    # Nothing is computed for an operand that has no gradient.
    for argnum, number in ((0, [2, 0, 0]), (1, [1, kernel, 1])):
        text = lowered(jax.grad(curved(pair[0]), argnum), *args)["cpu"]
        assert operations(text) == number


def test_convolutions_in_a_cpu_loop_have_the_fast_layout():
    """XLA takes three times as long with a kernel's channels in another order."""
    x, first = operands((4, 6, 6, 2), 3, 3)
    second = jnp.ones((3, 3, 3, 4))
    apply = ours_and_xla(padding=((1, 1), (1, 1)))[0]

    def cost(kernels):
        return jnp.square(apply(jnp.sin(apply(x, kernels[0])), kernels[1])).mean()

    def step(kernels, _):
        return jax.tree.map(lambda k, g: k - g, kernels, jax.grad(cost)(kernels)), None

    loop = jax.jit(lambda kernels: lax.scan(step, kernels, length=3)[0])
    text = loop.lower((first, second)).compile().as_text()
    assert re.findall(r"dim_labels=([^,\s]+)", text) == 3 * ["b01f_01io->b01f"]


def test_kernels_larger_than_an_image_are_left_to_xla():
    args = operands((2, 6, 6, 2), 4, 2)
    assert operations(lowered(jax.grad(curved(ours_and_xla()[0]), 1), *args)["cpu"]) == [2, 0, 0]


def test_exports_gradients_for_all_platforms_and_any_number_of_rows():
    def gradients(kernel, x):
        dilated = ours_and_xla(kernel_dilation=(2, 1))[0]
        return jax.grad(curved(lambda x, kernel: largest(dilated(x, kernel), 2)), (0, 1))(x, kernel)

    x, kernel = operands((3, 5, 5, 2), 2, 3)
    (batch,) = export.symbolic_shape("batch")
    for rows in (3, batch):
        like = jax.ShapeDtypeStruct((rows, *x.shape[1:]), x.dtype)
        exported = export.export(jax.jit(gradients), platforms=("cpu", "cuda", "tpu"))(kernel, like)
        assert_close(exported.call(kernel, x), jax.jit(gradients)(kernel, x), rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16])
@pytest.mark.parametrize(
    ("shape", "size"), [((2, 6, 4, 3), 2), ((2, 5, 7, 2), 3), ((1, 2, 2, 1), 4)]
)
def test_pooling_equals_xla_bit_for_bit(shape, size, dtype):
    """Compares values and gradients with many ties: small integers clipped at 0, as after relu."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.integers(-3, 3, size=shape).clip(0), dtype)
    pads = [(0, -side % size) for side in shape[1:3]]
    maps = (
        lambda x: max_pool(size).up(None, x),
        lambda x: nn.max_pool(x, (size, size), (size, size), pads),
    )
    cotangent = jnp.asarray(rng.standard_normal(maps[1](x).shape), dtype)
    ours, wanted = (jax.jit(lambda x, f=f: (f(x), jax.vjp(f, x)[1](cotangent)[0]))(x) for f in maps)
    for a, b in zip(ours, wanted, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.float32(a), np.float32(b))


def test_pooling_propagates_nan():
    for i, j in itertools.product(range(2), range(2)):
        x = jnp.ones((1, 2, 2, 1)).at[0, i, j, 0].set(jnp.nan)
        assert np.isnan(largest(x, 2)).all()


def test_pooling_does_not_scatter_on_cpu():
    x = jnp.ones((1, 4, 4, 1))
    programs = lowered(jax.grad(lambda x: largest(x, 2).sum()), x)
    scatters = {platform: "select_and_scatter" in text for platform, text in programs.items()}
    assert scatters == {"cpu": False, "cuda": True, "tpu": True}
