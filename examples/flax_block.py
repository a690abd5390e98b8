"""A ladder with a residual block made of Flax's own modules, on scikit-learn's digits.

  python -m examples.flax_block

Any pair of Linen modules can be a layer: here a block of two convolutions with a skip
connection on the way up, and one transposed convolution on the way down.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from ladder_jax import conv, data, dense, from_flax, ladder, max_pool, training
from ladder_jax.types import Array, Ladder


class ResidualBlock(nn.Module):
    """Computes x + conv(relu(conv(x))); the ladder adds normalisation and noise."""

    channels: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps ``[B, H, W, channels]`` to the same shape."""
        h = nn.relu(nn.Conv(self.channels, (3, 3))(x))
        return x + nn.Conv(self.channels, (3, 3))(h)


def build(channels: int) -> Ladder:
    """Builds a ladder of a convolution, the block, pooling and a dense layer for the classes."""
    block = from_flax(ResidualBlock(channels), nn.ConvTranspose(channels, (3, 3)))
    return ladder(
        (8, 8, 1),
        [conv(channels, 3, padding="same"), block, max_pool(2), dense(10)],
        denoising_cost=[10.0, 1.0, 0.1, 0.1, 0.1],
    )


def main(epochs: int = 10, channels: int = 8) -> float:
    """Trains with 100 labels and prints the test error in percent."""
    digits = data.load("digits")
    rows = data.choose_labeled(digits.y_train, 100, seed=0, classes=10)
    x, y = jnp.asarray(digits.x_train), jnp.asarray(digits.y_train)
    examples = training.TrainData(x[rows], y[rows], x)
    net, sizes = build(channels), training.BatchSizes()
    optimizer = optax.adam(0.005)
    state = training.create_train_state(net, optimizer, jax.random.key(0))
    epoch = training.make_epoch(training.make_train_step(net, optimizer), sizes)
    for number in range(1, epochs + 1):
        state, metrics = epoch(state, examples)
        print(f"epoch {number:3}  loss {float(metrics['loss']):.3f}")
    statistics = training.make_statistics(net)(state.params, x)
    test = jnp.asarray(digits.x_test), jnp.asarray(digits.y_test)
    error = 100 * float(training.make_error_rate(net)(state.params, statistics, *test))
    print(f"test error {error:.1f} %")
    return error


if __name__ == "__main__":
    main()
