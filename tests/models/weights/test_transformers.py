"""transformers computes what we compute from the same weights, in both directions; its code is not ours."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch

from collapse_lab.models.block import fill
from collapse_lab.models.weights.write import write_weights
from collapse_lab.train.load import load_model
from tests.models.networks import FAMILIES, of_family, random_images, small
from tests.tolerances import EXACT32

KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "V1 classifier": ("ConvNext", "ForImageClassification", {"num_labels": 5}),
    "V1": ("ConvNext", "Model", {}),
    "V1 without LayerScale": ("ConvNext", "Model", {"layer_scale_init_value": 0.0}),
    "V2 classifier": ("ConvNextV2", "ForImageClassification", {"num_labels": 5}),
    "V2": ("ConvNextV2", "Model", {}),
}
IMAGES = {"height": 32, "width": 48}


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> None:
    of_transformers("utils").logging.disable_progress_bar()


def of_transformers(name: str) -> Any:
    """Imported here, not above: it takes seconds, and every process that collects tests reads this file."""
    return getattr(importlib.import_module("transformers"), name)


def theirs(kind: str, **changes: Any) -> torch.nn.Module:
    """A small network of transformers with every tensor away from its starting value."""
    family, use, settings = KINDS[kind]
    shape = {"hidden_sizes": [8, 12, 16], "depths": [1, 2, 1], "num_stages": 3, "layer_norm_eps": 1e-6}
    config = of_transformers(f"{family}Config")(**{**shape, **settings, **changes})
    model = of_transformers(family + use)(config).eval()
    for name, parameter in model.named_parameters():
        fill(parameter, 0, name, lambda value, source: value.normal_(std=0.3, generator=source))
    return model


def assert_computes_the_same(ours: torch.nn.Module, model: torch.nn.Module) -> None:
    """The last map, and what follows it: logits, or pooled features after the final norm."""
    images = random_images(2, *IMAGES.values(), seed=0, dtype=torch.float32)
    base = getattr(model, model.base_model_prefix, model)
    with torch.no_grad():
        answer = model(images)
        end = answer.logits if hasattr(answer, "logits") else answer.pooler_output
        pairs = [(ours.forward_features(images), base(images).last_hidden_state), (ours(images), end)]
    for found, expected in pairs:
        assert found.shape == expected.shape
        assert (found - expected).abs().max() <= EXACT32 * expected.abs().max()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("safe", [True, False])
def test_what_transformers_saves_computes_the_same_here(kind, safe, tmp_path):
    model = theirs(kind)
    if safe:
        model.save_pretrained(tmp_path)
    else:
        torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    ours = load_model(tmp_path)
    assert_computes_the_same(ours, model)
    assert ours.architecture["classes"] == (5 if "classifier" in kind else 0)
    assert (ours.architecture["response"] == "grn") == ("V2" in kind)
    assert (ours.architecture["layer_scale"] is None) == (kind not in ("V1", "V1 classifier"))


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "GRN and LayerScale"])
@pytest.mark.parametrize("classes", [0, 1, 2])
def test_what_we_write_computes_the_same_in_transformers(family, classes, tmp_path):
    ours = of_family(family, depths=(1, 1, 2), dims=(4, 6, 8), classes=classes).eval()
    write_weights(ours, tmp_path / "net", "hf")
    name = "ConvNextV2" if family == "V2" else "ConvNext"
    bare, headed = (of_transformers(name + use) for use in ("Model", "ForImageClassification"))
    made = headed if classes else bare
    model, said = made.from_pretrained(tmp_path / "net", output_loading_info=True)
    assert not any(said.values()), said
    assert_computes_the_same(ours, model.eval())
    if classes:  # the encoder of a classifier can be asked for alone
        encoder = bare.from_pretrained(tmp_path / "net")
        assert torch.equal(encoder.layernorm.weight, ours.norm.weight)


@pytest.mark.parametrize("layer_scale", [0.0, -0.5])
def test_a_layer_scale_that_began_at_zero_or_below_is_not_lost_in_transformers(layer_scale, tmp_path):
    ours = small((1, 1), (4, 6), response="none", layer_scale=layer_scale, classes=0, dtype=torch.float32).eval()
    write_weights(ours, tmp_path / "net", "hf")
    model, said = of_transformers("ConvNextModel").from_pretrained(tmp_path / "net", output_loading_info=True)
    assert not any(said.values()), said
    assert_computes_the_same(ours, model.eval())


def test_an_encoder_without_a_final_norm_leaves_it_to_transformers(tmp_path):
    write_weights(of_family("V2"), tmp_path / "net", "hf")
    bare = of_transformers("ConvNextV2Model")
    model, said = bare.from_pretrained(tmp_path / "net", output_loading_info=True)
    assert set(said["missing_keys"]) == {"layernorm.weight", "layernorm.bias"}
    images = random_images(2, 8, 12, seed=0, dtype=torch.float32)
    last = model.eval()(images).last_hidden_state
    torch.testing.assert_close(of_family("V2").forward_features(images), last, rtol=EXACT32, atol=EXACT32)


def test_the_small_eps_that_transformers_has_by_default_is_within_rounding_of_ours(tmp_path):
    model = theirs("V2 classifier", layer_norm_eps=1e-12)
    model.save_pretrained(tmp_path)
    assert_computes_the_same(load_model(tmp_path), model)
