"""Where a run is computed: the device, the processes that share it, their threads and the arithmetic."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from collapse_lab.models.block import Block
from collapse_lab.models.transformer import TransformerBlock
from collapse_lab.objectives.outcome import Objective
from collapse_lab.ranks import Ranks, joined, meeting
from collapse_lab.train.config import ComputeConfig, Config


@dataclass(frozen=True, kw_only=True)
class Place:
    """One process of a run: its device, the ranks it works with, and how it computes."""

    device: torch.device
    compute: ComputeConfig
    ranks: Ranks

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights, and of the pixels that come in."""
        return torch.float64 if self.compute.precision == "float64" else torch.float32

    def autocast(self) -> AbstractContextManager[object]:
        """The context of a forward pass."""
        if self.compute.precision == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()

    def parts(self, batch: int) -> list[Tensor]:
        """Places in the global batch of this rank's images, in equal parts that follow each other.

        Rank r has the r-th slice. Raises ValueError where the batch is not divided by ranks x parts.
        """
        world, parts = self.ranks.world, self.compute.accumulate
        if batch % (world * parts):
            raise ValueError(
                f"data.batch = {batch} images is all ranks' together and is not divided by {world} ranks x {parts} "
                f"parts (compute.accumulate); take a multiple of {world * parts}"
            )
        slices = torch.arange(batch).chunk(world * parts)
        return list(slices[self.ranks.rank * parts : (self.ranks.rank + 1) * parts])

    def prepare(self, objective: Objective) -> nn.Module:
        """Move the objective here, in place; what is to be called in its stead, with the gradients of all ranks."""
        objective.to(self.device, self.dtype).train()
        objective.encoder.recompute = self.compute.recompute
        if self.compute.compile:
            compile_blocks(objective)
        return objective if self.ranks.world == 1 else DistributedDataParallel(objective)


SHAPES = 64
"""Shapes that a block may be compiled for; after PyTorch's own 8 it would go on uncompiled, with a line in the log."""


def compile_blocks(
    network: nn.Module,
    blocks: tuple[type[nn.Module], ...] = (Block, TransformerBlock),
    backend: str | Callable[..., Any] = "inductor",
) -> None:
    """Compile every block, once for each shape that comes, in place; blocks of one shape share what was compiled."""
    dynamo = torch._dynamo.config
    dynamo.cache_size_limit = max(dynamo.cache_size_limit, SHAPES)
    for module in network.modules():
        if isinstance(module, blocks):
            module.compile(backend=backend, dynamic=False)


@contextmanager
def entered(config: Config) -> Iterator[Place]:
    """The place of this process, joined with the others where torchrun started several, and left again.

    The thread count and the precision of products are the caller's again afterwards. Raises ValueError for a device
    that is not here.
    """
    device, patience = device_of(config.device), timedelta(seconds=config.compute.patience)
    backend = "nccl" if device.type == "cuda" else "gloo"
    with (
        _threads(config.threads),
        _tf32(config.compute.tf32),
        joined(backend, patience),
        meeting(patience=patience) as ranks,
    ):
        yield Place(device=device, compute=config.compute, ranks=ranks)


def device_of(name: str) -> torch.device:
    """The device of that name; of several processes on one machine each has a GPU of its own."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind = name.partition(":")[0]
    if kind not in ("cpu", "cuda") or (kind == "cuda" and not torch.cuda.is_available()):
        raise ValueError(f"device {name!r} cannot be used here; use 'auto', 'cpu', or 'cuda' where there is a GPU")
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return torch.device(name)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _tf32(wanted: bool) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    if wanted:
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        if wanted:
            torch.set_float32_matmul_precision(before)
