"""The spectrum as data."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch

from collapse_lab.findings.spectrum import spectrum
from collapse_lab.metrics._metric import METRICS
from tests import reference
from tests.metrics.planted import isotropic_rows, normal, of_rows, with_spectrum
from tests.tolerances import EXACT64


def test_it_unpacks_into_singular_values_and_floor():
    x = normal(50, 6) + 3
    stats = of_rows(x)
    values, floor = spectrum(stats)
    assert isinstance(values, np.ndarray)
    assert values.tolist() == pytest.approx(reference.singular_values(x.numpy()).tolist(), rel=EXACT64)
    assert floor == stats.floor
    values[:] = 0
    assert stats.singular_values.all(), "the arrays are copies"


def test_values_at_and_below_the_floor_are_zero():
    values, floor = spectrum(of_rows(isotropic_rows(3, channels=9)))
    assert (values > floor).sum() == 3
    assert (values[3:] == 0).all()


def test_it_holds_what_the_metrics_say():
    stats = of_rows(with_spectrum(torch.arange(1, 31).double() ** -0.5, 30))
    found = spectrum(stats)
    fit = {name: METRICS[f"powerlaw_{name}"].function(stats) for name in ("alpha", "r_squared", "directions")}
    assert (found.power_law.alpha, found.power_law.r_squared, found.power_law.n) == tuple(fit.values())
    assert (found.power_law.first, found.power_law.last) == (5, 30)
    assert found.cumulative_share.mean() == pytest.approx(METRICS["spectrum_auc"].function(stats), rel=EXACT64)
    assert found.cumulative_share[-1] == pytest.approx(1, rel=EXACT64)
    assert spectrum(stats, first=1, last=20).power_law.n == 20


def test_a_layer_of_few_or_no_directions_has_no_power_law():
    assert spectrum(of_rows(normal(50, 6))).power_law is None
    constant = spectrum(of_rows(torch.full((20, 6), 2.5)))
    assert constant.power_law is None
    assert not constant.singular_values.any()
    assert np.isnan(constant.cumulative_share).all()


def test_it_is_frozen_and_refuses_a_window_that_is_none():
    stats = of_rows(normal(50, 6))
    with pytest.raises(FrozenInstanceError):
        spectrum(stats).floor = 0.0
    with pytest.raises(ValueError, match="got 9 to 3"):
        spectrum(stats, first=9, last=3)
