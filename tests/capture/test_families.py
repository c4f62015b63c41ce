"""Tiny networks of transformers: every block, MLP and attention output is read on the right axes."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from torch import nn

from collapse_lab.capture.scout import Place, survey
from collapse_lab.capture.sites import find_sites, match_sites
from tests.capture.small import observe, one

VIT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "image_size": 16,
    "patch_size": 8,
}
SWIN = {"image_size": 32, "patch_size": 2, "embed_dim": 8, "depths": [2, 2], "num_heads": [2, 2], "window_size": 4}
CONV = {"hidden_sizes": [8, 12], "depths": [1, 2]}
MAPS, LAST, TOKENS = "image channel height width", "image height width channel", "image position channel"
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "ViT": ("ViTModel", VIT),
    "DeiT": ("DeiTModel", VIT),
    "BEiT": ("BeitModel", VIT),
    "DINOv2": ("Dinov2Model", {**VIT, "use_swiglu_ffn": True}),
    "CLIP": ("CLIPVisionModel", VIT),
    "SigLIP": ("SiglipVisionModel", VIT),
    "Swin": ("SwinModel", SWIN),
    "ConvNeXt V1": ("ConvNextModel", {**CONV, "num_stages": 2}),
    "ConvNeXt V2": ("ConvNextV2Model", {**CONV, "num_stages": 2}),
    "MobileViT V2": ("MobileViTV2Model", {"image_size": 64, "width_multiplier": 0.25, "n_attn_blocks": [1, 1, 1]}),
    "ResNet": ("ResNetModel", {**CONV, "embedding_size": 8}),
}


def of(kind: str) -> nn.Module:
    """A network with a tiny configuration, random weights."""
    name, settings = KINDS[kind]
    transformers = importlib.import_module("transformers")  # here: it takes seconds, and every process reads this file
    config = name.removesuffix("Model") + "Config"
    model: nn.Module = getattr(transformers, name)(getattr(transformers, config)(**settings))
    return model.eval()


def places_of(kind: str) -> dict[str, Place]:
    model = of(kind)
    side = KINDS[kind][1].get("image_size", 32)
    found = survey(model, list(find_sites(model)), one(torch.randn(1, 3, side, side)))
    return {place.name: place for place in found}


@pytest.mark.parametrize("kind", ["ViT", "DeiT", "BEiT", "DINOv2", "CLIP", "SigLIP"])
def test_layers_attention_and_mlp_of_a_vit_are_tokens_with_the_class_token_among_them(kind):
    places = places_of(kind)
    layers = [place for name, place in places.items() if name.split(".")[-1].isdigit()]
    inside = [place for place in places.values() if place.kind in ("attention", "self_attn", "mlp")]
    assert len(layers) == 2
    assert len(inside) >= 4
    for place in (*layers, *(each for each in inside if not each.name.startswith("head"))):
        assert (place.layout, place.fault) == (TOKENS, None)
        assert (place.positions, place.channels) == (4 if kind == "SigLIP" else 6 if kind == "DeiT" else 5, 16)


def test_swin_layers_are_tokens_and_its_windows_are_refused():
    places = places_of("Swin")
    block = places["encoder.layers.0.blocks.1"]
    assert (block.layout, block.positions, block.channels) == (TOKENS, 256, 8)
    assert "gives 16 images for a batch of 1" in str(places["encoder.layers.0.blocks.1.attention"].fault)


@pytest.mark.parametrize("kind", ["ConvNeXt V1", "ConvNeXt V2"])
def test_a_convnext_is_channels_last_between_its_pointwise_layers_only(kind):
    places = places_of(kind)
    block = "encoder.stages.1.layers.0"
    last = {"layernorm", "pwconv1", "act", "grn", "pwconv2"}
    assert all(place.fault is None for place in places.values())
    for name, place in places.items():
        if name.startswith(f"{block}."):
            assert place.layout == (LAST if name.removeprefix(f"{block}.") in last else MAPS)
    assert (places[block].layout, places[block].channels) == (MAPS, 12)
    assert places[f"{block}.act"].channels == 48


def test_a_resnet_is_maps_to_the_activation_after_the_sum():
    places = places_of("ResNet")
    assert {place.layout for place in places.values() if place.calls} == {MAPS}
    assert places["encoder.stages.1.layers.1.activation"].channels == 12


def test_the_last_layer_is_captured_under_its_key_and_equals_the_models_answer():
    model = of("ViT")
    wrapped = nn.ModuleDict({"encoder": model})
    wrapped.forward = lambda x: model(x)
    x = torch.randn(70, 3, 16, 16)
    captured = observe(wrapped, [x[:40], x[40:]], sites=["encoder@last_hidden_state"], positions=("all",))
    with torch.no_grad():
        expected = model(x).last_hidden_state.double().mean(dim=(0, 1))
    assert torch.allclose(captured["encoder@last_hidden_state"].mean, expected, atol=1e-6)
    with pytest.raises(TypeError, match=r"'encoder@last_hidden_state' \(1, 5, 16\), 'encoder@pooler_output' \(1, 16\)"):
        observe(wrapped, [x], sites=["encoder"])


def test_a_functional_activation_of_transformers_is_named_with_what_to_write():
    with pytest.raises(
        LookupError, match=r"attention calls F\.relu inside .*\.attn_dropout and .*'.*\.out_proj@input'"
    ):
        match_sites(of("MobileViT V2"), ["class:ReLU"])
