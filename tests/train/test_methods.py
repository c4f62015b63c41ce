"""Runs of every learning method: stopped and gone on with, loaded, started from, and refused where they do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from collapse_lab.models.build import build_model
from collapse_lab.models.vit import ViT
from collapse_lab.objectives.decoders import DECODERS
from collapse_lab.objectives.table import OBJECTIVES
from collapse_lab.runs import Run, read_lines
from collapse_lab.train.checkpoint import load_checkpoint
from collapse_lab.train.config import Config, make_config
from collapse_lab.train.load import load_model, load_step
from collapse_lab.train.loop import train
from collapse_lab.train.methods import OBJECTIVE_SECTIONS, FCMAEConfig
from collapse_lab.train.nested import merged
from collapse_lab.train.restore import load_objective
from tests.tolerances import ACCUMULATED, HALF
from tests.train.runs import SETTINGS, final_state, tiny

NETWORK: dict[str, Any] = {"name": "vit_tiny", "patch": 4, "depth": 2, "widths": [12]}
OF_VIT: dict[str, Any] = {**NETWORK, "response": "published", "layer_scale": "published"}
MAE: dict[str, Any] = {
    "model": OF_VIT,
    "objective": {"name": "mae", "decoder_dim": 8, "decoder_depth": 1, "decoder_heads": 2},
}
METHODS: dict[str, dict[str, Any]] = {
    "mae": MAE,
    "dense, transformer": {"objective": {"convolution": "dense", "decoder": "transformer"}},
    "unet": {"objective": {"decoder": "unet"}},
    "classifier": {"model": OF_VIT, "optim": {"layer_decay": 0.7, "ema": 0.9}},
}


def config_of(method: str, out: Path, **changes: Any) -> Config:
    """Three steps, of which the last alone is saved."""
    short: dict[str, Any] = {"steps": 3, "save": {"every": 9}}
    if method != "classifier":
        return tiny(out, **{**METHODS[method], **short, **changes})
    values = merged({**SETTINGS, "out": str(out)}, {**METHODS[method], **short, **changes})
    return make_config({**values, "objective": {"name": "supervised"}})  # which has no decoder


@pytest.mark.parametrize("method", METHODS)
def test_a_stopped_run_ends_in_the_same_bits_and_comes_back_as_it_was_trained(method, tmp_path):
    for name, stop in (("unbroken", 0), ("stopped", 2)):
        config = config_of(method, tmp_path / name)
        train(config, on_step=lambda state, stop=stop: state.step == stop)
        torch.manual_seed(3)  # the global generator has no part in it
        train(config)
    states = [final_state(tmp_path / name) for name in ("unbroken", "stopped")]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])

    model, objective = load_model(tmp_path / "stopped"), load_objective(tmp_path / "stopped")[0]
    assert all(torch.equal(value, states[0][f"encoder.{name}"]) for name, value in model.state_dict().items())
    assert all(torch.equal(value, states[0][name]) for name, value in objective.state_dict().items())
    assert model(torch.rand(1, 3, 16, 16)).isfinite().all()


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory) -> Path:
    """An MAE's run; only read it."""
    return train(config_of("mae", tmp_path_factory.mktemp("pretrained") / "run", log_every=1))


def test_a_classifier_starts_from_an_mae_with_a_fresh_head(pretrained, tmp_path):
    with pytest.warns(UserWarning, match="left out: decoder, embed, mask_token, predict; drawn afresh: head$"):
        path = train(config_of("classifier", tmp_path / "run", init_from=str(pretrained), steps=1, save={"at": [0]}))
    began = load_checkpoint(Run(path).checkpoint(0))["model"]
    for name, value in load_model(pretrained).state_dict().items():
        assert torch.equal(began[f"encoder.{name}"], value), name
    fresh = build_model("vit_tiny", patch=4, depth=2, widths=(12,), classes=10)
    assert torch.equal(began["encoder.head.weight"], fresh.head.weight)
    groups = load_checkpoint(Run(path).checkpoint(1))["optimizer"]["param_groups"]
    assert sorted({round(group["scale"], 6) for group in groups}) == [0.343, 0.49, 0.7, 1.0]  # patches to head


