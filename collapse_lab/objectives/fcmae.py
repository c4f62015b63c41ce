"""Fully convolutional masked autoencoder (Woo et al. 2023): predict the pixels of removed cells from visible ones."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from collapse_lab.draws import Randomness
from collapse_lab.models.block import Depthwise, Downsample, Stem, fill, initialise
from collapse_lab.models.convnext import ConvNeXt
from collapse_lab.models.encoder import Encoder
from collapse_lab.models.grid import AllPositions
from collapse_lab.objectives.autoencoder import MaskedAutoencoder
from collapse_lab.objectives.decoders import DECODERS
from collapse_lab.objectives.pixels import hidden_pixels


class FCMAE(MaskedAutoencoder):
    """A ConvNeXt on visible cells, a linear map to `decoder_dim`, the mask token, a decoder, a linear map to pixels.

    `decoder` is a name of DECODERS: `convnext` (the paper's; `decoder_depth` blocks), `transformer` (as many of its
    own) or `unet` (as many convolutions of 3 x 3 after each doubling of the map).

    `convolution="sparse"` is the paper's encoder, which computes visible cells alone. `"dense"` is what it is held
    against there (79.3 against 83.7 after fine-tuning, ConvNeXt-B): the pixels of removed cells become 0 and the
    encoder takes the whole map for an image, so the mask's edges are seen, and features spread over them.

    `init="ours"` leaves the encoder as it comes and draws the decoder's weights with std .02 (a transformer's by its
    own rule). `init="official"` repeats the official double initialisation: the encoder's stem, depthwise and linear
    weights and the decoder's convolutions (embed, depthwise, predict) are drawn again with std 1, the downsampling with
    .02, the decoder's own linear layers keep PyTorch's default, weights and biases; every other bias is 0. It has the
    decoder `convnext` alone. All are functions of (`seed`, name): with an encoder built from the same seed the two
    differ in scale alone where std differs (the cut at +-2 apart), and share the downsampling, the mask token, norms,
    GRN and LayerScale exactly.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        mask_ratio: float = 0.6,
        decoder: str = "convnext",
        decoder_dim: int = 512,
        decoder_depth: int = 1,
        norm_pix: bool = True,
        convolution: Literal["sparse", "dense"] = "sparse",
        init: Literal["ours", "official"] = "ours",
        seed: int = 0,
    ) -> None:
        if not isinstance(encoder, ConvNeXt):
            raise TypeError(f"fcmae trains a ConvNeXt, got a {type(encoder).__name__}; a ViT is trained by mae")
        super().__init__(encoder, mask_ratio=mask_ratio, decoder_dim=decoder_dim, norm_pix=norm_pix, seed=seed)
        if decoder_depth < 0:
            raise ValueError(f"a decoder is 0 deep or more, got {decoder_depth}")
        if convolution not in ("sparse", "dense"):
            raise ValueError(f"convolution is 'sparse' or 'dense', got {convolution!r}")
        if init not in ("ours", "official"):
            raise ValueError(f"init is 'ours' or 'official', got {init!r}")
        if init == "official" and decoder != "convnext":
            raise ValueError(f"init = official is that of the decoder convnext, not of {decoder}; take init = ours")
        self.convolution = convolution
        self.embed = nn.Linear(encoder.channels, decoder_dim)
        self.decoder = DECODERS[decoder](decoder_dim, decoder_depth, encoder.stride)
        pixels = (encoder.stride // self.decoder.finer) ** 2
        self.predict = nn.Linear(self.decoder.channels, pixels * encoder.in_channels)
        for name in ("embed", "predict"):
            initialise(getattr(self, name), seed, prefix=f"{name}.")
        self.decoder.draw(seed, "decoder.")
        if init == "official":
            self._initialise_officially(seed)

    def _predicted(self, images: Tensor, removed: Tensor, keep: int | None, generator: Randomness) -> Tensor:
        tokens, grid = AllPositions.of(self._encoded(images, removed, keep, generator))
        tokens = self.decoder(self._put_token(self.embed(tokens), removed), grid)
        prediction: Tensor = self.predict(tokens)
        if self.decoder.finer == 1:
            return prediction
        return AllPositions(*images.shape[2:]).fold(prediction, self.encoder.stride)  # a prediction of every pixel

    def _encoded(self, images: Tensor, removed: Tensor, keep: int | None, generator: Randomness) -> Tensor:
        if self.convolution == "sparse":
            return self.encoder.forward_masked(images, removed, keep=keep, generator=generator)
        hidden = hidden_pixels(removed, self.encoder.stride, *images.shape[2:])
        return self.encoder.forward_features(images.masked_fill(hidden, 0), generator=generator)

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
