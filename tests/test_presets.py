"""Every preset and config builds, with the number of parameters that its layers imply."""

import itertools
import pathlib
import re

import jax
import numpy as np
import pytest

from experiments import configs, original
from experiments.configs import base, mnist
from ladder_jax import layers, presets, targets
from ladder_jax.config import Config
from ladder_jax.errors import ConfigError
from ladder_jax.run import program

ROOT = pathlib.Path(__file__).parent.parent
CONFIGS = configs.every()
PAPER = [name for name in CONFIGS if name.startswith(("mnist:", "cifar10:"))]
TARGETS = {"textured_digits": targets.pixels(11)}
INPUTS = {"mnist": (28, 28, 1), "cifar10": (32, 32, 3), "digits": (8, 8, 1)}


def count(net):
    shapes = jax.eval_shape(net.init, jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def dense_count(sizes, decoded):
    """Counts weights up and, to decoded levels, down; biases; top gains; 10 per unit for g."""
    pairs = list(itertools.pairwise(sizes))
    up = sum(a * b for a, b in pairs) + sum(sizes[1:]) + sizes[-1]
    down = sum(a * b for (a, b), is_decoded in zip(pairs, decoded, strict=False) if is_decoded)
    return (
        up + down + 10 * sum(n for n, is_decoded in zip(sizes, decoded, strict=True) if is_decoded)
    )


MLP = (784, 1000, 500, 250, 250, 250, 10)


@pytest.mark.parametrize("model", ["full", "bottom", "gamma", "supervised"])
@pytest.mark.parametrize("labels", [50, 100, 1000, "all"])
def test_mlp_presets(labels, model):
    decoded = {"gamma": (False,) * 6 + (True,), "supervised": (False,) * 7}.get(model, (True,) * 7)
    net = presets.mnist_mlp(labels, model)
    assert count(net) == dense_count(MLP, decoded)
    suffix = "" if model == "full" else f"_{model}"
    config = configs.load(f"mnist_{labels}{suffix}")
    assert_same_ladder(net, program.build_ladder(config, (784,), targets.classes(10)))
    assert config.labels == (0 if labels == "all" else labels)
    assert (config.epochs, config.learning_rate, config.decay_from) == (150, 0.002, 0.67)


def assert_same_ladder(a, b):
    assert a.shapes == b.shapes
    np.testing.assert_array_equal(a.hyper.noise_std, b.hyper.noise_std)
    np.testing.assert_array_equal(a.hyper.denoising_cost, b.hyper.denoising_cost)
    shapes = [jax.eval_shape(net.init, jax.random.key(0)) for net in (a, b)]
    assert jax.tree.map(lambda leaf: leaf.shape, shapes[0]) == jax.tree.map(
        lambda leaf: leaf.shape, shapes[1]
    )


# Inputs, outputs and kernel size of each layer: convolutions, dense layers, classes.
FC = [(1, 1000, 26), (1000, 500, 1), (500, 250, 1), (250, 250, 1), (250, 250, 1), (250, 10, 1)]
SMALL = [(1, 32, 5), (32, 64, 3), (64, 64, 3), (64, 128, 3), (128, 10, 1)]
LARGE = [(3, 96, 3), (96, 96, 3), (96, 96, 3), (96, 192, 3), (192, 192, 3), (192, 192, 3)]
LARGE += [(192, 192, 3), (192, 192, 1), (192, 10, 1)]


def weights(layers):
    return sum(a * b * k * k for a, b, k in layers)


def biases(layers):
    return sum(b for _, b, _ in layers)


CONV = {
    # Weights up and down, biases below the mean, bias and gain of the mean, 10 per channel for g.
    "mnist_conv_fc": 2 * weights(FC) + biases(FC) + 2 * 10 + 10 * (1 + biases(FC) + 10),
    "mnist_conv_small_gamma": weights(SMALL) + 10 * 10 + biases(SMALL) + 2 * 10 + 10 * 10,
    "mnist_conv_small_supervised": weights(SMALL) + 10 * 10 + biases(SMALL) + 2 * 10,
    "cifar10_conv_large_gamma": weights(LARGE) + biases(LARGE) + 10 + 10 * 10,
    "cifar10_conv_large_supervised": weights(LARGE) + biases(LARGE) + 10,
}


@pytest.mark.parametrize("name", presets.CONV)
def test_conv_presets(name):
    net = presets.conv(name)
    if name not in CONV:
        return  # not in the paper
    assert count(net) == CONV[name]
    dataset = name.split("_")[0]
    [config] = [
        c
        for c in map(configs.load, CONFIGS)
        if c.encoder == layers.to_names(presets.CONV[name].layers)
        and c.name.endswith(name.split("_", 1)[1])
    ]
    assert_same_ladder(net, program.build_ladder(config, INPUTS[dataset], targets.classes(10)))
    assert config.images and config.dataset == dataset


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_builds(name):
    config = configs.load(name)
    assert name in (config.name, configs.current(config.name))
    shape = INPUTS.get(config.dataset, (32, 32, 3))
    shape = shape if config.images else (int(np.prod(shape)),)
    program.build_ladder(config, shape, TARGETS.get(config.dataset, targets.classes(10)))


def test_old_names_are_understood():
    old = {
        "mnist": [f"{n}{m}" for n in (50, 100, 1000, "all") for m in ("", "_bottom", "_gamma")],
        "cifar10": ["4000_conv_large_gamma", "4000_conv_large_supervised"],
    }
    old["mnist"] += [f"{n}_supervised" for n in (50, 100, 1000, "all")]
    old["mnist"] += [f"{n}_own" for n in (20, 50, 100, 1000, "all")]
    old["mnist"] += [f"100_conv_{m}" for m in ("fc", "small_gamma", "small_supervised")]
    found = [configs.current(f"{file}_{row}") for file, rows in old.items() for row in rows]
    newer = ("quick", "wide", *(f"model=small{m}" for m in ("", "_gamma", "_supervised")))
    assert sorted(found) == sorted(name for name in PAPER if not name.endswith(newer))
    assert configs.load("digits") == configs.load(configs.current("digits"))
    for name in ("mnist", "cifar10"):
        assert configs.load(name) in map(configs.load, PAPER)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mnist_99", "full with labels=99 is not in the table; give labels= one of 50, 100"),
        ("mnist:labels=50,model=conv_fc", "conv_fc with labels=50 .* one of 100, or another model"),
        ("mnist:model=gama", "no model 'gama'; give model= one of full, bottom, gamma"),
        ("mnist:labels", "full with labels= is not"),
        ("cifar10:rows=3", "no argument 'rows'"),
        ("digits:labels=50", "digits takes no arguments"),
        ("svhn", "no config svhn; give one of cifar10, digits, fashion_mnist, mnist"),
    ],
)
def test_unknown_configs(name, message):
    with pytest.raises(ConfigError, match=message):
        configs.load(name)


