"""What is claimed of a run on a GPU, and its page: from records, which no test here measures."""

from __future__ import annotations

import pytest
import torch

from benchmarks.gpu.judged import claims_of
from benchmarks.gpu.limits import Limits, bytes_an_image, flop_an_image, shares
from benchmarks.gpu.page import page
from collapse_lab.models.build import build_model


def step(network: str, rate: float, way: str = "compiled", size: str = "base") -> dict[str, object]:
    return {"part": "steps", "size": size, "way": way, "network": network, "batch": 8, "images_per_second": rate}


RECORDS = [
    step("visible", 2000.0, "eager"),
    step("visible", 2400.0),
    step("kernels", 2600.0),
    step("dense_masked", 1000.0),
    {"part": "steps", "size": "base", "way": "eager", "network": "timm", "batch": 8, "error": "ImportError: timm"},
    {"part": "looking", "task": "statistics", "seconds": 1.2, "product_seconds": 1.0, "singular_values_seconds": 9.0},
    {"part": "kernels", "size": "base", "way": "compiled", "network": "visible", "kernel": "a|b", "share": 0.5},
    {"part": "command", "command": "benchmarks.gpu.steps nano", "status": "no time left", "seconds": 0},
]


def test_a_rate_is_that_of_the_fastest_way_and_ratios_are_of_compiled_networks():
    found = {claim.name: claim.value for claim in claims_of(RECORDS)}
    assert found["base224_bf16_images_per_second"] == 2600
    assert found["base224_bf16_visible_vs_dense_masked"] == pytest.approx(2.6)
    assert found["statistics_1e6x3072_vs_product"] == pytest.approx(1.2)


def test_what_was_not_measured_has_no_value_and_a_reason():
    claims = claims_of([])
    assert claims
    assert {(claim.value, claim.holds, claim.reason) for claim in claims} == {(None, None, "not measured in this run")}


def test_a_page_has_a_row_for_every_record_and_says_what_failed():
    made = {"gpu": "GPU", "cores": 16}
    result = {
        "machine": made,
        "versions": {"torch": "2"},
        "limits": {"flops": 7e14, "bytes": 4e12},
        "claims": [claim.record() for claim in claims_of(RECORDS)],
        "records": RECORDS,
    }
    text = page(result)
    assert text.count("| base | compiled |") == 3
    for said in ("ImportError: timm", "no time left", "a/b", "700 TFLOP/s", "4.00 TB/s"):
        assert said in text


def test_a_step_at_a_limit_has_a_share_of_one():
    with torch.device("meta"):
        model = build_model("convnextv2_base")
    own = model.architecture
    assert flop_an_image(model) == pytest.approx(36e9, rel=0.05)
    assert bytes_an_image(own["depths"], own["dims"]) == pytest.approx(224e6, rel=0.01)
    limits = Limits(flops=7e14, bytes=4e12)
    found = shares(model, limits.flops / flop_an_image(model), limits)
    assert found["share_of_products"] == pytest.approx(1)
    assert found["share_of_both"] == pytest.approx(1 + found["share_of_memory"])
