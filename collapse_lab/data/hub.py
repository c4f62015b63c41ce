"""Data sets of the Hugging Face hub, through the package `datasets` (extra `hf`): hf:OWNER/NAME[:CONFIGURATION]."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from collapse_lab.data.columns import class_names, image_column, label_column, labels
from collapse_lab.data.decode import Content
from collapse_lab.data.listing import SPLITS, Listing, named_split, row_ids
from collapse_lab.data.parquet import AT_ONCE, content


def hub(place: str, split: str) -> Listing:
    """The rows of one split in their order; an image's identity is a hash of its place in the split.

    What `datasets` downloads it keeps in its own cache. Raises ImportError naming the extra where that is missing,
    FileNotFoundError for a split that is not there, LookupError for a column that is missing, ValueError for a label
    that is no class.
    """
    try:
        import datasets  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise ImportError(f"hf:{place} needs datasets; install it with: pip install 'collapse-lab[hf]'") from None
    repository, _, configuration = place.partition(":")
    splits = datasets.load_dataset(repository, configuration or None)
    features = next(iter(splits.values())).features.to_dict()
    names = list(features)
    image, label = image_column(names, features, _bytes(features), f"hf:{place}"), label_column(names, features)

    def values(name: str) -> list[Any]:
        return list(splits[name][label]) if label else [None] * len(splits[name])

    name = named_split(list(splits), split, lambda name: any(value not in (None, -1) for value in values(name)))
    if name is None:
        expected, there = " or ".join(SPLITS[split]), ", ".join(splits)
        raise FileNotFoundError(f"hf:{place} has no split {split!r}: expected {expected}, there is {there}")
    rows = splits[name].cast_column(image, datasets.Image(decode=False))
    classes = class_names([value for each in splits for value in values(each)], label, features) if label else ()
    return Listing(
        name=repository,
        split=split,
        label=labels(values(name), classes, f"hf:{place}"),
        id=row_ids(split, torch.arange(len(rows))),
        contents=lambda first: _contents(rows, image, first),
        called=lambda number: f"row {number} of hf:{place} ({name})",
        classes=classes,
    )


def _bytes(features: dict[str, Any]) -> list[str]:
    """Columns of bytes that are not declared images."""
    return [
        name for name, feature in features.items() if isinstance(feature, dict) and feature.get("dtype") == "binary"
    ]


def _contents(rows: Any, image: str, first: int) -> Iterator[Content]:
    for start in range(first, len(rows), AT_ONCE):
        for cell in rows[start : start + AT_ONCE][image]:
            yield content(cell, None)
