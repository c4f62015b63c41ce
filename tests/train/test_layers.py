"""Learning rates that fall from the head to the stem: the published numbering, by hand."""

from __future__ import annotations

import pytest
import torch

from collapse_lab.models.build import build_model
from collapse_lab.objectives.supervised import Supervised
from collapse_lab.train.layers import GROUPED, layer_scales
from collapse_lab.train.optim import adamw, set_learning_rate
from tests.tolerances import PINNED

# With depths 2, 1, 3: blocks count 1 to 6, the head is 7, the stem and a downsampling are of the block behind them.
SINGLE = {
    "encoder.stem.conv.weight": 1,
    "encoder.stem.norm.bias": 1,
    "encoder.stages.0.blocks.0.expand.weight": 1,
    "encoder.stages.0.blocks.1.expand.weight": 2,
    "encoder.stages.1.downsample.conv.weight": 3,
    "encoder.stages.1.blocks.0.response.gamma": 3,
    "encoder.stages.2.downsample.norm.weight": 4,
    "encoder.stages.2.blocks.0.norm.weight": 4,
    "encoder.stages.2.blocks.2.project.bias": 6,
    "encoder.norm.weight": 7,
    "encoder.head.bias": 7,
    "decoder.0.expand.weight": 7,
}
# A ViT of 3 blocks: they count 1 to 3, what comes before them is 0, final norm and head are 4.
OF_VIT = {
    "encoder.stem.weight": 0,
    "encoder.cls_token": 0,
    "encoder.blocks.0.attention.in_proj_weight": 1,
    "encoder.blocks.2.project.bias": 3,
    "encoder.norm.weight": 4,
    "encoder.head.bias": 4,
    "decoder.blocks.0.expand.weight": 4,
}
GROUPS = {
    "encoder.stem.conv.weight": 0,
    "encoder.stages.0.blocks.0.expand.weight": 1,
    "encoder.stages.0.blocks.2.expand.weight": 1,
    "encoder.stages.1.downsample.conv.weight": 2,
    "encoder.stages.1.blocks.2.expand.weight": 2,
    "encoder.stages.2.downsample.norm.weight": 3,
    "encoder.stages.2.blocks.0.expand.weight": 3,
    "encoder.stages.2.blocks.2.expand.weight": 3,
    "encoder.stages.2.blocks.3.expand.weight": 4,
    "encoder.stages.2.blocks.26.expand.weight": 11,
    "encoder.stages.3.downsample.conv.bias": 12,
    "encoder.stages.3.blocks.0.expand.weight": 12,
    "encoder.norm.bias": 13,
    "encoder.head.weight": 13,
}


@pytest.mark.parametrize(("name", "layer"), SINGLE.items())
def test_every_block_is_a_layer_of_its_own(name, layer):
    assert layer_scales((2, 1, 3), 0.9, "single")(name) == pytest.approx(0.9 ** (7 - layer), rel=PINNED)


@pytest.mark.parametrize(("name", "layer"), OF_VIT.items())
def test_patches_and_class_token_are_a_layer_below_the_blocks_of_a_vit(name, layer):
    assert layer_scales((3,), 0.65, "single")(name) == pytest.approx(0.65 ** (4 - layer), rel=PINNED)


@pytest.mark.parametrize(("name", "layer"), GROUPS.items())
def test_the_blocks_of_the_larger_sizes_are_twelve_groups(name, layer):
    assert layer_scales(GROUPED, 0.6, "grouped")(name) == pytest.approx(0.6 ** (13 - layer), rel=PINNED)


def test_groups_are_for_the_depths_that_they_were_published_for():
    with pytest.raises(ValueError, match=r"is for depths \(3, 3, 27, 3\), this network has \(3, 3, 9, 3\); use single"):
        layer_scales((3, 3, 9, 3), 0.6, "grouped")


def test_every_parameter_is_in_one_group_and_learns_at_its_scale():
    with torch.device("meta"):
        objective = Supervised(build_model("convnextv2_atto", classes=10))
    scales = layer_scales((2, 2, 6, 2), 0.5, "single")
    optimizer = adamw(objective, 1.0, (0.9, 0.95), 0.3, scales)
    set_learning_rate(optimizer, 2.0)
    names = {id(parameter): name for name, parameter in objective.named_parameters()}
    seen = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            seen[names.pop(id(parameter))] = group
            assert group["weight_decay"] == (0.3 if parameter.ndim >= 2 else 0.0)
    assert not names
    assert all(group["lr"] == pytest.approx(2 * scales(name), rel=PINNED) for name, group in seen.items())
    assert len({group["lr"] for group in seen.values()}) == 13


def test_without_a_scale_every_group_has_the_rate_itself():
    optimizer = adamw(torch.nn.Linear(2, 2), 1.0, (0.9, 0.95), 0.3)
    set_learning_rate(optimizer, 0.1)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.1]
    assert all("scale" not in group for group in optimizer.param_groups)  # as in checkpoints of before there were any
