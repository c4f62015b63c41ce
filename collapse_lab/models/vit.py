"""The vision transformer (Dosovitskiy et al. 2021) as a masked autoencoder has it (He et al. 2022).

Differs from the original in form only: patches are cells of our grids, so whole images and visible cells alone are one
code path, and positions are sines and cosines computed for the image's size, not learnt.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from collapse_lab.draws import Randomness
from collapse_lab.models.block import PatchConv, fill_token, initialise_xavier, layer_norm
from collapse_lab.models.encoder import Encoder
from collapse_lab.models.grid import AllPositions, Grid, VisibleCells
from collapse_lab.models.transformer import TransformerBlock, positions, require_width
from collapse_lab.registry import Registry
from collapse_lab.shapes import Features

PATCH = 16


@dataclass(frozen=True, kw_only=True)
class ViTSize:
    """The numbers of one named network."""

    width: int
    depth: int
    heads: int


VITS: Registry[ViTSize] = Registry(
    "model",
    {
        "vit_tiny": ViTSize(width=192, depth=12, heads=3),
        "vit_small": ViTSize(width=384, depth=12, heads=6),
        "vit_base": ViTSize(width=768, depth=12, heads=12),
    },
)


class ViT(Encoder):
    """See `build_model`. A class token stands before the patches: at every site but the stem it is position 0.

    The final norm is part of the encoder: every map that it gives is normed. The class token is in no map and not in
    what the head is given, which is the mean over patches.
    """

    norm: nn.LayerNorm
    class_tokens = 1
    """Positions before those of the patches."""

    def __init__(
        self,
        *,
        patch: int,
        width: int,
        depth: int,
        heads: int,
        in_channels: int = 3,
        classes: int | None = None,
        drop_path: float = 0.0,
    ) -> None:
        require_width(width, heads, "a ViT")
        if patch < 1 or depth < 1:
            raise ValueError(f"a ViT has patches of 1 pixel or more and 1 block or more, got {patch} and {depth}")
        super().__init__(
            {"patch": patch, "width": width, "depth": depth, "heads": heads},
            stride=patch,
            channels=width,
            in_channels=in_channels,
            classes=classes,
            drop_path=drop_path,
        )
        self.stem = PatchConv(in_channels, width, patch)
        self.cls_token = nn.Parameter(torch.empty(width))
        self.blocks = nn.ModuleList(TransformerBlock(width, heads) for _ in range(depth))
        self.norm = layer_norm(width)
        self.head = nn.Linear(width, classes) if classes else None

    @property
    def depths(self) -> tuple[int, ...]:
        return (len(self.blocks),)

    @staticmethod
    def draw(module: nn.Module, seed: int, *, prefix: str = "") -> None:
        """As `initialise_xavier`, the class token as `fill_token`."""
        initialise_xavier(module, seed, prefix=prefix)
        if isinstance(module, ViT):
            fill_token(module.cls_token, seed, f"{prefix}cls_token")

    def forward(self, images: Tensor, *, generator: Randomness = None) -> Tensor:
        """(N, classes) logits of the mean over patches; without a head that mean itself, (N, C)."""
        pooled = self.forward_features(images, generator=generator).mean(dim=(2, 3))
        return pooled if self.head is None else self.head(pooled)

    def forward_features(self, images: Tensor, *, generator: Randomness = None) -> Tensor:
        """(N, C, H / patch, W / patch): the last map, after the final norm and without the class token."""
        self.check(images)
        return self._encode(images, *AllPositions.of(images), generator)[1]

    def forward_masked(
        self, images: Tensor, removed: Tensor, *, keep: int | None = None, generator: Randomness = None
    ) -> Tensor:
        return self.encode_visible(images, removed, keep=keep, generator=generator)[1]

    def encode_visible(
        self, images: Tensor, removed: Tensor, *, keep: int | None = None, generator: Randomness = None
    ) -> tuple[Tensor, Tensor]:
        """The class token, (N, 1, C), and what `forward_masked` gives."""
        self._check_removed(images, removed, keep)
        return self._encode(images, *VisibleCells.of(images, removed, self.stride, keep), generator)

    def _encode(self, images: Tensor, x: Features, grid: Grid, generator: Randomness) -> tuple[Tensor, Tensor]:
        rows, columns = images.shape[2] // self.stride, images.shape[3] // self.stride
        x, grid = self.stem(x, grid), grid.coarser(self.stride)
        x = x + grid.of_map(positions(rows, columns, self.channels, self.cls_token))
        x = torch.cat([self.cls_token.expand(len(x), 1, -1), x], dim=1)  # (N, 1 + P, C)
        absent = None if grid.visible is None else F.pad(~grid.visible, (self.class_tokens, 0))
        kept = self._drop_path(x, generator, branches=2)
        for block in self.blocks:
            x = self._through(block, x, absent, (next(kept), next(kept)))
        x = self.norm(x)
        return x[:, : self.class_tokens], grid.to_map(x[:, self.class_tokens :])


def vit(
    name: str,
    *,
    patch: int | None,
    depth: int | None,
    widths: tuple[int, ...] | None,
    in_channels: int,
    classes: int | None,
    drop_path: float,
) -> ViT:
    """The network of that name without its initial values; see `build_model`."""
    size = VITS[name]
    if widths is not None and len(widths) != 1:
        raise ValueError(f"{name} has one width throughout: widths is one number of channels, got {widths}")
    return ViT(
        patch=PATCH if patch is None else patch,
        width=size.width if widths is None else widths[0],
        depth=size.depth if depth is None else depth,
        heads=size.heads,
        in_channels=in_channels,
        classes=classes,
        drop_path=drop_path,
    )
