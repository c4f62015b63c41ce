"""Two views of an image are to have one embedding: SimSiam and VICReg. What keeps each from collapse can be removed.

Without its stop-gradient SimSiam comes to one embedding for all images, without its covariance term VICReg to
embeddings of few directions: controls, which show that a verdict finds collapse where it is known to be.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from collapse_lab.draws import Randomness
from collapse_lab.models.block import initialise
from collapse_lab.models.encoder import Encoder
from collapse_lab.models.responses.norms import BN
from collapse_lab.objectives.outcome import Objective, Outcome
from collapse_lab.objectives.views import Views, for_view


class TwoViews(Objective):
    """An encoder, and a projector on its features averaged over positions; what is compared are its embeddings.

    The projector has batch normalisation (`BN`), each view by itself as in the papers. In training its statistics are
    those of what is computed at once: the images of one process, and of one part where a batch is computed in several
    (compute.accumulate), so other numbers of ranks and parts are another training, not the same up to rounding. In eval
    mode they are the running ones, of the first process, which checkpoints hold. One image alone has none: the training
    loop refuses it. Labels are not needed.
    """

    least_images = 2

    def __init__(self, encoder: Encoder, *, crop: tuple[float, float], flip: bool, jitter: float, noise: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.views = Views(crop=(crop[0], crop[1]), flip=flip, jitter=jitter, noise=noise)
        self.projector = nn.Sequential()

    def embedding(self, images: Tensor, *, generator: Randomness = None) -> Tensor:
        """(N, D): what the projector makes of images as they are, not of views; capture it in eval mode.

        `cl.stats_of(objective.embedding(images), layout="image channel")` are its statistics.
        """
        pooled = self.encoder.forward_features(images, generator=generator).mean(dim=(2, 3))
        embedded: Tensor = self.projector(pooled[:, None])[:, 0]  # one position an image: Features (N, 1, C)
        return embedded.float() if embedded.dtype in (torch.float16, torch.bfloat16) else embedded

    def embedded_views(self, images: Tensor, generator: Randomness) -> Iterator[Tensor]:
        """The embeddings (N, D) of two random views, one after the other."""
        for number in (0, 1):
            source = for_view(generator, number)
            yield self.embedding(self.views.of(images, source), generator=source)


class SimSiam(TwoViews):
    """The negative cosine of one view's prediction and the other view's embedding, both ways (Chen & He 2021).

    Projector: three linear layers of `projector_dim`, BN behind each, ReLU between; predictor: `projector_dim` to
    `predictor_dim`, BN, ReLU, and back. The loss, in [-1, 1], is the mean of -cos(p1, z2) and -cos(p2, z1). With
    `stop_gradient` the embedding z is a constant there; without it nothing keeps the constant solution away.

    `output_norm=False` leaves out the BN behind the projector's last layer, the paper's "hidden-only" (table 3, nearly
    as good there). With it a collapse is slow: every batch is spread out again, so embeddings first come to one line.
    It has weight and bias, as the paper describes it; the published code's has none. The metric `embedding_std` is the
    paper's measure, see the metric of that name, averaged over views.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        stop_gradient: bool = True,
        projector_dim: int = 2048,
        predictor_dim: int = 512,
        output_norm: bool = True,
        crop: tuple[float, float] = (0.2, 1.0),
        flip: bool = True,
        jitter: float = 0.4,
        noise: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__(encoder, crop=crop, flip=flip, jitter=jitter, noise=noise)
        self.stop_gradient = stop_gradient
        self.projector = perceptron(encoder.channels, projector_dim, projector_dim, projector_dim)
        if output_norm:
            self.projector.append(BN(projector_dim))
        self.predictor = perceptron(projector_dim, predictor_dim, projector_dim, bias=True)
        for name in ("projector", "predictor"):
            initialise(getattr(self, name), seed, prefix=f"{name}.")

    def forward(self, images: Tensor, labels: Tensor | None = None, *, generator: Randomness = None) -> Outcome:
        first, second = self.embedded_views(images, generator)
        ahead, back = (self.predictor(each[:, None])[:, 0] for each in (first, second))
        loss = (self._loss(ahead, second) + self._loss(back, first)) / 2
        spread = (embedding_std(first.detach()) + embedding_std(second.detach())) / 2
        return Outcome(loss=loss, metrics={"embedding_std": spread})

    def _loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        return negative_cosine(prediction, target.detach() if self.stop_gradient else target)


