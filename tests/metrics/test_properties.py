"""What every metric promises by what it declares: bounds, invariances, merging, and a status for a broken layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import collapse_lab.findings.clusters
import collapse_lab.findings.nulls
import collapse_lab.metrics  # noqa: F401  (all three fill METRICS)
from collapse_lab.metrics._metric import METRICS, Measurement, measure
from collapse_lab.stats.accumulate import Accumulator, stats_of, summarise
from collapse_lab.stats.layer import LayerStats
from tests.metrics.planted import features, isotropic_rows, of_rows, rotation
from tests.tolerances import EXACT64, HUGE_OFFSET, ORDER

SCALES_WITH_POWER = {"channel_variance_q10": 2, "channel_variance_q50": 2, "vicreg_covariance": 4}
"""Metrics in powers of the activations' unit; every other one is free of their scale, `vicreg_std` aside: its hinge
lies at a deviation of 1."""

CHANNELS_MATTER = {
    *(name for name in METRICS if name.startswith(("channel_", "redundant", "dead", "dormant", "saturated", "lazy"))),
    *(name for name in METRICS if name.startswith(("gate_", "class_selectivity"))),
    "variance_imbalance",
    "correlation_offdiagonal",
    "effective_rank_correlation",
    "vicreg_std",
    "vicreg_covariance",
    "embedding_std",  # a mean of deviations of channels, not of directions
    "effective_rank_null_share",  # the null keeps each channel's variance
    "starved_directions",
    "directions_above_chance",  # of the correlation matrix
}
"""Metrics that look at single channels; every other one is free of a rotation of the channels."""

CENTRED = {
    name for name in METRICS if METRICS[name].rows in ("centred", "channel maps less their mean, of unit length")
}
CENTRED |= {"pair_cosine_centred"}
"""Metrics that declare their rows centred: an offset common to all rows changes nothing."""

COUNTS_ROWS = {
    "participation_ratio_corrected",  # estimates the population from n
    "pair_cosine_raw",  # a copy is another row
    "pair_cosine_centred",
    "between_image_share",
    "correlation_offdiagonal",  # takes off what chance makes of n rows
    "vicreg_std",  # both divide by n - 1
    "vicreg_covariance",
    "duplicate_share",  # a copy is what it counts
    "uniformity",
    "self_cluster",
    "effective_rank_null_share",  # the null is drawn at equal n
    "starved_directions",
    "directions_above_chance",  # the edge of chance moves with n
    "cluster_silhouette",  # a copy of a row lies in its cluster at distance 0
    "top_images_share",  # a copy shares what one image held
}
"""Metrics that say something of the number of rows; to every other one a set twice over is the same set."""

EVERY = pytest.mark.parametrize("name", list(METRICS))
quick = settings(max_examples=6, deadline=None, derandomize=True)
seeds = st.integers(0, 10_000)


def labelled(x: Tensor) -> LayerStats:
    """All positions, every row kept, three classes."""
    return stats_of(x, labels=torch.arange(len(x)) % 3)


def same(a: Measurement, b: Measurement, tolerance: float) -> bool:
    return a.status == b.status and a.value == pytest.approx(b.value, rel=tolerance, abs=tolerance, nan_ok=True)


@EVERY
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=seeds,
    images=st.integers(2, 9),
    positions=st.integers(1, 4),
    channels=st.integers(1, 7),
    scale=st.sampled_from([1e-30, 1.0, 1e30]),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16]),
)
def test_values_lie_within_the_declared_bounds(name, seed, images, positions, channels, scale, dtype):
    x = features(seed, images=images, positions=positions, channels=channels, scale=scale).to(dtype)
    measured = measure(name, labelled(x))
    if math.isnan(measured.value):
        assert measured.status in ("degenerate", "insufficient")
        assert measured.reason
        return
    low, high = (channels if bound == "channels" else bound for bound in METRICS[name].bounds)
    assert low is None or measured.value >= low - EXACT64
    assert high is None or measured.value <= high + EXACT64


@EVERY
@quick
@given(seed=seeds, scale=st.sampled_from([1e-30, 1e-3, 7.0, 1e30]))
def test_scale_changes_only_what_is_measured_in_activations(name, seed, scale):
    x = features(seed)
    before, after = measure(name, labelled(x)), measure(name, labelled(x * scale))
    if name in SCALES_WITH_POWER:
        assert after.value == pytest.approx(before.value * scale ** SCALES_WITH_POWER[name], rel=EXACT64, abs=0)
    elif name != "vicreg_std":
        assert same(before, after, EXACT64)


@EVERY
@quick
@given(seed=seeds)
def test_a_rotation_changes_only_what_looks_at_channels(name, seed):
    if name in CHANNELS_MATTER:
        return
    x = features(seed)
    assert same(measure(name, labelled(x)), measure(name, labelled(x @ rotation(5, seed))), EXACT64)


@EVERY
@quick
@given(seed=seeds, offset=st.sampled_from([-3.0, 1e3]))
def test_an_offset_of_all_rows_changes_nothing_that_is_centred(name, seed, offset):
    if name not in CENTRED:
        return
    x = features(seed)
    shift = offset * torch.arange(1.0, 6.0, dtype=torch.float64)
    assert same(measure(name, labelled(x)), measure(name, labelled(x + shift)), HUGE_OFFSET)


@EVERY
@quick
@given(seed=seeds)
def test_a_permutation_of_the_channels_changes_nothing(name, seed):
    x = features(seed)
    order = torch.tensor([3, 0, 4, 1, 2])
    assert same(measure(name, labelled(x)), measure(name, labelled(x[:, :, order])), EXACT64)


@EVERY
@quick
@given(seed=seeds)
def test_every_image_twice_is_the_same_layer_but_for_n(name, seed):
    if name in COUNTS_ROWS:
        return
    x = features(seed, images=40)
    once, twice = (
        measure(name, labelled(x)),
        measure(name, stats_of(x.repeat(2, 1, 1), labels=torch.arange(80) % 40 % 3)),
    )
    assert same(once, twice, EXACT64)
    assert twice.n_rows == 2 * once.n_rows


@EVERY
def test_channels_first_and_channels_last_agree_when_declared(name):
    x = features(3, positions=6)
    maps = x.unflatten(1, (2, 3))
    last = stats_of(maps, layout="image height width channel", labels=torch.arange(12) % 3)
    first = stats_of(
        maps.permute(0, 3, 1, 2).contiguous(), layout="image channel height width", labels=torch.arange(12) % 3
    )
    assert same(measure(name, first), measure(name, last), ORDER)


POLICIES = ("sampled:2", "pooled", "all")


def streamed(x: Tensor, ids: Tensor, visible: Tensor, size: int, *, groups: int = 4) -> Accumulator:
    accumulator = Accumulator(POLICIES, groups=groups, keep=64)
    for start in range(0, len(x), size):
        part = slice(start, start + size)
        accumulator.update(x[part], ids[part], visible=visible[part], labels=ids[part] % 3)
    return accumulator


def passed(seed: int, count: int = 150) -> tuple[Tensor, Tensor, Tensor]:
    """Features with a few non-finite values, ids, and ragged visible positions."""
    x = features(seed, images=count, positions=4)
    random = torch.Generator().manual_seed(seed)
    x[torch.randint(count, (3,), generator=random), 1, 2] = math.nan
    visible = torch.rand(count, 4, generator=random) < 0.8
    return x, torch.randperm(10 * count, generator=random)[:count], visible


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("size", [1, 7, 137, 150])
def test_order_and_batch_split_change_no_metric(policy, size):
    x, ids, visible = passed(size)
    whole = summarise(x, ids, POLICIES, visible=visible, labels=ids % 3, keep=64)[policy]
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(size))
    split, _ = streamed(x[order], ids[order], visible[order], size).compute(policy)
    assert split.images_hash == whole.images_hash
    assert torch.equal(split.rows.values, whole.rows.values)
    for name in METRICS:
        assert same(measure(name, whole), measure(name, split), ORDER), name


@pytest.mark.parametrize("policy", POLICIES)
def test_two_workers_merged_are_one_process(policy):
    x, ids, visible = passed(5)
    one = streamed(x, ids, visible, 150)
    left = streamed(x[:60], ids[:60], visible[:60], 11)
    left.merge(streamed(x[60:], ids[60:], visible[60:], 90))
    (whole, parts), (merged, merged_parts) = one.compute(policy), left.compute(policy)
    assert [part.n_images for part in parts] == [part.n_images for part in merged_parts]
    for name in METRICS:
        assert same(measure(name, whole), measure(name, merged), ORDER), name


def test_two_batches_of_rank_three_in_disjoint_directions_have_rank_six():
    directions = rotation(20)
    parts = [
        of_rows(
            isotropic_rows(3, 3, seed=seed) @ directions[3 * seed : 3 * seed + 3],
            ids=[f"{seed} {i}" for i in range(200)],
        )
        for seed in (0, 1)
    ]
    both = reduce(LayerStats.merge, parts)
    for name in ("numerical_rank", "effective_rank", "effective_rank_energy", "participation_ratio", "stable_rank"):
        assert measure(name, both).value == pytest.approx(6, rel=EXACT64)


BROKEN: dict[str, Callable[[], Tensor]] = {
    "no image": lambda: torch.zeros(0, 3, 4),
    "one image": lambda: features(0, images=1, channels=4),
    "all zero": lambda: torch.zeros(9, 3, 4),
    "constant": lambda: torch.full((9, 3, 4), 0.3),
    "constant in bfloat16": lambda: torch.full((9, 3, 4), 100.3, dtype=torch.bfloat16),
    "rounding alone": lambda: 1 + features(0, images=9, positions=3, channels=4, scale=1e-17),
    "all NaN": lambda: torch.full((9, 3, 4), math.nan),
    "all infinite": lambda: torch.full((9, 3, 4), math.inf, dtype=torch.float16),
    "one finite image": lambda: torch.cat([torch.full((8, 3, 4), math.nan), torch.rand(1, 3, 4)]),
    "beyond float64": lambda: features(0, scale=1e200),
    "below float64": lambda: features(0, scale=1e-200),
}


@EVERY
@pytest.mark.parametrize("layer", list(BROKEN))
def test_a_broken_layer_gets_a_status_and_never_an_exception(name, layer):
    x = BROKEN[layer]()
    for stats in summarise(x, torch.arange(len(x)), POLICIES, keep=8).values():
        measured = measure(name, stats)
        assert measured.status in ("degenerate", "insufficient", "non_finite")
        assert measured.reason
        facts = METRICS[name]
        if facts.collapse_when == "low" and "paper" not in name:  # the paper's form is known to call zero diverse
            assert math.isnan(measured.value) or measured.value <= 1
        if name in ("variance_share", "embedding_std", "numerical_rank") and measured.status == "degenerate":
            assert measured.value == 0


@EVERY
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_bad_value_is_counted_and_the_rest_is_measured(name, value):
    x = features(1, images=20)
    x[7, 2, 3] = value
    measured = measure(name, labelled(x))
    kept = torch.ones(20, 4, dtype=torch.bool)
    kept[7, 2] = False
    rest = summarise(
        features(1, images=20), torch.arange(20), ("all",), visible=kept, labels=torch.arange(20) % 3, keep=999
    )
    assert measured.status == "non_finite"
    assert measured.reason == "1 values of 1 positions are not finite; these positions are left out"
    assert measured.value == pytest.approx(measure(name, rest["all"]).value, rel=EXACT64, nan_ok=True)
    assert measured.n_rows == 79


SHAPES: dict[str, Callable[[], Tensor]] = {
    "one channel": lambda: features(0, channels=1),
    "one position": lambda: features(0, positions=1),
    "more channels than rows": lambda: features(0, images=3, positions=1, channels=40),
    "every image the same": lambda: features(0, images=1).repeat(9, 1, 1),
    "two images": lambda: features(0, images=2, positions=1),
    "one position in half precision": lambda: features(0, positions=1).half(),
}


@EVERY
@pytest.mark.parametrize("shape", list(SHAPES))
def test_odd_shapes_have_a_value_or_a_reason(name, shape):
    measured = measure(name, labelled(SHAPES[shape]()))
    assert math.isfinite(measured.value) or measured.reason
    assert (measured.status == "ok") == (not measured.reason)


@given(seed=seeds, rows=st.integers(3, 60), channels=st.integers(2, 12), decay=st.floats(0, 3))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_the_dimensions_stand_in_one_chain(seed, rows, channels, decay):
    x = features(seed, images=rows, positions=1, channels=channels)[:, 0] * torch.arange(1.0, channels + 1) ** -decay
    stats = of_rows(x)
    chain = ("numerical_rank", "effective_rank", "effective_rank_energy", "participation_ratio", "stable_rank")
    values = [min(rows - 1, channels), *(METRICS[name].function(stats) for name in chain), 1]
    for above, below in pairwise(values):
        assert above >= below * (1 - ORDER)


@EVERY
def test_every_metric_explains_itself(name):
    facts = METRICS[name]
    assert facts.function.__doc__
    assert facts.unit
    assert facts.source
    assert facts.rows
