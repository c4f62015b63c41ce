"""Inner products between images, and how far those of two layers agree: CKA, also without each group of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from collapse_lab.stats.held import group_of
from collapse_lab.stats.layer import LayerStats

GROUPS = 16
FLAT = 1e-12
"""Below this share of its sum of squares, what is left of a Gram matrix after centring is rounding."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Which rows stay: `member` (n, G) 1 where a row is of a group; `keep` (L, G) 0 for a group left out, first none;
    `sizes` the images of each group."""

    member: Tensor
    keep: Tensor
    sizes: Sequence[int]

    @staticmethod
    def nothing(n: int) -> LeftOut:
        one = torch.ones(1, 1, dtype=torch.float64)
        return LeftOut(member=one.expand(n, 1), keep=one, sizes=())

    @staticmethod
    def groups(images: Tensor) -> LeftOut:
        """With each of the groups of images that has any left out in turn."""
        numbers, place = group_of(images, GROUPS).unique(return_inverse=True)
        member = torch.nn.functional.one_hot(place).double()
        sizes = [len(images[place == number].unique()) for number in range(len(numbers))]
        keep = 1 - torch.eye(len(numbers), dtype=torch.float64)
        return LeftOut(member=member, keep=torch.cat([torch.ones_like(keep[:1]), keep]), sizes=sizes)


@dataclass(frozen=True, kw_only=True)
class Gram:
    """Inner products (n, n) of one layer's centred rows, zero on the diagonal, and what `_hsic` needs of them:
    `sums` (n, L) of each row over the rows that stay, `own` (L,) the layer's HSIC with itself, NaN for none."""

    products: Tensor
    sums: Tensor
    own: Tensor

    @staticmethod
    def of(rows: Tensor, stats: LayerStats, left: LeftOut) -> Gram:
        y = centred(rows, stats)
        y = torch.zeros_like(rows) if y is None else y
        products = (y @ y.T).fill_diagonal_(0)
        sums = products @ left.member @ left.keep.T
        bare = Gram(products=products, sums=sums, own=torch.empty(0))
        own, square = _hsic(bare, bare, left)
        return replace(bare, own=own.masked_fill(own <= FLAT * square, math.nan))


def _hsic(a: Gram, b: Gram, left: LeftOut) -> tuple[Tensor, Tensor]:
    """(L,) the unbiased estimator of Song et al. 2012 over the rows that stay, and its first term alone."""
    n = left.keep @ left.member.sum(dim=0)
    stays = left.member @ left.keep.T  # (n, L)
    product = left.member.T @ (a.products * b.products) @ left.member  # (G, G)
    trace = ((left.keep @ product) * left.keep).sum(dim=1)
    total = (a.sums * stays).sum(dim=0) * (b.sums * stays).sum(dim=0)
    joint = (a.sums * b.sums * stays).sum(dim=0)
    scale = n * (n - 3)
    return (trace + total / ((n - 1) * (n - 2)) - 2 * joint / (n - 2)) / scale, trace / scale


def aligned(a: Gram, b: Gram, left: LeftOut) -> Tensor:
    """(L,) CKA of all rows first, then without each group; NaN where one layer has no HSIC with itself."""
    cross, _ = _hsic(a, b, left)
    return (cross / (a.own * b.own).sqrt()).clamp(-1, 1)


def centred(rows: Tensor, stats: LayerStats) -> Tensor | None:
    """Rows less their mean, the largest number 1; None where no row leaves the mean by more than rounding."""
    y = rows - rows.mean(dim=0)
    if bool((y.norm(dim=1) <= stats.noise * stats.channels**0.5).all()):
        return None
    return y / y.abs().max()  # a square of a product of tiny numbers would leave the range of float64
