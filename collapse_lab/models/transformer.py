"""The parts of a transformer on tokens: torch's own layers in the order of a ViT, and positions that are not learnt."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from collapse_lab.models.block import layer_norm
from collapse_lab.shapes import Features


class TransformerBlock(nn.Module):
    """LayerNorm, attention, residual; LayerNorm, expand x 4, GELU, project, residual (Dosovitskiy et al. 2021).

    It has a site `response`, which changes nothing, so that arms pair up with those of a ConvNeXt.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.attention_norm = layer_norm(channels)
        self.attention = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.norm = layer_norm(channels)
        self.expand = nn.Linear(channels, 4 * channels)
        self.act = nn.GELU()
        self.response = nn.Identity()
        self.project = nn.Linear(4 * channels, channels)

    def forward(
        self, x: Features, absent: Tensor | None = None, kept: tuple[Tensor | None, Tensor | None] = (None, None)
    ) -> Features:
        """`absent` (N, P) bool, True where a position only fills up: no other attends to it. `kept` are drop path's
        factors (N, 1, 1) of the two branches: 0, or 1 / (1 - rate)."""
        normed = self.attention_norm(x)
        # Another tensor object: for one and the same, eval mode takes a fused kernel whose sums differ from training's.
        around = normed.view_as(normed)
        mixed: Tensor = self.attention(normed, around, around, key_padding_mask=absent, need_weights=False)[0]
        x = x + (mixed if kept[0] is None else mixed * kept[0])
        branch: Tensor = self.project(self.response(self.act(self.expand(self.norm(x)))))
        return x + (branch if kept[1] is None else branch * kept[1])


def require_width(channels: int, heads: int, what: str) -> None:
    """Raise ValueError where so many channels have no such heads, or no positions."""
    if channels < 1 or heads < 1 or channels % 4 or channels % heads:
        raise ValueError(
            f"{what} is {channels} wide and has {heads} heads; its width is a multiple of 4 (sines and cosines of two "
            f"axes) and of the number of heads"
        )


def positions(rows: int, columns: int, channels: int, like: Tensor) -> Tensor:
    """(rows * columns, channels): where a token lies, as sines and cosines; of the type and device of `like`.

    The first half of the channels tells the column, the second the row: of each, sines and then cosines of the place
    times 10000^(-i / (channels / 4)) for i from 0, as He et al. 2022 have it. Not a parameter and not in checkpoints:
    it follows the size of the image.
    """
    number = torch.arange(channels // 4, dtype=torch.float64, device=like.device)
    frequency = 10000.0 ** (-number / (channels // 4))

    def along(length: int) -> Tensor:  # (length, channels / 2)
        angle = torch.arange(length, dtype=torch.float64, device=like.device)[:, None] * frequency
        return torch.cat([angle.sin(), angle.cos()], dim=1)

    across = along(columns)[None].expand(rows, -1, -1)
    down = along(rows)[:, None].expand(-1, columns, -1)
    return torch.cat([across, down], dim=2).flatten(0, 1).to(like.dtype)
