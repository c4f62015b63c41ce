"""GRN's parameters and effective gain, in models of ours and of others."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from collapse_lab.findings.gates import gate_table
from collapse_lab.models.build import build_model
from tests.capture.small import observe
from tests.metrics.planted import source
from tests.tolerances import EXACT32


def model(response: str = "grn") -> nn.Module:
    network = build_model("convnext_digits", response=response, layer_scale=None, in_channels=1)
    for name, parameter in network.named_parameters():
        if name.endswith(("gamma", "beta")):
            parameter.data.normal_(generator=source(len(name)))
    return network


def digits() -> torch.Tensor:
    return torch.randn(30, 1, 32, 32, generator=source(0))


def test_an_untrained_gate_changes_nothing():
    network = build_model("convnext_digits", response="grn", layer_scale=None, in_channels=1)
    table = gate_table(network, observe(network, [digits()], sites=["*.act"]))
    for column in ("gamma_norm", "gamma_positive_share", "beta_norm", "beta_mean"):
        assert (table[column] == 0).all()
    for column in ("gain_min", "gain_q10", "gain_q50", "gain_q90", "gain_max"):
        assert (table[column] == 1).all()


def test_norms_means_and_signs_are_those_of_the_parameters():
    network = model()
    table = gate_table(network)
    sites = [name for name, _ in network.named_modules() if name.endswith(".response")]
    assert table.site.tolist() == sites
    module = network.get_submodule(sites[0])
    module.gamma.data[:] = -1
    module.gamma.data[0] = 2
    row = gate_table(network).iloc[0]
    n = row.channels
    assert n == len(module.gamma)
    assert row.gamma_norm == pytest.approx(math.sqrt(n + 3), rel=EXACT32)
    assert row.gamma_mean == pytest.approx((3 - n) / n, rel=EXACT32)
    assert row.gamma_positive_share == pytest.approx(1 / n)
    assert row.beta_norm == pytest.approx(module.beta.norm().item(), rel=EXACT32)
    assert "gain_q50" not in table


def test_the_gain_is_what_the_module_multiplies_by_on_average():
    network = model()
    capture = observe(network, [digits()], sites=["*.act"], keep_maps=30)
    row = gate_table(network, capture).iloc[0]
    x = capture.maps.values["stages.0.blocks.0.act"]
    module = network.get_submodule("stages.0.blocks.0.response")
    with torch.no_grad():
        energy = x.norm(dim=1)
        gain = 1 + module.gamma * (energy / energy.mean(dim=1, keepdim=True)).mean(dim=0)
        assert torch.allclose(
            module(x)[3] - module.beta, x[3] * (1 + module.gamma * energy[3] / energy[3].mean()), atol=1e-4
        )
    for name, q in (("gain_min", 0), ("gain_q10", 0.1), ("gain_q50", 0.5), ("gain_q90", 0.9), ("gain_max", 1)):
        assert row[name] == pytest.approx(gain.quantile(q).item(), rel=EXACT32, abs=EXACT32)
    assert row.n_images == 30


def test_a_gate_whose_input_was_not_captured_has_no_gain():
    network = model()
    table = gate_table(network, observe(network, [digits()], sites=["stages.0.**.act"]))
    known = table.site.str.startswith("stages.0.")
    assert table[known].gain_q50.notna().all()
    assert table[~known].gain_q50.isna().all()
    assert (table[~known].n_images == 0).all()


def test_no_gate_or_no_input_of_one_is_said():
    with pytest.raises(LookupError, match="ConvNeXt has no GRN"):
        gate_table(model("none"))
    with pytest.raises(LookupError, match="has no GRN"):  # its N, and so its gain, is another
        gate_table(model("grn_standardise"))
    network = model()
    capture = observe(network, [digits()], sites=["stages.0.blocks.0.response"])
    with pytest.raises(LookupError, match=r"no GRN's input with energy, such as 'stages.0.blocks.0.act'; capture"):
        gate_table(network, capture)


def test_what_is_called_grn_and_has_no_gamma_is_no_gate():
    gated_residual = type("GRN", (nn.Linear,), {})
    network = nn.Sequential(gated_residual(3, 3), nn.Linear(3, 3))
    with pytest.raises(LookupError, match="Sequential has no GRN"):
        gate_table(network)


def test_the_gates_of_transformers_are_found_under_their_names():
    from transformers import ConvNextV2Config, ConvNextV2Model

    network = ConvNextV2Model(ConvNextV2Config(hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1]))
    site = next(name for name, module in network.named_modules() if type(module).__name__ == "ConvNextV2GRN")
    network.get_submodule(site).weight.data[..., :3] = 2
    capture = observe(
        network, [torch.randn(4, 3, 64, 64, generator=source(0))], sites=["*.act"], layout="image height width channel"
    )
    table = gate_table(network, capture)
    assert len(table) == 4
    assert table.iloc[0].site == site
    assert table.iloc[0].gamma_norm == pytest.approx(math.sqrt(12))
    assert table.iloc[0].gain_max > 1
    assert (table.iloc[1:].gain_max == 1).all()
