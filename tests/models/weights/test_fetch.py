"""Addresses: which file lies behind one, and what a user reads where there is none. No network is touched."""

from __future__ import annotations

import json
import sys
import urllib.error
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub import errors

from collapse_lab.models.weights.fetch import is_address
from collapse_lab.models.weights.write import write_weights
from collapse_lab.train.load import load_model
from tests.models.networks import assert_same, of_family


@pytest.fixture
def folder(tmp_path) -> Path:
    """As transformers writes one."""
    write_weights(of_family("V2"), tmp_path / "saved", "hf")
    return tmp_path / "saved"


@pytest.fixture
def hub(monkeypatch, folder) -> Path:
    """The one repository there is, `someone/net`; also under a name of timm."""

    def download(repo: str, name: str) -> str:
        if repo not in ("someone/net", "timm/convnext_net"):
            raise errors.RepositoryNotFoundError("404 Client Error\nmore", response=None)
        if not (folder / name).is_file():
            raise errors.EntryNotFoundError(f"no {name}")
        return str(folder / name)

    # The errors of a hub want an HTTP response, which nobody has here.
    for error in (errors.RepositoryNotFoundError,):
        monkeypatch.setattr(error, "__init__", lambda self, text, **_: Exception.__init__(self, text))
        monkeypatch.setattr(error, "__str__", lambda self: self.args[0])
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return folder


@pytest.mark.parametrize("address", ["hf:someone/net", "timm:convnext_net"])
def test_a_repository_of_the_hub_is_read(hub, address):
    assert_same(load_model(address).state_dict(), of_family("V2").state_dict())


def test_without_safetensors_the_older_file_is_read(hub):
    (hub / "model.safetensors").unlink()
    torch.save(of_family("V1").state_dict(), hub / "pytorch_model.bin")
    assert_same(load_model("hf:someone/net").state_dict(), of_family("V1").state_dict())
    (hub / "pytorch_model.bin").unlink()
    with pytest.raises(LookupError, match=r"someone/net has neither model.safetensors nor pytorch_model.bin"):
        load_model("hf:someone/net")


def test_an_unknown_repository_is_said_in_one_line(hub):
    with pytest.raises(
        LookupError, match=r"no repository 'someone/nothing' on the Hugging Face hub: 404 Client Error$"
    ):
        load_model("hf:someone/nothing")


@pytest.mark.parametrize("error", [errors.LocalEntryNotFoundError, ConnectionError, RuntimeError])
def test_a_network_that_fails_is_said_in_one_line(monkeypatch, error):
    def download(repo: str, name: str) -> str:
        raise error("no route\nto host")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(ConnectionError, match=r"cannot fetch someone/net from the Hugging Face hub: no route$"):
        load_model("hf:someone/net")


def test_without_the_extra_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"pip install 'collapse-lab\[hf\]'"):
        load_model("hf:someone/net")


def test_a_folder_of_another_model_is_refused_by_its_configuration(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "resnet"}))
    with pytest.raises(ValueError, match=r"config.json says model_type 'resnet'; expected convnext or convnextv2"):
        load_model(folder)


def test_an_address_of_the_web_is_fetched_once_into_a_file_of_its_own(monkeypatch, tmp_path, folder):
    asked = []

    def download(address: str, path: str, progress: bool) -> None:
        asked.append(address)
        Path(path).write_bytes((folder / "model.safetensors").read_bytes())

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    addresses = [f"https://example.org/{place}/model.safetensors?download=true" for place in "ab"]
    for address in (*addresses, *addresses):
        assert_same(load_model(address).state_dict(), of_family("V2").state_dict())
    assert asked == addresses
    assert len(list((tmp_path / "hub" / "checkpoints").iterdir())) == 2


def test_a_web_that_fails_is_said_in_one_line(monkeypatch, tmp_path):
    def download(address: str, path: str, progress: bool) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(ConnectionError, match=r"cannot fetch https://example.org/a.pt: <urlopen error no route>"):
        load_model("https://example.org/a.pt")


@pytest.mark.parametrize("uri", ["http://example.org/a.pt", "s3://a/b.pt"])
def test_other_schemes_are_answered_with_those_there_are(uri):
    with pytest.raises(LookupError, match=r"are not read from \w+: addresses; there is: a path, hf:REPO, timm:NAME"):
        load_model(uri)


def test_a_file_with_a_colon_in_its_name_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_weights(of_family("V2"), Path("hf:mine.pt"), "ours")
    assert_same(load_model("hf:mine.pt").state_dict(), of_family("V2").state_dict())
    assert is_address("hf:mine.pt")


def test_a_name_alone_is_no_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not is_address("convnextv2_atto")
    assert is_address("hf:a/b")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden_act": "relu"}, r"config.json says activation 'relu'"),
        ({"hidden_act": None, "model_args": {"act_layer": "gelu_tanh"}}, r"config.json says activation 'gelu_tanh'"),
        ({"model_args": {"norm_eps": 1e-5}}, r"config.json says norms of eps 1e-05"),
        ({"layer_norm_eps": 1e-2}, r"config.json says norms of eps 0.01"),
        ({"architecture": "convnext_xxlarge"}, r"config.json says architecture 'convnext_xxlarge'"),
        ({"architecture": "resnet50"}, r"config.json says architecture 'resnet50'"),
    ],
)
def test_what_tensors_cannot_say_is_read_from_the_configuration(hub, changes, said):
    config = json.loads((hub / "config.json").read_text())
    (hub / "config.json").write_text(json.dumps({**config, **changes}))
    for address in (str(hub), "hf:someone/net"):
        with pytest.raises(ValueError, match=said):
            load_model(address)


def test_a_folder_without_weights_is_answered_with_what_was_expected(folder):
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config.json is not a configuration in JSON"):
        load_model(folder)
    (folder / "config.json").unlink()
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    with pytest.raises(FileNotFoundError, match=r"has neither run.json nor model.safetensors nor pytorch_model.bin$"):
        load_model(folder)
    (folder / "model.safetensors.index.json").touch()
    with pytest.raises(FileNotFoundError, match="weights that are split over several files are not read"):
        load_model(folder)


@pytest.mark.parametrize("changes", [{"layer_norm_eps": 1e-12}, {"architecture": "convnextv2_atto"}])
def test_a_configuration_of_the_published_function_passes(hub, changes):
    config = json.loads((hub / "config.json").read_text())
    (hub / "config.json").write_text(json.dumps({**config, **changes}))
    assert load_model(str(hub)).architecture["response"] == "grn"
