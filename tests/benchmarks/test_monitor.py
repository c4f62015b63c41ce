"""What the cost of watching is measured on."""

from __future__ import annotations

import pytest
import torch

from benchmarks import monitor as benchmark
from benchmarks.monitor import claims_of, overheads, passes, probes
from collapse_lab.capture.sites import match_sites
from collapse_lab.models.build import build_model


def test_the_sites_are_the_block_outputs_of_pico():
    with torch.device("meta"):
        assert len(match_sites(benchmark.network(), benchmark.SITES)) == 2 + 2 + 6 + 2


def test_the_overhead_is_that_of_one_check_in_fifty_steps():
    parts = {"forward": [1.0, 2.0, 4.0], "pass": [1.2, 2.4, 4.8], "metrics": [0.1, 0.1, 0.3]}
    found = {claim.name: claim for claim in claims_of([1.01, 1.03, 1.05], [2.0, 2.0, 2.5], parts)}
    assert found["monitor_every50_overhead"].value == 1.03
    assert found["monitor_every50_overhead"].holds is False
    assert found["monitor_pass_vs_forward"].value == pytest.approx(1.2)
    assert found["monitor_pass_vs_forward"].holds is True
    assert found["monitor_statistics_seconds"].value == pytest.approx(0.4)


def test_every_side_is_timed_of_real_work(monkeypatch):
    monkeypatch.setattr(benchmark, "SIDE", 32)
    model = build_model("convnextv2_atto", classes=benchmark.CLASSES)
    step = benchmark.supervised
    monkeypatch.setattr(benchmark, "supervised", lambda model: step(model, 2))
    before = model.state_dict()["head.weight"].clone()
    parts = passes(model, probes(4), 2)
    assert torch.equal(before, model.state_dict()["head.weight"])
    ratios, plain = overheads(model, probes(4), 2)
    assert not torch.equal(before, model.state_dict()["head.weight"])
    assert {name: len(times) for name, times in parts.items()} == {"forward": 2, "pass": 2, "metrics": 2}
    assert all(time > 0 for times in (plain, *parts.values()) for time in times)
    assert all(ratio > 0.5 for ratio in ratios)
