"""Draws the plots of docs/combinators.md: z_hat over z for several u.

  python -m docs.plot_combinators [NAME ...]

By default all registered combinators; those that differ only in their arguments have no plot.
Left at the start, right after training: the unit whose curves depend on u the most, in the
hidden level of a small ladder on scikit-learn's digits.
"""

from __future__ import annotations

import functools
import pathlib
import sys

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax

from experiments import record
from ladder_jax import data, presets, training
from ladder_jax.combinators import COMBINATORS

matplotlib.use("Agg")
from matplotlib import pyplot

pyplot.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "ladder_jax"})

FOLDER = pathlib.Path(__file__).parent / "combinators"
# Colour of each signal u; none is close to a light page or, inverted, to a dark one.
SIGNALS = {-2.0: "#5e3c99", -1.0: "#2c7fb8", 0.0: "#1b9e77", 1.0: "#c77700", 2.0: "#d7301f"}
UNITS, EPOCHS = 50, 30


def curves(combinator, params):
    """Computes z ``[points]`` and z_hat ``[signals, points, units]`` of a level."""
    z = jnp.linspace(-3, 3, 61)
    shape = (len(z), UNITS)
    rows = jnp.broadcast_to(z[:, None], shape)
    z_hat = [combinator.apply(params, rows, jnp.full(shape, u)) for u in SIGNALS]
    return np.asarray(z), np.asarray(jnp.stack([jnp.broadcast_to(h, shape) for h in z_hat]))


def train(name):
    """Returns the combinator's parameters at the hidden level before and after training."""
    digits = data.load("digits")
    rows = data.choose_labeled(digits.y_train, 100, seed=0, classes=10)
    x = jnp.asarray(digits.x_train.reshape(-1, 64))
    examples = training.TrainData(x[rows], jnp.asarray(digits.y_train[rows]), x)
    net = presets.mlp(
        64,
        [UNITS, 10],
        # Level 0 is left out, so that level 1 has only its own cost.
        combinators=[None, COMBINATORS[name](), COMBINATORS["gaussian"]()],
        denoising_cost=[0.0, 10.0, 1.0],
    )
    optimizer = optax.adam(0.005)
    state = training.create_train_state(net, optimizer, jax.random.key(0))
    before = jax.tree.map(np.asarray, state.params[1].combinator)
    step = training.make_train_step(net, optimizer)
    epoch = training.make_epoch(step, training.BatchSizes())
    for _ in range(EPOCHS):
        state, _ = epoch(state, examples)
    return before, state.params[1].combinator


def draw(name):
    """Draws one figure of two panels."""
    combinator = COMBINATORS[name]()
    before, after = train(name)
    trained = curves(combinator, after)[1]
    spread = trained.std(0).mean(0)  # over u, for each unit
    unit = int(spread.argmax()) if spread.max() > 0 else 0
    figure, panels = pyplot.subplots(1, 2, figsize=(6.6, 2.4), sharey=True, layout="constrained")
    for panel, params, title in zip(panels, (before, after), ("start", "trained"), strict=True):
        z, z_hat = curves(combinator, params)
        for (u, color), line in zip(SIGNALS.items(), z_hat[:, :, unit], strict=True):
            panel.plot(z, line, color=color, label=f"u = {u:g}")
        panel.set_title(title, fontsize=9)
        panel.set_xlabel("z")
    panels[0].set_ylabel("z_hat")
    lines = panels[1].get_legend_handles_labels()
    figure.legend(*lines, fontsize=8, frameon=False, loc="outside right center")
    record.save_svg(figure, FOLDER / f"{name}.svg")
    pyplot.close(figure)


def main():
    """Draws the named combinators, or all."""
    FOLDER.mkdir(exist_ok=True)
    all_names = [n for n, make in COMBINATORS.items() if not isinstance(make, functools.partial)]
    for name in sys.argv[1:] or all_names:
        draw(name)
        print(name, flush=True)


if __name__ == "__main__":
    main()
