"""Claims are measured side by side and written in one form."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks.claims import Claim, interleaved, main, ratio, table
from benchmarks.sparse_encoder import bytes_held, mask_blocks, masked_maps
from collapse_lab.models.build import build_model


def claim(value: float | None, better: str = "higher", reason: str = "") -> Claim:
    return Claim(name="speed", value=value, unit="times", target=2.0, better=better, reason=reason)


@pytest.mark.parametrize(
    ("value", "better", "holds"),
    [(2.0, "higher", True), (1.9, "higher", False), (2.0, "lower", True), (2.1, "lower", False), (None, "lower", None)],
)
def test_a_claim_holds_on_the_right_side_of_its_target(value, better, holds):
    assert claim(value, better).holds is holds


def test_the_file_has_the_form_that_others_read(tmp_path, capsys):
    seen = []

    def measure(quick):
        seen.append(quick)
        return [claim(2.5), claim(None, reason="no GPU")]

    main(measure, ["--quick", "--json", str(tmp_path / "deep" / "a.json")])
    result = json.loads((tmp_path / "deep" / "a.json").read_text())
    assert seen == [True]
    assert set(result) == {"machine", "versions", "claims"}
    facts = {"name": "speed", "unit": "times", "target": 2.0, "better": "higher"}
    assert result["claims"] == [
        {**facts, "value": 2.5, "holds": True},
        {**facts, "value": None, "holds": None, "reason": "no GPU"},
    ]
    assert "node" not in result["machine"]
    assert "speed" in capsys.readouterr().out


def test_the_table_says_what_fails_and_what_is_not_measured():
    text = table([claim(1.0), claim(None, reason="no GPU")])
    assert "FAILS" in text
    assert "not measured (no GPU)" in text


def test_a_number_without_a_target_is_told_and_holds_nothing():
    number = Claim(name="ratio", value=1.5, unit="times", target=None, better="higher")
    assert number.holds is None
    assert number.record()["value"] == 1.5
    assert table([number]).splitlines()[1].split() == ["ratio", "1.5", "-", "times", "told"]


def test_tasks_take_turns_of_two_calls_of_which_one_counts():
    order = []
    seconds = interleaved({name: lambda name=name: order.append(name) for name in "ab"}, 2)
    assert order == ["a", "a", "b", "b"] * 2
    assert {name: len(rounds) for name, rounds in seconds.items()} == {"a": 2, "b": 2}


def test_a_ratio_is_taken_round_by_round():
    assert ratio([2, 20, 9], [1, 10, 3]) == 2  # a machine ten times slower in the second round


def test_the_baseline_hides_removed_cells_from_the_convolutions():
    exact, model = build_model("convnext_atto"), build_model("convnext_atto")
    removed = torch.rand(1, 49, generator=torch.Generator().manual_seed(0)) < 0.6
    mask_blocks(model, removed)
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        visible = masked_maps(removed, 3)[:, :, 0].reshape(1, 1, 7, 7)
        # Without GRN the baseline is the exact masked network at visible cells.
        difference = (model.forward_features(images) - exact.forward_masked(images, removed)) * visible
    assert difference.abs().max() < 1e-5


def test_held_bytes_count_a_storage_once_and_leave_out_parameters():
    layer, x = torch.nn.Linear(4, 4, bias=False), torch.ones(8, 4)
    # Kept: x (8 x 4), and the output (8 x 4) for its square; gradients: the weight's 4 x 4.
    assert bytes_held(layer, lambda: layer(x)) == 4 * (32 + 32 + 16)
