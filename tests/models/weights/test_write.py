"""Weights out: every file comes back bit for bit, twice the same bytes, and what a layout cannot hold is refused."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open

from collapse_lab.models.build import build_model
from collapse_lab.models.convnext import ConvNeXt
from collapse_lab.models.responses.table import RESPONSES
from collapse_lab.models.weights.layouts import LAYOUTS
from collapse_lab.models.weights.write import transformers_config, write_weights
from collapse_lab.train.load import load_model
from tests.models.networks import CLASSES, FAMILIES, assert_same, of_family
from tests.models.weights.foreign import official_state, timm_state
from tests.test_runs import files_no_larger_than

TARGETS = [(layout, ending) for layout in LAYOUTS for ending in (".safetensors", ".pt")]
TARGETS += [("hf", ""), ("timm", ".pth")]
HELD = [(layout, ending, family) for layout, ending in TARGETS for family in FAMILIES]
HELD = [held for held in HELD if (held[0], held[2]) != ("hf", "GRN and LayerScale")]


@pytest.mark.parametrize(("layout", "ending", "family"), HELD)
@pytest.mark.parametrize("classes", CLASSES)
def test_what_is_written_comes_back_bit_for_bit(tmp_path, layout, ending, family, classes):
    model = of_family(family, classes=classes)
    write_weights(model, tmp_path / f"out{ending}", layout)
    again = load_model(tmp_path / f"out{ending}")
    assert_same(again.state_dict(), model.state_dict())
    assert again.architecture == model.architecture


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("classes", CLASSES)
def test_a_stem_of_stride_1_and_any_widths_are_inferred_from_the_tensors(tmp_path, layout, classes):
    settings = {"response": "grn", "layer_scale": None, "classes": classes}
    model = build_model("convnext_cifar", widths=(4, 6, 8, 10), **settings).eval()
    write_weights(model, tmp_path / "out.pt", layout)
    again = load_model(tmp_path / "out.pt")
    assert again.architecture == model.architecture
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(again(images), model(images))


@pytest.mark.parametrize(("layout", "ending"), TARGETS)
def test_the_same_network_gives_the_same_bytes_again_and_after_a_detour(tmp_path, layout, ending):
    for name, source in (("a", None), ("b", None), ("c", "a")):
        model = of_family("V2", classes=3) if source is None else load_model(tmp_path / f"{source}{ending}")
        write_weights(model, tmp_path / f"{name}{ending}", layout)

    def content(name: str) -> list[bytes]:
        path = tmp_path / f"{name}{ending}"
        return [file.read_bytes() for file in (sorted(path.iterdir()) if path.is_dir() else [path])]

    assert content("a") == content("b") == content("c")


def test_the_files_of_others_hold_what_their_own_code_expects(tmp_path):
    model = of_family("V1", classes=3)
    write_weights(model, tmp_path / "official.pt", "official")
    payload = torch.load(tmp_path / "official.pt", weights_only=True)
    assert list(payload) == ["model"]
    assert_same(payload["model"], official_state(model))
    write_weights(model, tmp_path / "timm.pth", "timm")
    assert_same(torch.load(tmp_path / "timm.pth", weights_only=True), timm_state(model))
    write_weights(model, tmp_path / "hf.safetensors", "hf")
    with safe_open(tmp_path / "hf.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}  # older versions of transformers refuse a file without it


class Gate(torch.nn.Module):
    """A response that only we have, with a buffer."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = torch.nn.Parameter(torch.ones(channels))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, x, visible=None):
        return x * self.gate


@pytest.fixture
def gated(monkeypatch) -> ConvNeXt:
    monkeypatch.setitem(RESPONSES._entries, "gate", Gate)
    return of_family("V2", response="gate")


def test_a_response_of_ours_is_held_by_ours_and_inferred_from_its_tensors(gated, tmp_path):
    write_weights(gated, tmp_path / "a.safetensors", "ours")
    torch.save(gated.state_dict(), tmp_path / "bare.pt")
    for name in ("a.safetensors", "bare.pt"):
        model = load_model(tmp_path / name)
        assert model.architecture["response"] == "gate"
        assert_same(model.state_dict(), gated.state_dict())


@pytest.mark.parametrize("layout", ["official", "timm", "hf"])
def test_a_response_of_ours_is_refused_by_others_with_the_repair(gated, tmp_path, layout):
    with pytest.raises(
        ValueError, match=rf"{layout} cannot hold the response 'gate'.*--response grn or --response none"
    ):
        write_weights(gated, tmp_path / "a.pt", layout)
    assert list(tmp_path.iterdir()) == []


def test_transformers_holds_no_network_with_both_grn_and_layer_scale(tmp_path):
    with pytest.raises(ValueError, match=r"no network with both GRN .* and LayerScale .*--response none"):
        write_weights(of_family("GRN and LayerScale"), tmp_path / "a", "hf")


@pytest.mark.parametrize(
    ("name", "layout", "error", "said"),
    [
        ("a.bin", "ours", ValueError, r"ends in .safetensors, .pt or .pth, got .*a.bin"),
        ("a", "timm", ValueError, r"ends in .safetensors, .pt or .pth, got .*a"),
        ("a.v2", "hf", ValueError, r".pth, or no ending for a folder, got .*a.v2"),
        ("a.pt", "oficial", LookupError, "no layout is called 'oficial'; did you mean 'official'"),
    ],
)
def test_a_target_that_is_none_is_refused(tmp_path, name, layout, error, said):
    with pytest.raises(error, match=said):
        write_weights(of_family("V2"), tmp_path / name, layout)


def test_a_file_that_is_there_is_written_over_only_when_told(tmp_path):
    path = tmp_path / "a.pt"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match=r"already there.*--force"):
        write_weights(of_family("V2"), path, "ours")
    assert path.read_text() == "mine"
    write_weights(of_family("V2"), path, "ours", force=True)
    assert_same(load_model(path).state_dict(), of_family("V2").state_dict())


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
def test_a_full_disk_leaves_the_old_file(tmp_path, name):
    write_weights(of_family("V2"), tmp_path / name, "ours")
    before = (tmp_path / name).read_bytes()
    with files_no_larger_than(10_000), pytest.raises(OSError, match=rf"cannot write .*{name}.*check free space"):
        write_weights(of_family("V2", dims=(32, 64)), tmp_path / name, "ours", force=True)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == before


def test_the_configuration_for_transformers_says_the_eps_of_the_official_code(tmp_path):
    write_weights(of_family("V1", classes=2), tmp_path / "a", "hf")
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    assert config["layer_norm_eps"] == 1e-6
    assert config["layer_scale_init_value"] == 1e-6
    assert config["id2label"] == {"0": "LABEL_0", "1": "LABEL_1"}
    assert transformers_config(of_family("neither"))["layer_scale_init_value"] == 0
