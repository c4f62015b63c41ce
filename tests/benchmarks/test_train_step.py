"""What the cost of a training step is measured on."""

from __future__ import annotations

import pytest
import torch

from benchmarks import train_step as benchmark
from benchmarks.train_step import STAGES, Bench, claims_of, config, peak
from collapse_lab.train.place import entered


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.setattr(benchmark, "BATCH", 2)
    settings = config("float32")
    with entered(settings) as place:
        yield Bench.of(settings, place)


def test_every_stage_is_timed_of_real_work(bench):
    before = [parameter.detach().clone() for parameter in bench.ready.objective.parameters()]
    seconds = bench.split(3)
    assert list(seconds) == list(STAGES)
    assert all(value > 0 for value in seconds.values())
    after = list(bench.ready.objective.parameters())
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    bench.step()
    bench.step(4)


def test_products_grow_with_the_images(bench, monkeypatch):
    two = bench.flops()
    (part,) = bench.synthetic
    doubled = type(part)(
        places=torch.arange(4),
        batch=type(part.batch)(**{name: torch.cat([value, value]) for name, value in vars(part.batch).items()}),
    )
    bench.synthetic[:] = [doubled]
    assert bench.flops() == 2 * two > 0


def test_claims_are_shares_of_one_step_and_of_the_peak(bench):
    found = {claim.name: claim for claim in claims_of(bench, bench, 1)}
    assert sum(found[f"train_step_{name}_share"].value for name in STAGES) == pytest.approx(1)
    assert 0 < found["train_step_flop_utilisation"].value < 2
    assert 0.1 < found["packed_vs_synthetic"].value < 10
    assert peak(torch.device("cpu"), 1) > 1e9
