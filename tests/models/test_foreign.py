"""Models that are not ours: what an address opens, and what a user reads where it opens nothing. No network."""

from __future__ import annotations

import importlib
import json
import sys
import types
from pathlib import Path

import pytest
import torch
from torch import nn

from collapse_lab.models.foreign import is_foreign
from collapse_lab.train.load import load_model, open_model

MODELS = """
from torch import nn

class Pair(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.one = nn.Linear(3, width)

def made():
    return Pair().train()

def sized(width, *, depth, act="gelu", **rest):
    return Pair(width)

def text():
    return "a model"

number = 3
"""


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A working directory with a module of the user's, its name told apart by the test."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "theirs_to_open.py").write_text(MODELS)
    (tmp_path / "lacking_to_open.py").write_text("import there_is_no_such_package")
    (tmp_path / "hubconf.py").write_text(f"dependencies = ['torch']\n{MODELS}")
    yield tmp_path
    for name in ("theirs_to_open", "lacking_to_open"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("entry", ["made", "Pair"])
def test_a_function_without_arguments_gives_its_model_in_eval_mode(here, entry):
    before = list(sys.path)
    model = load_model(f"py:theirs_to_open:{entry}")
    assert isinstance(model.one, nn.Linear)
    assert not model.training
    assert sys.path == before


@pytest.mark.parametrize(
    ("uri", "error", "words"),
    [
        ("py:theirs_to_open", ValueError, "names no function; expected py:package.module:function"),
        ("py:theirs_to_opn:made", LookupError, "there is no module theirs_to_opn; looked in .* and in sys.path"),
        ("py:theirs_to_open.deeper:made", LookupError, r"there is no module theirs_to_open\.deeper"),
        ("py:theirs_to_open:mad", LookupError, "the module theirs_to_open has no 'mad'; did you mean 'made'"),
        ("py:theirs_to_open:number", TypeError, "is of type int; expected a function that returns a model"),
        ("py:theirs_to_open:sized", TypeError, r"needs arguments \(width, depth\); expected a function that is called"),
        ("py:theirs_to_open:text", TypeError, "gives a str; expected an nn.Module"),
        ("py:lacking_to_open:made", ImportError, "importing lacking_to_open failed: No module named 'there_is_no"),
    ],
)
def test_what_is_no_function_that_gives_a_model_is_told_what_was_expected(here, uri, error, words):
    with pytest.raises(error, match=words):
        load_model(uri)


def test_a_folder_with_a_hubconf_gives_its_entries(here):
    assert isinstance(load_model(f"hub:{here}:made").one, nn.Linear)


@pytest.mark.parametrize(
    ("uri", "error", "words"),
    [
        ("hub:made", ValueError, "names no entry; expected hub:OWNER/REPO:ENTRY or hub:FOLDER:ENTRY"),
        ("hub:.:mad", LookupError, "the hubconf.py of . has no entry 'mad'"),
        ("hub:empty:made", FileNotFoundError, "empty has no hubconf.py"),
        ("hub:nowhere:made", FileNotFoundError, "there is no folder nowhere; expected hub:FOLDER:ENTRY"),
        ("hub:.:text", TypeError, "gives a str; expected an nn.Module"),
    ],
)
def test_a_hub_without_the_entry_is_told_what_was_expected(here, uri, error, words):
    (here / "empty").mkdir()
    with pytest.raises(error, match=words):
        load_model(uri)


def test_a_hub_that_cannot_be_reached_is_said_in_one_line(monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise OSError("no route\nto host")

    monkeypatch.setattr(torch.hub, "load", fail)
    with pytest.raises(ConnectionError, match=r"cannot fetch someone/net: no route$"):
        load_model("hub:someone/net:made")


class Fake(nn.Module):
    pretrained_cfg = {"input_size": (3, 96, 96), "mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2)}  # noqa: RUF012


@pytest.fixture
def timm(monkeypatch) -> list[tuple[str, bool]]:
    """A timm with one model, `vit_tiny`, that notes what it was asked for."""
    asked: list[tuple[str, bool]] = []
    fake = types.ModuleType("timm")
    fake.is_model = lambda name: name.partition(".")[0] == "vit_tiny"
    fake.list_models = lambda: ["vit_tiny"]
    fake.create_model = lambda name, pretrained: asked.append((name, pretrained)) or Fake()
    monkeypatch.setitem(sys.modules, "timm", fake)
    return asked


def test_what_timm_has_is_made_pretrained_with_its_own_images(timm):
    opened = open_model("timm:vit_tiny.in1k")
    assert timm == [("vit_tiny.in1k", True)]
    assert (opened.size, opened.mean, opened.std) == (96, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    with pytest.raises(LookupError, match="timm has no model 'vit_tinny'; did you mean 'vit_tiny'"):
        open_model("timm:vit_tinny")


def test_what_timm_keeps_on_the_hub_is_made_by_timm(timm):
    assert isinstance(open_model("hf:timm/vit_tiny.in1k").model, Fake)
    assert timm == [("vit_tiny.in1k", True)]
    assert not is_foreign("hf:timm/convnextv2_atto.fcmae")


def test_without_timm_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match=r"pip install 'collapse-lab\[timm\]'"):
        load_model("timm:resnet18")


def test_a_convnext_of_timm_is_one_of_ours():
    assert not is_foreign("timm:convnextv2_atto.fcmae")
    assert is_foreign("timm:resnet18")


@pytest.fixture
def vit(tmp_path) -> Path:
    """A tiny ViT as transformers saves one, with what its processor says of images."""
    transformers = importlib.import_module("transformers")
    transformers.utils.logging.disable_progress_bar()
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = transformers.ViTConfig(**sizes, image_size=16, patch_size=8)
    transformers.ViTModel(config).save_pretrained(tmp_path / "vit")
    settings = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.1, 0.2, 0.3]}
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps(settings))
    return tmp_path / "vit"


def test_what_transformers_saved_is_opened_with_its_own_images(vit):
    opened = open_model(f"hf:{vit}")
    assert type(opened.model).__name__ == "ViTModel"
    assert (opened.size, opened.mean, opened.std) == (16, (0.5, 0.4, 0.3), (0.1, 0.2, 0.3))
    assert not opened.model.training


def test_without_transformers_the_error_names_the_extra(vit, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"pip install 'collapse-lab\[hf\]'"):
        load_model(f"hf:{vit}")


@pytest.mark.parametrize("switch", [{"response": "none"}, {"classes": 0}, {"averaged": True}])
def test_what_switches_parts_of_our_networks_is_refused_for_others(here, switch):
    with pytest.raises(ValueError, match=r"switch parts of .*theirs_to_open:made is "):
        load_model("py:theirs_to_open:made", **switch)
