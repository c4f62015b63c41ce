"""Which positions become rows."""

from __future__ import annotations

import pytest
import torch

from collapse_lab.stats.accumulate import summarise
from collapse_lab.stats.positions import choose_positions, sampled_count
from tests.metrics.planted import features, normal
from tests.tolerances import EXACT64

ALL = torch.ones(20, 9, dtype=torch.bool)


def marked(positions: int = 9) -> torch.Tensor:
    """(20, P, 1), each value says where it stands."""
    return (100.0 * torch.arange(20)[:, None] + torch.arange(positions))[:, :, None].double()


def test_sampled_positions_are_different_ones_of_their_image():
    found = choose_positions(marked(), ALL, torch.arange(20), "sampled:4", seed=0)
    rows, chosen = found.values, found.counted
    assert rows.shape == (20, 4, 1)
    assert chosen.all()
    assert torch.equal((rows // 100)[:, :, 0], torch.arange(20.0).double()[:, None].expand(20, 4))
    assert all(len(set(image.flatten().tolist())) == 4 for image in rows)


def test_the_choice_depends_on_image_and_seed_alone():
    ids = torch.arange(20)
    whole = choose_positions(marked(), ALL, ids, "sampled:4", seed=0)
    some = choose_positions(marked()[[7, 3]], None, ids[[7, 3]], "sampled:4", seed=0)
    for name in ("values", "key", "position"):
        assert torch.equal(getattr(some, name), getattr(whole, name)[[7, 3]])
    other = choose_positions(marked(), ALL, ids, "sampled:4", seed=1)
    assert not torch.equal(other.values, whole.values)


@pytest.mark.parametrize("policy", ["sampled:4", "sampled:30", "all"])
def test_a_row_knows_its_position(policy):
    found = choose_positions(marked(), None, torch.arange(20), policy, seed=0)
    assert torch.equal((found.values % 100)[:, :, 0].long(), found.position)
    assert choose_positions(marked(), None, torch.arange(20), "pooled", seed=0).position.unique().tolist() == [-1]


def test_every_position_is_as_likely():
    x = torch.arange(9.0).double()[None, :, None].expand(5000, 9, 1)
    rows = choose_positions(x, None, torch.arange(5000), "sampled:3", seed=0).values
    counts = rows.flatten().long().bincount(minlength=9)
    assert (counts - 5000 / 3).abs().max() < 5 * (5000 / 3) ** 0.5


def test_absent_positions_are_never_chosen_and_all_present_ones_where_there_are_few():
    present = torch.arange(9) < torch.arange(20)[:, None]
    found = choose_positions(marked().masked_fill(~present[:, :, None], 0), present, torch.arange(20), "sampled:4", 0)
    rows, chosen = found.values, found.counted
    assert torch.equal(chosen.sum(dim=1), torch.arange(20).clamp(max=4))
    places = (rows % 100)[:, :, 0]
    assert (places[chosen] < torch.arange(20)[:, None].expand_as(chosen)[chosen]).all()


def test_a_sample_of_all_positions_is_all_positions():
    x, ids = features(3), torch.arange(12)
    stats = summarise(x, ids, ("all", "sampled:4", "sampled:99"))
    for policy in ("sampled:4", "sampled:99"):
        assert torch.allclose(stats[policy].scatter, stats["all"].scatter, rtol=EXACT64)


def test_pooled_is_the_average_of_the_present_positions():
    x = normal(20, 9, 3)
    present = ALL.clone()
    present[:, 6:] = False
    present[4] = False
    x = x.masked_fill(~present[:, :, None], 0)
    found = choose_positions(x, present, torch.arange(20), "pooled", seed=0)
    assert torch.allclose(found.values[:4, 0], x[:4, :6].mean(dim=1))
    assert found.counted[:, 0].tolist() == [k != 4 for k in range(20)]


@pytest.mark.parametrize("policy", ["sampled", "sampled:0", "sampled:-1", "sampled:x", "first", ""])
def test_an_unknown_policy_is_refused(policy):
    with pytest.raises(ValueError, match="'sampled:K' with K >= 1, got"):
        sampled_count(policy)
