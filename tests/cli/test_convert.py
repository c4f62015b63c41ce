"""Weights in and out from the command line: what is said and written, and what is refused without a trace."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import pytest
import torch

from collapse_lab.models.weights.write import write_weights
from collapse_lab.runs import Run
from collapse_lab.train.checkpoint import load_checkpoint
from collapse_lab.train.load import load_model
from tests.models.networks import assert_same, of_family
from tests.models.weights.foreign import official_state, sparse_state


@pytest.fixture
def run(study_runs: Path) -> Run:
    """A finished run with GRN."""
    return Run(next(path.parent for path in sorted(study_runs.glob("grn*/run.json"))))


def test_the_encoder_of_a_run_goes_to_a_file_of_ours_and_back(ask, run, tmp_path):
    out = tmp_path / "net.safetensors"
    code, said, err = ask("convert", run.path, out, "--to", "ours")
    assert (code, said) == (0, f"{out}\n"), err
    assert "layout ours: depths (1, 1, 3), dims (16, 32, 64), response grn" in err
    assert "tensors that are no part of the encoder: mask_token, embed, decoder, predict" in err
    payload = load_checkpoint(max(run.checkpoints().items())[1])
    model = load_model(out)
    assert model.architecture == payload["architecture"]
    trained = {name.removeprefix("encoder."): value for name, value in payload["model"].items() if "encoder." in name}
    assert_same(model.state_dict(), trained)


@pytest.mark.parametrize(("to", "out"), [("official", "a.pt"), ("timm", "a.safetensors"), ("hf", "a")])
def test_a_run_goes_to_every_layout_and_computes_the_same(ask, run, tmp_path, to, out):
    code, _, err = ask("convert", run.path, tmp_path / out, "--to", to)
    assert code == 0, err
    images = torch.rand(2, 3, 16, 16)
    assert torch.equal(load_model(tmp_path / out)(images), load_model(run.path)(images))


def test_a_response_and_classes_are_switched_on_the_way(ask, run, tmp_path):
    out = tmp_path / "a.pt"
    with warnings.catch_warnings(action="always"):
        code, _, err = ask("convert", run.path, out, "--to", "official", "--response", "none", "--classes", "4")
    assert code == 0
    assert "warning:" in err
    assert "a fresh one of 4 classes is drawn" in err
    architecture = load_model(out).architecture
    assert (architecture["response"], architecture["classes"]) == ("none", 4)


def test_the_document_says_what_was_read_left_out_and_written(ask, tmp_path):
    torch.save({"model": sparse_state(of_family("V2"))}, tmp_path / "fcmae.pt")
    code, out, err = ask("convert", tmp_path / "fcmae.pt", tmp_path / "net", "--to", "hf", "--json")
    assert code == 0, err
    document = json.loads(out)
    assert document["kind"] == "weights"
    assert (document["layout"], document["to"]) == ("minkowski", "hf")
    assert set(document["left_out"]) == {"proj.weight", "mask_token", "decoder.0.grn.gamma"}
    assert document["architecture"]["dims"] == [4, 6]
    assert [Path(file).name for file in document["files"]] == ["config.json", "model.safetensors"]


def test_sites_of_any_weights_are_listed(ask, tmp_path):
    write_weights(of_family("V1"), tmp_path / "a.safetensors", "timm")
    code, out, _ = ask("list", "sites", tmp_path / "a.safetensors", "--sites", "stages.*.blocks.0", "--json")
    assert code == 0
    assert [row["site"] for row in json.loads(out)["rows"]] == ["stages.0.blocks.0", "stages.1.blocks.0"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nowhere", "a.pt", "--to", "ours"), 4, "there is no file or folder nowhere"),
        (("in.pt", "a.pt", "--to", "our"), 4, "did you mean 'ours'"),
        (("in.pt", "a.npz", "--to", "ours"), 4, "ends in .safetensors, .pt or .pth"),
        (("in.pt", "in.pt", "--to", "ours"), 4, "already there; choose another name, or write over it with --force"),
        (("in.pt", "a.pt", "--to", "timm", "--response", "gnr"), 4, "did you mean 'grn'"),
        (("in.pt", "a", "--to", "hf"), 4, "drop GRN with --response none"),
        (("in.pt", "a.pt"), 2, "Missing option '--to'"),
        (("resnet.pt", "a.pt", "--to", "ours"), 4, "holds no ConvNeXt V1 or V2"),
        (("hf:a/b", "a.pt", "--to", "ours"), 3, "pip install 'collapse-lab[hf]'"),
        (("ftp://a/b", "a.pt", "--to", "ours"), 4, "not read from ftp: addresses"),
    ],
)
def test_a_refused_conversion_says_why_and_leaves_nothing(ask, tmp_path, monkeypatch, arguments, code, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    torch.save(official_state(of_family("GRN and LayerScale")), "in.pt")
    torch.save({"conv1.weight": torch.ones(1), "fc.weight": torch.ones(1)}, "resnet.pt")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    found, out, err = ask("convert", *arguments)
    assert found == code, err
    assert said in err
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
