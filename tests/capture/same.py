"""Whether two captures say the same, up to the order in which float64 sums were taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from collapse_lab.capture.store import Capture
from collapse_lab.findings.table import analyze
from tests.tolerances import ORDER


def assert_same_capture(one: Capture, two: Capture) -> None:
    """Every metric, every replicate, the kept rows and maps, and what is said of the images."""
    assert list(one) == list(two)
    assert one.replicates.keys() == two.replicates.keys()
    for name in ("model", "images", "repeated_images", "layouts", "shapes", "seed"):
        assert one.facts[name] == two.facts[name], name
    for key, stats in one.items():
        assert two[key].images_hash == stats.images_hash
        assert_same_fields(stats.rows, two[key].rows)
    assert one.maps.values.keys() == two.maps.values.keys()
    for site, values in one.maps.values.items():
        assert torch.equal(two.maps.id[site], one.maps.id[site])
        assert torch.allclose(two.maps.values[site], values, rtol=1e-6)
    a, b = analyze(one), analyze(two)
    assert list(a.metric) == list(b.metric)
    assert list(a.status) == list(b.status)
    assert a["value"].notna().sum() > 10
    assert list(a["value"]) == pytest.approx(list(b["value"]), rel=ORDER, abs=ORDER, nan_ok=True)
    for key, replicates in one.replicates.items():
        assert two.replicates[key].sizes == replicates.sizes
        for name, values in replicates.values.items():
            assert two.replicates[key].values[name] == pytest.approx(values, rel=ORDER, abs=ORDER, nan_ok=True), name


def assert_same_fields(one: Any, two: Any) -> None:
    assert (one is None) == (two is None)
    for name, value in {} if one is None else vars(one).items():
        other = getattr(two, name)
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            assert np.allclose(value, other, rtol=ORDER, atol=ORDER), name
        else:
            assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other, name
