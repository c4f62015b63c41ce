"""A pack holds what decoding gives, however it was written, and nothing else is read as one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from collapse_lab.data import pack as packing
from collapse_lab.data import packed
from collapse_lab.data.pack import Plan, pack
from collapse_lab.data.source import Images, open_images
from collapse_lab.runs import Run
from collapse_lab.train.loop import train
from tests.pictures import write_pictures
from tests.train.runs import tiny

SIDE = 8
BLOCK = 5 * SIDE * SIDE * 3  # 5 images


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(packing, "BLOCK_BYTES", BLOCK)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Only read it: 24 images to train in 5 blocks, 12 to test in 3."""
    return write_pictures(tmp_path_factory.mktemp("pictures"), test=12)


@pytest.fixture
def whole(pictures, tmp_path) -> Path:
    """A finished pack of them."""
    pack(str(pictures), tmp_path / "whole", side=SIDE, workers=0)
    return tmp_path / "whole"


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def same(one: Images, other: Images) -> bool:
    everything = torch.arange(len(one))
    pairs = zip(vars(one.batch(everything)).values(), vars(other.batch(everything)).values(), strict=True)
    words = ("name", "split", "classes", "files", "skipped")
    return all(torch.equal(a, b) for a, b in pairs) and all(getattr(one, w) == getattr(other, w) for w in words)


@pytest.mark.parametrize("split", ["train", "test"])
def test_what_is_read_from_a_pack_is_what_decoding_gives(split, pictures, whole):
    assert same(open_images(f"packed:{whole}", split, SIDE), open_images(str(pictures), split, SIDE))
    assert same(open_images(str(whole), split, SIDE), open_images(str(pictures), split, SIDE))  # the folder says it


def test_images_are_kept_at_their_side_and_given_at_the_size_that_is_asked(whole):
    images = open_images(f"packed:{whole}", "train", 6)
    assert images.stored(torch.tensor([3, 1])).image.shape == (2, 3, SIDE, SIDE)
    assert images.batch(torch.tensor([3, 1])).image.shape == (2, 3, 6, 6)


class StopError(Exception):
    """Stands for whatever stops a writer."""


@pytest.mark.parametrize("after", [1, 3, 6, 8])
def test_a_pack_that_was_interrupted_anywhere_ends_in_the_same_bytes(after, pictures, whole, tmp_path):
    left = [after]

    def stop(_: int) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise StopError

    with pytest.raises(StopError):
        pack(str(pictures), tmp_path / "again", side=SIDE, workers=0, on_block=stop)
    with pytest.raises((ValueError, FileNotFoundError), match=r"not finished|no split|no pack"):
        open_images(f"packed:{tmp_path / 'again'}", "test", SIDE)
    pack(str(pictures), tmp_path / "again", side=SIDE, workers=0)
    assert content(tmp_path / "again") == content(whole)


def broken_off(pictures: Path, out: Path, blocks: int) -> Path:
    """A writer that stopped after so many blocks of the training split; its folder."""

    def stop(done: int) -> None:
        if done >= 5 * blocks:
            raise StopError

    with pytest.raises(StopError):
        pack(str(pictures), out, side=SIDE, workers=0, on_block=stop)
    return out / "train"


def test_what_lies_behind_the_last_whole_block_is_written_anew(pictures, whole, tmp_path):
    folder = broken_off(pictures, tmp_path / "torn", 2)
    with (folder / "pixels.u8").open("ab") as pixels, (folder / "journal.jsonl").open("a") as journal:
        pixels.write(b"half a block")
        journal.write('{"images": 5, "sha2')
    pack(str(pictures), tmp_path / "torn", side=SIDE, workers=0)
    assert content(tmp_path / "torn") == content(whole)


