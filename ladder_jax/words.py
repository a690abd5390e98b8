"""The words of the original program's command line, as layers and combinators.

What ``run.py train`` of the paper's own program was given, e.g. ``--encoder-layers
convf:32:5:1:1-maxpool:2:2-10 --decoder-spec 0-0-0-gauss``, means the same here.
"""

from __future__ import annotations

from collections.abc import Sequence

from ladder_jax.combinators import COMBINATORS
from ladder_jax.conv_layers import Padding, conv, global_mean_pool, max_pool
from ladder_jax.layers import dense
from ladder_jax.types import Combinator, Layer

ACTIVATIONS = {
    "relu": "relu",
    "leakyrelu": "leaky_relu",
    "sigmoid": "sigmoid",
    "softplus": "softplus",
    "linear": "linear",
}
"""The original's word to the name in ``activations.ACTIVATIONS``."""

DECODERS = {
    "gauss": ("gaussian", "gaussian_lateral"),
    "gauss_stable_v": ("gated_gaussian", "gaussian_lateral"),
    "sig": ("sigmoid", "sigmoid_lateral"),
    "comparison_g2": ("sigmoid_without_product", "sigmoid_lateral"),
    "comparison_g3": ("bilinear", "bilinear_lateral"),
    "comparison_g4": ("separate", "separate_lateral"),
    "comparison_g5": ("gaussian", "gaussian_lateral"),
    "lin": ("linear", "linear"),
    "i": ("identity", "identity"),
    "relu": ("vertical_relu", None),
    "sigmoid": ("vertical_sigmoid", None),
}
"""The original's word to names in ``combinators.COMBINATORS``: with and without u."""

_PADDING: dict[str, Padding] = {"convv": "valid", "convf": "full", "convs": "same"}


def split(words: str | Sequence[str]) -> tuple[str, ...]:
    """A line of words joined by dashes, or a list of words, as a tuple.

    Example:
      >>> split("1000-500-10")
      ('1000', '500', '10')
    """
    return tuple(words.split("-")) if isinstance(words, str) else tuple(words)


def spread(words: str | Sequence[str], levels: int) -> tuple[str, ...]:
    """One word for each level; a single one serves all.

    Raises:
      ValueError: there are as many words as neither one nor levels.

    Example:
      >>> spread("gauss", 3)
      ('gauss', 'gauss', 'gauss')
    """
    given = split(words)
    if len(given) not in (1, levels):
        raise ValueError(f"{'-'.join(given)}: {len(given)} words; give one, or {levels}.")
    return given * levels if len(given) == 1 else given


def layer(word: str) -> Layer:
    """A layer by the original's word for it.

    Args:
      word: ``"10"`` or ``"fc:10"`` (dense), ``"convv:C:K:S:S"`` (a valid convolution
        to C channels, kernel K, stride S), ``"convf:..."`` (full), ``"convs:..."``
        (same; not in the original), ``"maxpool:S:S"``, ``"globalmeanpool:..."``.

    Returns:
      A ``Layer``.

    Raises:
      ValueError: the word is not known or its numbers are not.

    Example:
      >>> import jax
      >>> layer("convf:32:5:1:1").init(jax.random.key(0), (28, 28, 1))[1]
      (32, 32, 32)
    """
    kind, *texts = word.split(":")
    if word.isdigit():
        kind, texts = "fc", [word]
    try:
        numbers = [int(text) for text in texts]
    except ValueError:
        numbers = []
    if kind == "fc" and len(numbers) == 1:
        return dense(numbers[0])
    if kind in _PADDING and len(numbers) == 4 and numbers[2] == numbers[3]:
        return conv(numbers[0], numbers[1], stride=numbers[2], padding=_PADDING[kind])
    if kind == "maxpool" and len(numbers) == 2 and numbers[0] == numbers[1]:
        return max_pool(numbers[0])
    if kind == "globalmeanpool":  # over the whole map, whatever its numbers say
        return global_mean_pool()
    raise ValueError(
        f"layer {word!r} is not known; give e.g. 10, fc:10, convv:32:5:1:1 (valid), "
        "convf:32:5:1:1 (full), convs:32:5:1:1 (same), maxpool:2:2 (stride and window alike) "
        "or globalmeanpool:0."
    )


def encoder(words: str | Sequence[str]) -> list[Layer]:
    """The layers of levels 1 to L, the original's ``--encoder-layers``.

    Args:
      words: joined by dashes, or a list.

    Returns:
      One ``Layer`` each.

    Raises:
      ValueError: a word is not known.

    Example:
      >>> len(encoder("1000-500-250-250-250-10"))
      6
    """
    return [layer(word) for word in split(words)]


def sees_images(words: str | Sequence[str]) -> bool:
    """Whether the first layer needs its input as images, not as rows.

    Example:
      >>> sees_images("1000-10"), sees_images("convv:32:5:1:1-10")
      (False, True)
    """
    return not split(words)[0].removeprefix("fc:").isdigit()


def decoder_names(words: str | Sequence[str], levels: int) -> tuple[str, ...]:
    """Names of the combinators of levels 0 to L, the original's ``--decoder-spec``.

    ``"0"`` is a level that is not decoded. A word that ends in 0, as ``"sig0"``, is
    the function without the signal from above; so is, as in the original, any
    function whose level above is not decoded.

    Args:
      words: joined by dashes, or a list; one for all levels or one for each.
      levels: how many there are, the input included.

    Returns:
      Keys of ``combinators.COMBINATORS``, or ``"none"``.

    Raises:
      ValueError: a word is not known, or a function of u alone lacks its u.

    Example:
      >>> decoder_names("gauss-0-sig0-gauss", 4)
      ('gaussian_lateral', 'none', 'sigmoid_lateral', 'gaussian')
    """
    given = spread(words, levels)
    names = []
    for level, word in enumerate(given):
        if word == "0":
            names.append("none")
            continue
        function = word.removesuffix("0")
        if function not in DECODERS:
            raise ValueError(
                f"decoder {word!r} is not known; known are 0 (none) and {', '.join(DECODERS)}, "
                "each also with a 0 at its end."
            )
        full, lateral = DECODERS[function]
        lacks_u = level + 1 < levels and given[level + 1] == "0"
        name = lateral if word != function or lacks_u else full
        if name is None:
            raise ValueError(
                f"decoder {word!r} of level {level} is a function of the signal from above "
                "alone, which it does not get; give another, or decode the level above."
            )
        names.append(name)
    return tuple(names)


def decoder(words: str | Sequence[str], levels: int) -> list[Combinator | None]:
    """The combinators that ``decoder_names`` names, None for a level without.

    Example:
      >>> [g is None for g in decoder("0-0-gauss", 3)]
      [True, True, False]
    """
    names = decoder_names(words, levels)
    return [None if name == "none" else COMBINATORS[name]() for name in names]