def test_another_family_is_no_start(pretrained, tmp_path):
    message = r"another network \(depths = None there, \(1, 1, 3\) here; .* patch = 4 there, None here"
    with pytest.raises(ValueError, match=message):
        train(tiny(tmp_path / "run", init_from=str(pretrained)))


def test_bf16_and_recomputing_are_the_same_run_to_rounding(pretrained, tmp_path):
    plain = [line["loss"] for line in read_lines(Run(pretrained).log)]
    for name, compute, tolerance in (
        ("bf16", {"precision": "bf16"}, HALF),
        ("parts", {"accumulate": 2, "recompute": True}, ACCUMULATED),
    ):
        path = train(config_of("mae", tmp_path / name, log_every=1, compute=compute))
        assert [line["loss"] for line in read_lines(Run(path).log)] == pytest.approx(plain, rel=tolerance)


def test_float64_is_float64_throughout(tmp_path):
    state = final_state(train(config_of("mae", tmp_path / "run", steps=1, compute={"precision": "float64"})))
    assert {value.dtype for name, value in state.items() if not name.endswith("step")} == {torch.float64}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": {**OF_VIT, "patch": 5}}, ValueError, "16 x 16 pixels are not divided by cells of 5 x 5; .* 15 x 15"),
        ({"model": {**OF_VIT, "response": "grn"}}, ValueError, "is a ViT, which has no response"),
        ({"model": {**OF_VIT, "layer_scale": "none"}}, ValueError, "leave out layer_scale = None"),
        ({"model": {**OF_VIT, "widths": [10]}}, ValueError, "a ViT is 10 wide and has 3 heads"),
        ({"model": {"name": "convnextv2_atto"}}, ValueError, "is a ConvNeXt, .* leave out patch = 4 and depth = 2"),
        ({"objective": {"decoder_heads": 3}}, ValueError, "a decoder is 8 wide and has 3 heads"),
        ({"objective": {"decoder_width": 3}}, ValueError, "unknown key 'objective.decoder_width'"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(changes, error, message, tmp_path):
    settings = {name: {**MAE[name], **changes.get(name, {})} for name in MAE}
    with pytest.raises(error, match=message):
        train(tiny(tmp_path / "run", **settings))
    assert not (tmp_path / "run").exists()


def test_a_configuration_knows_every_decoder():
    assert get_args(FCMAEConfig.model_fields["decoder"].annotation) == tuple(DECODERS)
    assert set(OBJECTIVE_SECTIONS) == set(OBJECTIVES)


def test_methods_refuse_the_network_of_the_other(tmp_path):
    with pytest.raises(TypeError, match="fcmae trains a ConvNeXt, got a ViT; a ViT is trained by mae"):
        train(tiny(tmp_path / "run", model=OF_VIT))
    with pytest.raises(TypeError, match="mae trains a ViT, got a ConvNeXt; a ConvNeXt is trained by fcmae"):
        train(tiny(tmp_path / "run", objective={"name": "mae"}))
    assert not (tmp_path / "run").exists()


def test_the_network_of_a_run_is_a_vit_of_its_settings_also_before_its_first_step(pretrained):
    model = load_model(pretrained)
    assert isinstance(model, ViT)
    own = {"patch": 4, "width": 12, "depth": 2, "heads": 3}
    assert model.architecture == {**own, "in_channels": 3, "classes": None, "drop_path": 0.1}
    began = build_model("vit_tiny", patch=4, depth=2, widths=(12,)).state_dict()
    untrained = load_step(Run(pretrained), 0).state_dict()
    assert all(torch.equal(value, untrained[name]) for name, value in began.items())
