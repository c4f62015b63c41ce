"""A capture on disk is the capture in memory, or is known to be torn."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from collapse_lab.capture.packing import pack_held, unpack_held
from collapse_lab.capture.store import Capture, load_capture
from collapse_lab.stats.accumulate import Accumulator
from collapse_lab.stats.images import ImageSums
from collapse_lab.stats.layer import LayerStats
from collapse_lab.stats.sample import KeptRows
from tests.capture.small import LAYOUT, SITES, Small, images, observe


def fourth_moments(_: LayerStats, left_out: Sequence[LayerStats], sizes: Sequence[int]) -> dict[str, list[float]]:
    return {"a": [others.fourth for others in left_out], "b": [math.nan] * len(sizes)}


def captured(count: int = 70, **settings: object) -> Capture:
    return observe(
        Small(),
        [(images(count), torch.arange(count) % 3)],
        sites=SITES,
        layout=LAYOUT,
        **{"keep_rows": 5, "keep_maps": 2, "summarise": fourth_moments, **settings},
    )


def assert_equal(one: object, two: object, kind: type) -> None:
    for each in fields(kind):
        a, b = getattr(one, each.name), getattr(two, each.name)
        if isinstance(a, ImageSums | KeptRows):
            assert_equal(a, b, type(a))
        elif isinstance(a, torch.Tensor):
            assert torch.equal(a, b), each.name
            assert a.dtype == b.dtype
        else:
            assert a == b, each.name


@pytest.mark.parametrize("groups", [1, 16])
def test_what_is_loaded_is_what_was_saved_bit_for_bit(tmp_path: Path, groups: int):
    capture = captured(groups=groups)
    loaded = load_capture(capture.save(tmp_path / "c"))
    assert list(loaded) == list(capture)
    for key, stats in capture.items():
        assert_equal(stats, loaded[key], LayerStats)
        assert loaded[key].images_hash == stats.images_hash
    assert loaded.replicates.keys() == capture.replicates.keys() == (set() if groups == 1 else set(capture))
    for key, replicates in capture.replicates.items():
        assert loaded.replicates[key].sizes == replicates.sizes
        assert loaded.replicates[key].values["a"] == replicates.values["a"]
        assert all(math.isnan(value) for value in loaded.replicates[key].values["b"])
    for site in SITES:
        assert torch.equal(loaded.maps.values[site], capture.maps.values[site])
        assert torch.equal(loaded.maps.id[site], capture.maps.id[site])
    assert loaded.maps.limit == 2


def test_an_images_key_of_64_bits_survives(tmp_path: Path):
    capture = captured(keep_rows=0)
    assert load_capture(capture.save(tmp_path))["conv"].images_key == capture["conv"].images_key
    keys = {captured(count, keep_maps=0)["conv"].images_key for count in range(2, 9)}
    assert max(keys) >= 1 << 63  # some stand beyond a signed number


def test_where_it_comes_from_is_written_beside_it(tmp_path: Path):
    facts = load_capture(captured().save(tmp_path)).facts
    assert facts["model"] == "Small"
    assert facts["images"] == 70
    assert facts["layouts"]["act"] == "image channel height width"
    assert "torch" in facts["versions"]


def test_saving_again_replaces_the_whole(tmp_path: Path):
    captured().save(tmp_path)
    captured(20).save(tmp_path)
    assert load_capture(tmp_path)["conv"].n_images == 20


def test_a_folder_without_a_capture_is_no_capture(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"is not a capture: it has no capture\.json"):
        load_capture(tmp_path)


@pytest.mark.parametrize("name", ["stats.safetensors", "rows.safetensors"])
def test_a_torn_capture_is_known(tmp_path: Path, name: str):
    captured().save(tmp_path)
    whole = (tmp_path / name).read_bytes()
    for torn in (whole[: len(whole) // 2], whole[:-1] + bytes([whole[-1] ^ 1])):
        (tmp_path / name).write_bytes(torn)
        with pytest.raises(ValueError, match=r"is torn .* delete it and capture again"):
            load_capture(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ValueError, match="is torn"):
        load_capture(tmp_path)


def test_statistics_of_another_capture_beside_the_record_are_known(tmp_path: Path):
    captured().save(tmp_path / "a")
    captured(20).save(tmp_path / "b")
    (tmp_path / "a" / "stats.safetensors").write_bytes((tmp_path / "b" / "stats.safetensors").read_bytes())
    with pytest.raises(ValueError, match=r"stats\.safetensors is not the file that was written"):
        load_capture(tmp_path / "a")


@pytest.mark.parametrize(("dtype", "rounding"), [("float32", 6e-8), ("float16", 5e-4)])
def test_rows_are_stored_in_less_space_and_read_in_float32(tmp_path: Path, dtype: str, rounding: float):
    capture = captured(keep_rows=400)
    whole = (capture.save(tmp_path / "a") / "rows.safetensors").stat().st_size
    loaded = load_capture(capture.save(tmp_path / "b", rows_dtype=dtype))
    assert (tmp_path / "b" / "rows.safetensors").stat().st_size < whole
    for key, stats in capture.items():
        kept = loaded[key].rows
        assert kept.values.dtype == torch.float32
        assert torch.allclose(kept.values.double(), stats.rows.values, rtol=rounding, atol=3e-8)  # half of the least
        assert torch.equal(kept.position, stats.rows.position)


def test_rows_beyond_the_range_of_a_type_stay_as_they_came_and_it_is_said(tmp_path: Path):
    capture = observe(Small(), [images(9) * 1e5], sites=["conv"], positions=("pooled",))
    with pytest.warns(UserWarning, match=r"rows of site 'conv' are stored as they came: .*float16 ends at 6.55e\+04"):
        capture.save(tmp_path, rows_dtype="float16")
    assert torch.equal(load_capture(tmp_path)["conv"].rows.values, capture["conv"].rows.values)
    with pytest.raises(ValueError, match="rows are stored in float32 or float16, got 'int8'"):
        capture.save(tmp_path, rows_dtype="int8")


def test_groups_that_are_kept_are_loaded_bit_for_bit_and_go_when_they_are_not(tmp_path: Path):
    capture = captured(keep_groups=True)
    loaded = load_capture(capture.save(tmp_path))
    assert loaded.account == capture.account
    assert loaded.held.keys() == capture.held.keys() == set(SITES)
    for site, held in capture.held.items():
        again = loaded.held[site]
        assert (again.settings, again.counts) == (held.settings, held.counts)
        for policy, group in held.parts:
            assert_equal(held.parts[policy, group], again.parts[policy, group], LayerStats)
        for group in held.inside:
            assert_equal(held.inside[group], again.inside[group], ImageSums)
        assert again.rows.keys() == held.rows.keys()
    without = load_capture(tmp_path, groups=False)
    assert list(without) == list(capture)
    assert not without.held
    captured().save(tmp_path)
    assert not load_capture(tmp_path).held
    assert not (tmp_path / "groups.safetensors").exists()


def test_a_diagonal_without_its_matrix_is_packed_as_one():
    accumulator = Accumulator(("all",), matrix=False)
    accumulator.update(images(9).flatten(2).transpose(1, 2), torch.arange(9))
    held = accumulator.held()
    (stats,), (again,) = held.parts.values(), unpack_held(*pack_held(held)).parts.values()
    assert again.scatter.shape == (3,)
    assert torch.equal(again.scatter, stats.scatter)


def test_a_torn_or_newer_record_is_known(tmp_path: Path):
    captured().save(tmp_path)
    record = json.loads((tmp_path / "capture.json").read_text())
    for schema in (1, 99):  # 1 knew nothing of gates
        (tmp_path / "capture.json").write_text(json.dumps(record | {"schema": schema}))
        with pytest.raises(ValueError, match=f"has schema {schema}, this version reads 3; capture it again"):
            load_capture(tmp_path)
    (tmp_path / "capture.json").write_text('{"schema": 1,')
    with pytest.raises(ValueError, match="is torn"):
        load_capture(tmp_path)


def test_a_capture_is_a_mapping_that_says_what_it_holds():
    capture = captured(20)
    assert len(capture) == 6
    assert capture["act"] is capture["act", "sampled:8"]
    assert ("act", "pooled") in capture
    assert repr(capture) == "Capture of 20 images: 3 sites x sampled:8, pooled"
    with pytest.raises(KeyError, match="'norm' was not captured; there is: conv, act, head x sampled:8, pooled"):
        capture["norm"]
