"""Published errors on permutation-invariant MNIST, for comparison with ours.

Methods that depend on the order of the pixels are left out, as are figures that were not read in
their original source. Each spread is over that paper's own number of seeds, about ten.
"""

from __future__ import annotations

from typing import NamedTuple

LABELS = ("20", "50", "100", "1000", "all")


class Published(NamedTuple):
    """Holds the errors of one method, by number of labels.

    Attributes:
      method: name of the method.
      errors: errors in percent as printed, one per entry of ``LABELS``; empty if unknown.
      source: address of the publication.
    """

    method: str
    errors: tuple[str, str, str, str, str]
    source: str


PERMUTATION_INVARIANT = (
    Published(
        "ladder, full (Rasmus et al. 2015)",
        ("", "1.62 ± 0.65", "1.06 ± 0.37", "0.84 ± 0.08", "0.57 ± 0.02"),
        "https://arxiv.org/abs/1507.02672",
    ),
    Published(
        "ladder with a perceptron as combinator, the best by labels (Pezeshki et al. 2016)",
        ("", "", "1.002 ± 0.038", "0.974 ± 0.021", "0.569 ± 0.010"),
        "https://arxiv.org/abs/1511.06430",
    ),
    Published(
        "ladder with projected weights (Huang et al. 2017)",
        ("2.52 ± 2.42", "1.06 ± 0.48", "0.91 ± 0.05", "", ""),
        "https://arxiv.org/abs/1710.02338",
    ),
    Published(
        "ladder with adversarial noise by level (Shinoda et al. 2017)",
        ("", "1.42 ± 0.12", "", "", ""),
        "https://arxiv.org/abs/1711.07476",
    ),
    Published(
        "bottom-only ladder as energy of a GAN (Zhao et al. 2016)",
        ("", "", "1.04 ± 0.12", "0.89 ± 0.04", ""),
        "https://arxiv.org/abs/1609.03126",
    ),
    Published(
        "GAN, feature matching (Salimans et al. 2016)",
        ("16.77 ± 4.52", "2.21 ± 1.36", "0.93 ± 0.065", "", ""),
        "https://arxiv.org/abs/1606.03498",
    ),
    Published(
        "GAN, complementary, its density model convolutional (Dai et al. 2017)",
        ("", "", "0.795 ± 0.098", "", ""),
        "https://arxiv.org/abs/1705.09783",
    ),
    Published(
        "auxiliary deep generative model (Maaløe et al. 2016)",
        ("", "", "0.96 ± 0.02", "", ""),
        "https://arxiv.org/abs/1602.05473",
    ),
    Published(
        "virtual adversarial training (Miyato et al. 2017)",
        ("", "", "1.36", "1.27", "0.64"),
        "https://arxiv.org/abs/1704.03976",
    ),
    Published(
        "categorical GAN (Springenberg 2015)",
        ("", "", "1.91 ± 0.10", "", ""),
        "https://arxiv.org/abs/1511.06390",
    ),
)
