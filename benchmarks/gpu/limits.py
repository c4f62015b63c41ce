"""What the device can do at most, measured, and what a train step of the encoder must do at least, counted."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch

from benchmarks.gpu.device import Device
from benchmarks.gpu.records import Writer, part_of
from benchmarks.sparse_encoder import KEPT, SIDE
from collapse_lab.models.convnext import ConvNeXt
from collapse_lab.models.layers import count_layers, total

PASSES, BYTES = 62, 2
"""Passes over the C channels of a block, each of bf16, that forward and backward take where all that can be fused is:
33 forward and 65 backward without any, less the normalisations, activations and sums that ride on a neighbour."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """FLOP a second of bf16 products, bytes a second of copies (read and written)."""

    flops: float
    bytes: float


def measured_limits(device: Device, rounds: int = 10) -> Limits:
    """A product of square matrices of random numbers (8,192 on a side), and a copy (4 GiB)."""
    side, count = device.scale.product, device.scale.copied // 4
    one, other = (torch.randn(side, side, device=device.kind, dtype=torch.bfloat16) for _ in range(2))
    product = statistics.median(device.seconds_of(lambda: one @ other, rounds))
    source = torch.zeros(count, device=device.kind)
    target = torch.empty_like(source)
    copy = statistics.median(device.seconds_of(lambda: target.copy_(source), rounds))
    return Limits(flops=2 * side**3 / product, bytes=8 * count / copy)


def flop_an_image(model: ConvNeXt, share: int = KEPT) -> float:
    """Of forward and backward of the encoder with `share` of its 49 cells visible: each product once and twice more."""
    layers = count_layers(model, (3, SIDE, SIDE), visible=lambda _: share)
    return 6.0 * (total(layers, "all").visible_macs or 0)


def bytes_an_image(depths: Sequence[int], dims: Sequence[int], share: int = KEPT) -> float:
    """Of forward and backward of the blocks, bf16: `PASSES` over the visible positions and channels of each."""
    positions = [share * 4 ** (3 - stage) for stage in range(4)]
    held = sum(depth * width * each for depth, width, each in zip(depths, dims, positions, strict=True))
    return float(PASSES * BYTES * held)


def shares(model: ConvNeXt, images_per_second: float, limits: Limits, share: int = KEPT) -> dict[str, float]:
    """Of the rate that products alone, memory alone, and one after the other would allow.

    The first is the model FLOP utilisation, of the measured rate of products.
    """
    architecture = model.architecture
    products = flop_an_image(model, share) / limits.flops
    memory = bytes_an_image(architecture["depths"], architecture["dims"], share) / limits.bytes
    found = {"products": products, "memory": memory, "both": products + memory}
    return {f"share_of_{name}": images_per_second * seconds for name, seconds in found.items()}


def main() -> None:
    """Append one record to the file."""
    options = argparse.ArgumentParser(description="The limits of the device.", parents=[part_of()]).parse_args()
    Writer(options.out)({"part": "limits", **asdict(measured_limits(options.device))})


if __name__ == "__main__":
    main()
