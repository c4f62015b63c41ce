"""The order of images: every one once before any twice, from seed and step alone."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from collapse_lab.train.config import ComputeConfig
from collapse_lab.train.order import epoch_order, step_indices
from collapse_lab.train.place import Place


@pytest.mark.parametrize(("images", "batch"), [(10, 3), (10, 10), (3, 8), (1, 4)])
def test_every_image_comes_once_before_any_comes_again(images, batch):
    stream = torch.cat([step_indices(5, step, batch, images) for step in range(4 * images)])
    for epoch in range(len(stream) // images):
        seen = stream[epoch * images : (epoch + 1) * images]
        assert sorted(seen.tolist()) == list(range(images))


def test_a_step_has_its_own_place_in_the_order():
    whole = torch.cat([epoch_order(1, epoch, 7) for epoch in range(3)])
    assert torch.equal(step_indices(1, 3, 5, 7), whole[15:20])


def test_epochs_and_seeds_differ_and_repeat():
    assert not torch.equal(epoch_order(0, 0, 50), epoch_order(0, 1, 50))
    assert not torch.equal(epoch_order(0, 0, 50), epoch_order(1, 0, 50))
    first = epoch_order(0, 0, 50).clone()
    epoch_order.cache_clear()
    assert torch.equal(epoch_order(0, 0, 50), first)


def test_the_order_never_changes():
    assert epoch_order(0, 0, 8).tolist() == [6, 4, 1, 3, 5, 2, 0, 7]


def place(rank: int, world: int, parts: int) -> Place:
    compute = ComputeConfig(accumulate=parts)
    return Place(device=torch.device("cpu"), compute=compute, ranks=SimpleNamespace(rank=rank, world=world))


@pytest.mark.parametrize(("world", "parts"), [(1, 1), (1, 3), (2, 1), (2, 3), (6, 2)])
def test_processes_and_their_parts_share_a_batch_without_overlap_or_repetition(world, parts):
    shares = [part for rank in range(world) for part in place(rank, world, parts).parts(12)]
    assert torch.equal(torch.cat(shares), torch.arange(12))
    assert {len(share) for share in shares} == {12 // (world * parts)}


def test_a_batch_that_cannot_be_shared_evenly_is_refused():
    with pytest.raises(ValueError, match=r"not divided by 2 ranks x 2 parts .*; take a multiple of 4"):
        place(0, 2, 2).parts(10)
