"""Random numbers as functions of what they are for: (seed, purpose, step, sample), never of a state.

No rank, worker, micro-batch or interruption can change them, and a run is resumed from its step alone. The mixer is
the finaliser of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014), in wrapping int64 arithmetic, so it runs on any device.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_FIRST = 0xBF58476D1CE4E5B9 - (1 << 64)
_SECOND = 0x94D049BB133111EB - (1 << 64)


def key(*parts: str | int) -> int:
    """A 63-bit number that stands for these words and numbers, the same on every machine."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def _shift(value: Tensor, bits: int) -> Tensor:
    return (value >> bits) & ((1 << (64 - bits)) - 1)  # int64 shifts keep the sign; this one does not


def mix(value: Tensor) -> Tensor:
    """Scramble int64 values one by one; a bijection of the 64-bit integers."""
    value = (value ^ _shift(value, 30)) * _FIRST
    value = (value ^ _shift(value, 27)) * _SECOND
    return value ^ _shift(value, 31)


def hashed(seed: int, index: Tensor, width: int) -> Tensor:
    """(len(index), width) int64, every entry a function of (seed, index of its row, column) alone."""
    rows = mix(index.to(torch.int64) * _GOLDEN + seed)
    columns = torch.arange(1, width + 1, device=index.device, dtype=torch.int64)
    return mix(rows[:, None] + columns * _GOLDEN)


def generator(seed: int, purpose: str) -> torch.Generator:
    """A CPU generator of its own for one purpose, for instance the initial values of one named tensor."""
    return torch.Generator().manual_seed(key(seed, purpose))


@dataclass(frozen=True, kw_only=True)
class Draws:
    """The random numbers of one training step: `index` (n,) are the samples' places in the global batch."""

    seed: int
    step: int
    index: Tensor

    def uniform(self, purpose: str, width: int) -> Tensor:
        """(n, width) float64 in [0, 1), a function of (seed, purpose, step, index)."""
        bits = hashed(key(self.seed, purpose, self.step), self.index, width)
        return _shift(bits, 11).to(torch.float64) * 2.0**-53


Randomness: TypeAlias = torch.Generator | Draws | None
"""Where draws may come from: a generator with a state, the counter-based draws of a step, or torch's global one."""


def uniform(source: Randomness, purpose: str, count: int, width: int, device: torch.device) -> Tensor:
    """(count, width) numbers in [0, 1) from any source, on `device`."""
    if isinstance(source, Draws):
        if len(source.index) != count:
            raise ValueError(f"these draws are for {len(source.index)} samples, the batch has {count}")
        return source.uniform(purpose, width).to(device)
    if source is None:
        return torch.rand(count, width, device=device)
    return torch.rand(count, width, generator=source, device=source.device).to(device)


def normal(source: Randomness, purpose: str, count: int, width: int, device: torch.device) -> Tensor:
    """(count, width) float64 standard normal numbers from any source, on `device`: quantiles of `uniform`'s."""
    flat = uniform(source, purpose, count, width, device).double().clamp_(min=2.0**-54)  # at 0 it is not finite
    return (2 * flat - 1).erfinv_().mul_(math.sqrt(2))
