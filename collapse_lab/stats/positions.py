"""Which positions of an image become rows: a function of the image's identity, equal in every run and batch split."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from collapse_lab import draws
from collapse_lab.shapes import Features

LAST = torch.iinfo(torch.int64).max


def sampled_count(policy: str) -> int | None:
    """k of "sampled:k", None for "all" and "pooled"; raises ValueError for anything else."""
    if policy in ("all", "pooled"):
        return None
    name, _, number = policy.partition(":")
    if name != "sampled" or not number.isdigit() or int(number) < 1:
        raise ValueError(f"a position policy is 'all', 'pooled' or 'sampled:K' with K >= 1, got {policy!r}")
    return int(number)


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Rows of a batch: `values` (N, k, C), which of them count `counted` (N, k), None for all of them, and for each
    a hash of (seed, image, position) and its `position`, -1 for the average of all; both (N, k) int64."""

    values: Tensor
    counted: Tensor | None
    key: Tensor
    position: Tensor


def choose_positions(
    x: Features, present: Tensor | None, ids: Tensor, policy: str, seed: int, *, mean: Tensor | None = None
) -> Chosen:
    """The rows that a policy takes of each image of a batch.

    `x` (N, P, C) is zero where `present` (N, P) is False (None: it is nowhere). "sampled:k" takes the k present
    positions of smallest hash, all where there are fewer; "pooled" takes their average as one row an image, `mean`
    (N, C) where that is known already.
    """
    count, positions = sampled_count(policy), x.shape[1]
    key = draws.hashed(draws.key(seed, "positions"), ids, 1 if policy == "pooled" else positions)
    if policy == "pooled":
        held = x.new_full((len(x), 1), positions) if present is None else present.sum(dim=1, keepdim=True)
        pooled = x.sum(dim=1) / held.clamp(min=1) if mean is None else mean
        counted = None if present is None and positions else held > 0
        return Chosen(values=pooled[:, None], counted=counted, key=key, position=torch.full_like(key, -1))
    if count is None or count >= positions:
        place = torch.arange(positions, device=ids.device).expand_as(key)
        return Chosen(values=x, counted=present, key=key, position=place)
    place = (key if present is None else key.masked_fill(~present, LAST)).topk(count, dim=1, largest=False).indices
    values = x.gather(1, place[:, :, None].expand(-1, -1, x.shape[2]))
    counted = None if present is None else present.gather(1, place)
    return Chosen(values=values, counted=counted, key=key.gather(1, place), position=place)
