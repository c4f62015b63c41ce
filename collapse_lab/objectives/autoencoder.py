"""What masked autoencoders have in common: which cells are removed, and how their prediction is scored."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from collapse_lab.draws import Randomness
from collapse_lab.models.block import fill_token
from collapse_lab.models.encoder import Encoder
from collapse_lab.objectives.masking import kept_cells, random_removed
from collapse_lab.objectives.outcome import Objective, Outcome
from collapse_lab.objectives.pixels import normalised, patches


@dataclass(frozen=True, kw_only=True)
class Reconstruction(Outcome):
    """`prediction` and `target` (N, L, p * p * in_channels), pixels row, column, channel; `removed` (N, L) bool."""

    prediction: Tensor
    target: Tensor
    removed: Tensor


class MaskedAutoencoder(Objective):
    """An encoder that does not see removed cells, and what predicts their pixels from it.

    The loss is the squared error averaged over the pixels of removed cells, all of the batch together; `norm_pix`
    predicts each cell normalised by its own statistics. A removed cell is `mask_token` to the decoder.
    """

    def __init__(self, encoder: Encoder, *, mask_ratio: float, decoder_dim: int, norm_pix: bool, seed: int) -> None:
        super().__init__()
        if not 0 < mask_ratio < 1:
            raise ValueError(f"mask_ratio must lie between 0 and 1, got {mask_ratio}")
        if decoder_dim < 1:
            raise ValueError(f"a decoder is 1 wide or more, got {decoder_dim}")
        self.encoder = encoder
        self.mask_ratio = mask_ratio
        self.norm_pix = norm_pix
        self.mask_token = nn.Parameter(torch.empty(decoder_dim))
        fill_token(self.mask_token, seed, "mask_token")

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
        cells = images.shape[2] * images.shape[3] // self.encoder.stride**2
        keep = None
        if removed is None:
            keep = kept_cells(cells, self.mask_ratio)
            removed = random_removed(len(images), cells, self.mask_ratio, generator, images.device)
        prediction = self._predicted(images, removed, keep, generator)
        target = patches(images, self.encoder.stride)
        if self.norm_pix:
            target = normalised(target)
        error = (prediction - target).square().mean(dim=-1)  # (N, L)
        loss = (error * removed).sum() / removed.sum()
        return Reconstruction(loss=loss, prediction=prediction, target=target, removed=removed)

    @abstractmethod
    def _predicted(self, images: Tensor, removed: Tensor, keep: int | None, generator: Randomness) -> Tensor:
        """(N, L, p * p * in_channels) of all cells; `keep` as `Encoder.forward_masked` takes it."""

    def _put_token(self, tokens: Tensor, removed: Tensor) -> Tensor:
        """`tokens` (N, L, C) with the mask token at removed cells."""
        return torch.where(removed[:, :, None], self.mask_token.to(tokens.dtype), tokens)
