"""Which column of a table holds images and which labels, as Hugging Face data sets and others name them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

IMAGES = ("image", "img", "jpg", "jpeg", "png", "webp", "picture", "pixel_values")
MOST_CLASSES = 1_000_000
LABELS = ("label", "labels", "fine_label", "target", "class", "cls", "y")


def image_column(names: Sequence[str], features: Mapping[str, Any], binary: Collection[str], where: str) -> str:
    """What is declared an image, else a usual name, else the only column of bytes, {bytes, path} or not (`binary`).

    Raises LookupError listing the columns there are.
    """
    declared = [name for name in names if _type(features, name) == "Image"]
    usual = [name for name in IMAGES if name in binary]
    only = list(binary) if len(binary) == 1 else []
    found = [*declared, *usual, *only]
    if not found:
        raise LookupError(
            f"{where} has no column of images; expected one of {', '.join(IMAGES)} holding bytes, "
            f"or a struct of bytes and path; there is {', '.join(names) or 'none'}"
        )
    return found[0]


def label_column(names: Sequence[str], features: Mapping[str, Any]) -> str | None:
    """What is declared a class, else a usual name, else none: images may come without labels."""
    declared = [name for name in names if _type(features, name) == "ClassLabel"]
    usual = [name for name in LABELS if name in names]
    # Of several classes (coarse and fine, say) the one with a usual name.
    return next((name for name in usual if name in declared), next(iter([*declared, *usual]), None))


def class_names(values: Iterable[Any], column: str, features: Mapping[str, Any]) -> tuple[str, ...]:
    """The declared names; else the words there are, sorted, or the numbers up to the largest. `values`: all splits'.

    Raises ValueError for what is no label: fractions, lists, numbers of a million and more.
    """
    declared = features.get(column, {}).get("names")
    if declared:
        return tuple(map(str, declared))
    there = [value for value in values if value is not None]
    if all(isinstance(value, str) for value in there):
        return tuple(sorted(set(there)))
    largest = max((_number(value, column) for value in there), default=-1)
    if largest >= MOST_CLASSES:
        raise ValueError(
            f"the column {column!r} has the label {largest}: more than {MOST_CLASSES:,} classes; "
            f"is it a number of another kind? Give data with class labels, or without the column"
        )
    return tuple(map(str, range(largest + 1)))


def labels(values: Sequence[Any], classes: tuple[str, ...], where: str) -> Tensor:
    """(n,) int64, -1 where there is none; raises ValueError naming the first row whose label is no class."""
    numbers = {name: number for number, name in enumerate(classes)}
    found = []
    for row, value in enumerate(values):
        number = numbers.get(value) if isinstance(value, str) else -1 if value is None else _whole(value)
        if number is None or not -1 <= number < len(classes):
            raise ValueError(
                f"row {row} of {where} has the label {value!r}; "
                f"expected -1, or one of {len(classes)} classes ({', '.join(classes[:5])} ...)"
            )
        found.append(number)
    return torch.tensor(found, dtype=torch.int64)


def _whole(value: Any) -> int | None:
    """A number without a fraction as an int, None for anything else."""
    return int(value) if isinstance(value, int | float) and value == value // 1 else None


def _number(value: Any, column: str) -> int:
    whole = _whole(value)
    if whole is None:
        raise ValueError(f"the column {column!r} has {value!r} for a label; expected whole numbers, or words alone")
    return whole


def _type(features: Mapping[str, Any], name: str) -> str | None:
    feature = features.get(name)
    return feature.get("_type") if isinstance(feature, Mapping) else None
