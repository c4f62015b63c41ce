"""Folders of images as people have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from collapse_lab.data import listing
from collapse_lab.data.decode import measure
from collapse_lab.data.folder import image_files
from collapse_lab.data.source import open_images


def picture(path: Path, value: int = 100, size: tuple[int, int] = (12, 12)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size[1], size[0], 3), value, dtype=np.uint8)).save(path)
    return path


def test_folders_with_splits_and_classes(tmp_path):
    for split, names in (("train", "abc"), ("val", "ac")):
        for name in names:
            for number in range(2):
                picture(tmp_path / split / name / f"{number}.png", value=number)
    train, test = (open_images(str(tmp_path), split, 8) for split in ("train", "test"))
    assert train.classes == test.classes == ("a", "b", "c")
    assert train.label.tolist() == [0, 0, 1, 1, 2, 2]
    assert test.label.tolist() == [0, 0, 2, 2]  # numbered over all splits, although the test has no b
    assert not set(train.id.tolist()) & set(test.id.tolist())  # a/0.png is another image in each split


def test_a_flat_folder_is_unlabelled_and_split_by_name(tmp_path):
    for number in range(100):
        picture(tmp_path / f"{number}.png")
    train, test = (open_images(str(tmp_path), split, 8) for split in ("train", "test"))
    assert len(train) + len(test) == 100
    assert 10 <= len(test) <= 30
    assert not set(train.id.tolist()) & set(test.id.tolist())
    assert train.label.unique().tolist() == [-1]
    picture(tmp_path / "one more.png")  # moves no image to the other side
    assert set(test.id.tolist()) <= set(open_images(str(tmp_path), "test", 8).id.tolist())


def test_class_folders_without_splits_are_labelled(tmp_path):
    for number in range(20):
        picture(tmp_path / "cat" / f"{number}.png")
        picture(tmp_path / "dog" / "deeper" / f"{number}.png")
    images = open_images(str(tmp_path), "train", 8)
    assert images.classes == ("cat", "dog")
    assert set(images.label.tolist()) == {0, 1}


def test_images_know_the_files_they_come_from(tmp_path):
    for number in range(4):
        picture(tmp_path / "train" / "ab"[number % 2] / f"{number}.png", value=number)
    images = open_images(str(tmp_path), "train", 8)
    assert images.files == ("train/a/0.png", "train/a/2.png", "train/b/1.png", "train/b/3.png")
    assert images.image[:, 0, 0, 0].tolist() == [0, 2, 1, 3]


def test_single_files_keep_their_order_and_are_cropped_as_in_a_folder(tmp_path):
    wide = picture(tmp_path / "train" / "b.png", value=7, size=(30, 12))
    high = picture(tmp_path / "train" / "a.jpg", value=200, size=(12, 30))
    images = image_files([wide, high, wide], 8)
    inside = open_images(str(tmp_path), "train", 8)
    assert torch.equal(images.image, inside.image[[1, 0, 1]])
    assert images.files == (str(wide), str(high), str(wide))
    assert images.label.tolist() == [-1, -1, -1]
    assert images.id[0] == images.id[2] != images.id[1]


def test_single_files_that_cannot_be_had_are_named(tmp_path):
    good = picture(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(good.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"1 of 2 images cannot be read: .*b.png: "):
        image_files([good, tmp_path / "b.png"], 8)
    with pytest.raises(FileNotFoundError, match=r"there is no image .*c.png"):
        image_files([good, tmp_path / "c.png"], 8)


def test_a_corrupt_image_is_skipped_and_listed(tmp_path):
    for number in range(150):
        picture(tmp_path / "train" / f"{number:03}.png", value=number)
    (tmp_path / "train" / "070.png").write_bytes((tmp_path / "train" / "000.png").read_bytes()[:40])
    with pytest.warns(UserWarning, match=r"1 of 150 images skipped: train/070.png"):
        images = open_images(str(tmp_path), "train", 8)
    assert len(images) == 149
    (line,) = images.skipped
    assert line.startswith("train/070.png: ")
    assert str(tmp_path) not in line


def test_more_than_one_in_a_hundred_corrupt_images_stop(tmp_path):
    for number in range(50):
        picture(tmp_path / "train" / f"{number}.png")
    (tmp_path / "train" / "7.jpg").write_bytes(b"not an image")
    with pytest.raises(ValueError, match=r"1 of 51 images of .* cannot be read .*train/7.jpg"):
        open_images(str(tmp_path), "train", 8)


def test_an_empty_folder_no_folder_and_an_empty_split_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no images; expected files ending in .bmp"):
        open_images(str(tmp_path), "train", 8)
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        open_images(str(tmp_path / "nowhere"), "train", 8)
    picture(tmp_path / "one.png")
    assert len(open_images(str(tmp_path), "train", 8)) == 1
    with pytest.raises(FileNotFoundError, match=r"none of the 1 images of .* falls into the split 'test'; put them"):
        open_images(str(tmp_path), "test", 8)
    picture(tmp_path / "train" / "one.png")
    with pytest.raises(FileNotFoundError, match="none for 'test': expected one of test/, val/"):
        open_images(str(tmp_path), "test", 8)


def test_images_are_scaled_by_their_short_side_cropped_in_the_middle_and_in_colour(tmp_path):
    wide = np.zeros((10, 30), dtype=np.uint8)
    wide[:, 10:20] = 255  # the middle third is white
    (tmp_path / "train").mkdir()
    Image.fromarray(wide).save(tmp_path / "train" / "wide.png")
    images = open_images(str(tmp_path), "train", 10)
    assert torch.equal(images.image, torch.full((1, 3, 10, 10), 255, dtype=torch.uint8))


def test_grey_of_sixteen_bits_keeps_its_shades(tmp_path):
    shades = np.tile(np.linspace(0, 65535, 32).astype(np.uint16), (32, 1))
    Image.fromarray(shades).save(tmp_path / "deep.png")
    image = image_files([tmp_path / "deep.png"], 32).image[0]
    expected = torch.from_numpy((shades // 257).astype(np.uint8)).expand(3, 32, 32)
    assert torch.equal(image, expected)


def test_eight_bits_in_a_wide_file_are_not_darkened(tmp_path):
    shades = np.tile(np.linspace(0, 255, 32).astype(np.int32), (32, 1))
    Image.fromarray(shades).save(tmp_path / "wide.tiff")
    image = image_files([tmp_path / "wide.tiff"], 32).image[0]
    assert torch.equal(image, torch.from_numpy(shades.astype(np.uint8)).expand(3, 32, 32))


def test_photographs_stand_upright(tmp_path):
    (tmp_path / "train").mkdir()
    sideways = np.zeros((10, 10, 3), dtype=np.uint8)
    sideways[:, :5] = 255
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera says: turn by a quarter, clockwise
    Image.fromarray(sideways).save(tmp_path / "train" / "photo.png", exif=turned)
    image = open_images(str(tmp_path), "train", 10).image[0, 0]
    assert image[:5].min() == 255
    assert image[5:].max() == 0


@pytest.mark.parametrize("deep", [True, False])
def test_an_image_of_any_depth_stands_as_its_camera_says(deep, tmp_path):
    left_white = np.zeros((10, 20), dtype=np.uint16 if deep else np.uint8)
    left_white[:, :10] = 65535 if deep else 255
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(left_white).save(tmp_path / "grey.png", exif=turned)
    image = image_files([tmp_path / "grey.png"], 10).image[0, 0]
    assert image[:4].min() == 255
    assert image[6:].max() == 0


def test_pixels_in_floating_point_are_refused_not_blackened(tmp_path):
    Image.fromarray(np.full((4, 4), 0.5, dtype=np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(ValueError, match="pixels in floating point, whose white nobody knows"):
        image_files([tmp_path / "float.tiff"], 4)
    assert "floating point" in str(measure(tmp_path / "float.tiff"))


def test_classes_beside_a_class_that_is_called_train_do_not_vanish_unsaid(tmp_path):
    for name in ("bus", "car", "train"):
        picture(tmp_path / name / "0.png")
    with pytest.warns(UserWarning, match="is read by its folders train; images in bus, car are left out"):
        assert len(open_images(str(tmp_path), "train", 8)) == 1


def test_hidden_files_and_other_files_are_no_images(tmp_path):
    picture(tmp_path / "train" / "a.png")
    picture(tmp_path / "train" / "._a.png")
    (tmp_path / "train" / "notes.txt").write_text("no image")
    assert len(open_images(str(tmp_path), "train", 8)) == 1


def test_more_pixels_than_memory_are_refused_before_reading(tmp_path, monkeypatch):
    picture(tmp_path / "train" / "a.png")
    monkeypatch.setattr(listing, "MOST_BYTES", 100)
    with pytest.raises(ValueError, match="use a smaller size or fewer images"):
        open_images(str(tmp_path), "train", 8)


def test_a_name_in_the_table_wins_over_a_folder_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture(Path("digits/train/a.png"))
    assert len(open_images("digits", "train", 8)) == 1000
    assert len(open_images("./digits", "train", 8)) == 1