def test_a_block_that_the_disk_lost_is_written_anew(pictures, whole, tmp_path):
    folder = broken_off(pictures, tmp_path / "lost", 3)
    flip(folder / "pixels.u8", BLOCK + 1)
    pack(str(pictures), tmp_path / "lost", side=SIDE, workers=0)
    assert content(tmp_path / "lost") == content(whole)


def test_worker_processes_change_no_byte(pictures, whole, tmp_path):
    pack(str(pictures), tmp_path / "two", side=SIDE, workers=2)
    assert content(tmp_path / "two") == content(whole)


def test_packing_a_finished_pack_again_writes_nothing(pictures, whole):
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.suffix}
    pack(str(pictures), whole, side=SIDE, workers=0)
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.suffix} == before


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("place", [0, BLOCK, 24 * SIDE * SIDE * 3 - 1])
def test_a_flipped_bit_anywhere_is_refused_and_its_images_are_named(place, whole):
    flip(whole / "train" / "pixels.u8", place)
    first = place // BLOCK * 5
    with pytest.raises(ValueError, match=rf"pixels.u8 is not what was packed: the images {first} to"):
        open_images(f"packed:{whole}", "train", SIDE)
    assert len(open_images(f"packed:{whole}", "test", SIDE)) == 12


def test_of_a_large_pack_blocks_all_over_it_are_read(whole, monkeypatch):
    monkeypatch.setattr(packed, "AT_ONCE", 0)
    monkeypatch.setattr(packed, "SPREAD", 3)  # blocks 0, 2 and 4 of 5
    flip(whole / "train" / "pixels.u8", BLOCK)
    assert len(open_images(f"packed:{whole}", "train", SIDE)) == 24
    flip(whole / "train" / "pixels.u8", 2 * BLOCK)
    with pytest.raises(ValueError, match="the images 10 to 14"):
        open_images(f"packed:{whole}", "train", SIDE)
    found = list(packed.faults(whole / "train", packed.read_pack(whole / "train")))
    assert [fault[:20] for fault in found] == ["the images 5 to 9 ha", "the images 10 to 14 "]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def edited(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda folder: cut(folder / "pixels.u8"), "4,607 bytes, expected 4,608"),
        (lambda folder: edited(folder / "pack.json", version=9), "version 9, this program reads 1"),
        (lambda folder: edited(folder / "pack.json", side=4), "its checksum is another"),
        (lambda folder: edited(folder / "pack.json", more=1), "other entries"),
        (lambda folder: (folder / "pack.json").write_text("{"), "not the description of a pack"),
        (lambda folder: (folder / "pack.json").unlink(), "not finished"),
        (lambda folder: (folder / "rows.parquet").write_bytes(rows_of_test(folder)), "rows.parquet is not what was"),
    ],
)
def test_a_pack_that_is_torn_or_changed_is_refused_with_the_reason(harm, message, whole):
    harm(whole / "train")
    with pytest.raises(ValueError, match=message):
        open_images(f"packed:{whole}", "train", SIDE)


def rows_of_test(folder: Path) -> bytes:
    return (folder.parent / "test" / "rows.parquet").read_bytes()


def test_no_pack_and_a_split_that_is_not_there_are_told_apart(whole, tmp_path):
    with pytest.raises(FileNotFoundError, match="is no pack; write one with"):
        open_images(f"packed:{tmp_path / 'nowhere'}", "train", SIDE)
    for path in (whole / "test").iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match="has no split 'test'; it has train"):
        open_images(f"packed:{whole}", "test", SIDE)


