"""A ViT on the command line: rehearsed, trained by MAE, captured, drawn and converted."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from PIL import Image

from collapse_lab.train.load import load_model

SETTINGS = (
    *("model.name=vit_tiny", "model.patch=4", "model.depth=2", "model.widths=[12]", "data.size=16", "data.batch=4"),
    *("steps=1", "objective.name=mae", "objective.decoder_dim=8", "objective.decoder_depth=1"),
    "objective.decoder_heads=2",
)


def test_a_vit_goes_the_whole_way(ask, tmp_path):
    command = ("train", *(word for setting in SETTINGS for word in ("--set", setting)), "--out", tmp_path / "run")
    code, out, err = ask(*command, "--dry-run", "--json")
    assert code == 0, err
    facts = json.loads(out)
    # Patches, class token, blocks of 12 C^2 + 13 C and norm; mask token, embed, one such block, norm and predict.
    encoder = 48 * 12 + 12 + 12 + 2 * (12 * 144 + 13 * 12) + 24
    assert facts["parameters"] == encoder + 8 + (12 * 8 + 8) + (12 * 64 + 13 * 8) + 16 + (8 * 48 + 48)
    assert not (tmp_path / "run").exists()

    code, _, err = ask(*command)
    assert code == 0, err
    code, out, err = ask("capture", tmp_path / "run", "--json")
    assert code == 0, err
    sites = [f"blocks.{block}{part}" for block in (0, 1) for part in (".act", ".response", "")]
    assert json.loads(out)["sites"] == sites

    code, out, err = ask("reconstruct", tmp_path / "run", "--count", 2)
    assert code == 0, err
    with Image.open(Path(out.strip())) as picture:
        assert "Mask ratio 0.75: 12 of 16 cells of 4 x 4 pixels removed" in picture.text["Description"]

    code, out, err = ask("convert", tmp_path / "run", tmp_path / "vit.safetensors", "--to", "ours")
    assert code == 0, err
    assert "patch 4, width 12, depth 2, heads 3" in err
    images = torch.rand(1, 3, 16, 16)
    assert torch.equal(load_model(tmp_path / "vit.safetensors")(images), load_model(tmp_path / "run")(images))
    code, _, err = ask("convert", tmp_path / "run", tmp_path / "vit.pt", "--to", "timm")
    assert code == 4
    assert "cannot hold a ViT; convert to ours" in err


def test_a_method_on_the_network_of_another_is_bad_configuration(ask, tmp_path):
    code, _, err = ask("train", "--set", "model.name=vit_tiny", "--out", tmp_path / "run")
    assert (code, err) == (4, "collapse-lab: fcmae trains a ConvNeXt, got a ViT; a ViT is trained by mae\n")