class VICReg(TwoViews):
    """Invariance, variance and covariance of the embeddings of two views, weighted and added (Bardes et al. 2022).

    The loss is `invariance` x the mean squared difference of the views, plus `variance` x the mean of `variance_term`
    over the views, plus `covariance` x the sum of `covariance_term` over the views; a weight of 0 turns a term off.
    These are the published code's scales (the paper's formulas sum squared differences over channels, and variance over
    views). The projector is the paper's expander: linear layers of `expander_dim`, `expander_dim` and `embedding_dim`
    (all 8,192 there), BN and ReLU between. The metrics are the three terms without their weights, on or off.

    Variance and covariance are those of the images that are computed at once, in eval mode too, where the paper gathers
    them from all processes: what is said of the test images is a mean over batches.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
        expander_dim: int = 8192,
        embedding_dim: int = 8192,
        crop: tuple[float, float] = (0.2, 1.0),
        flip: bool = True,
        jitter: float = 0.4,
        noise: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__(encoder, crop=crop, flip=flip, jitter=jitter, noise=noise)
        self.weights = {"invariance": invariance, "variance": variance, "covariance": covariance}
        if min(self.weights.values()) < 0 or not any(self.weights.values()):
            raise ValueError(f"the weights are 0 or more, and one of them above, got {self.weights}")
        self.projector = perceptron(encoder.channels, expander_dim, expander_dim, embedding_dim)
        initialise(self.projector, seed, prefix="projector.")

    def forward(self, images: Tensor, labels: Tensor | None = None, *, generator: Randomness = None) -> Outcome:
        first, second = self.embedded_views(images, generator)
        terms = {
            "invariance": F.mse_loss(first, second),
            "variance": (variance_term(first) + variance_term(second)) / 2,
            "covariance": covariance_term(first) + covariance_term(second),
        }
        on = [weight * terms[name] for name, weight in self.weights.items() if weight]  # 0 x infinity would not be off
        return Outcome(loss=torch.stack(on).sum(), metrics={name: value.detach() for name, value in terms.items()})


def perceptron(*widths: int, bias: bool = False) -> nn.Sequential:
    """Linear layers without bias, BN and ReLU between; the last one has a bias where `bias`. On Features (N, 1, C)."""
    layers: list[nn.Module] = []
    for inside, width in pairwise(widths[:-1]):
        layers += [nn.Linear(inside, width, bias=False), BN(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1], bias=bias))


def negative_cosine(prediction: Tensor, target: Tensor) -> Tensor:
    """Less the mean cosine of the rows of two (N, D); a zero row counts as 0."""
    return -F.cosine_similarity(prediction.to(target.dtype), target, dim=1).mean()


def embedding_std(rows: Tensor) -> Tensor:
    """Mean over channels of the deviation of unit-length rows (N, D), times sqrt(D): 1 spread evenly, 0 all one way."""
    return F.normalize(rows, dim=1).std(dim=0, correction=0).mean() * math.sqrt(rows.shape[1])


def variance_term(rows: Tensor) -> Tensor:
    """Mean over channels of max(0, 1 - sqrt(variance + 1e-4)), rows (N, D), the variance over N - 1.

    0 where every channel has a deviation of 1 or more, .99 of constant rows; of one row the variance is taken as 0.
    """
    centred = rows - rows.mean(dim=0)
    variance = centred.square().sum(dim=0) / max(1, len(rows) - 1)
    return F.relu(1 - (variance + 1e-4).sqrt()).mean()


def covariance_term(rows: Tensor) -> Tensor:
    """Sum of the squared covariances of two different channels, over the number of channels; rows (N, D).

    0 where channels are uncorrelated, D - 1 of equal channels of unit variance. In full precision under autocast too.
    """
    with _without_autocast(rows.device):
        centred = rows - rows.mean(dim=0)
        covariance = centred.T @ centred / max(1, len(rows) - 1)
        return 2 * covariance.triu(1).square().sum() / rows.shape[1]


def _without_autocast(device: torch.device) -> AbstractContextManager[object]:
    known = torch.amp.is_autocast_available(device.type)
    return torch.autocast(device.type, enabled=False) if known else nullcontext()
