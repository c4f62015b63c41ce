"""collapse-lab reconstruct: one picture, labelled with all a reader must know."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.pictures import write_pictures


@pytest.fixture
def run(study_runs: Path, tmp_path: Path) -> Path:
    """A copy of one run of two steps, on pictures of 2 x 2 cells."""
    one = sorted(path.parent for path in study_runs.glob("*/run.json"))[0]
    return Path(shutil.copytree(one, tmp_path / "mine"))


def description(path: Path) -> str:
    with Image.open(path) as picture:
        return picture.text["Description"]


def test_the_picture_says_what_it_shows(ask, run):
    code, out, err = ask("reconstruct", run)
    assert code == 0, err
    path = Path(out.strip())
    assert path == run / "reconstructions" / "step-00000002.png"
    said = description(path)
    for part in (
        "mine, step 2: 8 of 66 images of pictures (test), seed 0",
        "Mask ratio 0.6: 3 of 4 cells of 8 x 8 pixels removed",
        "un-normalised with each cell's true mean and deviation (the prediction alone does not know them)",
        "Visible cells carry no loss",
    ):
        assert part in said


def test_json_has_the_path_and_the_error_of_each_image(ask, run, tmp_path):
    code, out, err = ask("reconstruct", run, "--count", 3, "--out", tmp_path / "a.png", "--json")
    document = json.loads(out)
    assert code == 0, err
    assert document["path"] == str(tmp_path / "a.png")
    assert (document["step"], document["mask_ratio"], document["seed"]) == (2, 0.6, 0)
    assert len(document["images"]) == 3
    for image in document["images"]:
        assert re.fullmatch(r"\d{3}\.png class class[01]", image["image"])
        assert 0.5 < image["error"] < 2  # hardly trained: about the variance of normalised pixels


def test_a_seed_repeats_the_picture_and_another_one_changes_it(ask, run, tmp_path):
    written = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        code, _, err = ask("reconstruct", run, "--count", 2, "--seed", seed, "--out", tmp_path / f"{name}.png")
        assert code == 0, err
        written.append((tmp_path / f"{name}.png").read_bytes())
    assert written[0] == written[1] != written[2]


def test_files_are_shown_all_and_in_the_order_given(ask, run, tmp_path):
    pictures = write_pictures(tmp_path / "more", train=10, test=0)
    files = sorted(pictures.rglob("*.png"), reverse=True)
    code, out, err = ask("reconstruct", run, *files, "--mask-ratio", 0.5, "--out", tmp_path / "a.png", "--json")
    assert code == 0, err
    assert [image["image"] for image in json.loads(out)["images"]] == [file.name for file in files]
    assert "10 of 10 images of given files, seed 0" in description(tmp_path / "a.png")
    assert "2 of 4 cells" in description(tmp_path / "a.png")


def test_a_prediction_of_plain_pixels_is_not_said_to_be_un_normalised(ask, tmp_path):
    data = write_pictures(tmp_path / "pictures", train=8, test=4)
    settings = ("model.response=grn", "model.layer_scale=none", "objective.decoder_dim=8", "objective.norm_pix=false")
    changes = [*settings, f"data.uri={data}", "data.size=16", "data.batch=4", "steps=1", "device=cpu"]
    code, _, err = ask("train", *(part for each in changes for part in ("--set", each)), "--out", tmp_path / "run")
    assert code == 0, err
    code, out, err = ask("reconstruct", tmp_path / "run")
    assert code == 0, err
    said = description(Path(out.strip()))
    assert "4 of 4 images" in said
    assert "true mean" not in said
    assert "squared error of normalised pixels" in said


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nowhere",), 4, "not a run folder"),
        (("RUN", "--step", "77"), 4, "only of: 2"),
        (("RUN", "digit"), 4, "did you mean 'digits'"),
        (("RUN", "nowhere/"), 4, "is not a folder"),
        (("RUN", "no.png"), 4, "there is no image no.png"),
        (("RUN", "broken.png"), 4, "1 of 1 images cannot be read: broken.png: UnidentifiedImageError"),
        (("RUN", "digits", "broken.png"), 4, "give one source of images, or image files"),
        (("RUN", "--count", "67"), 4, "67 images asked for, but there are 66"),
        (("RUN", "--count", "0"), 2, "--count"),
        (("RUN", "--split", "validation"), 4, "split is 'train' or 'test'"),
        (("RUN", "--mask-ratio", "0.9"), 4, "keeps 0 of 4 cells"),
        (("RUN", "--out", "a.jpg"), 4, "ends in .png"),
        (("RUN", "--out", "broken.png/a.png"), 4, "cannot write broken.png/a.png"),
    ],
)
def test_wrong_input_is_answered_and_leaves_nothing_behind(ask, run, tmp_path, monkeypatch, arguments, code, said):
    monkeypatch.chdir(tmp_path)
    Path("broken.png").write_bytes(b"no picture")
    before = sorted(tmp_path.rglob("*"))
    found, out, err = ask("reconstruct", *(run if argument == "RUN" else argument for argument in arguments))
    assert said in err
    assert found == code
    assert out == ""
    assert sorted(tmp_path.rglob("*")) == before
