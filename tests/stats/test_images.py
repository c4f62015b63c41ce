"""Sums over images of what lies inside one image, against loops over pairs."""

from __future__ import annotations

import pytest
import torch

from collapse_lab.stats.images import ImageSums, per_image
from collapse_lab.stats.inside import InsideSums
from tests import reference
from tests.metrics.planted import features
from tests.tolerances import EXACT64, ORDER


def image_sums(x: torch.Tensor, present: torch.Tensor, eps: float = 0.0) -> ImageSums:
    sums = InsideSums(1, x.shape[2], x.device)
    sums.add(per_image(x, present, eps), torch.ones(1, len(x), dtype=torch.float64))
    return sums.of_group(0)


def ragged(images: int = 8, positions: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Features and present positions, from none to all of an image."""
    present = torch.arange(positions) < torch.arange(images)[:, None].clamp(max=positions)
    return features(6, images=images, positions=positions).masked_fill(~present[:, :, None], 0.0), present


def test_sums_are_those_of_the_present_positions_image_by_image():
    x, present = ragged()
    sums = image_sums(x, present)
    images = [image[seen].numpy() for image, seen in zip(x, present, strict=True) if seen.sum() > 1]
    assert sums.n_spread == sums.n_positions == sums.n_channels_paper == len(images) == 6
    distances = [reference.channel_distances(image) for image in images]
    for form in ("paper", "live", "centred"):
        cosine = getattr(sums, f"channels_{form}") / getattr(sums, f"n_channels_{form}")
        assert (1 - cosine) / 2 == pytest.approx(sum(each[form] for each in distances) / 6, rel=EXACT64)
    expected = sum(reference.position_cosine_raw(image[None]) for image in images)
    assert sums.positions == pytest.approx(expected, rel=EXACT64)
    assert sums.fired.tolist() == [
        sum(bool((image[seen][:, channel] > 0).any()) for image, seen in zip(x, present, strict=True))
        for channel in range(5)
    ]
    spread = [((image - image.mean(axis=0)) ** 2).sum() / len(image) for image in images]
    assert sums.spread == pytest.approx(sum(spread), rel=EXACT64)


def test_energy_is_summed_over_the_images_that_have_a_position_with_any():
    x, present = ragged()
    x[7] = 0
    sums = image_sums(x, present)
    images = [image[seen].numpy() for image, seen in zip(x[:7], present[:7], strict=True) if seen.any()]
    assert sums.n_gate == len(images) == 6  # one of them with a single position, which has no cosine
    facts = [reference.gate_facts(image) for image in images]
    for field, name in (("variation", "variation"), ("gini", "gini"), ("largest", "largest_share")):
        expected = sum(each[f"gate_{name}"] for each in facts)
        assert getattr(sums, f"gate_{field}") == pytest.approx(expected, rel=EXACT64)
    norms = [(image**2).sum(axis=0) ** 0.5 for image in images]
    assert sums.gate.tolist() == pytest.approx(sum(each / each.mean() for each in norms).tolist(), rel=EXACT64)


def test_merging_is_one_pass():
    x, present = ragged(12)
    whole = image_sums(x, present)
    parts = image_sums(x[:5], present[:5]).merge(image_sums(x[5:9], present[5:9])).merge(image_sums(x[9:], present[9:]))
    assert parts.between == pytest.approx(whole.between, rel=EXACT64)
    assert torch.allclose(parts.mean, whole.mean, rtol=EXACT64)
    assert parts.channels_live == pytest.approx(whole.channels_live, rel=EXACT64)
    assert torch.allclose(parts.gate, whole.gate, rtol=ORDER)
    assert parts.gate_entropy == pytest.approx(whole.gate_entropy, rel=ORDER)
    assert torch.equal(parts.fired, whole.fired)


def test_a_map_that_moves_by_less_than_its_rounding_has_no_centred_direction():
    x = features(6, channels=3)
    x[:, :, 1] = 100 + 0.1 * x[:, :, 0]
    present = torch.ones(12, 4, dtype=torch.bool)
    assert image_sums(x, present, eps=1e-7).n_channels_centred == 12
    halves = image_sums(x, present, eps=torch.finfo(torch.bfloat16).eps)
    others = image_sums(x[:, :, [0, 2]], present)
    assert halves.channels_centred == pytest.approx(others.channels_centred, rel=EXACT64)
