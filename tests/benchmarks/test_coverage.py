"""The simulation of coverage: that its features are what it says, and its truths true."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from benchmarks import coverage
from benchmarks.coverage import FAMILIES, Cell, cells, covered, draw, images_for, kind_of, spectrum_of, truths
from collapse_lab.metrics._metric import HEADLINE, measure
from collapse_lab.stats.accumulate import stats_of

WIDTH = 16


@pytest.fixture(autouse=True)
def small_population(monkeypatch):
    monkeypatch.setattr(coverage, "POPULATION", 20_000)


@pytest.mark.parametrize("name", FAMILIES)
def test_features_have_the_planted_spectrum(name):
    family = FAMILIES[name]
    x = draw(family, WIDTH, 60_000 // family.positions, torch.Generator().manual_seed(1))
    found = stats_of(x).singular_values.square() / (x.shape[0] * x.shape[1])
    expected = spectrum_of(family, WIDTH).sort(descending=True).values
    assert torch.allclose(found, expected, rtol=0.2, atol=1e-3)
    assert float(found.sum()) == pytest.approx(float(expected.sum()), rel=0.05)


@pytest.mark.parametrize("name", FAMILIES)
def test_truths_are_what_a_large_sample_reads(name):
    family = FAMILIES[name]
    x = draw(family, WIDTH, 30_000, torch.Generator().manual_seed(2))
    whole = stats_of(x)
    known = truths(family, WIDTH)
    assert set(known) <= set(HEADLINE)
    for metric, value in known.items():
        rows = stats_of(x.mean(dim=1, keepdim=True)) if metric == "pair_cosine_centred" else whole
        assert measure(metric, rows).value == pytest.approx(value, rel=0.08, abs=0.003), metric


@pytest.mark.parametrize("name", FAMILIES)
def test_so_many_images_are_worth_so_many_rows(name):
    family = FAMILIES[name]
    images = images_for(family, WIDTH, 200)
    x = draw(family, WIDTH, images, torch.Generator().manual_seed(3))
    assert stats_of(x).n_effective == pytest.approx(200 * WIDTH, rel=0.05)


def test_every_draw_is_counted_and_repeats():
    cell = Cell(family="8 positions, skewed, dead", width=WIDTH, rows_a_channel=10.0)
    truth = truths(FAMILIES[cell.family], WIDTH)
    found = covered(cell, truth, range(4))
    assert set(found) == set(truth)
    assert found["dead_channels"] == 4
    assert found == covered(cell, truth, range(4))
    nowhere = dict.fromkeys(truth, -5.0)
    assert set(covered(cell, nowhere, range(2)).values()) == {0}


def test_cells_have_the_images_that_an_interval_needs():
    assert min(cell.images for cell in cells()) >= 64
    assert {cell.rows_a_channel for cell in cells()} == set(coverage.ROWS_A_CHANNEL)
    assert {cell.family for cell in cells()} == set(FAMILIES)


def test_the_claims_count_only_cells_that_a_sample_moves(monkeypatch):
    rows = [(20.0, "", 0.93), (20.0, "flat", 0.999), (20.0, "exact", 1.0), (5.0, "", 0.5), (20.0, "", 0.97)]
    table = pd.DataFrame(rows, columns=["rows_a_channel", "kind", "coverage"]).assign(
        family="f", width=16, images=99, metric=[f"m{place}" for place in range(5)], truth=0.0
    )
    monkeypatch.setattr(coverage, "simulate", lambda *_: table)
    claims = {claim.name: claim.value for claim in coverage.measure_coverage(False).claims}
    assert claims == {
        "interval_coverage_min": 0.93,
        "interval_coverage_max": 0.97,
        "interval_coverage_max_flat": 0.999,
        "interval_coverage_min_below_20d": 0.5,
    }
    assert kind_of("dead_channels", FAMILIES["power law 1"]) == "exact"
    assert kind_of("pair_cosine_centred", FAMILIES["power law 1"]) == "flat"
    assert kind_of("pair_cosine_centred", FAMILIES["skewed, power law 1"]) == ""
