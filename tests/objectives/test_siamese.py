"""Two views with one embedding: what the losses are worth, and where gradients flow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from collapse_lab.draws import Draws
from collapse_lab.metrics.embedding import embedding_std as metric
from collapse_lab.objectives.siamese import (
    SimSiam,
    VICReg,
    covariance_term,
    embedding_std,
    negative_cosine,
    perceptron,
    variance_term,
)
from collapse_lab.stats.accumulate import stats_of
from tests.objectives.encoders import pictures, small
from tests.tolerances import EXACT32, EXACT64, PINNED

DRAWN = Draws(seed=1, step=5, index=torch.arange(4))
SAME = {"crop": (1.0, 1.0), "flip": False, "jitter": 0.0}
"""Both views are the image itself."""


def rows(count: int = 30, channels: int = 5, seed: int = 0) -> Tensor:
    return torch.randn(count, channels, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def orthogonal(scale: float, count: int = 16, channels: int = 4) -> Tensor:
    """Centred rows whose channels are uncorrelated and have this deviation, over count - 1."""
    centred = rows(count, channels) - rows(count, channels).mean(dim=0)
    return torch.linalg.qr(centred).Q * (count - 1) ** 0.5 * scale


def simsiam(**options: object) -> SimSiam:
    return SimSiam(small(), projector_dim=6, predictor_dim=3, **options).double().train()


def vicreg(**options: object) -> VICReg:
    return VICReg(small(), expander_dim=6, embedding_dim=6, **options).double().train()


def test_the_negative_cosine_of_equal_opposite_and_orthogonal_rows():
    one = rows()
    assert negative_cosine(one, 3 * one).item() == pytest.approx(-1, rel=PINNED)
    assert negative_cosine(one, -one).item() == pytest.approx(1, rel=PINNED)
    axes = torch.eye(4, dtype=torch.float64)
    assert negative_cosine(axes, axes.roll(1, 0)) == 0
    assert negative_cosine(torch.zeros_like(axes), axes) == 0


def test_the_negative_cosine_is_the_mean_over_images():
    one, other = rows(), rows(seed=1)
    cosines = [(a @ b) / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(one.numpy(), other.numpy(), strict=True)]
    assert negative_cosine(one, other).item() == pytest.approx(-np.mean(cosines), rel=EXACT64)


@pytest.mark.parametrize(("scale", "expected"), [(1.0, 0.0), (3.0, 0.0), (0.5, 1 - (0.25 + 1e-4) ** 0.5), (0.0, 0.99)])
def test_the_variance_term_is_zero_from_a_deviation_of_one_on(scale, expected):
    assert variance_term(orthogonal(scale)).item() == pytest.approx(expected, abs=PINNED)


def test_the_variance_term_judges_every_channel_by_itself():
    mixed = orthogonal(1.0) * torch.tensor([5.0, 1.0, 0.5, 0.0])
    expected = np.mean([max(0, 1 - (float(channel.var(ddof=1)) + 1e-4) ** 0.5) for channel in mixed.numpy().T])
    assert variance_term(mixed).item() == pytest.approx(expected, rel=EXACT64)
    assert variance_term(mixed + 7).item() == pytest.approx(expected, rel=EXACT64)


def test_the_covariance_term_is_zero_for_uncorrelated_channels_and_largest_for_copies():
    assert covariance_term(orthogonal(2.0)).item() == pytest.approx(0, abs=PINNED)
    copies = orthogonal(1.0)[:, :1].expand(-1, 4)
    assert covariance_term(copies).item() == pytest.approx(3, rel=PINNED)


def test_the_covariance_term_is_the_sum_over_pairs_of_channels():
    found = np.cov(rows().numpy().T)
    expected = sum(found[i, j] ** 2 for i in range(5) for j in range(5) if i != j) / 5
    assert covariance_term(rows()).item() == pytest.approx(expected, rel=EXACT64)
    with torch.autocast("cpu", torch.bfloat16):
        assert covariance_term(rows().float()).item() == pytest.approx(expected, rel=EXACT32)


def test_one_image_alone_has_neither_variance_nor_covariance():
    assert variance_term(rows(1)).item() == pytest.approx(0.99, rel=PINNED)
    assert covariance_term(rows(1)) == 0


def test_the_logged_spread_is_the_metric_of_that_name():
    found = embedding_std(rows(200, 8) + 0.5).item()
    assert found == pytest.approx(metric(stats_of(rows(200, 8) + 0.5, layout="image channel")), rel=1e-9)
    assert embedding_std(torch.ones(9, 4, dtype=torch.float64)) == 0


def test_simsiam_is_the_mean_of_both_ways():
    objective = simsiam()
    outcome = objective(pictures(), generator=DRAWN)
    first, second = simsiam().embedded_views(pictures(), DRAWN)
    one, other = (objective.predictor(each[:, None])[:, 0] for each in (first, second))
    expected = (negative_cosine(one, second) + negative_cosine(other, first)) / 2
    assert outcome.loss.item() == pytest.approx(expected.item(), rel=EXACT64)
    assert -1 <= outcome.loss.item() <= 1
    spread = (embedding_std(first) + embedding_std(second)) / 2
    assert outcome.metrics["embedding_std"].item() == pytest.approx(spread.item(), rel=EXACT64)


def test_equal_views_that_are_predicted_as_they_are_cost_least():
    objective = simsiam(**SAME)
    objective.predictor = nn.Identity()
    assert objective(pictures(), generator=DRAWN).loss.item() == pytest.approx(-1, rel=EXACT64)


def gradient(objective: SimSiam) -> dict[str, Tensor]:
    objective(pictures(), generator=DRAWN).loss.backward()
    return {name: value.grad for name, value in objective.named_parameters() if value.grad is not None}


@pytest.mark.parametrize("stop_gradient", [True, False])
def test_the_target_carries_a_gradient_only_without_stop_gradient(stop_gradient):
    objective = simsiam(stop_gradient=stop_gradient)
    # A predictor that gives a constant: what the encoder still learns came through the target.
    nn.init.zeros_(objective.predictor[-1].weight)
    nn.init.ones_(objective.predictor[-1].bias)
    found = gradient(objective)
    through = max(value.abs().max() for name, value in found.items() if name.startswith("encoder."))
    assert (through == 0) == stop_gradient
    assert found["predictor.3.bias"].abs().max() > 0


def test_with_stop_gradient_the_gradient_is_that_of_constant_targets():
    objective, other = simsiam(), simsiam()
    first, second = (each.detach() for each in other.embedded_views(pictures(), DRAWN))
    one, two = (other.predictor(each[:, None])[:, 0] for each in other.embedded_views(pictures(), DRAWN))
    ((negative_cosine(one, second) + negative_cosine(two, first)) / 2).backward()
    for name, value in gradient(objective).items():
        torch.testing.assert_close(value, other.get_parameter(name).grad, rtol=EXACT64, atol=EXACT64)


def test_vicreg_is_the_weighted_sum_of_its_terms():
    outcome = vicreg()(pictures(), generator=DRAWN)
    first, second = (each.detach().numpy() for each in vicreg().embedded_views(pictures(), DRAWN))
    invariance = np.mean((first - second) ** 2)
    variance = np.mean([np.maximum(0, 1 - np.sqrt(each.var(axis=0, ddof=1) + 1e-4)).mean() for each in (first, second)])
    covariances = [np.cov(each.T) for each in (first, second)]
    covariance = sum((np.sum(each**2) - np.sum(np.diag(each) ** 2)) / 6 for each in covariances)
    expected = 25 * invariance + 25 * variance + covariance
    assert outcome.loss.item() == pytest.approx(expected, rel=EXACT64)
    told = {"invariance": invariance, "variance": variance, "covariance": covariance}
    assert {name: value.item() for name, value in outcome.metrics.items()} == pytest.approx(told, rel=EXACT64)


@pytest.mark.parametrize("term", ["invariance", "variance", "covariance"])
def test_a_weight_of_zero_turns_a_term_off(term):
    off = vicreg(**{name: 0.0 for name in ("invariance", "variance", "covariance") if name != term} | {term: 3.0})
    outcome = off(pictures(), generator=DRAWN)
    assert outcome.loss.item() == pytest.approx(3 * outcome.metrics[term].item(), rel=PINNED)


def test_equal_views_have_no_invariance_to_learn():
    assert vicreg(**SAME)(pictures(), generator=DRAWN).metrics["invariance"].item() == pytest.approx(0, abs=EXACT64)


def test_an_embedding_is_of_the_image_itself_and_in_eval_mode_of_each_alone():
    objective = simsiam()
    objective(pictures(), generator=DRAWN)  # moves what is running
    objective.eval()
    whole = objective.embedding(pictures())
    assert whole.shape == (4, 6)
    alone = torch.cat([objective.embedding(image[None]) for image in pictures()])
    assert (whole - alone).abs().max() < EXACT64
    pooled = objective.encoder(pictures())
    assert torch.equal(whole, objective.projector(pooled[:, None])[:, 0])


def test_both_views_move_the_running_statistics_and_eval_mode_leaves_them():
    objective = simsiam(**SAME)
    pooled = objective.encoder(pictures())
    inside = objective.projector[0](pooled)
    objective(pictures(), generator=DRAWN)
    assert (objective.projector[1].running_mean - (1 - 0.9**2) * inside.mean(dim=0)).abs().max() < EXACT64
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    objective.eval()(pictures(), generator=DRAWN)
    assert all(torch.equal(value, before[name]) for name, value in objective.state_dict().items())


def test_drop_path_of_the_two_views_is_drawn_apart():
    encoder = small(drop_path=0.9)
    objective = VICReg(encoder, expander_dim=6, embedding_dim=6, **SAME).double().train()
    assert objective(pictures(), generator=DRAWN).metrics["invariance"] > 1e-6


def test_the_networks_are_as_wide_and_deep_as_the_papers():
    shapes = [tuple(value.shape) for value in perceptron(8, 6, 6, 6).parameters()]
    assert shapes == [(6, 8), (6,), (6,), (6, 6), (6,), (6,), (6, 6)]
    assert [type(layer).__name__ for layer in simsiam().projector] == ["Linear", "BN", "ReLU"] * 2 + ["Linear", "BN"]
    assert type(simsiam(output_norm=False).projector[-1]).__name__ == "Linear"
    assert [type(layer).__name__ for layer in simsiam().predictor] == ["Linear", "BN", "ReLU", "Linear"]
    assert [type(layer).__name__ for layer in vicreg().projector] == ["Linear", "BN", "ReLU"] * 2 + ["Linear"]


def test_weights_that_make_no_loss_are_refused():
    with pytest.raises(ValueError, match="one of them above"):
        vicreg(invariance=0.0, variance=0.0, covariance=0.0)
    with pytest.raises(ValueError, match="0 or more"):
        vicreg(covariance=-1.0)
