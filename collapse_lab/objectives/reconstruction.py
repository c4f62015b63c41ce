"""What a trained masked autoencoder makes of images, as images again."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from collapse_lab.draws import Randomness
from collapse_lab.objectives.autoencoder import MaskedAutoencoder
from collapse_lab.objectives.masking import random_removed
from collapse_lab.objectives.outcome import Objective
from collapse_lab.objectives.pixels import cell_statistics, from_patches, hidden_pixels, patches


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """`prediction` and `pasted` (N, C, H, W), in the values of the images that were given, not clipped.

    `prediction` holds noise at visible cells, which carry no loss; `pasted` has the images' own pixels there.
    `removed` (N, L) bool, and `hidden` (N, 1, H, W) bool the same for pixels. `error` (N,) is each image's own share
    of the loss: the squared error averaged over its removed cells, normalised ones with `norm_pix`; NaN where none is.
    """

    prediction: Tensor
    pasted: Tensor
    removed: Tensor
    hidden: Tensor
    error: Tensor


def reconstruct(
    objective: Objective,
    images: Tensor,
    *,
    removed: Tensor | None = None,
    mask_ratio: float | None = None,
    generator: Randomness = None,
) -> Pictures:
    """Remove cells (`removed`, or `mask_ratio` of them, the objective's own without it) and predict them.

    An objective with `norm_pix` predicts normalised cells: they are un-normalised with each cell's true mean and
    deviation, which are taken from the very pixels that the network does not see. Say so wherever such a picture is
    shown. The objective should be in eval mode. Raises TypeError for an objective that predicts no pixels, ValueError
    for images or masks that do not fit.
    """
    if not isinstance(objective, MaskedAutoencoder):
        raise TypeError(
            f"{type(objective).__name__} predicts no pixels of removed cells; reconstruct takes FCMAE or MAE "
            f"(a run with objective.name fcmae or mae)"
        )
    objective.encoder.check(images)
    side, (height, width) = objective.encoder.stride, images.shape[2:]
    if removed is None:
        ratio = objective.mask_ratio if mask_ratio is None else mask_ratio
        removed = random_removed(len(images), height * width // side**2, ratio, generator, images.device)
    with torch.no_grad():
        outcome = objective(images, removed=removed)
    predicted = outcome.prediction
    if objective.norm_pix:
        mean, deviation = cell_statistics(patches(images, side))
        predicted = predicted * deviation + mean
    prediction = from_patches(predicted, side, height, width)
    hidden = hidden_pixels(removed, side, height, width)
    error = (outcome.prediction - outcome.target).square().mean(dim=-1)  # (N, L)
    return Pictures(
        prediction=prediction,
        pasted=torch.where(hidden, prediction, images),
        removed=removed,
        hidden=hidden,
        error=(error * removed).sum(dim=1) / removed.sum(dim=1),
    )