def test_unknown_preset():
    with pytest.raises(ValueError, match="known are"):
        presets.conv("mnist")


PAGE = (ROOT / "docs" / "original-commands.md").read_text()
ROWS = re.findall(r"^\| `([\w:=,]+)` \| `(run\.py train [^`]*)` \|$", PAGE, re.MULTILINE)


def test_page_lists_every_config_of_the_paper():
    assert {name for name, _ in ROWS} == {
        name
        for name in PAPER
        if not re.search(f"labels=50,model=(?!full)|model=(small.*|{'|'.join(mnist.OURS)})$", name)
    }


@pytest.mark.parametrize(("name", "command"), ROWS, ids=[name for name, _ in ROWS])
def test_original_commands_give_our_configs(name, command):
    preset, converted = configs.load(name), original.config(command)
    assert preset == Config(**{**vars(converted), "name": preset.name, "seed": 0})


def test_all_labels_beside_a_validation_set():
    command = "run.py train --encoder-layers 10 --labeled-samples 50000 --unlabeled-samples 50000 x"
    converted = original.config(command)
    assert (converted.labels, converted.validation) == (0, 10000)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("run.py evaluate x", "of the form"),
        ("run.py train x", "required"),
        ("run.py train --encoder-layers 10 --what 3", "unrecognized"),
        ("run.py train --encoder-layers 20-10 --decoder-spec nothing", "not known"),
        ("run.py train --encoder-layers 20-10 --denoising-cost-x 1,2", "denoising_cost"),
        ("run.py train --encoder-layers conv:3-10", "encoder"),
        ("run.py train --encoder-layers 10 --contrast-norm 3", "contrast-norm: invalid choice"),
    ],
)
def test_bad_commands(command, message):
    with pytest.raises(ConfigError, match=message):
        original.config(command)


def test_our_command_names_only_what_differs():
    config = configs.load("mnist_100_gamma")
    line = original.our_command(config)
    assert "--config.dataset=mnist" in line and "epochs" not in line
    assert base.config_dict(config).to_dict().keys() == vars(config).keys()
