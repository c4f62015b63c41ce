"""Features that nothing learnt, on images whose answer is known by construction."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from collapse_lab.findings.baselines import METHODS, baselines, components, fourier, split, summary

LABEL = torch.arange(240) % 3


def stripes(*, shifted: bool) -> torch.Tensor:
    """(240, 1, 8, 8): three frequencies of stripes under noise, at a phase of 0 or any phase."""
    random = np.random.default_rng(0)
    phase = random.uniform(0, 2 * math.pi, size=(240, 1, 1)) if shifted else np.zeros((240, 1, 1))
    wave = np.sin(2 * math.pi * (LABEL.numpy()[:, None, None] + 1) * np.arange(8) / 8 + phase)
    grey = 128 + 60 * np.broadcast_to(wave, (240, 8, 8)) + random.normal(0, 8, (240, 8, 8))
    return torch.from_numpy(np.uint8(np.clip(grey, 0, 255)))[:, None]


def values(images: torch.Tensor, kinds: tuple[str, ...] = ("linear",)) -> dict[tuple[str, str], float]:
    table = baselines(images, LABEL, seeds=(0,), kinds=kinds)
    return {(row.method, row.metric): row.value for row in table.itertuples()}


def test_patterns_in_one_place_are_read_off_pixels_and_in_any_place_off_fourier_magnitudes_alone():
    still, moved = values(stripes(shifted=False)), values(stripes(shifted=True))
    assert all(still[method, "linear_probe_accuracy"] > 0.98 for method in METHODS)
    assert moved["fourier", "linear_probe_accuracy"] > 0.98
    assert moved["pixels", "linear_probe_accuracy"] < 0.7


def test_k_means_finds_separate_patterns_and_none_in_noise():
    assert values(stripes(shifted=False), ("kmeans",))["fourier", "kmeans_nmi"] > 0.98
    noise = torch.randint(0, 256, (240, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    assert values(noise, ("kmeans",))["pixels", "kmeans_ari"] == pytest.approx(0, abs=0.1)


def test_fourier_magnitudes_do_not_change_when_an_image_is_moved_round():
    image = np.random.default_rng(0).random((4, 3, 8, 8), dtype=np.float32)
    first, moved = fourier(image, np.roll(image, (3, 5), axis=(2, 3)))
    np.testing.assert_allclose(first, moved, rtol=1e-4, atol=1e-4)


def test_components_are_scikit_learns_and_learn_from_the_training_images_alone():
    random = np.random.default_rng(0)
    train, test = random.random((90, 1, 8, 8), np.float32), random.random((30, 1, 8, 8), np.float32)
    learnt, held = components(train, test)
    plain = PCA(64, svd_solver="full").fit(train.reshape(90, -1))
    np.testing.assert_allclose(np.abs(learnt), np.abs(plain.transform(train.reshape(90, -1))), atol=2e-3)
    np.testing.assert_allclose(np.abs(held), np.abs(plain.transform(test.reshape(30, -1))), atol=2e-3)


def test_the_score_is_scikit_learns_on_the_same_split():
    images = stripes(shifted=True)
    judged = split(torch.arange(240), 0.25, 0)
    x = images.reshape(240, -1).numpy() / 255
    plain = KNeighborsClassifier(20).fit(x[~judged], LABEL[~judged])
    right = plain.score(x[judged], LABEL[judged])
    assert values(images, ("knn",))["pixels", "knn_accuracy"] == pytest.approx(right, abs=0.02)


def test_a_split_is_drawn_from_identities_and_seed_whatever_the_order():
    ids = torch.arange(100) * 17
    first = set(ids[split(ids, 0.3, 0)].tolist())
    assert len(first) == 30
    assert set(ids.flip(0)[split(ids.flip(0), 0.3, 0)].tolist()) == first
    assert set(ids[split(ids, 0.3, 1)].tolist()) != first


def test_each_seed_has_its_rows_and_the_summary_their_mean():
    table = baselines(stripes(shifted=True), LABEL, methods=("pixels",), kinds=("knn",))
    assert table.seed.tolist() == [0, 1, 2]
    assert set(table.n_train) == {180}
    (row,) = summary(table).itertuples()
    assert row.value == pytest.approx(table.value.mean())
    assert row.spread == pytest.approx(table.value.std())
    assert row.n_seeds == 3


@pytest.mark.parametrize(
    ("images", "labels", "changes", "complaint"),
    [
        (torch.zeros(240, 1, 8, 8), LABEL, {}, r"\(N, C, H, W\) uint8"),
        (stripes(shifted=False), LABEL[:9], {}, r"labels \(N,\)"),
        (stripes(shifted=False), torch.zeros(240), {}, "two classes"),
        (stripes(shifted=False), LABEL, {"test_share": 1.0}, "between 0 and 1"),
        (stripes(shifted=False)[:2], LABEL[:2], {"test_share": 0.1}, "2 images cannot be split"),
    ],
)
def test_what_cannot_be_split_or_probed_is_refused(images, labels, changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        baselines(images, labels, **changes)


def test_an_unknown_method_is_refused_with_the_nearest():
    with pytest.raises(LookupError, match="'pixel'; did you mean 'pixels'"):
        baselines(stripes(shifted=False), LABEL, methods=("pixel",))
