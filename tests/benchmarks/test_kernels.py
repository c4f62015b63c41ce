"""What the table of the kernels shows, and what it says where there is nothing to measure."""

from __future__ import annotations

import pytest
import torch

from benchmarks import kernels as benchmark


def test_without_a_device_every_claim_says_why_it_is_not_measured(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = benchmark.measure(quick=True)
    assert {(claim.value, claim.reason) for claim in result.claims} == {(None, "no CUDA device")}


def test_claims_are_times_of_the_other_ways_over_that_of_the_kernels(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(benchmark.kernels, "triton", object())
    way = {"kernel": 0.5, "gathered": 2.0, "dense": 1.0}
    rows = [
        {"size": size, "stage": stage, "pass": name, **way}
        for size, stage in benchmark.STAGES
        for name in benchmark.PASSES
    ]
    monkeypatch.setattr(benchmark, "rows", lambda seconds: rows)
    found = {claim.name: claim.value for claim in benchmark.measure(quick=True).claims}
    assert found["base224_stage2_train_vs_gathered"] == pytest.approx(4)
    assert found["atto224_stage0_forward_vs_dense"] == pytest.approx(2)
    assert len(capsys.readouterr().out.strip().splitlines()) == 1 + len(rows)
