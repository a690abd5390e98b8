"""The ladder in plain PyTorch: the maths of ladder_jax, rewritten as functions.

As in ladder_jax: noise on the input and on every level; three streams (labelled noisy,
unlabelled noisy, unlabelled clean) that share weights and one matrix product per
level, each normalised with its own batch statistics; the gaussian combinator with
ten parameters per unit; costs in units of the clean statistics, and gradients
through all of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812, its usual name
from torch import Tensor

Level: TypeAlias = dict[str, Tensor]
Noise: TypeAlias = list[Tensor]

EPSILON = 1e-10
STARTS = {f"a{i}": float(i in (2, 7)) for i in range(1, 11)}
"""Initial parameters of the gaussian combinator: a2 and a7 are 1, the rest 0."""


def init(widths: Sequence[int]) -> list[Level]:
    """Draws fresh parameters of levels 0 to L, named as in ladder_jax."""
    levels = []
    for level, width in enumerate(widths):
        params = {name: torch.full((width,), start) for name, start in STARTS.items()}
        if level > 0:
            below = widths[level - 1]
            params["up"] = torch.randn(below, width) / math.sqrt(below)
            params["down"] = torch.randn(width, below) / math.sqrt(width)
            params["bias"] = torch.zeros(width)
        if level == len(widths) - 1:
            params["gain"] = torch.ones(width)
        levels.append({name: value.requires_grad_() for name, value in params.items()})
    return levels


def draw_noise(widths: Sequence[int], like: Tensor) -> Noise:
    """Draws standard normal arrays for levels 0 to L, with the rows and device of ``like``.

    The device is given, as code that ``torch.compile`` traces does not know the default one.
    """
    return [torch.randn(len(like), width, device=like.device) for width in widths]


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Computes mean and biased variance over the rows."""
    mean = x.mean(0)
    return mean, (x - mean).square().mean(0)


def normalize(x: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    return (x - mean) * torch.rsqrt(var + EPSILON)


def gaussian(p: Level, z: Tensor, u: Tensor) -> Tensor:
    """Computes z_hat = (z - mu(u)) v(u) + mu(u)."""
    mu = p["a1"] * torch.sigmoid(p["a2"] * u + p["a3"]) + p["a4"] * u + p["a5"]
    v = p["a6"] * torch.sigmoid(p["a7"] * u + p["a8"]) + p["a9"] * u + p["a10"]
    return (z - mu) * v + mu


def loss(
    params: Sequence[Level],
    labeled: Tensor,
    labels: Tensor,
    unlabeled: Tensor,
    noise: tuple[Noise, Noise],
    noise_std: float,
    denoising_cost: Sequence[float],
) -> Tensor:
    """Computes the cross-entropy of the noisy labelled rows plus the weighted denoising costs.

    Args:
      params: parameters as from ``init``.
      labeled: labelled rows ``[N, features]``.
      labels: their integer classes ``[N]``.
      unlabeled: unlabelled rows ``[M, features]``.
      noise: arrays from ``draw_noise``, for the labelled and for the unlabelled rows.
      noise_std: standard deviation of the noise on every level.
      denoising_cost: weights of the costs of levels 0 to L.
    """
    top, sizes = len(params) - 1, [len(labeled), len(unlabeled), len(unlabeled)]
    labeled_noise, unlabeled_noise = noise
    z_noisy = [unlabeled + noise_std * unlabeled_noise[0]]
    z_clean = [unlabeled]
    statistics: list[tuple[Tensor, Tensor] | None] = [None]
    h = torch.cat([labeled + noise_std * labeled_noise[0], z_noisy[0], unlabeled])
    affine = h
    for level in range(1, top + 1):
        supervised, noisy, clean = (h @ params[level]["up"]).split(sizes)
        mean, var = moments(clean)
        statistics.append((mean, var))
        z_clean.append(normalize(clean, mean, var))
        z_noisy.append(normalize(noisy, *moments(noisy)) + noise_std * unlabeled_noise[level])
        z_labeled = normalize(supervised, *moments(supervised)) + noise_std * labeled_noise[level]
        affine = torch.cat([z_labeled, z_noisy[level], z_clean[level]]) + params[level]["bias"]
        if level < top:
            h = torch.relu(affine)
    logits, unlabeled_logits, _ = (affine * params[top]["gain"]).split(sizes)
    total = F.cross_entropy(logits, labels)
    u = torch.softmax(unlabeled_logits, -1)
    for level in range(top, -1, -1):
        z_hat = gaussian(params[level], z_noisy[level], normalize(u, *moments(u)))
        clean_moments = statistics[level]
        estimate = z_hat if clean_moments is None else normalize(z_hat, *clean_moments)
        total = total + denoising_cost[level] * (estimate - z_clean[level]).square().mean()
        if level:
            u = z_hat @ params[level]["down"]
    return total
