"""Weights of a ViT: in our own layout to and fro, and refused where no layout can hold or tell them."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from collapse_lab.models.weights.read import read_weights
from collapse_lab.models.weights.write import write_weights
from tests.models.networks import assert_same, random_images, small_vit


@pytest.fixture
def model():
    return small_vit(classes=3).eval()


@pytest.mark.parametrize("ending", ["safetensors", "pt"])
def test_what_is_written_is_read_bit_for_bit(model, ending, tmp_path):
    (file,) = write_weights(model, tmp_path / f"weights.{ending}", "ours")
    loaded = read_weights(file)
    assert (loaded.layout, loaded.left_out) == ("ours", ())
    assert loaded.model.architecture == model.architecture
    assert_same(loaded.model.state_dict(), model.state_dict())
    images = random_images(2, 8, 8, seed=1)
    assert torch.equal(loaded.model(images), model(images))


def test_a_head_is_dropped_or_drawn_as_the_network_begins(model, tmp_path):
    (file,) = write_weights(model, tmp_path / "weights.safetensors", "ours")
    bare = read_weights(file, classes=0).model
    assert bare.head is None
    assert torch.equal(bare.norm.weight, model.norm.weight)
    with pytest.warns(UserWarning, match="holds a head of 3 classes: a fresh one of 5 classes is drawn, from seed 0"):
        other = read_weights(file, classes=5).model
    assert other.head.weight.abs().max() <= (6 / (12 + 5)) ** 0.5  # uniform, as a ViT's are
    assert other.head.weight.abs().max() > 0.2
    assert not other.head.bias.any()


def test_a_response_is_refused(model, tmp_path):
    (file,) = write_weights(model, tmp_path / "weights.safetensors", "ours")
    with pytest.raises(ValueError, match="holds a ViT, which has no response to switch; leave response out"):
        read_weights(file, response="grn")


@pytest.mark.parametrize("layout", ["official", "timm", "hf"])
def test_layouts_of_others_are_those_of_a_convnext(model, layout, tmp_path):
    with pytest.raises(ValueError, match="is one of ConvNeXts and cannot hold a ViT; convert to ours"):
        write_weights(model, tmp_path / "weights.safetensors", layout)


def test_bare_tensors_do_not_tell_the_heads(model, tmp_path):
    torch.save(model.state_dict(), tmp_path / "bare.pt")
    with pytest.raises(ValueError, match="holds a ViT without its architecture, and no tensor tells how many heads"):
        read_weights(tmp_path / "bare.pt")


def test_tensors_that_do_not_fit_are_listed(model, tmp_path):
    (file,) = write_weights(model, tmp_path / "weights.pt", "ours")
    payload = torch.load(file)
    del payload["model"]["blocks.1.norm.bias"]
    payload["model"]["cls_token"] = torch.zeros(13, dtype=torch.float64)
    torch.save(payload, file)
    with pytest.raises(
        ValueError, match=r"does not fit a ViT .* 1 missing: blocks.1.norm.bias; 1 mis-shaped: cls_token"
    ):
        read_weights(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 5}, "builds no ViT: a ViT is 12 wide and has 5 heads"),
        ({"depth": 10**9}, "builds no ViT: a stage of 1000000000 blocks cannot be made of"),
        ({"patch": 0}, "builds no ViT: a ViT has patches of 1 pixel or more"),
        ({"stem": 4}, "builds no ViT: .* unexpected keyword argument 'stem'"),
    ],
)
def test_an_architecture_that_builds_nothing_is_refused(model, change, message, tmp_path):
    (file,) = write_weights(model, tmp_path / "weights.pt", "ours")
    payload = torch.load(file)
    payload["architecture"] |= change
    torch.save(payload, file)
    with pytest.raises(ValueError, match=message):
        read_weights(file)


def test_a_vit_of_another_library_is_not_taken_for_ours(tmp_path):
    theirs = {"cls_token": torch.zeros(1, 1, 12), "norm.weight": torch.ones(12), "norm.bias": torch.zeros(12)}
    for name in ("norm1.weight", "attn.qkv.weight", "attn.proj.weight", "mlp.fc1.weight", "mlp.fc2.weight"):
        theirs[f"blocks.0.{name}"] = torch.zeros(12, 12)
    save_file(theirs, tmp_path / "theirs.safetensors")
    assert load_file(tmp_path / "theirs.safetensors").keys() == theirs.keys()
    with pytest.raises(ValueError, match="holds no ConvNeXt V1 or V2"):
        read_weights(tmp_path / "theirs.safetensors")
