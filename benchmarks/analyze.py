"""What all metrics of all sites of a ConvNeXt V2 Base cost, against the eigendecompositions they cannot do without.

Of each of its 36 blocks the block output (C channels), the activation and the response (4 C): widths 128 to 4,096. One
site of each width is built from synthetic features, analysed whole (every registered metric, nulls included, from
stored statistics with 4,096 kept and labelled rows), and beside it the bare `torch.linalg.eigvalsh` of its centred,
uncentred and correlation matrix is timed. The seconds of both are weighted by the number of sites of that width: the
capture of all 108 sites, 3 GB a policy, is never held. Building the statistics counts on neither side.

A site means one position policy. Pooled rows are kept, so that the metrics of kept rows count too; `sampled:8`, which
keeps none, is cheaper. Features are a GELU of correlated normal ones with a spectrum of exponent 1.
"""

from __future__ import annotations

import time
from collections import Counter

import torch

from benchmarks.claims import Claim, main
from collapse_lab.findings.table import analyze
from collapse_lab.models.convnext import SIZES
from collapse_lab.stats.accumulate import stats_of
from collapse_lab.stats.layer import LayerStats

BASE = SIZES["convnextv2_base"]
ROWS, CLASSES, SHARED = 4096, 100, 256


def sites() -> Counter[int]:
    """Width -> number of sites: block output, activation and response of every block."""
    count: Counter[int] = Counter()
    for depth, dim in zip(BASE.depths, BASE.dims, strict=True):
        count[dim] += depth
        count[4 * dim] += 2 * depth
    return count


def statistics_of_width(channels: int) -> LayerStats:
    """Of 4,096 pooled rows in float32: 256 shared directions of falling strength, and noise of each channel's own."""
    random = torch.Generator().manual_seed(channels)
    strength = torch.arange(1, SHARED + 1) ** -0.5
    mixing = torch.randn(SHARED, channels, generator=random) * strength[:, None]
    rows = torch.randn(ROWS, SHARED, generator=random) @ mixing
    rows += 0.3 * torch.randn(ROWS, channels, generator=random)
    labels = torch.randint(CLASSES, (ROWS,), generator=random)
    return stats_of(torch.nn.functional.gelu(rows), layout="image channel", labels=labels)


def fresh(stats: LayerStats) -> LayerStats:
    """The same statistics as they come from a file, with nothing computed yet."""
    return LayerStats(**{name: getattr(stats, name) for name in LayerStats.__dataclass_fields__})


def seconds_of_analysis(stats: LayerStats) -> float:
    """The whole table of one site."""
    loaded = fresh(stats)
    began = time.perf_counter()
    analyze(loaded)
    return time.perf_counter() - began


def seconds_of_decompositions(stats: LayerStats) -> float:
    """Eigenvalues alone, of the three matrices, which are there already."""
    spent = 0.0
    for matrix in (stats.scatter, stats.scatter.addr(stats.mean, stats.mean, alpha=stats.n_rows), stats.correlation):
        began = time.perf_counter()
        torch.linalg.eigvalsh(matrix)
        spent += time.perf_counter() - began
    return spent


def measured_width(channels: int, repetitions: int) -> tuple[float, float]:
    """Seconds of an analysis and of its bare decompositions, turn by turn; the fewest of each."""
    stats = statistics_of_width(channels)
    turns = [(seconds_of_decompositions(stats), seconds_of_analysis(stats)) for _ in range(repetitions)]
    bare, whole = (min(side) for side in zip(*turns, strict=True))
    return whole, bare


def measure(quick: bool) -> list[Claim]:
    """The ratio over all sites, and of the two widths that decide it alone."""
    warm = statistics_of_width(min(sites()))
    analyze(warm)
    whole, bare, ratios = 0.0, 0.0, {}
    for channels, count in sorted(sites().items()):
        repetitions = (1 if quick else 3) if channels > 2048 else 2 if quick else 5
        analysis, decompositions = measured_width(channels, repetitions)
        whole, bare = whole + count * analysis, bare + count * decompositions
        ratios[channels] = analysis / decompositions
    told = [
        Claim(name=f"analyze_{width}_vs_bare_eigvalsh", value=value, unit="times", target=None, better="lower")
        for width, value in ratios.items()
    ]
    minutes = Claim(name="analyze_base_minutes", value=whole / 60, unit="min", target=None, better="lower")
    claim = Claim(name="analyze_vs_bare_eigvalsh", value=whole / bare, unit="times", target=1.3, better="lower")
    return [claim, *told, minutes]


if __name__ == "__main__":
    main(measure)
