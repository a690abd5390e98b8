"""The original's layer and decoder words, against a NumPy program: tests/numpy_ladder.py."""

import pathlib
import re

import jax
import numpy as np
import pytest
from numpy_ladder import Program
from reference_format import Reference
from test_reference import assert_close, check_one_pass

from experiments import original
from ladder_jax import layers


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def meta(shape, encoder, decoder, act="relu", *, zestbn="bugfix", top_c=True):
    layers = encoder.split("-")
    levels = len(layers) + 1
    return {
        "encoder_layers": [list(shape), *layers],
        "decoder_spec": decoder.split("-"),
        "act": act.split("-"),
        "denoising_cost_x": [1.0 + level for level in range(levels)],
        "noise_std_used": [0.3 + 0.05 * level for level in range(levels)],
        "zestbn": zestbn,
        "top_c": top_c,
    }


CASES = {
    "functions of z and u": meta(
        [9],
        "8-7-fc:6-6-5",
        "comparison_g2-comparison_g3-comparison_g4-sig-gauss_stable_v-comparison_g5",
        "relu-sigmoid-softplus-leakyrelu-linear-relu",
    ),
    "functions of z alone": meta(
        [7],
        "8-7-6-6-6-6-5",
        "comparison_g20-comparison_g30-comparison_g40-sig0-gauss_stable_v0-gauss0-lin-i",
        "leakyrelu",
        zestbn="no",
        top_c=False,
    ),
    "levels left out": meta([6], "8-7-6-5-5-4", "0-gauss-0-sig-i0-0-relu", "softplus"),
    "nothing at the top": meta([6], "8-7-4", "lin0-comparison_g4-0-0", "linear"),
    "strides and odd borders": meta(
        [2, 9, 7],
        "convf:3:3:2:2-maxpool:2:2-convv:4:2:2:2-globalmeanpool:0-5",
        "sigmoid-gauss-comparison_g2-sig-gauss_stable_v-gauss",
        "relu-sigmoid-relu-softplus-relu-relu",
    ),
    "dense above a map": meta(
        [2, 7, 5],
        "maxpool:3:3-convf:3:2:1:1-6-4",
        "gauss-relu-comparison_g4-sig-sigmoid",
        "leakyrelu",
        zestbn="no",
    ),
    "classes by a mean, levels without a signal": meta(
        [2, 5, 6],
        "convv:3:4:3:3-convf:6:2:3:3-convv:4:1:1:1-globalmeanpool:0",
        "comparison_g3-gauss0-0-gauss-sig",
        top_c=False,
    ),
    "dense on images": meta([3, 4, 4], "7-fc:6", "gauss", "sigmoid"),
    "a 1 x 1 map of classes": meta(
        [2, 3, 3], "convv:5:2:1:1-convv:4:2:1:1", "comparison_g4-lin-sig"
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_numpy_program_agrees(name, tmp_path):
    program = Program(CASES[name], seed=len(name))
    program.write(tmp_path / "case.npz")
    ref = Reference(tmp_path / "case.npz")
    check_one_pass(ref)
    _, grads = ref.value_and_grad(ref.params(), ref.batch(), ref.noise())
    for seed in range(3):
        check_slope(program, ref, grads, np.random.default_rng(seed))


def check_slope(program, ref, grads, rng):
    """Checks the gradient along a direction against a difference quotient of the NumPy program."""
    step = {name: rng.standard_normal(p.shape) for name, p in program.parameters.items()}

    def moved_total(amount):
        return program.total(
            {name: p + amount * step[name] for name, p in program.parameters.items()}
        )

    slope = (moved_total(1e-6) - moved_total(-1e-6)) / 2e-6
    ref.arrays |= {f"step_{name}": p for name, p in step.items()}
    products = jax.tree.map(lambda g, d: (g * d).sum(), grads, ref.params("step_"))
    derivative = np.float64(sum(jax.tree.leaves(products)))
    assert_close(derivative, np.float64(slope), "slope", rtol=1e-6)


@pytest.mark.parametrize(
    "word", ["", "conv:3", "convv:3:2:1", "convv:3:2:1:2", "maxpool:2:3", "fc", "fc:x", "-3", "0"]
)
def test_unknown_layer(word):
    with pytest.raises(ValueError, match=r"layer|dense"):
        layers.from_name(word)


@pytest.mark.parametrize(
    ("spec", "message"),
    [("gaus", "not known"), ("relu0", "signal"), ("relu-0-0", "signal"), ("sig-sig", "give one")],
)
def test_unknown_decoder(spec, message):
    with pytest.raises(ValueError, match=message):
        original.decoder_names(spec, 3)


def test_page_lists_every_decoder():
    page = pathlib.Path(__file__).parent.parent / "docs" / "original-commands.md"
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (?:`(\w+)`|an error) \|$", page.read_text(), re.M)
    assert {word: (full, lateral or None) for word, full, lateral in rows} == original.DECODERS
