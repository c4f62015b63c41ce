"""Masked autoencoder (He et al. 2022): a ViT sees visible patches alone, a smaller one predicts the others' pixels."""

from __future__ import annotations

from torch import Tensor, nn

from collapse_lab.draws import Randomness
from collapse_lab.models.block import initialise_xavier
from collapse_lab.models.encoder import Encoder
from collapse_lab.models.grid import AllPositions
from collapse_lab.models.vit import ViT
from collapse_lab.objectives.autoencoder import MaskedAutoencoder
from collapse_lab.objectives.decoders import TransformerDecoder


class MAE(MaskedAutoencoder):
    """A ViT on visible patches, a linear map to `decoder_dim`, mask tokens, a transformer, a linear map to pixels.

    The decoder has `decoder_depth` blocks of `decoder_heads` heads, positions of its own and a norm, and sees the class
    token. Defaults are the original's, whose `norm_pix` is off; its best results have it on, and so has ours. Initial
    values are those of `initialise_xavier` and `fill_token`, functions of (`seed`, name).
    """

    encoder: ViT

    def __init__(
        self,
        encoder: Encoder,
        *,
        mask_ratio: float = 0.75,
        decoder_dim: int = 512,
        decoder_depth: int = 8,
        decoder_heads: int = 16,
        norm_pix: bool = True,
        seed: int = 0,
    ) -> None:
        if not isinstance(encoder, ViT):
            raise TypeError(f"mae trains a ViT, got a {type(encoder).__name__}; a ConvNeXt is trained by fcmae")
        super().__init__(encoder, mask_ratio=mask_ratio, decoder_dim=decoder_dim, norm_pix=norm_pix, seed=seed)
        if decoder_depth < 0:
            raise ValueError(f"a decoder is 0 deep or more, got {decoder_depth}")
        self.embed = nn.Linear(encoder.channels, decoder_dim)
        self.decoder = TransformerDecoder(decoder_dim, decoder_depth, encoder.stride, decoder_heads)
        self.predict = nn.Linear(decoder_dim, encoder.stride**2 * encoder.in_channels)
        for name in ("embed", "decoder", "predict"):
            initialise_xavier(getattr(self, name), seed, prefix=f"{name}.")

    def _predicted(self, images: Tensor, removed: Tensor, keep: int | None, generator: Randomness) -> Tensor:
        class_token, seen = self.encoder.encode_visible(images, removed, keep=keep, generator=generator)
        cells, grid = AllPositions.of(seen)
        tokens = self._put_token(self.embed(cells), removed)
        prediction: Tensor = self.predict(self.decoder(tokens, grid, self.embed(class_token)))
        return prediction
