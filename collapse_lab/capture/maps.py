"""All positions of a few images, for pictures: those of smallest hash, the same in any order and any split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from collapse_lab import draws
from collapse_lab.shapes import Features


@dataclass(frozen=True, kw_only=True)
class Maps:
    """All positions of a few images, those of smallest hash: `values` site -> (m, P, C) float32, `id` site -> (m,)."""

    limit: int
    values: Mapping[str, Tensor]
    id: Mapping[str, Tensor]

    @staticmethod
    def none(limit: int) -> Maps:
        return Maps(limit=limit, values={}, id={})

    def take(self, site: str, features: Features, ids: Tensor) -> Maps:
        """With the images of one batch considered; raises ValueError for maps of another size."""
        if not self.limit:
            return self
        return self._with(site, features.cpu().float(), ids.cpu())

    def merge(self, other: Maps) -> Maps:
        """Those of smallest hash of both; raises ValueError for maps of different sizes. The smaller limit holds."""
        both = replace(self, limit=min(self.limit, other.limit))
        for site, values in other.values.items():
            both = both._with(site, values, other.id[site])
        return both

    def _with(self, site: str, values: Tensor, known: Tensor) -> Maps:
        if site in self.values:
            if self.values[site].shape[1:] != values.shape[1:]:
                raise ValueError(
                    f"site {site!r} gives maps of {tuple(self.values[site].shape[1:])} and of "
                    f"{tuple(values.shape[1:])}; maps are kept of images of one size only, set keep_maps=0"
                )
            values, known = torch.cat([self.values[site], values]), torch.cat([self.id[site], known])
        order = draws.hashed(draws.key("maps"), known, 1)[:, 0].argsort(stable=True)[: self.limit]
        return replace(self, values={**self.values, site: values[order]}, id={**self.id, site: known[order]})
