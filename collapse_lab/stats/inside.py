"""What lies inside images, summed over the images of each of several groups, as tensors that never leave the device."""

from __future__ import annotations

import torch
from torch import Tensor

from collapse_lab.stats.images import ImageSums, PerImage

FACTS = (
    *("channels_paper", "channels_live", "channels_centred", "positions"),
    *("gate_variation", "gate_gini", "gate_largest", "gate_entropy"),
)
"""Sums of `ImageSums` that have a count of their own; the gate's four share one."""
COUNTS = ("n_channels_paper", "n_channels_live", "n_channels_centred", "n_positions", "n_gate")


class InsideSums:
    """`ImageSums` of G groups of images, of C channels: `add` each batch, `of_group` at the end."""

    def __init__(self, groups: int, channels: int, device: torch.device) -> None:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(groups, *shape, dtype=torch.float64, device=device)

        self.facts, self.counts = zeros(len(FACTS)), zeros(len(FACTS))
        self.spread = zeros(2)
        self.gate, self.fired, self.mean = zeros(channels), zeros(channels), zeros(channels)
        self.several, self.between = zeros(), zeros()

    def add(self, images: PerImage, member: Tensor) -> None:
        """Take in a batch; `member` (G, N) float64 is 1 where an image belongs to a group, else 0."""
        facts = torch.cat([images.cosines, images.gate_facts]).T  # (N, facts)
        defined = ~facts.isnan()
        self.facts += member @ facts.masked_fill(~defined, 0.0)
        self.counts += member @ defined.to(facts.dtype)
        self.gate += member @ images.gate
        self.fired += member @ images.fired.to(facts.dtype)
        held = images.held.clamp(min=2)
        member = member * (images.held >= 2)  # of one position there is no spread
        self.spread += member @ torch.stack([images.spread / held, images.spread / (held * (held - 1))], dim=1)
        self._add_means(images.mean, member)

    def _add_means(self, mean: Tensor, member: Tensor) -> None:
        """Chan, Golub & LeVeque's merge of the images' mean rows, in every group at once."""
        count = member.sum(dim=1)  # (G,)
        middle = member @ mean / count.clamp(min=1)[:, None]
        between = (member * (mean - member.T @ middle).square().sum(dim=1)).sum(dim=1)
        step, n = middle - self.mean, self.several + count
        share = count / n.clamp(min=1)
        self.between += between + step.square().sum(dim=1) * self.several * share
        self.mean += step * share[:, None]
        self.several = n

    def of_group(self, group: int) -> ImageSums:
        """The sums over the images of one group, on the CPU."""
        values = dict(zip(FACTS, self.facts[group].tolist(), strict=True))
        counted = self.counts[group].tolist()
        counts = dict(zip(COUNTS, map(int, counted[:5]), strict=True))
        spread, spread_pairs = self.spread[group].tolist()
        return ImageSums(
            **values,
            **counts,
            spread=spread,
            spread_pairs=spread_pairs,
            n_spread=int(self.several[group]),
            between=self.between[group].item(),
            mean=self.mean[group].cpu(),
            gate=self.gate[group].cpu(),
            fired=self.fired[group].cpu(),
        )
