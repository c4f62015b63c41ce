"""The order of images: every one once before any twice, from seed and step alone."""

from __future__ import annotations

import pytest
import torch

from collapse_lab.train.order import epoch_order, rank_slice, step_indices


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


@pytest.mark.parametrize("world", [1, 2, 3, 6])
@pytest.mark.parametrize("images", [5, 12, 100])
def test_processes_share_a_step_without_overlap_or_repetition(world, images):
    for step in range(7):
        shares = [step_indices(3, step, 6, images, rank, world) for rank in range(world)]
        assert torch.equal(torch.cat(shares), step_indices(3, step, 6, images))


def test_the_shares_of_a_batch_are_its_samples_in_order():
    places = torch.arange(12)
    assert torch.equal(torch.cat([places[rank_slice(12, rank, 4)] for rank in range(4)]), places)


def test_a_batch_that_cannot_be_shared_evenly_is_refused():
    with pytest.raises(ValueError, match=r"data.batch = 10 cannot be shared by 4 processes; choose a multiple of 4"):
        step_indices(0, 0, 10, 100, rank=0, world=4)
    with pytest.raises(ValueError, match="rank is 0 to 1 of 2 processes, got 2"):
        rank_slice(8, 2, 2)
