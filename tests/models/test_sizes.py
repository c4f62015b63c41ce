"""The named sizes: which there are, how many parameters each has, and its stride."""

from __future__ import annotations

import pytest
import torch

from collapse_lab.models.build import build_model
from collapse_lab.models.convnext import SIZES
from collapse_lab.objectives.fcmae import FCMAE

# name, V2 with 1,000 classes, V2 without, GRN alone, V1 with 1,000 classes, FCMAE (official models; huge by formula)
COUNTS = [
    ("atto", 3_708_400, 3_386_760, 14_720, 3_695_520, 7_257_992),
    ("femto", 5_233_240, 4_847_472, 17_664, 5_217_784, 8_751_472),
    ("pico", 9_066_280, 8_552_256, 23_552, 9_045_672, 12_521_792),
    ("nano", 15_623_800, 14_981_520, 34_560, 15_593_560, 19_016_592),
    ("tiny", 28_635_496, 27_864_960, 52_992, 28_589_128, 31_965_568),
    ("base", 88_717_800, 87_690_752, 144_384, 88_591_464, 91_922_432),
    ("large", 197_956_840, 196_416_768, 216_576, 197_767_336, 200_910_592),
    ("huge", 660_289_640, 657_467_008, 397_056, 659_942_216, 662_616_192),
]
# V1 sizes without a V2 of their own, as torchvision and timm count them.
FIRST_ONLY = [("small", 50_223_688), ("xlarge", 350_196_968)]
# On ConvNeXt-B without LayerScale: 36 blocks, 2 (4C)^2 / 16 weights in each, and for cbam a 7 x 7 kernel on two planes.
GATED = [("se", 88_573_416 + 20_938_752), ("cbam", 88_573_416 + 20_938_752 + 36 * 98)]


def count(module: torch.nn.Module, part: str = "") -> int:
    return sum(value.numel() for name, value in module.named_parameters() if part in name)


@pytest.mark.parametrize(("size", "total", "encoder", "grn", "first", "fcmae"), COUNTS, ids=[row[0] for row in COUNTS])
def test_parameter_counts_are_the_published_ones(size, total, encoder, grn, first, fcmae):
    v2 = f"convnextv2_{size}"
    with torch.device("meta"):
        bare = build_model(v2)
        assert count(build_model(v2, classes=1000)) == total
        assert (count(bare), count(bare, ".response.")) == (encoder, grn)
        assert count(FCMAE(bare)) == fcmae
        # V1 has no huge of its own: its numbers are those of the V2 network with V1's settings.
        assert count(build_model(v2, classes=1000, response="none", layer_scale=1e-6)) == first
        if f"convnext_{size}" in SIZES:
            assert count(build_model(f"convnext_{size}", classes=1000)) == first


@pytest.mark.parametrize(("size", "total"), FIRST_ONLY)
def test_parameter_counts_of_sizes_that_only_v1_has_are_the_published_ones(size, total):
    with torch.device("meta"):
        assert count(build_model(f"convnext_{size}", classes=1000)) == total


@pytest.mark.parametrize(("response", "total"), GATED)
def test_base_with_a_gate_has_the_109_million_parameters_of_the_paper(response, total):
    with torch.device("meta"):
        assert count(build_model("convnextv2_base", response=response, classes=1000)) == total
    assert total // 10**6 == 109


def test_both_families_have_their_published_sizes():
    first = ["atto", "femto", "pico", "nano", "tiny", "small", "base", "large", "xlarge"]
    second = ["atto", "femto", "pico", "nano", "tiny", "base", "large", "huge"]
    ours = ["convnext_digits", "convnext_cifar"]
    assert sorted(SIZES) == sorted([f"convnext_{n}" for n in first] + [f"convnextv2_{n}" for n in second] + ours)


@pytest.mark.parametrize("name", SIZES)
def test_every_model_says_its_stride(name):
    with torch.device("meta"):
        stride = build_model(name, response="grn", layer_scale=None).stride
    assert stride == (8 if name in ("convnext_digits", "convnext_cifar") else 32)


def test_convnext_cifar_has_attos_stages_on_a_4_x_4_grid_and_any_widths():
    assert (SIZES["convnext_cifar"].depths, SIZES["convnext_cifar"].dims) == ((2, 2, 6, 2), (40, 80, 160, 320))
    images, removed = torch.rand(2, 3, 32, 32), torch.zeros(2, 16, dtype=torch.bool)
    removed[:, :9] = True
    model = build_model("convnext_cifar", response="grn", layer_scale=None, widths=(4, 6, 8, 10)).eval()
    assert model.architecture["dims"] == (4, 6, 8, 10)
    assert model.forward_features(images).shape == model.forward_masked(images, removed).shape == (2, 10, 4, 4)
    outcome = FCMAE(model, decoder_dim=8)(images, removed=removed)
    assert outcome.prediction.shape == (2, 16, 8 * 8 * 3)


def test_widths_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"is published with the widths \(40, 80, 160, 320\); take convnext_cifar"):
        build_model("convnextv2_atto", widths=(1, 2, 3, 4))
    for widths in ((4, 8), (4, 8, 0, 2)):
        with pytest.raises(ValueError, match="convnext_cifar has 4 stages: widths is a number of channels for each"):
            build_model("convnext_cifar", response="grn", layer_scale=None, widths=widths)
