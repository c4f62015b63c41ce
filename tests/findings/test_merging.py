"""Captures of shards, merged, are the capture of all images; what does not belong together is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from collapse_lab.capture import budget
from collapse_lab.capture.store import Capture, load_capture
from collapse_lab.findings.merging import merge_captures
from collapse_lab.findings.table import capture
from tests.capture.same import assert_same_capture
from tests.capture.small import LAYOUT, SITES, Small, images

BATCHES = images(90).split(10)


def shard(batches: Any, model: Small | None = None, **settings: Any) -> Capture:
    asked = {"sites": SITES, "layout": LAYOUT, "keep_rows": 30, "keep_maps": 3, "keep_groups": True, **settings}
    return capture(model or Small(), batches, **asked)


@pytest.mark.parametrize("widest", [1024, 4])
def test_shards_merge_to_what_one_pass_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, widest: int):
    monkeypatch.setattr(budget, "WIDEST", widest)
    shards = [shard(BATCHES[start::3]) for start in range(3)]  # of 30 images, too few for replicates
    loaded = [load_capture(each.save(tmp_path / str(place))) for place, each in enumerate(shards)]
    merged = merge_captures(loaded)
    assert not shards[0].replicates
    assert merged.replicates
    assert_same_capture(shard(BATCHES), merged)
    assert [each["images"] for each in merged.facts["shards"]] == [30, 30, 30]
    assert not merged.held


def test_what_was_merged_can_be_merged_on():
    a, b, c = (shard(BATCHES[start::3]) for start in range(3))
    merged = merge_captures([merge_captures([a, b], keep_groups=True), c])
    assert_same_capture(shard(BATCHES), merged)


def test_images_that_any_shard_skipped_are_named():
    a, b = shard(BATCHES[:1]), shard(BATCHES[1:2])
    a.facts["skipped_images"], b.facts["skipped_images"] = ["a.png"], ["b.png"]
    assert merge_captures([a, b]).facts["skipped_images"] == ["a.png", "b.png"]


def test_captures_of_images_made_in_another_way_are_refused():
    a, b = (shard(BATCHES[place : place + 1], facts={"mean": [0.5, float(place)]}) for place in range(2))
    with pytest.raises(ValueError, match=r"images, mean: \[0.5, 0.0\] and \[0.5, 1.0\]"):
        merge_captures([a, b])


def test_a_capture_without_its_groups_is_refused():
    with pytest.raises(ValueError, match=r"capture 2 \(Capture of 10 images.*without its groups.*keep_groups=True"):
        merge_captures([shard(BATCHES[:1]), shard(BATCHES[1:2], keep_groups=False)])
    with pytest.raises(ValueError, match="nothing to merge"):
        merge_captures([])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"sites": ["conv"]}, "sites: "),
        ({"layout": {"act": "image channel width height"}}, "layouts, act: "),
        ({"positions": "pooled"}, "positions: "),
        ({"seed": 3}, "seed: 0 and 3"),
        ({"groups": 4}, "groups: 16 and 4"),
        ({"keep_rows": 0}, "keep_rows: 30 and 0"),
    ],
)
def test_captures_of_other_settings_are_refused_by_name(changed: dict[str, Any], words: str):
    with pytest.raises(ValueError, match=f"captures of different settings are not one capture: {words}"):
        merge_captures([shard(BATCHES[:1]), shard(BATCHES[1:2], **changed)])


def test_captures_of_another_model_are_refused():
    other = Small()
    other.conv.weight.data[0] *= 2
    with pytest.raises(ValueError, match="not one capture: weights: "):
        merge_captures([shard(BATCHES[:1]), shard(BATCHES[1:2], other)])


def test_an_image_of_two_shards_is_refused_or_counted_as_repeated():
    shards = [shard(BATCHES[:5]), shard([BATCHES[4], *BATCHES[5:]])]
    with pytest.raises(ValueError, match="captures 1 and 2 share 10 of 50 and 50 images"):
        merge_captures(shards)
    merged = merge_captures(shards, allow_shared=True)
    assert (merged.facts["images"], merged.facts["repeated_images"]) == (100, 10)
    pooled = merged["conv", "pooled"].rows.id
    assert len(pooled) - len(torch.unique(pooled)) == 10  # the kept rows share their identity
