"""The judge of the positive controls, on embeddings whose collapse is planted, and what a control differs in."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from benchmarks import controls as benchmark
from benchmarks.controls import CONTROLS, Control, judge, measure, shown, trained

CAUGHT, CLEAN = CONTROLS[::2], CONTROLS[1::2]


def rows(channels: int, count: int = 797) -> torch.Tensor:
    return torch.randn(count, channels, generator=torch.Generator().manual_seed(0))


PLANTED = {
    "complete_collapse": torch.ones(16) + 0.01 * rows(16),
    "dimensional_collapse": rows(2) @ rows(16, 2) + 0.01 * rows(16),
    "healthy": rows(16),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_every_control_is_right_about_planted_embeddings(planted):
    found = judge(PLANTED[planted])
    for control in CONTROLS:
        assert control.right(found["kinds"]) == (control.collapses == (control.kind == planted))
    assert (found["kinds"] == []) == (planted == "healthy")


def test_one_direction_of_any_length_is_complete_collapse_at_unit_length_only():
    one_way = (1 + rows(1).abs()) * (torch.ones(16) + 0.01 * rows(16))
    assert "complete_collapse" not in judge(one_way)["kinds"]
    assert "complete_collapse" in judge(F.normalize(one_way, dim=1))["kinds"]


@pytest.mark.parametrize(("caught", "clean"), list(zip(CAUGHT, CLEAN, strict=True)))
def test_twins_differ_in_one_setting(caught, clean):
    assert (caught.collapses, clean.collapses, caught.kind) == (True, False, clean.kind)
    one, other = (each.config(3, "out").identity() for each in (caught, clean))
    differ = {name for name, value in one.pop("objective").items() if value != other["objective"][name]}
    assert len(differ) == 1
    assert one == {name: value for name, value in other.items() if name != "objective"}
    assert one["seed"] == 3


def short(control: Control) -> Control:
    return Control(**{**vars(control), "steps": 1})


def test_embeddings_are_those_of_the_test_digits_at_the_length_that_the_loss_sees():
    unit, raw = (trained(0, short(control)) for control in CLEAN)
    assert (unit.shape, raw.shape) == ((797, 256), (797, 16))
    assert (unit.norm(dim=1) - 1).abs().max() < 1e-5
    assert raw.norm(dim=1).std() > 0


def test_claims_are_shares_of_runs_that_were_right(monkeypatch):
    class Here:
        """A pool of this process."""

        def __init__(self, *_: object, **__: object) -> None: ...
        def __enter__(self) -> Here:
            return self

        def __exit__(self, *_: object) -> None: ...

        map = staticmethod(map)

    def planted(seed: int, control: Control) -> torch.Tensor:
        return PLANTED[control.kind if control.collapses and seed % 2 else "healthy"]

    monkeypatch.setattr(benchmark, "ProcessPoolExecutor", Here)
    monkeypatch.setattr(benchmark, "trained", planted)
    found = measure(quick=True)
    assert [claim.value for claim in found.claims[:4]] == [0.5, 1, 0.5, 1]
    assert found.claims[4].value < 25
    assert "simsiam_collapse_caught: of 2 runs found complete_collapse 1" in shown(found.tables["runs"])
