"""Parquet files of encoded images, in the layouts that people have."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from collapse_lab.data import listing
from collapse_lab.data.source import open_images, open_listings

SIDE = 8


def png(value: int, side: int = SIDE) -> bytes:
    """An image of one grey value."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), value, dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def cells(values: list[int], first: int = 0) -> list[dict[str, Any]]:
    return [{"bytes": png(value), "path": f"{first + place}.png"} for place, value in enumerate(values)]


def write(path: Path, columns: dict[str, Any], features: dict[str, Any] | None = None, groups: int = 3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, row_group_size=groups)
    return path


def greys(uri: str | Path, split: str = "train") -> list[int]:
    return open_images(str(uri), split, SIDE).image[:, 0, 0, 0].tolist()


DECLARED = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}


def test_shards_of_the_hub_are_read_in_the_order_of_their_names(tmp_path):
    for shard, values in enumerate(([1, 2, 3, 4], [5, 6], [7])):
        name = f"data/train-{shard:05}-of-00003.parquet"
        write(tmp_path / name, {"image": cells(values), "label": [value % 2 for value in values]}, DECLARED)
    write(tmp_path / "data" / "test-00000-of-00001.parquet", {"image": cells([9, 8]), "label": [1, 0]}, DECLARED)
    images = open_images(str(tmp_path), "train", SIDE)
    assert images.image[:, 0, 0, 0].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert images.label.tolist() == [1, 0, 1, 0, 1, 0, 1]
    assert images.classes == ("cat", "dog")
    assert greys(tmp_path, "test") == greys(tmp_path / "data" / "test*.parquet", "test") == [9, 8]
    test = open_images(str(tmp_path), "test", SIDE)
    assert len({*images.id.tolist(), *test.id.tolist()}) == 9


def test_reading_from_a_place_on_gives_the_rest(tmp_path):
    write(tmp_path / "train.parquet", {"image": cells(list(range(20)))})
    (rows,) = open_listings(str(tmp_path)).values()
    everything = list(rows.contents(0))
    assert everything == [png(value) for value in range(20)]
    assert all(list(rows.contents(first)) == everything[first:] for first in range(21))


@pytest.mark.parametrize("column", ["image", "img", "jpg", "picture", "scan"])
@pytest.mark.parametrize("plain", [True, False])
def test_images_are_found_under_usual_names_or_as_the_only_bytes(column, plain, tmp_path):
    given = [png(value) for value in (3, 1)] if plain else cells([3, 1])
    assert greys(write(tmp_path / "train.parquet", {"caption": ["a", "b"], column: given})) == [3, 1]


def test_words_are_classes_numbered_over_all_splits(tmp_path):
    write(tmp_path / "train.parquet", {"img": cells([1, 2]), "class": ["dog", None]})
    write(tmp_path / "validation.parquet", {"img": cells([3, 4]), "class": ["cat", "dog"]})
    train, test = (open_images(str(tmp_path), split, SIDE) for split in ("train", "test"))
    assert train.classes == test.classes == ("cat", "dog")
    assert (train.label.tolist(), test.label.tolist()) == ([1, -1], [0, 1])


def test_numbers_without_names_are_classes_up_to_the_largest(tmp_path):
    write(tmp_path / "train.parquet", {"image": cells([1, 2]), "label": [0, -1]})
    write(tmp_path / "test.parquet", {"image": cells([3]), "label": [2]})
    assert open_images(str(tmp_path), "train", SIDE).classes == ("0", "1", "2")


def test_images_may_come_without_labels(tmp_path):
    images = open_images(str(write(tmp_path / "train.parquet", {"image": cells([1, 2])})), "train", SIDE)
    assert (images.label.tolist(), images.classes) == ([-1, -1], ())


def test_of_several_classes_the_usual_name_is_the_label(tmp_path):
    features = {name: {"_type": "ClassLabel", "names": ["a", "b"]} for name in ("coarse_label", "fine_label")}
    path = tmp_path / "train.parquet"
    write(path, {"image": cells([1]), "coarse_label": [0], "fine_label": [1]}, features)
    assert open_images(str(path), "train", SIDE).label.tolist() == [1]


def test_a_labelled_validation_is_the_test_where_the_test_has_no_labels(tmp_path):
    write(tmp_path / "train.parquet", {"image": cells([1]), "label": [0]})
    write(tmp_path / "validation.parquet", {"image": cells([2]), "label": [1]})
    write(tmp_path / "test.parquet", {"image": cells([3]), "label": [-1]})
    assert greys(tmp_path, "test") == [2]


def test_files_that_name_no_split_are_divided_row_by_row(tmp_path):
    path = write(tmp_path / "images.parquet", {"image": cells(list(range(100)))})
    train, test = greys(path), greys(path, "test")
    assert sorted(train + test) == list(range(100))
    assert 10 <= len(test) <= 30


def test_a_split_that_is_not_there_is_told_with_those_that_are(tmp_path):
    path = write(tmp_path / "train.parquet", {"image": cells([1])})
    for uri in (path, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"no split 'test': expected test or val .*, there is train"):
            greys(uri, "test")


