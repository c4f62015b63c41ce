"""Fully convolutional masked autoencoder (Woo et al. 2023): predict the pixels of removed cells from visible ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from collapse_lab.draws import Randomness
from collapse_lab.models.block import Block, Depthwise, Downsample, Stem, fill, initialise
from collapse_lab.models.convnext import ConvNeXt
from collapse_lab.models.grid import AllPositions
from collapse_lab.objectives.masking import kept_cells, random_removed
from collapse_lab.objectives.outcome import Objective, Outcome


@dataclass(frozen=True, kw_only=True)
class Reconstruction(Outcome):
    """`prediction` and `target` (N, L, p * p * in_channels), pixels row, column, channel; `removed` (N, L) bool."""

    prediction: Tensor
    target: Tensor
    removed: Tensor


def patches(images: Tensor, side: int) -> Tensor:
    """(N, C, H, W) -> (N, L, side * side * C), cells row by row, pixels row, column, channel."""
    pixels, grid = AllPositions.of(images)
    return grid.fold(pixels, side)


def cell_statistics(target: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation (N, L, 1) of each cell: unbiased variance over all its values, eps 1e-6 under the root."""
    mean = target.mean(dim=-1, keepdim=True)
    variance = (target - mean).square().sum(dim=-1, keepdim=True) / (target.shape[-1] - 1)
    return mean, (variance + 1e-6).sqrt()


def normalised(target: Tensor) -> Tensor:
    """Each cell less its mean, over its deviation, see `cell_statistics`."""
    mean, deviation = cell_statistics(target)
    return (target - mean) / deviation


class FCMAE(Objective):
    """A visible-only encoder, and a decoder of 1 x 1, mask token, `decoder_depth` dense V2 blocks, 1 x 1.

    The loss is the squared error averaged over the pixels of removed cells, all of the batch together; `norm_pix`
    predicts each cell normalised by its own statistics. The decoder keeps its GRN blocks whatever the encoder has,
    so arms differ in the encoder alone.

    `init="ours"` leaves the encoder as it comes and draws the decoder's weights with std .02. `init="official"` repeats
    the official double initialisation: the encoder's stem, depthwise and linear weights and the decoder's convolutions
    (embed, depthwise, predict) are drawn again with std 1, the downsampling with .02, the decoder's own linear layers
    keep PyTorch's default, weights and biases; every other bias is 0. All are functions of (`seed`, name): with an
    encoder built from the same seed the two differ in scale alone where std differs (the cut at +-2 apart), and share
    the downsampling, the mask token, norms, GRN and LayerScale exactly.
    """

    def __init__(
        self,
        encoder: ConvNeXt,
        *,
        mask_ratio: float = 0.6,
        decoder_dim: int = 512,
        decoder_depth: int = 1,
        norm_pix: bool = True,
        init: Literal["ours", "official"] = "ours",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not 0 < mask_ratio < 1:
            raise ValueError(f"mask_ratio must lie between 0 and 1, got {mask_ratio}")
        if decoder_dim < 1 or decoder_depth < 0:
            raise ValueError(f"a decoder is 1 wide or more and 0 deep or more, got {decoder_dim} and {decoder_depth}")
        if init not in ("ours", "official"):
            raise ValueError(f"init is 'ours' or 'official', got {init!r}")
        self.encoder = encoder
        self.mask_ratio = mask_ratio
        self.norm_pix = norm_pix
        self.mask_token = nn.Parameter(torch.empty(decoder_dim))
        self.embed = nn.Linear(encoder.channels, decoder_dim)
        self.decoder = nn.ModuleList(Block(decoder_dim, "grn", None) for _ in range(decoder_depth))
        self.predict = nn.Linear(decoder_dim, encoder.stride**2 * encoder.in_channels)
        for name in ("embed", "decoder", "predict"):
            initialise(getattr(self, name), seed, prefix=f"{name}.")
        fill(self.mask_token, seed, "mask_token", lambda value, source: value.normal_(std=0.02, generator=source))
        if init == "official":
            self._initialise_officially(seed)

    def forward(
        self,
        images: Tensor,
        labels: Tensor | None = None,
        *,
        generator: Randomness = None,
        removed: Tensor | None = None,
    ) -> Reconstruction:
        """Remove cells (`removed`, or drawn from `generator`), encode the others, predict and score the removed ones.

        A given `removed` may keep a different number of cells in each image, but must remove at least one in all
        (the loss is an average over removed cells: of none it is NaN).
        """
        self.encoder.check(images)
        rows, columns = images.shape[2] // self.encoder.stride, images.shape[3] // self.encoder.stride
        keep = None
        if removed is None:
            keep = kept_cells(rows * columns, self.mask_ratio)
            removed = random_removed(len(images), rows * columns, self.mask_ratio, generator, images.device)
        encoded = self.encoder.forward_masked(images, removed, keep=keep, generator=generator)
        prediction = self._decode(encoded, removed)
        target = patches(images, self.encoder.stride)
        if self.norm_pix:
            target = normalised(target)
        error = (prediction - target).square().mean(dim=-1)  # (N, L)
        loss = (error * removed).sum() / removed.sum()
        return Reconstruction(loss=loss, prediction=prediction, target=target, removed=removed)

    def _decode(self, encoded: Tensor, removed: Tensor) -> Tensor:
        tokens, grid = AllPositions.of(encoded)
        tokens = torch.where(removed[:, :, None], self.mask_token.to(tokens.dtype), self.embed(tokens))
        for block in self.decoder:
            tokens = block(tokens, grid)
        prediction: Tensor = self.predict(tokens)
        return prediction

    def _initialise_officially(self, seed: int) -> None:
        for name, module in self.encoder.named_modules():
            if isinstance(module, Stem | Depthwise | nn.Linear) and name != "head":
                initialise(module, seed, prefix=f"{name}.", std=1.0)
            elif isinstance(module, Downsample):
                initialise(module, seed, prefix=f"{name}.", std=0.02)
        for name, module in self.named_modules():
            if name in ("embed", "predict") or (name.startswith("decoder.") and isinstance(module, Depthwise)):
                initialise(module, seed, prefix=f"{name}.", std=1.0)
            elif name.startswith("decoder.") and isinstance(module, nn.Linear):
                _default_linear(module, seed, f"{name}.")


def _default_linear(module: nn.Linear, seed: int, prefix: str) -> None:
    """PyTorch's own initial values of a linear layer: weights and biases uniform within 1 / sqrt(inputs)."""
    bound = module.in_features**-0.5
    for name, parameter in module.named_parameters():
        fill(parameter, seed, prefix + name, lambda value, source: value.uniform_(-bound, bound, generator=source))
