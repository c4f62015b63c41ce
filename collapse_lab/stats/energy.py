"""How an image's energy is spread over its channels: what Global Response Normalisation (GRN) gates by."""

from __future__ import annotations

import torch
from torch import Tensor


def spread_of_energy(size: Tensor) -> tuple[Tensor, Tensor]:
    """N (images, C) = G / mean over channels of G, and four facts (4, images) of each image's N.

    `size` (images, C) are the L2 norms G of the channels over the image's positions. The facts: standard deviation
    (which is the coefficient of variation, as N averages to 1), Gini coefficient, largest share max G / sum G, and exp
    of the entropy of the shares over C. An image without energy has no N: zeros, and NaN for its facts.
    """
    channels = size.shape[1]
    mean = size.mean(dim=1, keepdim=True)
    response = torch.where(mean > 0, size / mean, 0.0)
    share = response / channels
    rank = torch.arange(1, channels + 1, dtype=size.dtype, device=size.device)
    variation = (response - 1).square().mean(dim=1).sqrt()
    gini = (share.sort(dim=1).values @ (2 * rank - channels - 1) / channels).clamp(min=0)
    entropy = (torch.special.entr(share).sum(dim=1).exp() / channels).clamp(max=1)
    facts = torch.stack([variation, gini, share.amax(dim=1), entropy])
    return response, facts.masked_fill(mean[:, 0] <= 0, torch.nan)
