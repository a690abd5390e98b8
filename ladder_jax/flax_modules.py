"""Flax modules that wrap an entire ladder, for use with Linen or NNX.

Both are thin wrappers: the parameters are the ladder's own, and the outputs equal those of its
functions. They also hold the batch statistics that normalise predictions, which
``collect(x)`` computes from the clean pass over ``x``, ideally all training examples.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen, nnx

from ladder_jax.types import Array, Batch, Hyper, Ladder, Metrics, Params, Statistics


def _unit_statistics(net: Ladder, params: Params) -> Statistics:
    """Returns mean 0 and variance 1 at every level, the statistics before ``collect``."""
    rows = jnp.zeros((2, *net.shapes[0]))
    shapes = jax.eval_shape(net.statistics, params, rows)
    mean = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes.mean)
    return Statistics(mean, jax.tree.map(jnp.ones_like, mean))


class LinenLadder(linen.Module):
    """Wraps a ladder as a Linen module with collections ``params`` and ``statistics``.

    Calling the module predicts. ``loss`` draws its noise from the RNG stream ``noise``;
    ``collect`` needs ``mutable=["statistics"]``.

    Examples:
      >>> from ladder_jax import presets
      >>> model = LinenLadder(presets.mlp(4, [3, 2]))
      >>> x = jax.random.normal(jax.random.key(1), (6, 4))
      >>> variables = model.init(jax.random.key(0), x)
      >>> _, updated = model.apply(variables, x, method="collect", mutable=["statistics"])
      >>> model.apply(variables | updated, x).shape
      (6, 2)
    """

    net: Ladder

    def setup(self) -> None:
        """Declares the parameters and the statistics."""
        self.ladder = self.param("ladder", self.net.init)
        self.statistics = self.variable(
            "statistics", "clean", _unit_statistics, self.net, self.ladder
        )

    def __call__(self, x: Array) -> Array:
        """Computes ``net.predict`` of ``x``, normalised with the stored statistics."""
        return self.net.predict(self.ladder, self.statistics.value, x)

    def loss(self, batch: Batch, hyper: Hyper | None = None) -> tuple[Array, Metrics]:
        """Computes ``net.loss``: the scalar loss and its metrics."""
        return self.net.loss(self.ladder, batch, self.make_rng("noise"), hyper)

    def collect(self, x: Array) -> None:
        """Replaces the stored statistics by those of the clean pass over ``x``."""
        self.statistics.value = self.net.statistics(self.ladder, x)


class NNXLadder(nnx.Module):
    """Wraps a ladder as an NNX module with one ``nnx.Param`` per parameter array.

    Calling the module predicts. ``loss`` draws its noise from the stream ``noise`` of its
    argument ``rngs``.

    Args:
      net: the ladder.
      rngs: random streams; the stream ``params`` initialises the parameters.

    Examples:
      >>> from ladder_jax import presets
      >>> model = NNXLadder(presets.mlp(4, [3, 2]), rngs=nnx.Rngs(0))
      >>> x = jax.random.normal(jax.random.key(1), (6, 4))
      >>> model.collect(x)
      >>> model(x).shape
      (6, 2)
    """

    def __init__(self, net: Ladder, *, rngs: nnx.Rngs) -> None:
        self._predict, self._loss, self._statistics = net.predict, net.loss, net.statistics
        params = net.init(rngs.params())
        self.params = nnx.data(jax.tree.map(nnx.Param, params))
        self.statistics = nnx.BatchStat(_unit_statistics(net, params))

    def _params(self) -> Params:
        is_leaf = lambda node: isinstance(node, nnx.Variable)
        return jax.tree.map(lambda leaf: leaf[...], self.params, is_leaf=is_leaf)

    def __call__(self, x: Array) -> Array:
        """Computes ``net.predict`` of ``x``, normalised with the stored statistics."""
        return self._predict(self._params(), self.statistics.get_value(), x)

    def loss(
        self, batch: Batch, rngs: nnx.Rngs, hyper: Hyper | None = None
    ) -> tuple[Array, Metrics]:
        """Computes ``net.loss``: the scalar loss and its metrics."""
        return self._loss(self._params(), batch, rngs.noise(), hyper)

    def collect(self, x: Array) -> None:
        """Replaces the stored statistics by those of the clean pass over ``x``."""
        self.statistics.set_value(self._statistics(self._params(), x))