def test_equal_packs_have_equal_fingerprints_and_other_images_or_labels_another(pictures, whole, tmp_path):
    there = open_images(f"packed:{whole}", "train", SIDE).fingerprint()
    pack(str(pictures), tmp_path / "elsewhere", side=SIDE, workers=0)
    assert open_images(f"packed:{tmp_path / 'elsewhere'}", "train", SIDE).fingerprint() == there
    other = write_pictures(tmp_path / "other", test=1)
    (other / "train" / "class0" / "000.png").write_bytes((other / "train" / "class0" / "002.png").read_bytes())
    pack(str(other), tmp_path / "pixel", side=SIDE, workers=0)
    assert open_images(f"packed:{tmp_path / 'pixel'}", "train", SIDE).fingerprint() != there
    moved = write_pictures(tmp_path / "moved", test=1)
    (moved / "train" / "class0" / "000.png").rename(moved / "train" / "class1" / "000.png")
    pack(str(moved), tmp_path / "label", side=SIDE, workers=0)
    assert open_images(f"packed:{tmp_path / 'label'}", "train", SIDE).fingerprint() != there


def test_another_source_or_side_does_not_go_on_with_a_pack(pictures, whole, tmp_path):
    with pytest.raises(FileExistsError, match="side 8 there, 9 here"):
        pack(str(pictures), whole, side=9, workers=0)
    broken_off(pictures, tmp_path / "begun", 1)
    other = write_pictures(tmp_path / "other", train=10, test=1)
    with pytest.raises(FileExistsError, match="other images"):
        pack(str(other), tmp_path / "begun", side=SIDE, workers=0)
    (tmp_path / "full" / "train").mkdir(parents=True)
    (tmp_path / "full" / "train" / "thesis.txt").touch()
    with pytest.raises(FileExistsError, match="is no pack and not empty"):
        pack(str(pictures), tmp_path / "full", side=SIDE, workers=0)


def test_a_second_writer_is_refused(pictures, tmp_path):
    with Run(tmp_path / "out").locked(), pytest.raises(RuntimeError, match="another process is working on"):
        pack(str(pictures), tmp_path / "out", side=SIDE, workers=0)


def test_room_is_reckoned_before_anything_is_decoded(pictures, tmp_path, monkeypatch):
    seen: list[Plan] = []
    monkeypatch.setattr(packing.shutil, "disk_usage", lambda _: type("usage", (), {"free": 100}))
    with pytest.raises(OSError, match=r"needs 0.00 GiB more in .*, 0.00 are free"):
        pack(str(pictures), tmp_path / "out", side=SIDE, workers=0, on_plan=seen.append)
    assert seen == [Plan(images={"train": 24, "test": 12}, needed=36 * SIDE * SIDE * 3, free=100)]
    assert not list((tmp_path / "out").rglob("pixels.u8"))


def test_a_full_disk_names_the_file_and_loses_no_block(pictures, whole, tmp_path, monkeypatch):
    real, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 12:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(packing.os, "fsync", full)
    with pytest.raises(OSError, match=r"cannot write .*: No space left on device; (what was packed|check free space)"):
        pack(str(pictures), tmp_path / "out", side=SIDE, workers=0)
    monkeypatch.undo()
    monkeypatch.setattr(packing, "BLOCK_BYTES", BLOCK)
    pack(str(pictures), tmp_path / "out", side=SIDE, workers=0)
    assert content(tmp_path / "out") == content(whole)


def test_a_corrupt_image_is_left_out_of_the_pack_and_listed(tmp_path):
    pictures = write_pictures(tmp_path / "pictures", train=120, test=1)
    victim = pictures / "train" / "class1" / "007.png"
    victim.write_bytes(victim.read_bytes()[:60])
    (done, _) = pack(str(pictures), tmp_path / "out", side=SIDE, workers=0).values()
    images = open_images(f"packed:{tmp_path / 'out'}", "train", SIDE)
    assert len(done) == len(images) == 119
    assert images.skipped[0].startswith("train/class1/007.png: ")
    with pytest.warns(UserWarning, match="1 of 120 images skipped"):
        assert same(images, open_images(str(pictures), "train", SIDE))


