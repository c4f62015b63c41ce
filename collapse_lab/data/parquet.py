"""Parquet files in the layout of Hugging Face: a column of encoded images, a column of labels, any number of shards."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from collapse_lab.data.columns import class_names, image_column, label_column, labels
from collapse_lab.data.decode import Content
from collapse_lab.data.listing import SPLITS, Listing, in_split, named_split, row_ids

AT_ONCE = 256
"""Rows whose encoded images are read at a time."""


@dataclass(frozen=True, kw_only=True)
class _Shards:
    """The files of one split, and the names of their columns."""

    files: tuple[Path, ...]
    image: str
    label: str | None
    features: dict[str, Any]

    def values(self) -> list[Any]:
        """Every label, in the order of files and rows; None where a file has none."""
        if self.label is None:
            return [None] * sum(pq.read_metadata(file).num_rows for file in self.files)
        return [value for file in self.files for value in pq.read_table(file, columns=[self.label])[0].to_pylist()]


def parquet(place: str, split: str) -> Listing:
    """The rows of one split, in the order of the files' names.

    The word in a file's name or its folder's (train; test, val, valid, validation) says which split it belongs to;
    files without one are left out, and where no name has one a fifth of the rows, by a hash of their place, is "test".
    An image's identity is a hash of its place in the split. Raises FileNotFoundError for no file, or a split that is
    not there, LookupError for a column that is missing, ValueError for no Parquet, no row or a label that is no class.
    """
    files, root = _files(place)
    shards = {name: _opened(found, place) for name, found in _by_split(files, root).items()}
    name = _chosen(shards, split, place)
    mine, other = shards[name], [value for each in shards.values() for value in each.values()]
    values = mine.values()
    if not values:
        raise ValueError(f"{place} has no rows in the split {split!r}; give files with images")
    rows = torch.arange(len(values))
    if name == "":
        rows = rows[in_split(row_ids("split", rows), split)]
        if not len(rows):
            raise FileNotFoundError(f"none of the {len(values)} rows of {place} falls into the split {split!r}")
    classes = class_names(other, mine.label, mine.features) if mine.label else ()
    return Listing(
        name=root.resolve().name if Path(place).is_dir() else Path(place).stem,
        split=split,
        label=labels(values, classes, place)[rows],
        id=row_ids(split, rows),
        contents=lambda first: _contents(mine, rows[first:]),
        called=lambda number: f"row {int(rows[number])} of {place}",
        classes=classes,
    )


def _files(place: str) -> tuple[list[Path], Path]:
    """The files, by name, and the folder below which their names speak of splits."""
    path = Path(place)
    if path.is_dir():
        files, root = sorted(path.rglob("*.parquet")), path
    elif path.is_file():
        files, root = [path], path.parent
    else:
        plain = re.split(r"[*?\[]", place, maxsplit=1)[0]
        root = Path(plain).parent if not plain.endswith("/") else Path(plain)
        files = sorted(root.glob(str(path.relative_to(root)))) if plain != place else []
    files = [file for file in files if file.is_file() and not file.name.startswith(".")]
    if not files:
        raise FileNotFoundError(
            f"there is no Parquet file {place}; give a file, a folder or a pattern such as *.parquet"
        )
    return files, root


def _by_split(files: Sequence[Path], root: Path) -> dict[str, list[Path]]:
    """The word for a split -> files whose last such word it is; {"": all} where no file has one."""
    known = {word for words in SPLITS.values() for word in words}
    found: dict[str, list[Path]] = {}
    for file in files:
        words = re.split(r"[^a-z]+", file.relative_to(root).with_suffix("").as_posix().lower())
        split = next((word for word in reversed(words) if word in known), "")
        found.setdefault(split, []).append(file)
    return {split: found[split] for split in found if split} or found


def _chosen(shards: dict[str, _Shards], split: str, place: str) -> str:
    """The split's own name among these; "" where none has one."""
    if "" in shards:
        return ""

    def labelled(name: str) -> bool:
        return any(value not in (None, -1) for value in shards[name].values())

    name = named_split(list(shards), split, labelled)
    if name is None:
        expected, there = " or ".join(SPLITS[split]), ", ".join(sorted(shards))
        raise FileNotFoundError(
            f"{place} has no split {split!r}: expected {expected} in a file's name, there is {there}"
        )
    return name


def _opened(files: list[Path], place: str) -> _Shards:
    """Find the columns; every file must have them."""
    schema = _schema(files[0])
    declared = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = declared.get("info", {}).get("features", {})
    image = image_column(schema.names, features, [field.name for field in schema if _binary(field.type)], place)
    label = label_column(schema.names, features)
    for file in files[1:]:
        names = _schema(file).names
        for column in [image, *([label] if label else [])]:
            if column not in names:
                raise LookupError(
                    f"{file} has no column {column!r} as {files[0].name} has; there is {', '.join(names)}"
                )
    return _Shards(files=tuple(files), image=image, label=label, features=features)


def _schema(file: Path) -> pa.Schema:
    try:
        return pq.read_schema(file)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{file} is no whole Parquet file ({error}); copy or download it again") from None


def _binary(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _binary(kind.field("bytes").type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _contents(shards: _Shards, rows: Tensor) -> Iterator[Content]:
    """The encoded images of these rows, ascending, reading no row group that has none of them."""
    wanted, passed = set(rows.tolist()), 0
    for path in shards.files:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                count = file.metadata.row_group(group).num_rows
                if wanted.isdisjoint(range(passed, passed + count)):
                    passed += count
                    continue
                for part in file.iter_batches(AT_ONCE, row_groups=[group], columns=[shards.image]):
                    for cell in part.column(0):
                        if passed in wanted:
                            yield content(cell.as_py(), path.parent)
                        passed += 1


def content(cell: Any, folder: Path | None) -> Content:
    """Of a cell, bytes or {bytes, path}: its bytes, else the file it names beside the table, else nothing."""
    if not isinstance(cell, dict):
        return None if cell is None else bytes(cell)
    if cell.get("bytes") is not None:
        return bytes(cell["bytes"])
    return folder / cell["path"] if cell.get("path") and folder else None
