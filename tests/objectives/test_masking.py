"""Which cells are removed: how many, equally likely, from any source of chance."""

from __future__ import annotations

import pytest
import torch

from collapse_lab.draws import Draws
from collapse_lab.objectives.masking import kept_cells, random_removed

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("cells", "ratio", "kept"), [(49, 0.6, 19), (16, 0.6, 6), (10, 0.9, 1), (10, 0.7, 3), (4, 0.75, 1)]
)
def test_the_number_kept_is_the_floor(cells, ratio, kept):
    assert kept_cells(cells, ratio) == kept


@pytest.mark.parametrize(("cells", "ratio"), [(1, 0.6), (4, 0.9), (4, 1e-9), (0, 0.5)])
def test_a_mask_that_keeps_none_or_all_is_refused(cells, ratio):
    with pytest.raises(ValueError, match=f"of {cells} cells"):
        kept_cells(cells, ratio)


def test_every_image_keeps_the_same_number():
    removed = random_removed(500, 49, 0.6, None, CPU)
    assert set((~removed).sum(dim=1).tolist()) == {19}


def test_every_set_of_cells_is_equally_likely():
    draws = Draws(seed=0, step=0, index=torch.arange(30_000))
    removed = random_removed(30_000, 5, 0.6, draws, CPU)
    codes = (~removed).long() @ (2 ** torch.arange(5))
    counts = codes.bincount()[codes.unique()]
    assert len(counts) == 10  # 5 choose 2
    assert (counts - 3000).abs().max() < 5 * 3000**0.5  # five standard deviations


def test_a_generator_makes_masks_that_can_be_repeated():
    one, again, other = (random_removed(4, 49, 0.6, torch.Generator().manual_seed(seed), CPU) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_counter_based_masks_do_not_depend_on_the_split_of_a_batch():
    whole = random_removed(8, 49, 0.6, Draws(seed=3, step=7, index=torch.arange(8)), CPU)
    parts = [
        random_removed(4, 49, 0.6, Draws(seed=3, step=7, index=torch.arange(8)[part]), CPU)
        for part in (slice(0, 4), slice(4, 8))
    ]
    assert torch.equal(whole, torch.cat(parts))


@pytest.mark.parametrize("ratio", [float("nan"), 1.5, -0.2, 0.0, 1.0])
def test_a_ratio_that_is_no_share_is_refused(ratio):
    with pytest.raises(ValueError, match="mask_ratio must lie between 0 and 1"):
        kept_cells(16, ratio)
