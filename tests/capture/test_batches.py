"""Batches in every usual form, and the identity of each image."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from collapse_lab.capture.batches import Seen, read_batches
from tests.capture.small import images


def read(*batches: Any) -> list[Seen]:
    return list(read_batches(batches, Counter()))


def test_images_pairs_and_named_batches_are_the_same_images():
    x, label = images(4), torch.tensor([0, 1, 0, 2])
    plain, pair, listed, named = (
        read(x)[0],
        read((x, label))[0],
        read([x, label])[0],
        read({"image": x, "label": label})[0],
    )
    assert plain.label is None
    for seen in (pair, listed, named):
        assert torch.equal(seen.id, plain.id)
        assert torch.equal(seen.label, label)


def test_without_ids_an_image_is_known_by_its_bytes_in_any_order():
    x = images(5)
    order = torch.tensor([3, 0, 4, 1, 2])
    assert torch.equal(read(x[order])[0].id, read(x)[0].id[order])
    assert len(set(read(x)[0].id.tolist())) == 5
    assert read(x.bfloat16())[0].id.shape == (5,)
    assert read((x * 9).to(torch.uint8))[0].id.shape == (5,)


def test_copies_are_counted_and_told_apart():
    x, repeats = images(3), Counter()
    both = list(read_batches([x, x.flip(0)], repeats))
    ids = torch.cat([both[0].id, both[1].id]).tolist()
    assert len(set(ids)) == 6
    assert repeats.total() - len(repeats) == 3
    other = torch.cat([seen.id for seen in read(x.flip(0), x)]).tolist()
    assert set(ids) == set(other)


@pytest.mark.parametrize(
    "ids", [torch.tensor([7, 8, 9]), [7, 8, 9], (7, 8, 9), np.array([7, 8, 9]), list(np.array([7, 8, 9]))]
)
def test_given_ids_are_taken_as_they_are(ids):
    assert read({"image": images(3), "id": ids})[0].id.tolist() == [7, 8, 9]


def test_texts_are_identities_too_and_one_given_twice_is_another():
    ids = read({"image": images(3), "id": ["a", "b", "a"]})[0].id.tolist()
    assert len(set(ids)) == 3
    assert ids[:2] == read({"image": images(2, seed=4), "id": ["a", "b"]})[0].id.tolist()


def test_a_batch_without_an_image_is_passed_over():
    assert [len(seen.id) for seen in read(images(0), images(2), (images(0), torch.tensor([])))] == [2]


@pytest.mark.parametrize(
    ("batch", "error", "words"),
    [
        ({"pixels": images(2)}, ValueError, r"has the keys \['pixels'\]; it needs 'image'"),
        ("images", TypeError, "must be a tensor, got str"),
        ((), TypeError, "must be a tensor, got tuple"),
        ({"image": images(2), "id": [1]}, ValueError, "for each of 2 images, got 1"),
        ((images(2), torch.rand(2, 10)), ValueError, r"labels must be one whole number .* shape \(2, 10\) of float32"),
        ({"image": images(2), "removed": torch.ones(2, 4)}, ValueError, r"removed must be a mask .* of float32"),
        ({"image": images(2), "removed": torch.ones(3, 4).bool()}, ValueError, r"shape \(2, cells\)"),
    ],
)
def test_a_batch_of_another_form_is_refused_in_words(batch, error, words):
    with pytest.raises(error, match=words):
        read(batch)
