"""Probes: what they can and cannot tell apart, what they refuse, and their rows of the table."""

from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from collapse_lab.findings.classifiers import STRENGTHS
from collapse_lab.findings.probes import probe
from collapse_lab.findings.scores import PROBES, ari, metrics_of, nmi
from collapse_lab.findings.uncertainty import interval_of
from collapse_lab.stats.accumulate import stats_of
from collapse_lab.stats.held import group_of
from tests.metrics.planted import normal, rotation

LABEL = torch.arange(200) % 5
CENTRES = 8 * normal(5, 6, seed=9)
ALL = tuple(PROBES)


def scores(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], kinds: tuple[str, ...] = ALL) -> dict[str, float]:
    table = probe(train, test, kinds)
    return dict(zip(table.metric, table.value, strict=True))


@pytest.mark.parametrize("metric", metrics_of(PROBES))
def test_separate_classes_are_told_apart_and_labels_without_meaning_are_guessed(metric, told, blind):
    assert told[metric] > 0.98
    chance = 0.2 if metric.endswith("accuracy") else 0.0
    assert blind[metric] == pytest.approx(chance, abs=0.1)


@pytest.fixture(scope="module")
def told() -> dict[str, float]:
    return scores((CENTRES[LABEL] + normal(200, 6), LABEL), (CENTRES[LABEL] + normal(200, 6, seed=1), LABEL))


@pytest.fixture(scope="module")
def blind() -> dict[str, float]:
    return scores((normal(200, 6), LABEL), (normal(200, 6, seed=1), LABEL))


@pytest.mark.parametrize("kind", ["linear", "svm"])
def test_scale_and_offset_of_a_channel_do_not_matter_to_a_linear_probe(kind):
    x, x_test = CENTRES[LABEL] + 4 * normal(200, 6), CENTRES[LABEL] + 4 * normal(200, 6, seed=1)
    factor, shift = torch.tensor([1e-6, 1, 1e6, 1, 3, 2]).double(), torch.arange(6.0)
    one = scores((x, LABEL), (x_test, LABEL), (kind,))
    two = scores((x * factor + shift, LABEL), (x_test * factor + shift, LABEL), (kind,))
    assert two == pytest.approx(one, abs=0.02)


def test_a_linear_boundary_leaves_a_ring_to_the_neighbours():
    label = torch.arange(400) % 2
    direction = torch.nn.functional.normalize(normal(400, 2), dim=1)
    x = (1.0 + 2.0 * label[:, None]) * direction  # a circle around another
    found = scores((x[:200], label[:200]), (x[200:], label[200:]), ("linear", "knn", "svm"))
    assert found["knn_accuracy"] > 0.95
    assert max(found["linear_probe_accuracy"], found["svm_accuracy"]) < 0.75


def test_the_linear_probe_is_scikit_learns_at_the_strength_that_a_fifth_of_the_images_chooses():
    x, x_test = CENTRES[LABEL] + 12 * normal(200, 6), CENTRES[LABEL] + 12 * normal(200, 6, seed=1)
    held = np.random.default_rng(0).permutation(200) % 5 == 0
    scaled = StandardScaler().fit(x).transform(x)

    def right(strength: float) -> float:
        model = LogisticRegression(C=strength, max_iter=1000).fit(scaled[~held], LABEL[~held])
        return float(model.score(scaled[held], LABEL[held]))

    best = max(STRENGTHS, key=right)
    plain = make_pipeline(StandardScaler(), LogisticRegression(C=best, max_iter=1000)).fit(x, LABEL)
    assert scores((x, LABEL), (x_test, LABEL), ("linear",)) == pytest.approx(
        {"linear_probe_accuracy": plain.score(x_test, LABEL)}, abs=0.011
    )


def test_the_neighbours_are_scikit_learns_on_features_as_they_are():
    x, x_test = CENTRES[LABEL] + 12 * normal(200, 6), CENTRES[LABEL] + 12 * normal(200, 6, seed=1)
    plain = KNeighborsClassifier(20).fit(x, LABEL)
    found = scores((x, LABEL), (x_test, LABEL), ("knn",))
    assert found["knn_accuracy"] == pytest.approx(plain.score(x_test, LABEL), abs=0.006)


def test_nmi_and_ari_are_scikit_learns_and_names_of_clusters_do_not_matter():
    clusters = np.roll(LABEL.numpy(), 1) ** 2
    assert nmi(LABEL.numpy(), clusters) == normalized_mutual_info_score(LABEL, clusters)
    assert ari(LABEL.numpy(), clusters) == adjusted_rand_score(LABEL, clusters)
    renamed = (LABEL.numpy() + 3) % 5
    assert (nmi(LABEL.numpy(), renamed), ari(LABEL.numpy(), renamed)) == pytest.approx((1.0, 1.0))


