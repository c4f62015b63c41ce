"""Counts of layers: published totals, the arithmetic of single layers, and any module at all."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from collapse_lab.models.build import build_model
from collapse_lab.models.layers import Layer, by_part, count_layers, total
from collapse_lab.objectives.masking import kept_cells
from tests.models.networks import small


def on_meta(name: str, **settings) -> nn.Module:
    with torch.device("meta"):
        return build_model(name, **settings)


def visible(cells: int) -> int:
    return kept_cells(cells, 0.6)


@pytest.mark.parametrize(
    ("size", "published"),
    [
        ("atto", "0.547"),
        ("femto", "0.780"),
        ("pico", "1.367"),
        ("nano", "2.446"),
        ("tiny", "4.456"),
        ("base", "15.355"),
        ("large", "34.361"),
        ("huge", "115"),
    ],
)
def test_totals_at_224_are_the_published_ones(size, published):
    model = on_meta(f"convnextv2_{size}", classes=1000)
    whole = total(count_layers(model), "total")
    digits = len(published.partition(".")[2])
    assert f"{whole.macs / 1e9:.{digits}f}" == published
    assert whole.parameters == sum(value.numel() for value in model.parameters())


def test_each_layer_costs_its_weights_at_each_of_its_positions():
    layers = {layer.name: layer for layer in count_layers(on_meta("convnextv2_atto", classes=10), (3, 64, 96))}
    assert layers["stem.conv"] == Layer(
        name="stem.conv",
        kind="PatchConv",
        shape=(1, 16 * 24, 40),
        parameters=3 * 16 * 40 + 40,
        macs=16 * 24 * 3 * 16 * 40,
    )
    block = "stages.1.blocks.0"
    assert layers[f"{block}.depthwise"].macs == 8 * 12 * 80 * 49
    assert layers[f"{block}.expand"].macs == layers[f"{block}.project"].macs == 8 * 12 * 80 * 320
    assert layers[f"{block}.norm"].macs == layers[f"{block}.response"].macs == 0
    assert layers[f"{block}.response"].parameters == 2 * 320
    assert layers["stages.1.downsample.conv"].macs == 8 * 12 * 4 * 40 * 80
    assert layers["head"].macs == 320 * 10
    assert f"{block}.act" not in layers  # neither parameters nor products


def test_visible_cells_cost_their_share_in_every_layer():
    layers = count_layers(on_meta("convnextv2_atto"), visible=visible)
    assert all(layer.visible_macs * 49 == layer.macs * 19 for layer in layers)
    assert total(layers, "total").limit == pytest.approx(49 / 19)


def test_a_head_does_not_run_on_visible_cells():
    layers = {layer.name: layer for layer in count_layers(on_meta("convnextv2_atto", classes=10), visible=visible)}
    assert (layers["head"].macs, layers["head"].visible_macs) == (3200, 0)


def test_parts_are_the_stem_the_stages_and_the_head_and_add_up():
    layers = count_layers(on_meta("convnextv2_atto", classes=10))
    parts = by_part(layers)
    assert list(parts) == ["stem", "stages.0", "stages.1", "stages.2", "stages.3", "norm", "head"]
    sums = [total(own, name) for name, own in parts.items()]
    assert total(sums, "total") == total(layers, "total")


def test_a_parameter_of_a_block_itself_is_counted_once():
    layers = {layer.name: layer for layer in count_layers(small(layer_scale=0.5), (3, 12, 16))}
    assert layers["stages.0.blocks.0"].parameters == 4
    assert layers["stages.0.blocks.0"].macs == 0


class Attention(nn.Module):
    """Products of its own beside those of its children, one of them shared and run twice."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.linear = self.again = nn.Linear(8, 8, bias=False)
        self.register_buffer("scale", torch.ones(1))
        self.noise = nn.Dropout(0.5)

    def forward(self, images):
        x = self.patches(images).flatten(2).transpose(1, 2)  # (1, P, 8)
        keys, values = self.linear(x), self.again(x)
        return self.noise((x @ keys.transpose(1, 2) * self.scale).softmax(dim=-1) @ values)


def test_any_module_is_counted_with_its_own_products():
    model = Attention().train()
    layers = {layer.name: layer for layer in count_layers(model, (3, 8, 12))}
    assert {name: (layer.parameters, layer.macs) for name, layer in layers.items()} == {
        "": (0, 2 * 6 * 6 * 8),
        "patches": (3 * 16 * 8 + 8, 6 * 3 * 16 * 8),
        "linear": (64, 2 * 6 * 8 * 8),
    }


def test_products_of_torchs_own_attention_are_counted():
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, images):
            x = images.flatten(2).transpose(1, 2)
            return self.attention(x, x, x)[0]

    inside, _ = count_layers(Network(), (8, 2, 3))
    assert (inside.name, inside.shape) == ("attention", (1, 6, 8))
    assert inside.macs == 6 * 8 * 24 + 2 * 6 * 6 * 8 + 6 * 8 * 8  # in, both products of attention, out


def test_counting_leaves_the_model_as_it_was():
    model = Attention().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    count_layers(model, (3, 8, 12))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_the_count_does_not_depend_on_the_device_of_the_weights():
    model = build_model("convnextv2_atto")
    assert count_layers(model, (3, 64, 64)) == count_layers(on_meta("convnextv2_atto"), (3, 64, 64))


def test_what_cannot_be_counted_is_refused():
    with pytest.raises(ValueError, match="nearest size that fits is 32 x 32"):
        count_layers(on_meta("convnextv2_atto"), (3, 30, 32))
    with pytest.raises(ValueError, match="keeps 0 of 1 cells"):
        count_layers(on_meta("convnextv2_atto"), (3, 32, 32), visible=visible)
    with pytest.raises(TypeError, match="Attention has no forward_masked"):
        count_layers(Attention(), visible=visible)
