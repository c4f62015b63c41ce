"""A plant of every kind of collapse, with the kinds it implies; ranks, sizes, noise, scales and places are drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from benchmarks.plants.ground import NOTE, Draw, Planted, Size, draw_shape

STARVED_CLEARLY = 1e-4
"""Variance of what is not planted, over the mean variance of a channel: a tenth of what a starved direction holds."""

ALIGNED = frozenset({"channel_redundancy"})
"""Implied by few directions: more channels than can stand apart in them point along each other."""


def _near_constant(random: np.random.Generator, size: Size) -> Planted:
    """A constant plus independent noise, with 1e-9 to 3e-4 of the energy in the noise."""
    draw = draw_shape(random, size)
    constant = draw.normal(draw.channels)
    share = draw.log_between(1e-9, 3e-4)
    noise = draw.layered(draw.normal, draw.channels) * (share * constant.square().mean()).sqrt()
    return Planted(features=(constant + noise) * draw.scale(), must=frozenset({"complete_collapse"}))


def _same_positions(random: np.random.Generator, size: Size) -> Planted:
    """Every image has the same positions in another order: pooled, all are the same to rounding, some at zero.

    The rows have as many directions as there are positions at most, and stand in as many points; pooled, every channel
    keeps one value, or none but zero.
    """
    draw = draw_shape(random, size)
    count = max(2, draw.positions)
    pattern = draw.normal(count, draw.channels)
    pattern = pattern - pattern.mean(dim=0) * draw.whole(0, 1)
    order = torch.from_numpy(random.permuted(np.tile(np.arange(count), (draw.images, 1)), axis=1))
    pooled = {"degenerate", "saturated_channels", "dead_channels", "dead_channels" + NOTE}
    implied = {"dimensional_collapse", "class_structured", *pooled, *ALIGNED}
    features = (pattern[order] * draw.scale()).float()
    return Planted(features=features, must=frozenset({"complete_collapse"}), may=frozenset(implied))


def _low_rank(random: np.random.Generator, size: Size) -> Planted:
    """1 direction to 0.4 of all, of normal, uniform, Laplace or Student values; noise leaves the others starved."""
    draw = draw_shape(random, size)
    rank = max(1, round(draw.log_between(1, 0.4 * draw.channels)))
    families = (
        random.standard_normal,
        lambda shape: random.uniform(-1, 1, shape),
        lambda shape: random.laplace(size=shape),
        lambda shape: random.standard_t(4, size=shape),
    )
    family = families[draw.whole(0, len(families) - 1)]
    latent = draw.layered(lambda *shape: torch.from_numpy(family(shape)), rank)
    signal = latent * torch.from_numpy(random.uniform(0.5, 1, rank)) @ draw.rotation(draw.channels)[:rank]
    features = _with_noise(draw, signal)
    return Planted(features=features * draw.scale(), must=frozenset({"dimensional_collapse"}), may=ALIGNED)


def _steep_spectrum(random: np.random.Generator, size: Size) -> Planted:
    """A power law of exponent 5 to 8, turned: most directions are starved of what their channels would give."""
    draw = draw_shape(random, size)
    deviation = torch.arange(1, draw.channels + 1).double() ** (-draw.between(5, 8) / 2)
    features = draw.layered(draw.normal, draw.channels) * deviation @ draw.rotation(draw.channels)
    return Planted(features=features * draw.scale(), must=frozenset({"dimensional_collapse"}), may=ALIGNED)


def _with_noise(draw: Draw, signal: Tensor) -> Tensor:
    share = draw.log_between(1e-8, STARVED_CLEARLY)
    return signal + draw.layered(draw.normal, draw.channels) * (share * signal.var(dim=(0, 1)).mean()).sqrt()


def _classes(draw: Draw, apart: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Features (N, P, C) around the centres of 2 or more classes in few directions, and the classes (N,).

    A share in `apart` of the variance lies inside the classes, within the directions of their centres: three quarters
    of it between the positions of an image where it has several.
    """
    count = draw.whole(2, max(2, min(12, draw.channels // 3)))
    label = torch.from_numpy(draw.random.permutation(draw.images)) % count
    centre = draw.normal(count, draw.channels)
    centre = centre - centre.mean(dim=0)
    directions = torch.linalg.svd(centre, full_matrices=False).Vh[: count - 1]
    inside = draw.layered(draw.normal, count - 1, alike=(0.25, 0.25) if draw.positions > 1 else (1, 1))
    spread = draw.between(*apart) * centre.square().sum(dim=1).mean() / (count - 1)
    return _with_noise(draw, centre[label][:, None] + spread.sqrt() * inside @ directions), label


def _clusters(random: np.random.Generator, size: Size) -> Planted:
    """Classes without their labels; pooled, at most a twentieth of the variance lies inside them."""
    draw = draw_shape(random, size)
    features, _ = _classes(draw, apart=(0.01, 0.05) if draw.positions == 1 else (0.07, 0.1))
    return Planted(features=features * draw.scale(), must=frozenset({"class_structured"}), may=_alike(draw))


def _labelled_classes(random: np.random.Generator, size: Size) -> Planted:
    """Classes with their labels, which explain 0.87 or more of the variance."""
    draw = draw_shape(random, size)
    features, label = _classes(draw, apart=(0.08, 0.14))
    must = frozenset({"class_structured"})
    return Planted(features=features * draw.scale(), must=must, may=_alike(draw), labels=label)


def _alike(draw: Draw) -> frozenset[str]:
    """What classes imply: positions of an image share its class, so their cosine is near 1."""
    return ALIGNED | {"spatial_oversmoothing"} if draw.positions > 1 else ALIGNED


def _dead(random: np.random.Generator, size: Size) -> Planted:
    """15 to 60 % of the channels at zero, or at a ten-millionth of the others."""
    draw = draw_shape(random, size)
    features = draw.layered(draw.normal, draw.channels)
    features[:, :, draw.some_channels(0.15, 0.6)] *= 1e-8 * draw.whole(0, 1)
    return Planted(features=features * draw.scale(), must=frozenset({"dead_channels"}))


def _few_dead(random: np.random.Generator, size: Size) -> Planted:
    """One channel at zero, or up to 7 % of them: a note."""
    draw = draw_shape(random, size)
    features = draw.layered(draw.normal, draw.channels)
    features[:, :, random.permutation(draw.channels)[: draw.whole(1, max(1, int(0.07 * draw.channels)))]] = 0
    return Planted(features=features * draw.scale(), must=frozenset({"dead_channels" + NOTE}))


def _saturated(random: np.random.Generator, size: Size) -> Planted:
    """15 to 50 % of the channels at one value each, of the size of the others' deviation."""
    draw = draw_shape(random, size)
    features = draw.layered(draw.normal, draw.channels)
    chosen = draw.some_channels(0.15, 0.5)
    features[:, :, chosen] = torch.from_numpy(random.uniform(0.5, 1, len(chosen)) * random.choice([-1, 1], len(chosen)))
    return Planted(features=features * draw.scale(), must=frozenset({"saturated_channels"}))


def _redundant(random: np.random.Generator, size: Size) -> Planted:
    """35 to 80 % of the channels are pairs: one is the other scaled, or its negative, with noise that leaves |rho| at
    0.98 or more. Two fifths of the directions at most are lost."""
    draw = draw_shape(random, size)
    features = draw.layered(draw.normal, draw.channels)
    pairs = draw.some_channels(0.35, 0.8)
    one, other = pairs[0::2][: len(pairs) // 2], pairs[1::2]
    factor = torch.from_numpy(random.uniform(0.3, 3, len(one)) * random.choice([-1, 1], len(one)))
    noise = draw.layered(draw.normal, len(one)) * draw.log_between(1e-3, 0.2)
    features[:, :, other] = factor * (features[:, :, one] + noise)
    return Planted(features=features * draw.scale(), must=frozenset({"channel_redundancy"}))


def _oversmoothed(random: np.random.Generator, size: Size) -> Planted:
    """Two positions or more with a cosine of 0.97 to 0.9999."""
    draw = draw_shape(random, size)
    draw = Draw(random=random, images=draw.images, positions=max(2, draw.positions), channels=draw.channels)
    alike = 1 - draw.log_between(1e-4, 0.03)
    features = draw.layered(draw.normal, draw.channels, alike=(alike, alike))
    return Planted(features=features * draw.scale(), must=frozenset({"spatial_oversmoothing"}))


def _dominated(random: np.random.Generator, size: Size) -> Planted:
    """One image, or up to 1 % of them, carries 0.6 to 0.85 of the pooled scatter, each in a direction of its own."""
    draw = draw_shape(random, size, images=(8, 12))
    features = draw.layered(draw.normal, draw.channels)
    pooled = features.mean(dim=1)
    few, share = draw.whole(1, max(1, draw.images // 100)), draw.between(0.6, 0.85)
    away = draw.normal(few, draw.channels)
    away = away / away.norm(dim=1, keepdim=True)
    scatter = (pooled - pooled.mean(dim=0)).square().sum()
    features[:few] += ((share / (1 - share) * scatter / few).sqrt() * away)[:, None]
    return Planted(features=features * draw.scale(), must=frozenset({"sample_domination"}))


def _mean_dominated(random: np.random.Generator, size: Size) -> Planted:
    """A common offset; 0.003 to 0.01 of the pooled features' energy varies."""
    draw = draw_shape(random, size)
    features = draw.layered(draw.normal, draw.channels)
    varies = features.mean(dim=1).var(dim=0).sum()
    offset = draw.normal(draw.channels)
    offset = offset / offset.norm() * (varies / draw.log_between(3e-3, 1e-2)).sqrt()
    return Planted(features=(features + offset) * draw.scale(), must=frozenset({"mean_dominance"}))


def _few_images(random: np.random.Generator, size: Size) -> Planted:
    """Half as many images as channels, or fewer."""
    draw = draw_shape(random, size, images=(0.2, 0.5))
    features = draw.layered(draw.normal, draw.channels)
    return Planted(features=features * draw.scale(), must=frozenset({"insufficient_samples"}))


def _not_finite(random: np.random.Generator, size: Size) -> Planted:
    """One to ten values that are NaN or infinite."""
    draw = draw_shape(random, size)
    features = draw.layered(draw.normal, draw.channels) * draw.scale()
    for _ in range(draw.whole(1, 10)):
        place = tuple(int(random.integers(length)) for length in features.shape)
        features[place] = float(random.choice([math.nan, math.inf, -math.inf]))
    return Planted(features=features, must=frozenset({"non_finite"}))


def _constant(random: np.random.Generator, size: Size) -> Planted:
    """All zero, or one value a channel in float32 or bfloat16: dead or saturated channels all of them."""
    draw = draw_shape(random, size)
    zero = draw.whole(0, 1) == 0
    dtype = torch.bfloat16 if draw.whole(0, 1) else torch.float32
    value = draw.normal(draw.channels).sign() * torch.from_numpy(random.uniform(0.1, 1, draw.channels)) * (not zero)
    features = (value.expand(draw.images, draw.positions, -1) * draw.scale()).to(dtype)
    kinds = {"degenerate", "complete_collapse", "dead_channels" if zero else "saturated_channels"}
    return Planted(features=features, must=frozenset(kinds))


COLLAPSED: Mapping[str, Callable[[np.random.Generator, Size], Planted]] = {
    "near constant": _near_constant,
    "images the same": _same_positions,
    "low rank": _low_rank,
    "steep spectrum": _steep_spectrum,
    "clusters": _clusters,
    "labelled classes": _labelled_classes,
    "dead channels": _dead,
    "few dead channels": _few_dead,
    "saturated channels": _saturated,
    "redundant channels": _redundant,
    "oversmoothed": _oversmoothed,
    "dominated": _dominated,
    "mean dominated": _mean_dominated,
    "few images": _few_images,
    "not finite": _not_finite,
    "constant": _constant,
}
