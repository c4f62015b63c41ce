"""What stands between an encoder and the pixels of removed cells."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from collapse_lab.models.block import Block, initialise, initialise_xavier, layer_norm
from collapse_lab.models.grid import AllPositions
from collapse_lab.models.transformer import TransformerBlock, positions, require_width
from collapse_lab.registry import Registry

HEAD_WIDTH = 32
"""Channels of a head of a decoder that does not say its heads: those of He et al. 2022, 512 in 16."""


class ConvNeXtDecoder(nn.ModuleList):
    """Dense V2 blocks with GRN (Woo et al. 2023), whatever the encoder has: so arms differ in the encoder alone."""

    def __init__(self, channels: int, depth: int, stride: int) -> None:
        super().__init__(Block(channels, "grn", None) for _ in range(depth))
        self.channels, self.finer = channels, 1

    def forward(self, tokens: Tensor, grid: AllPositions) -> Tensor:
        for block in self:
            tokens = block(tokens, grid)
        return tokens

    def draw(self, seed: int, prefix: str) -> None:
        initialise(self, seed, prefix=prefix)


class TransformerDecoder(nn.Module):
    """Sine-cosine positions, blocks that see all cells, and a norm (He et al. 2022)."""

    def __init__(self, channels: int, depth: int, stride: int, heads: int | None = None) -> None:
        heads = max(1, channels // HEAD_WIDTH) if heads is None else heads
        require_width(channels, heads, "a decoder")
        super().__init__()
        self.channels, self.finer = channels, 1
        self.blocks = nn.ModuleList(TransformerBlock(channels, heads) for _ in range(depth))
        self.norm = layer_norm(channels)

    def forward(self, tokens: Tensor, grid: AllPositions, before: Tensor | None = None) -> Tensor:
        """`before` (N, T, C) are tokens without a place, which the cells see and which are not given back."""
        tokens = tokens + positions(grid.height, grid.width, self.channels, self.norm.weight)
        count = 0 if before is None else before.shape[1]
        if before is not None:
            tokens = torch.cat([before, tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        normed: Tensor = self.norm(tokens)
        return normed[:, count:]

    def draw(self, seed: int, prefix: str) -> None:
        initialise_xavier(self, seed, prefix=prefix)


class UNetDecoder(nn.Module):
    """From cells to pixels in steps of two, each halving the width: no connection skips over them.

    A step doubles the map by a transposed convolution of 4 x 4, as Tian et al. 2023 have it; then come, `depth` times,
    a convolution of 3 x 3, LayerNorm and GELU. With their BatchNorm a sample's loss would depend on its batch.
    """

    def __init__(self, channels: int, depth: int, stride: int) -> None:
        steps = stride.bit_length() - 1
        if stride != 2**steps:
            raise ValueError(f"a unet decoder doubles the map up to cells of 2^k pixels, got cells of {stride}")
        if channels % stride:
            raise ValueError(
                f"a unet decoder halves its width {steps} times, once a doubling: decoder_dim is a multiple of "
                f"{stride}, got {channels}"
            )
        super().__init__()
        self.channels, self.finer = channels // stride, stride
        widths = [channels // 2**step for step in range(steps + 1)]
        self.steps = nn.ModuleList(UNetStep(*pair, depth) for pair in itertools.pairwise(widths))

    def forward(self, tokens: Tensor, grid: AllPositions) -> Tensor:
        x = grid.to_map(tokens)
        for step in self.steps:
            x = step(x)
        return x.flatten(2).transpose(1, 2)

    def draw(self, seed: int, prefix: str) -> None:
        initialise(self, seed, prefix=prefix)


class UNetStep(nn.Module):
    """One doubling of a map: (N, C, H, W) -> (N, C', 2 H, 2 W)."""

    def __init__(self, channels: int, out_channels: int, depth: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(channels, out_channels, 4, stride=2, padding=1)
        self.convolutions = nn.ModuleList(nn.Conv2d(out_channels, out_channels, 3, padding=1) for _ in range(depth))
        self.norms = nn.ModuleList(layer_norm(out_channels) for _ in range(depth))
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(x)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = self.act(norm(convolution(x).movedim(1, -1))).movedim(-1, 1)
        return x


Decoder = ConvNeXtDecoder | TransformerDecoder | UNetDecoder
"""From (N, L, C) tokens of all cells, mask tokens among them, to (N, L * finer^2, `channels`), rows of a map that is
`finer` times finer; `finer` is 1 or the side of a cell."""

DECODERS: Registry[Callable[[int, int, int], Decoder]] = Registry(
    "decoder", {"convnext": ConvNeXtDecoder, "transformer": TransformerDecoder, "unet": UNetDecoder}
)
"""Built as `DECODERS[name](channels, depth, stride)`, `stride` the side of a cell in pixels."""