def test_a_row_may_name_a_file_beside_the_table(tmp_path):
    (tmp_path / "a.png").write_bytes(png(7))
    write(tmp_path / "train.parquet", {"image": [{"bytes": None, "path": "a.png"}, *cells([8])]})
    assert greys(tmp_path / "train.parquet") == [7, 8]


def test_a_truncated_and_a_missing_image_are_skipped_and_their_rows_named(tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "MOST_CORRUPT", 0.5)
    given = [*cells([1, 2]), {"bytes": png(3)[:50], "path": "x"}, {"bytes": None, "path": None}]
    path = write(tmp_path / "train.parquet", {"image": given, "label": [0, 1, 2, 3]})
    with pytest.warns(UserWarning, match="2 of 4 images skipped"):
        images = open_images(str(path), "train", SIDE)
    assert images.label.tolist() == [0, 1]
    assert [line.partition(" of ")[0] for line in images.skipped] == ["row 2", "row 3"]
    assert images.skipped[1].endswith("ValueError: the row has no image")


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ({"label": [1]}, LookupError, "has no column of images; expected one of image, img, .* there is label"),
        ({"image": cells([1]), "label": [2]}, ValueError, r"row 0 of .* has the label 2; expected -1, or one of 2"),
        ({"image": cells([1]), "label": [-2]}, ValueError, "has the label -2"),
        ({"image": cells([1]), "label": [0.5]}, ValueError, "has the label 0.5"),
        ({"image": pa.array([], pa.binary()), "label": pa.array([], pa.int64())}, ValueError, "has no rows"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(columns, error, message, tmp_path):
    features = {"label": DECLARED["label"]}
    path = write(tmp_path / "train.parquet", columns, features)
    with pytest.raises(error, match=message):
        open_images(str(path), "train", SIDE)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([10**12, 1], "the column 'label' has the label 1000000000000: more than 1,000,000 classes"),
        ([[1], [2]], r"the column 'label' has \[1\] for a label; expected whole numbers, or words alone"),
        ([b"a", b"b"], "the column 'label' has b'a' for a label"),
        ([0.5, 1.0], "the column 'label' has 0.5 for a label"),
    ],
)
def test_a_column_that_is_no_label_is_named(labels, message, tmp_path):
    path = write(tmp_path / "train.parquet", {"image": cells([1, 2]), "label": labels})
    with pytest.raises(ValueError, match=message):
        open_images(str(path), "train", SIDE)


def test_whole_numbers_are_labels_however_they_are_stored(tmp_path):
    path = write(tmp_path / "train.parquet", {"image": cells([1, 2]), "label": [1.0, 0.0]})
    images = open_images(str(path), "train", SIDE)
    assert (images.label.tolist(), images.classes) == ([1, 0], ("0", "1"))


def test_what_is_no_whole_file_or_lacks_a_column_of_the_others_is_named(tmp_path):
    first = write(tmp_path / "train-0.parquet", {"image": cells([1]), "label": [1]})
    second = write(tmp_path / "train-1.parquet", {"image": cells([1])})
    with pytest.raises(LookupError, match=r"train-1.parquet has no column 'label'"):
        greys(tmp_path)
    second.unlink()
    first.write_bytes(first.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"train-0.parquet is no whole Parquet file"):
        greys(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no Parquet file"):
        greys(tmp_path / "nothing-*.parquet")


def test_the_hub_without_its_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r"hf:a/b needs datasets; install it with: pip install 'collapse-lab\[hf\]'"):
        open_images("hf:a/b", "train", SIDE)


class Rows(dict[str, list[Any]]):
    """As a data set of the package `datasets` answers: features, columns, slices, a cast."""

    class features:  # noqa: N801
        @staticmethod
        def to_dict() -> dict[str, Any]:
            return DECLARED

    def __len__(self) -> int:
        return len(self["label"])

    def __getitem__(self, key: Any) -> Any:
        return {name: self[name][key] for name in self} if isinstance(key, slice) else super().__getitem__(key)

    def cast_column(self, name: str, feature: Any) -> Rows:
        assert (name, feature) == ("image", "as bytes")
        return self


class FakeDatasets:
    """The part of the package that is used."""

    asked: tuple[Any, ...] = ()

    def load_dataset(self, *asked: Any) -> dict[str, Rows]:
        self.asked = asked
        train = Rows(image=cells(list(range(5))), label=[0, 1, 0, 1, 1])
        return {
            "train": train,
            "validation": Rows(image=cells([7]), label=[1]),
            "test": Rows(image=cells([8]), label=[-1]),
        }

    def Image(self, *, decode: bool) -> str:  # noqa: N802
        return "decoded" if decode else "as bytes"


def test_a_data_set_of_the_hub_is_read_split_by_split(monkeypatch):
    fake = FakeDatasets()
    monkeypatch.setitem(sys.modules, "datasets", fake)
    train = open_images("hf:owner/name:small", "train", SIDE)
    assert fake.asked == ("owner/name", "small")
    assert train.image[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert train.label.tolist() == [0, 1, 0, 1, 1]
    assert (train.name, train.classes) == ("owner/name", ("cat", "dog"))
    assert greys("hf:owner/name", "test") == [7]  # the labelled one
    assert torch.equal(open_images("hf:owner/name", "train", SIDE).id, train.id)
    (rows, _) = open_listings("hf:owner/name").values()
    assert list(rows.contents(3)) == [png(3), png(4)]
