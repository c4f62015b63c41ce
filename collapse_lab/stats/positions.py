"""Which positions of an image become rows: a function of the image's identity, equal in every run and batch split."""

from __future__ import annotations

import torch
from torch import Tensor

from collapse_lab import draws

LAST = torch.iinfo(torch.int64).max


def sampled_count(policy: str) -> int | None:
    """k of "sampled:k", None for "all" and "pooled"; raises ValueError for anything else."""
    if policy in ("all", "pooled"):
        return None
    name, _, number = policy.partition(":")
    if name != "sampled" or not number.isdigit() or int(number) < 1:
        raise ValueError(f"a position policy is 'all', 'pooled' or 'sampled:K' with K >= 1, got {policy!r}")
    return int(number)


def choose_positions(x: Tensor, present: Tensor, ids: Tensor, policy: str, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows (N, k, C), which of them count (N, k), and a hash of (seed, image, position) for each (N, k).

    `x` (N, P, C) is zero where `present` (N, P) is False. "sampled:k" takes the k present positions of smallest hash,
    all where there are fewer; "pooled" takes their average as one row an image.
    """
    count = sampled_count(policy)
    base = draws.key(seed, "positions")
    if policy == "pooled":
        held = present.sum(dim=1, keepdim=True)
        pooled = x.sum(dim=1, keepdim=True) / held.clamp(min=1)[:, :, None]
        return pooled, held > 0, draws.hashed(base, ids, 1)
    key = draws.hashed(base, ids, x.shape[1])
    if count is None or count >= x.shape[1]:
        return x, present, key
    place = key.masked_fill(~present, LAST).argsort(dim=1, stable=True)[:, :count]
    rows = x.gather(1, place[:, :, None].expand(-1, -1, x.shape[2]))
    return rows, present.gather(1, place), key.gather(1, place)
