"""What a pass has taken in so far, as plain data: saved on the way, sent to another process, merged with its like."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from collapse_lab.capture.maps import Maps
from collapse_lab.stats.held import Held


@dataclass(frozen=True, kw_only=True)
class Account:
    """What was asked and seen. `settings` (plain JSON values: model, weights, sites, layouts, positions, ...) are equal
    wherever two passes may become one; `shapes` are those of the first image at each site, `batches` how many are done,
    `times` how often each image came, by identity, `given_up` what was left out to fit the memory, in words."""

    settings: Mapping[str, Any]
    shapes: Mapping[str, list[int]]
    batches: int
    times: Mapping[int, int]
    given_up: Sequence[str] = ()

    @property
    def images(self) -> int:
        return sum(self.times.values())

    @property
    def sites(self) -> list[str]:
        """In the order in which they fire."""
        return list(self.settings["sites"])

    @property
    def facts(self) -> dict[str, Any]:
        """What a capture says of its origin."""
        said = {name: self.settings[name] for name in ("model", "architecture", "seed", "groups", "layouts")}
        repeated = self.images - len(self.times)
        counts = {"images": self.images, "repeated_images": repeated}
        return {
            **self.settings.get("images", {}),
            **said,
            **counts,
            "given_up": list(self.given_up),
            "shapes": dict(self.shapes),
        }

    def merge(self, other: Account) -> Account:
        """Both together; raises ValueError naming the first setting in which they differ."""
        differing = difference(self.settings, other.settings)
        if differing:
            raise ValueError(f"captures of different settings are not one capture: {differing}")
        times = Counter(self.times)
        times.update(other.times)
        return replace(self, batches=self.batches + other.batches, times=times)


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What a pass has taken in: its account, what the accumulator of each site holds, and the kept maps."""

    account: Account
    held: Mapping[str, Held]
    maps: Maps


def difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """The first setting in which two differ, in words; empty for none."""
    for name in dict.fromkeys((*a, *b)):
        one, two = a.get(name), b.get(name)
        if one == two:
            continue
        if isinstance(one, Mapping) and isinstance(two, Mapping):
            return f"{name}, {difference(one, two)}"
        return f"{name}: {one!r} and {two!r}"
    return ""


def merged_accounts(accounts: Sequence[Account]) -> Account:
    """In order; see `Account.merge`."""
    return reduce(Account.merge, accounts)


def merged_maps(maps: Sequence[Maps]) -> Maps:
    return reduce(Maps.merge, maps)


def weights_key(model: nn.Module) -> str:
    """A hash of every named weight and buffer: equal on every device, other for another checkpoint."""
    digest = hashlib.blake2b(digest_size=8)
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        if isinstance(value, Tensor):
            digest.update(bytes_of(value))
    return digest.hexdigest()


def bytes_of(tensor: Tensor) -> memoryview:
    """The numbers of a dense tensor of any type as they lie in memory."""
    flat = tensor.detach().to_dense().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data