@pytest.mark.parametrize("kind", ["knn", "kmeans"])
def test_a_rotation_an_offset_and_one_scale_change_no_distance(kind):
    x, x_test = CENTRES[LABEL] + 4 * normal(200, 6), CENTRES[LABEL] + 4 * normal(200, 6, seed=1)
    turn, shift = 1e-3 * rotation(6), torch.arange(6.0)
    one = scores((x, LABEL), (x_test, LABEL), (kind,))
    two = scores((x @ turn + shift, LABEL), (x_test @ turn + shift, LABEL), (kind,))
    assert two == pytest.approx(one, abs=0.006)


def test_features_that_collapsed_to_one_point_are_worth_chance_and_warn_of_nothing():
    x = torch.ones(200, 4)
    found = scores((x, LABEL), (x, LABEL))
    assert found["kmeans_nmi"] == found["kmeans_ari"] == 0
    assert found["linear_probe_accuracy"] == pytest.approx(0.2)


def test_classes_that_come_in_turn_are_all_held_out_alike():
    label = (torch.arange(100) % 5 == 0).long()  # every fifth image, the very step of the held-out fifth
    x = 6.0 * label[:, None] + normal(100, 3)
    assert scores((x, label), (x, label), ("linear",))["linear_probe_accuracy"] > 0.98


X, TWO = normal(20, 3), torch.arange(20) % 2


@pytest.mark.parametrize(
    ("train", "kinds", "complaint"),
    [
        ((X, torch.zeros(20)), "knn", "two classes at least, got 1"),
        ((X / 0, TWO), "linear", "training: the features of 20 of 20 images are not finite"),
        ((X, -torch.ones(20)), "kmeans", r"training: 20 of 20 images have no label \(-1\)"),
        ((X, (torch.arange(20) > 15).long()), "svm", "5 training images a class, .* class 1 has 4"),
        ((X[:, :2], TWO), "linear", "have 2 and 3 channels"),
        ((X, TWO[:19]), "linear", r"expected features \(N, C\) and labels \(N,\)"),
        ((X[0], TWO), "linear", r"expected features \(N, C\) and labels \(N,\)"),
    ],
)
def test_what_cannot_be_probed_is_refused_with_the_reason(train, kinds, complaint):
    with pytest.raises(ValueError, match=complaint):
        probe(train, (X, TWO), kinds)


def test_a_rare_class_is_no_matter_to_a_probe_without_a_split():
    rare = (torch.arange(20) == 7).long()
    assert len(probe((X, rare), (X, rare), ("knn", "kmeans"))) == 3


def test_an_unknown_probe_is_refused_with_the_nearest():
    with pytest.raises(LookupError, match="no probe is called 'linaer'; did you mean 'linear'"):
        probe((X, TWO), (X, TWO), "linaer")


def test_a_row_holds_its_score_with_an_interval_over_groups_of_images():
    label, ids = torch.arange(500) % 5, torch.arange(500) + 7
    x = CENTRES[label] + 12 * normal(500, 6)
    table = probe((x, label), (x, label), ("knn", "kmeans"), ids=ids)
    group = group_of(ids, 16)
    for one in table.itertuples():
        assert len(one.replicates) == 16
        assert one.group_sizes == group.bincount().tolist()
        expected = interval_of(one.value, one.replicates, one.group_sizes)
        assert (one.corrected, one.low, one.high) == pytest.approx(astuple(expected))
        assert one.n_images == 500
    answer = KNeighborsClassifier(20).fit(x, label).predict(x)
    right = torch.from_numpy(answer) == label
    without = [right[group != k].double().mean().item() for k in range(16)]
    assert table.iloc[0].replicates == pytest.approx(without, abs=0.01)


def test_rows_carry_the_hash_of_a_capture_of_the_same_images():
    ids = torch.arange(200) * 3
    table = probe((normal(200, 6), LABEL), (normal(200, 6), LABEL), ("knn",), ids=ids)
    stats = stats_of(normal(200, 6), layout="image channel", ids=ids)
    assert table.images_hash.item() == stats.images_hash


def test_the_interval_stays_between_nothing_and_everything():
    x = CENTRES[LABEL] + 0.1 * normal(200, 6)
    wrong = LABEL.clone()
    wrong[0] = 1
    one = probe((x, LABEL), (x, wrong), "linear").iloc[0]
    assert one.value == pytest.approx(0.995)
    assert one.low < one.high == 1


def test_few_images_have_no_interval():
    label = torch.arange(63) % 2
    x = 9.0 * label[:, None] + normal(63, 3)
    one = probe((x, label), (x, label), "linear").iloc[0]
    assert one.value == 1
    assert all(math.isnan(one[name]) for name in ("corrected", "low", "high"))
    assert one.replicates is None
