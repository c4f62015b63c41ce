"""Sums over images of what lies inside one image: likeness of its channels and of its positions, energy of channels.

They use every present position whatever the rows are, at a cost of O(C P) an image; no C x C or P x P matrix is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from collapse_lab.stats.energy import spread_of_energy
from collapse_lab.stats.scratch import Scratch

DEAD = 1e-6
"""A channel whose size is below this share of the largest channel's has no direction worth a cosine."""


@dataclass(frozen=True, kw_only=True)
class ImageSums:
    """Sums over images; each `n_...` says over how many: those where the quantity is defined.

    `channels_...` are mean cosines between the maps of two channels: `paper` over all C^2 pairs with zero maps as
    cosine 0, `live` and `centred` off the diagonal over the channels that have a direction. `positions` is the mean
    cosine between two positions. `spread` and `spread_pairs` are the image's square deviation from its own mean row
    over P and over P (P - 1); `mean` (C,) and `between` are the mean of the images' mean rows and the summed square
    distance from it, of the `n_spread` images that have two positions or more. `gate_...` are the facts of
    `energy.spread_of_energy` and `gate` (C,) its N, of the `n_gate` images that have energy, at one position too.
    `fired` (C,) is the number of images in which a channel is above zero at some present position.
    """

    channels_paper: float = 0.0
    n_channels_paper: int = 0
    channels_live: float = 0.0
    n_channels_live: int = 0
    channels_centred: float = 0.0
    n_channels_centred: int = 0
    positions: float = 0.0
    n_positions: int = 0
    spread: float = 0.0
    spread_pairs: float = 0.0
    n_spread: int = 0
    between: float = 0.0
    gate_variation: float = 0.0
    gate_gini: float = 0.0
    gate_largest: float = 0.0
    gate_entropy: float = 0.0
    n_gate: int = 0
    mean: Tensor
    gate: Tensor
    fired: Tensor

    @staticmethod
    def none(channels: int, device: torch.device) -> ImageSums:
        nothing = torch.zeros(channels, dtype=torch.float64, device=device)
        return ImageSums(mean=nothing, gate=nothing, fired=nothing)

    def merge(self, other: ImageSums) -> ImageSums:
        """The sums over both sets of images."""
        n = max(1, self.n_spread + other.n_spread)
        step = other.mean - self.mean
        added = {each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(self)}
        added["between"] += (step @ step).item() * self.n_spread * other.n_spread / n
        added["mean"] = self.mean + step * (other.n_spread / n)
        return ImageSums(**added)


@dataclass(frozen=True, kw_only=True)
class PerImage:
    """What lies inside each image of a batch, before it is summed.

    `cosines` (4, N): between channels (paper, live, centred) and between positions, NaN where undefined; `held` (N,)
    present positions; `spread` (N,) square deviation from the image's mean row `mean` (N, C); `gate` (N, C) and
    `gate_facts` (4, N) what `energy.spread_of_energy` gives; `fired` (N, C) whether the
    channel is above zero at some present position.
    """

    cosines: Tensor
    held: Tensor
    spread: Tensor
    mean: Tensor
    gate: Tensor
    gate_facts: Tensor
    fired: Tensor

    @staticmethod
    def joined(parts: Sequence[PerImage]) -> PerImage:
        """The images of all parts, in order."""
        whole = {each.name: [getattr(part, each.name) for part in parts] for each in fields(PerImage)}
        image_axis = {"cosines": 1, "gate_facts": 1}
        return PerImage(**{name: torch.cat(values, dim=image_axis.get(name, 0)) for name, values in whole.items()})


def per_image(
    x: Tensor,
    present: Tensor | None,
    eps: float = 0.0,
    length: Tensor | None = None,
    scratch: Scratch | None = None,
) -> PerImage:
    """Of one batch: `x` (N, P, C) float64, zero where `present` (N, P) is False (None: all are present); `eps` is its
    rounding, `length` (N, P) the norm of each row where that is known already."""
    scratch = scratch or Scratch()
    first, second = scratch.take("first", x.shape, x), scratch.take("second", x.shape, x)
    length = torch.linalg.vector_norm(x, dim=2) if length is None else length
    held = x.new_full((len(x),), x.shape[1]) if present is None else present.sum(dim=1).to(x.dtype)  # (N,)
    mean = x.sum(dim=1) / held.clamp(min=1)[:, None]  # (N, C)
    centred = torch.sub(x, mean[:, None], out=first)
    if present is not None:
        centred.mul_(present[:, :, None])
    spread = torch.mul(centred, centred, out=second).sum(dim=1)  # (N, C), of each channel's map
    size = (spread + held[:, None] * mean.square()).sqrt()
    smallest = DEAD * size.amax(dim=1, keepdim=True)
    centred_size = spread.sqrt()
    moving = centred_size > torch.maximum(smallest, eps * size)

    sums = _unit_sum(x, size, size > 0, out=second)
    paper = sums.square().sum(dim=1) / x.shape[2] ** 2
    living = size > smallest
    live = _off_diagonal(sums if _known_all(living) else _unit_sum(x, size, living, out=second), living)
    apart = _off_diagonal(_unit_sum(centred, centred_size, moving, out=second), moving)
    directed = length > 0
    alike = _off_diagonal(torch.bmm(_inverse(length, directed)[:, None], x)[:, 0], directed)
    cosines = torch.stack([paper, live, apart, alike]).masked_fill(held < 2, torch.nan)
    gate, gate_facts = spread_of_energy(size)
    fired = (x.amax(dim=1) if x.shape[1] else mean) > 0  # a maximum of no position does not exist, their mean is 0
    return PerImage(
        cosines=cosines,
        held=held,
        spread=spread.sum(dim=1),
        mean=mean,
        gate=gate,
        gate_facts=gate_facts,
        fired=fired,
    )


def _unit_sum(x: Tensor, size: Tensor, kept: Tensor, out: Tensor) -> Tensor:
    """(N, P) sum over the kept channels of their maps in x (N, P, C), each over its `size` (N, C)."""
    return torch.mul(x, _inverse(size, kept)[:, None], out=out).sum(dim=2)


def _inverse(size: Tensor, kept: Tensor) -> Tensor:
    return torch.where(kept, 1 / size, 0.0)


def _off_diagonal(unit_sum: Tensor, kept: Tensor) -> Tensor:
    """(N,) mean cosine between two different kept vectors, from the sum of their unit vectors; NaN under two."""
    n = kept.sum(dim=1).to(unit_sum.dtype)
    cosine = (unit_sum.square().sum(dim=1) - n) / (n * (n - 1))
    return cosine.where(n >= 2, torch.nan)


def _known_all(mask: Tensor) -> bool:
    """Whether all are true; on a GPU, where to know would be to wait, no."""
    return not mask.is_cuda and bool(mask.all())
