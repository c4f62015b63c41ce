"""collapse-lab data: packs written and sources checked as a user asks for it."""

from __future__ import annotations

import json
import sys

import pytest

from tests.pictures import write_pictures


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Only read it."""
    return write_pictures(tmp_path_factory.mktemp("pictures"), test=12)


def test_a_folder_is_packed_told_about_and_trained_on(ask, pictures, tmp_path):
    code, out, err = ask("data", "pack", pictures, tmp_path / "pack", "--size", 16, "--workers", 0)
    assert code == 0, err
    assert out.strip() == f"packed:{tmp_path / 'pack'}"
    assert "24 of train and 12 of test: 0.00 GiB to write" in err
    assert "train: 24 images of 16 x 16, 0 skipped" in err
    settings = ("steps=2", "data.size=16", "data.batch=4", "data.crop=[0.2, 1]", "data.flip=true", "device=cpu")
    model = ("model.response=grn", "model.layer_scale=none", "objective.decoder_dim=8", "data.uri=digits")
    changes = [part for setting in (*settings, *model) for part in ("--set", setting)]
    code, _, err = ask("train", *changes, "--data", out.strip(), "--out", tmp_path / "run")
    assert code == 0, err


def test_a_pack_is_one_json_document(ask, pictures, tmp_path):
    code, out, _ = ask("data", "pack", pictures, tmp_path / "pack", "--size", 8, "--workers", 0, "--json")
    document = json.loads(out)
    assert (code, document["kind"], document["images"]) == (0, "pack", {"train": 24, "test": 12})
    assert set(document["fingerprints"]) == {"train", "test"}


def test_a_source_is_counted_by_class_and_size(ask, pictures):
    code, out, _ = ask("data", "check", pictures, "--workers", 0)
    assert code == 0
    rows = [tuple(line.split("\t")) for line in out.splitlines()]
    assert ("train", "class", "class0", "12") in rows
    assert ("test", "size", "16 x 16", "12") in rows
    assert ("train", "corrupt", "", "0") in rows


def test_a_corrupt_image_is_named_and_gives_exit_code_four(ask, tmp_path):
    pictures = write_pictures(tmp_path, train=4, test=2)
    victim = pictures / "train" / "class1" / "001.png"
    victim.write_bytes(victim.read_bytes()[:70])
    code, out, err = ask("data", "check", pictures, "--workers", 0, "--json")
    assert code == 4
    assert json.loads(out)["splits"]["train"]["sizes"] == [{"width": 16, "height": 16, "images": 3}]
    assert "corrupt: train: train/class1/001.png: " in err


def test_a_pack_is_checked_block_by_block(ask, pictures, tmp_path):
    ask("data", "pack", pictures, tmp_path, "--size", 8, "--workers", 0)
    code, out, _ = ask("data", "check", f"packed:{tmp_path}", "--json")
    split = json.loads(out)["splits"]["test"]
    assert (code, split["images"], split["classes"]) == (0, 12, {"class0": 6, "class1": 6})
    pixels = tmp_path / "test" / "pixels.u8"
    pixels.write_bytes(pixels.read_bytes()[:-1] + bytes([pixels.read_bytes()[-1] ^ 1]))
    code, _, err = ask("data", "check", f"packed:{tmp_path}")
    assert code == 4
    assert "the images 0 to 11 have another checksum" in err
    split = json.loads(ask("data", "check", f"packed:{tmp_path}", "--json")[1])["splits"]["test"]
    assert (split["images"], split["classes"]) == (12, {})


def test_the_digits_are_counted_too(ask):
    code, out, _ = ask("data", "check", "digits", "--json")
    splits = json.loads(out)["splits"]
    assert code == 0
    assert {split: facts["images"] for split, facts in splits.items()} == {"train": 1000, "test": 797}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("check", "hf:a/b"), 3, "needs datasets; install it with: pip install 'collapse-lab[hf]'"),
        (("check", "nothing"), 4, "no data source is called 'nothing'"),
        (("check", "packed"), 4, "'packed' needs a place: packed:FOLDER"),
        (("check", "./nowhere"), 4, "nowhere is not a folder"),
        (("check", "packed:./nowhere"), 4, "nowhere is no pack"),
        (("pack", "digits", "out"), 4, "digits holds pixels already"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_to_do(ask, arguments, code, message, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.chdir(tmp_path)
    found, _, err = ask("data", *arguments)
    assert found == code
    assert message in err
    assert list(tmp_path.iterdir()) == []
