"""Classification: cross entropy of a network with a head."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from collapse_lab.draws import Randomness
from collapse_lab.models.encoder import Encoder
from collapse_lab.objectives.mixing import erase, mix
from collapse_lab.objectives.outcome import Objective, Outcome


class Supervised(Objective):
    """Cross entropy with label smoothing, on images erased, then mixed (see `objectives.mixing`), while it trains.

    Label smoothing (Szegedy et al. 2016) s gives every class s / classes and the image's own 1 - s besides. In eval
    mode images and labels are as they come, the loss is the plain cross entropy, and the metrics are the shares of
    images whose label has the highest logit (`top1`) or one of the five highest (`top5`, with more than five classes).
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        label_smoothing: float = 0.0,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        erasing: float = 0.0,
        seed: int = 0,
    ) -> None:
        """`seed` is taken as all objectives take it; the head's initial values are the encoder's."""
        super().__init__()
        if encoder.head is None:
            raise ValueError("the objective supervised needs a network with a head; say its classes (model.classes)")
        if not (0 <= label_smoothing < 1 and 0 <= erasing <= 1):
            raise ValueError(f"label_smoothing and erasing are shares, got {label_smoothing} and {erasing}")
        if mixup < 0 or cutmix < 0:
            raise ValueError(f"mixup and cutmix are parameters of a Beta distribution or 0, got {mixup} and {cutmix}")
        self.encoder = encoder
        self.classes = encoder.head.out_features
        self.label_smoothing = label_smoothing
        self.mixup = mixup
        self.cutmix = cutmix
        self.erasing = erasing

    def forward(self, images: Tensor, labels: Tensor | None = None, *, generator: Randomness = None) -> Outcome:
        """`labels` (N,) int64, all 0 or more. Raises ValueError without them.

        A label that is not below the number of classes, or is none (-1), is refused where the data are opened, not
        here: to look at it would wait for the device.
        """
        if labels is None:
            raise ValueError("the objective supervised needs labels, got none")
        if not self.training:
            return self._judged(self.encoder(images, generator=generator), labels)
        if self.erasing:
            images = erase(images, self.erasing, generator)
        if not (self.mixup or self.cutmix):
            return Outcome(loss=self._entropy(self.encoder(images, generator=generator), labels))
        mixed = mix(images, self.mixup, self.cutmix, generator)
        logits = self.encoder(mixed.images, generator=generator)
        own, others = self._entropy(logits, labels), self._entropy(logits, labels[mixed.partner])
        return Outcome(loss=mixed.share * own + (1 - mixed.share) * others)  # cross entropy is linear in the target

    def _entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)

    def _judged(self, logits: Tensor, labels: Tensor) -> Outcome:
        best = logits.topk(min(5, self.classes), dim=1).indices == labels[:, None]  # (N, 5)
        metrics = {"top1": best[:, 0].double().mean()}
        if self.classes > 5:
            metrics["top5"] = best.any(dim=1).double().mean()
        return Outcome(loss=F.cross_entropy(logits, labels), metrics=metrics)
