"""The embedded digits: fixed images, fixed split."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits

from collapse_lab.data.source import Images, denormalise, normalise, open_images
from tests.tolerances import EXACT32


def test_the_split_is_fixed_and_complete():
    train, test = (open_images("digits", split, 32) for split in ("train", "test"))
    assert (len(train), len(test)) == (1000, 797)
    assert sorted([*train.id.tolist(), *test.id.tolist()]) == list(range(1797))
    assert train.image.shape == (1000, 3, 32, 32)
    assert train.image.dtype == torch.uint8


def test_fingerprints_never_change():
    assert open_images("digits", "train", 32).fingerprint() == "a86518a16a9d390a"
    assert open_images("digits", "test", 32).fingerprint() == "e3842c96114e388c"


def test_images_and_labels_are_those_of_scikit_learn():
    bunch = load_digits()
    images = open_images("digits", "test", 8)
    assert images.label.tolist() == bunch.target[images.id].tolist()
    # At their own size the grey values are only scaled, from 0..16 to 0..255.
    expected = torch.from_numpy(bunch.images[images.id] * 255 / 16).round().to(torch.uint8)
    assert all(torch.equal(images.image[:, channel], expected) for channel in range(3))


def test_every_class_is_in_both_splits():
    for split in ("train", "test"):
        counts = open_images("digits", split, 8).label.bincount(minlength=10)
        assert counts.min() > 0.05 * counts.sum()


def test_batches_cover_all_images_in_order():
    images = open_images("digits", "test", 8)
    batches = list(images.batches(100))
    assert [len(batch.image) for batch in batches] == [100] * 7 + [97]
    assert torch.equal(torch.cat([batch.id for batch in batches]), images.id)


def test_normalised_pixels_have_the_mean_and_deviation_taken_out():
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8)[:, None, None].expand(2, 3, 4, 4)
    normal = normalise(pixels, (0.5, 0.2, 0.0), (0.5, 1.0, 2.0))
    assert normal[0, :, 0, 0].tolist() == pytest.approx([-1, 0, 0.5], abs=EXACT32)
    assert torch.equal(normalise(pixels, (0.5,), (0.5,))[0, 0], normal[0, 0])
    with pytest.raises(ValueError, match="1 or 3 numbers"):
        normalise(pixels, (0.5, 0.5), (0.5,))


def test_normalisation_is_undone_to_black_0_and_white_1():
    pixels = torch.arange(192, dtype=torch.uint8).reshape(4, 3, 4, 4)
    mean, std = (0.5, 0.2, 0.0), (0.5, 1.0, 2.0)
    undone = denormalise(normalise(pixels, mean, std), mean, std)
    assert (undone * 255 - pixels.float()).abs().max() < EXACT32 * 255
    with pytest.raises(ValueError, match="1 or 3 numbers"):
        denormalise(undone, mean, (0.5, 0.5))


def test_a_sample_follows_identities_whatever_their_order():
    images = open_images("digits", "test", 8)
    chosen = images.sample(20, seed=3)
    assert torch.equal(chosen, chosen.unique())  # ascending, none twice
    turned = Images(
        name="turned", split="test", image=images.image.flip(0), label=images.label.flip(0), id=images.id.flip(0)
    )
    assert set(turned.id[turned.sample(20, seed=3)].tolist()) == set(images.id[chosen].tolist())
    assert not torch.equal(images.sample(20, seed=4), chosen)
    assert images.sample(797, seed=3).tolist() == list(range(797))
    with pytest.raises(ValueError, match=r"798 images asked for, but there are 797 \(digits\)"):
        images.sample(798, seed=3)


def test_unknown_data_and_splits_are_refused():
    with pytest.raises(LookupError, match=r"no data source is called 'digit'; did you mean 'digits'.*\./digit"):
        open_images("digit", "train", 8)
    with pytest.raises(ValueError, match="'train' or 'test', got 'val'"):
        open_images("digits", "val", 8)
