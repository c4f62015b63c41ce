"""Leave-one-group-out values from influence functions, against leaving the groups out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from collapse_lab.capture import budget
from collapse_lab.findings import influence
from collapse_lab.findings.influence import (
    estimated_without_each,
    of_effective_rank,
    of_participation_ratio,
    of_stable_rank,
    of_variance_share,
)
from collapse_lab.findings.leading import stable_rank_interval, tied_stable_rank
from collapse_lab.findings.replicates import TIED, without_each
from collapse_lab.findings.table import capture
from collapse_lab.findings.uncertainty import jackknife
from collapse_lab.metrics._metric import HEADLINE, METRICS, measure
from collapse_lab.stats.accumulate import Accumulator
from collapse_lab.stats.layer import LayerStats
from tests.capture.small import LAYOUT, SITES, Small, images
from tests.metrics.planted import normal, of_rows
from tests.tolerances import EXACT64

SPECTRAL = ("effective_rank", "participation_ratio", "stable_rank", "variance_share")
INFLUENCES = {
    "variance_share": of_variance_share,
    "participation_ratio": of_participation_ratio,
    "stable_rank": of_stable_rank,
    "effective_rank": of_effective_rank,
}


def power_law(images: int, channels: int, seed: int = 0, positions: int = 1) -> Tensor:
    x = normal(images, positions, channels, seed=seed) + normal(images, 1, channels, seed=seed + 1)
    return x * torch.arange(1.0, channels + 1).double() ** -0.7 + 0.3


def both(x: Tensor, policy: str, keep: int = 0) -> tuple[LayerStats, dict[str, list[float]], dict[str, list[float]]]:
    """The statistics, and leave-one-out values taken exactly and by influence."""
    found = []
    for wide, summary in ((False, without_each), (True, estimated_without_each)):
        accumulator = Accumulator((policy,), groups=16, keep=keep, wide=wide)
        for part in torch.arange(len(x)).split(150):
            accumulator.update(x[part], part)
        whole, _ = accumulator.compute(policy)
        left_out, sizes = accumulator.left_out(policy)
        found.append((whole, summary(whole, left_out, sizes), sizes))
    (whole, exact, sizes), (_, estimated, other_sizes) = found
    assert sizes == other_sizes
    return whole, exact, estimated


@pytest.mark.parametrize("name", INFLUENCES)
def test_influence_is_the_derivative_in_the_weight_of_a_row(name):
    x = power_law(60, 5)[:, 0]
    whole, few = of_rows(x), 1e-6
    influence_of = INFLUENCES[name](whole, x - whole.mean)
    assert influence_of.mean().item() == pytest.approx(0, abs=1e-9)
    for place in (0, 17):
        weight = torch.full((60,), (1 - few) / 60, dtype=torch.float64)
        weight[place] += few
        mean = weight @ x
        covariance = (x - mean).T @ ((x - mean) * weight[:, None])
        values = torch.linalg.eigvalsh(covariance).clamp(min=0)
        share = values.sqrt() / values.sqrt().sum()
        moved = {
            "variance_share": values.sum() / (values.sum() + mean @ mean),
            "participation_ratio": values.sum() ** 2 / values.square().sum(),
            "stable_rank": values.sum() / values.max(),
            "effective_rank": torch.special.entr(share).sum().exp(),
        }[name].item()
        slope = (moved - METRICS[name].function(whole)) / few
        assert slope == pytest.approx(influence_of[place].item(), rel=1e-3, abs=1e-3)


def test_the_influence_on_several_directions_is_that_on_their_mean(monkeypatch):
    x = power_law(90, 6)[:, 0]
    whole = of_rows(x)
    y = x - whole.mean
    direct = of_stable_rank(whole, y, 2)
    monkeypatch.setattr(influence, "FEW", 0.5)  # one after another instead of all at once
    assert torch.allclose(of_stable_rank(whole, y, 2), direct, rtol=1e-6, atol=1e-9)
    assert of_stable_rank(whole, y, 6).abs().max().item() == pytest.approx(0, abs=1e-9)  # then it is 6 whatever comes
    assert tied_stable_rank(whole, 6) == pytest.approx(6, rel=EXACT64)


@pytest.mark.parametrize("policy", ["pooled", "sampled:2"])
def test_the_variance_is_that_of_leaving_groups_out(policy):
    whole, exact, estimated = both(power_law(1600, 12, positions=4), policy, keep=4000)
    sizes = [100] * 16
    assert set(estimated) >= set(HEADLINE)
    for name in (*SPECTRAL, "pair_cosine_centred"):
        value = measure(name, whole).value
        one, other = jackknife(value, exact[name], sizes), jackknife(value, estimated[name], sizes)
        assert math.sqrt(other.variance) == pytest.approx(math.sqrt(one.variance), rel=0.1), name
        assert np.corrcoef(exact[name], estimated[name])[0, 1] > 0.98, name


def test_what_lies_inside_images_is_exact():
    _, exact, estimated = both(power_law(300, 6, positions=5), "pooled")
    for name in ("channel_cosine_distance_live", "position_cosine_centred"):
        assert estimated[name] == pytest.approx(exact[name], rel=EXACT64)
    assert exact["channel_cosine_distance_live"] != pytest.approx([exact["channel_cosine_distance_live"][0]] * 16)


def test_a_channel_that_one_group_alone_fires_is_dead_without_it():
    x = power_law(320, 6)
    x[:, :, 4:] = 0
    x[7, :, 4] = 1
    _, exact, estimated = both(x, "pooled")
    assert estimated["dead_channels"] == pytest.approx(exact["dead_channels"])
    assert sorted(set(estimated["dead_channels"])) == pytest.approx([1 / 6, 2 / 6])


def test_fewer_kept_rows_give_the_same_variance_with_more_noise():
    x, deviations = power_law(4000, 8), []
    for keep in (4000, 1000):
        accumulator = Accumulator(("all",), groups=16, keep=keep, wide=True)
        accumulator.update(x, torch.arange(4000))
        whole, _ = accumulator.compute("all")
        left_out, sizes = accumulator.left_out("all")
        values = estimated_without_each(whole, left_out, sizes)
        deviations.append(jackknife(measure("participation_ratio", whole).value, values["participation_ratio"], sizes))
    assert math.sqrt(deviations[1].variance) == pytest.approx(math.sqrt(deviations[0].variance), rel=0.35)


def test_tied_directions_are_left_out_together():
    x = normal(800, 1, 12, seed=4) * torch.where(torch.arange(12) < 3, 1.0, 0.1)
    whole, exact, estimated = both(x, "pooled")
    sizes = [50] * 16
    one = stable_rank_interval(whole, exact["stable_rank"], exact[TIED], sizes)
    other = stable_rank_interval(whole, estimated["stable_rank"], estimated[TIED], sizes)
    assert (one.low, one.high) == pytest.approx((other.low, other.high), rel=0.05)


def test_below_ten_rows_a_channel_the_ranks_have_no_values():
    _, _, estimated = both(power_law(100, 30), "pooled")
    assert {"effective_rank", "participation_ratio"}.isdisjoint(estimated)
    assert {"stable_rank", "variance_share"} <= set(estimated)


def test_without_kept_rows_only_what_lies_inside_images_has_values():
    _, _, estimated = both(power_law(200, 6, positions=3), "all")
    assert set(estimated) == {"channel_cosine_distance_live", "position_cosine_centred"}


def test_a_constant_layer_has_no_estimate_and_no_error():
    _, _, estimated = both(torch.ones(100, 3, 4, dtype=torch.float64), "pooled")
    assert set(estimated) == {"channel_cosine_distance_live", "position_cosine_centred"}


def test_wide_sites_of_a_capture_have_intervals(monkeypatch):
    monkeypatch.setattr(budget, "WIDEST", 4)
    found = capture(Small(), [images(200)], sites=SITES, layout=LAYOUT)
    assert set(found.replicates) == set(found)
    assert "stable_rank" in found.replicates["conv", "pooled"].values
    assert "stable_rank" not in found.replicates["conv", "sampled:8"].values
    assert found.replicates["conv", "sampled:8"].sizes == found.replicates["head", "pooled"].sizes
