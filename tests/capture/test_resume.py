"""An interrupted pass goes on from its last saving, to the same result, or says why it cannot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from collapse_lab.capture.store import Capture
from collapse_lab.findings.table import capture
from tests.capture.same import assert_same_capture
from tests.capture.small import LAYOUT, SITES, Small, images

BATCHES = images(80).split(10)
REPEATING = [*BATCHES, BATCHES[0], BATCHES[2][:3]]  # before, and after, what a saving may come to


class Counting(Small):
    """Counts its passes."""

    passes = 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        return super().forward(x)


def captured(batches: Any, model: Small | None = None, **settings: Any) -> Capture:
    asked = {"sites": SITES, "layout": LAYOUT, "keep_rows": 30, "keep_maps": 3, **settings}
    return capture(model or Counting(), batches, **asked)


def broken_at(batches: Any, place: int) -> Iterator[Any]:
    yield from batches[:place]
    raise OSError("the disk went away")


def interrupted(folder: Path, at: int, batches: Any = REPEATING, **settings: Any) -> None:
    with pytest.raises(OSError, match="the disk went away"):
        captured(broken_at(batches, at), save_to=folder, save_every=3, **settings)


@pytest.mark.parametrize(("at", "saved"), [(1, 0), (4, 3), (9, 9)])
def test_a_pass_that_was_interrupted_goes_on_to_the_same_result(tmp_path: Path, at: int, saved: int):
    interrupted(tmp_path / "saved", at)
    model = Counting()
    resumed = captured(REPEATING, model, save_to=tmp_path / "saved", save_every=3)
    assert model.passes == 1 + len(REPEATING) - saved  # one image goes ahead
    assert resumed.facts["repeated_images"] == 13
    assert_same_capture(captured(REPEATING), resumed)


def test_a_pass_may_be_interrupted_again_and_again(tmp_path: Path):
    for at in (4, 4, 7, 10):
        interrupted(tmp_path, at)
    assert_same_capture(captured(REPEATING), captured(REPEATING, save_to=tmp_path, save_every=4))


def test_an_exception_inside_the_model_does_not_save_half_a_batch(tmp_path: Path):
    class Breaking(Counting):
        def forward(self, x: Tensor) -> Tensor:
            logits = super().forward(x)
            if self.passes == 6:
                raise ArithmeticError("inside")
            return logits

    with pytest.raises(ArithmeticError, match="inside"):
        capture(Breaking(), BATCHES, sites=SITES, layout=LAYOUT, save_to=tmp_path, save_every=2)
    one = capture(Breaking(), BATCHES[:4], sites=SITES, layout=LAYOUT, save_to=tmp_path, save_every=2)
    assert one["conv"].n_images == 40


def test_groups_that_are_kept_survive_an_interruption(tmp_path: Path):
    interrupted(tmp_path, 5, keep_groups=True)
    resumed = captured(REPEATING, save_to=tmp_path, save_every=3, keep_groups=True)
    whole = captured(REPEATING, keep_groups=True)
    assert resumed.account == whole.account
    assert resumed.held["conv"].counts == whole.held["conv"].counts


def test_nothing_is_left_when_a_pass_ends_well(tmp_path: Path):
    (tmp_path / "notes.txt").touch()
    captured(REPEATING, save_to=tmp_path, save_every=1)
    captured(REPEATING, save_to=tmp_path / "new", save_every=1)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_other_images_or_fewer_batches_than_were_done_are_refused(tmp_path: Path):
    interrupted(tmp_path, 4)
    shuffled = [REPEATING[place] for place in (0, 1, 5, 2, 3)]
    for other in (shuffled, REPEATING[:2], [torch.cat(REPEATING[:2]), *REPEATING[2:]]):
        with pytest.raises(ValueError, match="these are not the batches that were captured: the first 3 hold other"):
            captured(other, save_to=tmp_path, save_every=3)
    captured(REPEATING, save_to=tmp_path, save_every=3)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"seed": 1}, r"seed: 0 and 1"),
        ({"groups": 8}, r"groups: 16 and 8"),
        ({"keep_rows": 31}, r"keep_rows: 30 and 31"),
        ({"keep_maps": 4}, r"keep_maps: 3 and 4"),
        ({"positions": "all"}, r"positions: \['sampled:8', 'pooled'\] and \['all'\]"),
        ({"sites": ["conv"]}, r"sites: .* and \['conv'\]"),
        ({"layout": {"act": "image channel width height"}}, r"layouts, act: 'image channel height width' and "),
    ],
)
def test_other_settings_are_refused_by_name(tmp_path: Path, changed: dict[str, Any], words: str):
    interrupted(tmp_path, 4)
    with pytest.raises(ValueError, match=rf"of other settings \({words}.*\); delete the folder, or "):
        captured(REPEATING, save_to=tmp_path, save_every=3, **changed)


def test_other_weights_of_the_same_architecture_are_refused(tmp_path: Path):
    interrupted(tmp_path, 4)
    model = Counting()
    model.head.bias.data[0] += 1e-9
    with pytest.raises(ValueError, match=r"of other settings \(weights: "):
        captured(REPEATING, model, save_to=tmp_path, save_every=3)


def test_a_torn_saving_is_known(tmp_path: Path):
    interrupted(tmp_path, 4)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for torn in (whole[: len(whole) // 2], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
        path.write_bytes(torn)
        with pytest.raises(ValueError, match=r"is torn .* delete it and capture again"):
            captured(REPEATING, save_to=tmp_path, save_every=3)


@pytest.mark.parametrize("given", [{"save_to": "somewhere"}, {"save_every": 2}])
def test_where_to_save_and_how_often_belong_together(given: dict[str, Any]):
    with pytest.raises(ValueError, match="save_to and save_every"):
        captured(BATCHES, **given)