def test_a_pack_of_fewer_images_holds_a_part_of_the_whole_in_its_order(pictures, whole, tmp_path):
    pack(str(pictures), tmp_path / "part", side=SIDE, most={"train": 7, "test": 100}, workers=0)
    part, all_of_them = (open_images(f"packed:{folder}", "train", SIDE) for folder in (tmp_path / "part", whole))
    assert len(part) == 7
    places = torch.tensor([all_of_them.id.tolist().index(each) for each in part.id.tolist()])
    assert torch.equal(places, places.sort().values)
    assert torch.equal(part.batch(torch.arange(7)).image, all_of_them.batch(places).image)
    assert torch.equal(part.label, all_of_them.label[places])
    assert same(open_images(f"packed:{tmp_path / 'part'}", "test", SIDE), open_images(f"packed:{whole}", "test", SIDE))


def test_a_part_of_a_split_that_is_not_there_is_refused(tmp_path):
    flat = write_pictures(tmp_path / "flat")
    shutil.rmtree(flat / "test")
    with pytest.raises(FileNotFoundError, match="has no split 'test' to take a part of; it has train"):
        pack(str(flat), tmp_path / "pack", side=SIDE, most={"test": 3}, workers=0)


def test_what_a_killed_writer_left_half_written_is_no_other_pack(pictures, whole, tmp_path):
    (tmp_path / "again" / "train").mkdir(parents=True)
    (tmp_path / "again" / "train" / ".source.json.99.part").touch()
    pack(str(pictures), tmp_path / "again", side=SIDE, workers=0)
    assert content(tmp_path / "again") == content(whole)


def test_a_larger_part_of_a_source_holds_the_smaller_one(pictures, tmp_path):
    ids = {}
    for most in (4, 9):
        pack(str(pictures), tmp_path / str(most), side=SIDE, most={"train": most}, workers=0)
        ids[most] = set(open_images(f"packed:{tmp_path / str(most)}", "train", SIDE).id.tolist())
    assert len(ids[4]) == 4
    assert ids[4] < ids[9]


def test_a_source_of_which_more_than_one_in_a_hundred_is_corrupt_makes_no_pack(tmp_path):
    pictures = write_pictures(tmp_path / "pictures", test=1)
    (pictures / "train" / "class0" / "000.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"1 of 24 images .* cannot be read .*train/class0/000.png"):
        pack(str(pictures), tmp_path / "out", side=SIDE, workers=0)


def test_pixels_cannot_be_packed_again(whole, tmp_path):
    for uri in ("digits", f"packed:{whole}"):
        with pytest.raises(ValueError, match="holds pixels already"):
            pack(uri, tmp_path / "out", side=SIDE)


def test_a_pack_that_vanishes_stops_the_training_and_its_last_checkpoint_is_whole(whole, tmp_path):
    config = tiny(tmp_path / "run", data={"uri": f"packed:{whole}", "crop": [0.3, 1.0], "flip": True})

    def vanish(state):
        if state.step == 4:
            (whole / "train" / "pixels.u8").rename(whole / "moved")

    with pytest.raises(FileNotFoundError, match=r"the pixels .* vanished or changed while they were read"):
        train(config, on_step=vanish)
    assert Run(tmp_path / "run").read()["status"] == "failed"
    (whole / "moved").rename(whole / "train" / "pixels.u8")
    with pytest.warns(UserWarning, match="had failed"):
        train(config)
    assert Run(tmp_path / "run").read()["status"] == "finished"


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.3, 0.6, 1.0])
def test_a_killed_writer_goes_on_to_the_same_bytes(delay, pictures, whole, tmp_path):
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom collapse_lab.data import pack as packing\n"
        f"packing.BLOCK_BYTES = {BLOCK}\n"
        "packing.pack(sys.argv[1], Path(sys.argv[2]), side=8, workers=0, on_block=lambda _: "
        "(print('.', flush=True), time.sleep(0.2)))"
    )
    command = [sys.executable, "-c", program, str(pictures), str(tmp_path / "killed")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
    pack(str(pictures), tmp_path / "killed", side=SIDE, workers=0)
    assert content(tmp_path / "killed") == content(whole)
