"""Several processes that work as one, as torchrun starts them: how they meet, agree, and fail together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")

PATIENCE = timedelta(days=1)
"""How long a rank that is done waits for the others, whose share may take longer."""


def told_rank() -> int:
    """What torchrun says this process is, before it joins the others; 0 for a process alone."""
    return int(os.environ.get("RANK", "0"))


def told_world() -> int:
    """How many processes torchrun says there are; 1 for a process alone."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def joined(backend: str = "gloo", patience: timedelta = PATIENCE) -> Iterator[tuple[int, int]]:
    """(rank, number of processes): joins the others where torchrun started several, and leaves them again.

    torchrun says so in WORLD_SIZE, RANK, MASTER_ADDR and MASTER_PORT. Where torch.distributed is initialised already it
    is left as it is; without either there is one process: (0, 1).
    """
    if not dist.is_available():
        yield 0, 1
    elif dist.is_initialized():
        yield dist.get_rank(), dist.get_world_size()
    elif told_world() == 1:
        yield 0, 1
    else:
        dist.init_process_group(backend, timeout=patience)
        try:
            yield dist.get_rank(), dist.get_world_size()
        finally:
            dist.destroy_process_group()


def share_of(batches: Iterable[T], rank: int, world: int) -> Iterator[T]:
    """The batches of one rank: every `world`-th from its own on. The others are read too, and dropped."""
    return islice(batches, rank, None, world)


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """The processes that work together; one alone exchanges nothing. `group` reaches the CPU; None: the default one.

    Every method is to be called on every rank. One that raises does not leave the others waiting: each raises too.
    """

    rank: int = 0
    world: int = 1
    group: Any = None

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def told(self, value: T) -> list[T]:
        """What every rank has, in their order."""
        if self.world == 1:
            return [value]
        found: list[Any] = [None] * self.world
        dist.all_gather_object(found, value, group=self.group)
        return found

    def attempt(self, make: Callable[[], T], what: str) -> T:
        """What `make` gives on this rank; raises RuntimeError where it failed on another: it "could not" do `what`."""
        if self.world == 1:
            return make()
        made, failed = _tried(make)
        faults = self.told(None if failed is None else _words(failed))
        if failed is not None:
            raise failed
        for rank, fault in enumerate(faults):
            if fault is not None:
                raise RuntimeError(f"rank {rank} could not {what}: {fault}")
        return made[0]

    def at_first(self, value: T) -> list[T]:
        """What every rank has, in their order, on the first; nothing on the others."""
        if self.world == 1:
            return [value]
        found: list[Any] | None = [None] * self.world if self.rank == 0 else None
        dist.gather_object(value, found, dst=0, group=self.group)
        return found or []

    def from_first(self, make: Callable[[], T], what: str) -> T:
        """What `make` gives on the first rank, where alone it is called; raises as `attempt` does."""
        if self.world == 1:
            return make()
        made, failed = _tried(make) if self.rank == 0 else ([], None)
        sent: list[Any] = [made, None if failed is None else _words(failed)]
        dist.broadcast_object_list(sent, src=0, group=self.group)
        if failed is not None:
            raise failed
        if sent[1] is not None:
            raise RuntimeError(f"rank 0 could not {what}: {sent[1]}")
        result: T = sent[0][0]
        return result

    def highest(self, numbers: list[int]) -> list[int]:
        """The largest of each over all ranks: what any of them saw. Waits for the others, not for a device."""
        if self.world == 1:
            return numbers
        found = torch.tensor(numbers)
        dist.all_reduce(found, dist.ReduceOp.MAX, group=self.group)
        largest: list[int] = found.tolist()
        return largest

    def mean(self, value: Tensor) -> Tensor:
        """The average over all ranks, on the device it lies on; nothing is read from there."""
        if self.world == 1:
            return value
        total = value.clone()
        dist.all_reduce(total)
        return total / self.world

    def any(self, flag: Tensor) -> Tensor:
        """Whether it is True on any rank, on the device it lies on; nothing is read from there."""
        if self.world == 1:
            return flag
        found = flag.to(torch.int32)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return found > 0


@contextmanager
def meeting(wanted: bool = True, patience: timedelta = PATIENCE) -> Iterator[Ranks]:
    """The ranks of torch.distributed where it is initialised and they are wanted; else this process alone."""
    if not wanted or not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        yield Ranks()
        return
    # What is exchanged lies on the CPU, where nccl does not reach.
    own = None if dist.get_backend() == "gloo" else dist.new_group(backend="gloo", timeout=patience)
    try:
        yield Ranks(rank=dist.get_rank(), world=dist.get_world_size(), group=own)
    finally:
        if own is not None:
            dist.destroy_process_group(own)


def _tried(make: Callable[[], T]) -> tuple[list[T], Exception | None]:
    try:
        return [make()], None
    except Exception as error:
        return [], error


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
