"""How often a 95 % interval holds the population's value: by simulation, of every headline metric.

A cell is a family of features, a width d and a number of effective rows. In each of its draws features are made from
a planted covariance and go through the statistics, groups and replicates of a capture; the interval of each metric is
held against the value of the population. That is known in closed form for what is read off a spectrum and for the
likeness of positions; for the channel and pair cosines it is the average over half a million images of the same
family, whose own error is far below the width of an interval.

The target is for 20 effective rows a channel; what happens below is printed and published beside it, and is where the
status `biased` comes from. Two kinds of cells are told apart in the table and not counted in the claims: `exact`, a
value that no sample changes (the share of dead channels; its interval has no width), and `flat`, a value whose
derivative is 0 at the truth (the centred pair cosine of features that are symmetric about their mean), where a
jackknife is known to be too wide (Efron & Stein 1981). The widest of these is told in a claim of its own.

The quick form has 60 draws a cell: it shows that the simulation runs, its least and most say nothing of the claims.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import product, repeat
from multiprocessing import get_context

import pandas as pd
import torch
from torch import Tensor

from benchmarks.claims import Claim, Result, main
from collapse_lab.capture.ending import FEWEST_IMAGES
from collapse_lab.capture.store import Replicates
from collapse_lab.findings.replicates import without_each
from collapse_lab.findings.table import estimated
from collapse_lab.findings.uncertainty import Interval
from collapse_lab.metrics._metric import HEADLINE, measure
from collapse_lab.metrics.spectrum import exp_entropy
from collapse_lab.stats.accumulate import Accumulator
from collapse_lab.stats.held import leave_one_out
from collapse_lab.stats.images import per_image

GROUPS, WIDTHS, ROWS_A_CHANNEL = 16, (16, 64), (2.5, 5.0, 10.0, 20.0)
ENOUGH = 20
"""Effective rows a channel from which on coverage is claimed."""
DRAWS, QUICK, SEED = 1000, 60, 0
POSITIONS, SHARED, OFFSET = 8, 0.5, 0.3
POPULATION, CHUNK, AT_ONCE = 500_000, 10_000, 25
ROUNDING = 1e-9
"""Relative: an interval without width holds its value."""
DEAD = 4
"""One channel in so many is zero in the family that plants dead channels."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """Features with a planted covariance: its eigenvalues, how a standard normal is bent, and the positions an image.

    `symmetric` says whether features are distributed alike on both sides of their mean.
    """

    spectrum: Callable[[int], Tensor]
    bend: Callable[[Tensor, torch.Generator], Tensor]
    positions: int = 1
    symmetric: bool = True
    rotated: bool = True
    dead: bool = False


def power(exponent: float) -> Callable[[int], Tensor]:
    return lambda width: torch.arange(1.0, width + 1, dtype=torch.float64) ** -exponent


def low_rank(width: int) -> Tensor:
    """An eighth of the directions equally strong, the others at a hundredth of their variance."""
    return torch.where(torch.arange(width) < width // 8, 1.0, 0.01).double()


def normal(z: Tensor, _: torch.Generator) -> Tensor:
    return z


def laplace(z: Tensor, random: torch.Generator) -> Tensor:
    """Multivariate Laplace: normal rows of exponential variance, kurtosis 6 in every direction."""
    scale = torch.empty(*z.shape[:2], 1, dtype=z.dtype).exponential_(generator=random)
    return z * scale.sqrt()


def student(z: Tensor, random: torch.Generator) -> Tensor:
    """Multivariate t with 5 degrees of freedom, of unit variance: the eighth moment does not exist."""
    chi = torch.randn(*z.shape[:2], 5, dtype=z.dtype, generator=random).square().sum(dim=2, keepdim=True)
    return z * (3 / chi).sqrt()


def skewed(z: Tensor, _: torch.Generator) -> Tensor:
    """Exponential entries less their mean: skewness 2, kurtosis 9, as after an activation that is bounded below."""
    return -torch.special.log_ndtr(z) - 1


FAMILIES: Mapping[str, Family] = {
    "power law 0.5": Family(spectrum=power(0.5), bend=normal),
    "power law 1": Family(spectrum=power(1), bend=normal),
    "power law 2": Family(spectrum=power(2), bend=normal),
    "rank d/8 + noise": Family(spectrum=low_rank, bend=normal),
    "Laplace, power law 1": Family(spectrum=power(1), bend=laplace),
    "Laplace, power law 0.5": Family(spectrum=power(0.5), bend=laplace),
    "Student t 5, power law 1": Family(spectrum=power(1), bend=student),
    "skewed, power law 1": Family(spectrum=power(1), bend=skewed, symmetric=False, rotated=False),
    "8 positions, power law 1": Family(spectrum=power(1), bend=normal, positions=POSITIONS),
    "8 positions, skewed, dead": Family(
        spectrum=power(1), bend=skewed, positions=POSITIONS, symmetric=False, rotated=False, dead=True
    ),
}


def draw(family: Family, width: int, images: int, random: torch.Generator) -> Tensor:
    """(images, positions, width) features; half of the variance is shared by the positions of an image, if several."""
    shape = (images, family.positions, width)
    own = family.bend(torch.randn(shape, dtype=torch.float64, generator=random), random)
    if family.positions > 1:
        common = family.bend(torch.randn((images, 1, width), dtype=torch.float64, generator=random), random)
        own = SHARED**0.5 * common + (1 - SHARED) ** 0.5 * own
    x = own * spectrum_of(family, width).sqrt()
    if family.rotated:
        x = x @ rotation(width)
    return (x + OFFSET) * alive(family, width)


def spectrum_of(family: Family, width: int) -> Tensor:
    """(width,) eigenvalues of the population's covariance: zero where a channel is dead."""
    return family.spectrum(width) * alive(family, width)


def alive(family: Family, width: int) -> Tensor:
    return (torch.arange(width) % DEAD < DEAD - 1).double() if family.dead else torch.ones(width, dtype=torch.float64)


@lru_cache(maxsize=4)
def rotation(width: int) -> Tensor:
    random = torch.Generator().manual_seed(SEED)
    turned: Tensor = torch.linalg.qr(torch.randn(width, width, dtype=torch.float64, generator=random)).Q
    return turned


def images_for(family: Family, width: int, rows_a_channel: float) -> int:
    """Images that are worth so many rows: n k / (1 + (k - 1) rho) of k positions that share rho."""
    k = family.positions
    return round(rows_a_channel * width * (1 + (k - 1) * SHARED) / k)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One family at one width and number of effective rows."""

    family: str
    width: int
    rows_a_channel: float

    @property
    def images(self) -> int:
        return images_for(FAMILIES[self.family], self.width, self.rows_a_channel)


def cells() -> list[Cell]:
    """Every cell that has at least the 64 images an interval needs."""
    found = [Cell(family=f, width=w, rows_a_channel=r) for f, w, r in product(FAMILIES, WIDTHS, ROWS_A_CHANNEL)]
    return [cell for cell in found if cell.images >= FEWEST_IMAGES]


def truths(family: Family, width: int) -> dict[str, float]:
    """The population's values; without those that the family cannot have."""
    variance = spectrum_of(family, width)
    energy = variance.sum() + OFFSET**2 * alive(family, width).sum()
    known = {
        "effective_rank": exp_entropy(variance.sqrt()),
        "participation_ratio": float(variance.sum() ** 2 / variance.square().sum()),
        "stable_rank": float(variance.sum() / variance.max()),
        "variance_share": float(variance.sum() / energy),
        "dead_channels": 1 - float(alive(family, width).mean()),
    }
    channels, pairs = averaged(family, width)
    several = {"channel_cosine_distance_live": channels, "position_cosine_centred": SHARED}
    return {**known, "pair_cosine_centred": pairs, **(several if family.positions > 1 else {})}


def averaged(family: Family, width: int) -> tuple[float, float]:
    """Mean live channel distance of an image, and mean cosine of two pooled features around the true mean."""
    random = torch.Generator().manual_seed(SEED)
    distance, total, count = 0.0, torch.zeros(width, dtype=torch.float64), 0
    while count < POPULATION:
        x = draw(family, width, CHUNK, random)
        if family.positions > 1:
            distance += (1 - per_image(x, torch.ones(x.shape[:2], dtype=torch.bool)).cosines[1]).sum().item() / 2
        y = x.mean(dim=1) - OFFSET * alive(family, width)
        total += (y / y.norm(dim=1, keepdim=True)).sum(dim=0)
        count += CHUNK
    pairs = 0.0 if family.symmetric else float((total @ total - count) / (count * (count - 1)))
    return distance / count, pairs


def intervals(cell: Cell, seed: int) -> dict[str, Interval]:
    """The interval of every headline metric in one draw."""
    family = FAMILIES[cell.family]
    x = draw(family, cell.width, cell.images, torch.Generator().manual_seed(seed))
    policies = ("pooled",) if family.positions == 1 else ("all", "pooled")
    accumulator = Accumulator(policies, groups=GROUPS)
    accumulator.update(x, torch.arange(cell.images) + seed * cell.images)
    found: dict[str, Interval] = {}
    for policy in policies:
        whole, parts = accumulator.compute(policy)
        sizes = [part.n_images for part in parts]
        replicates = Replicates(values=without_each(whole, leave_one_out(parts), sizes), sizes=sizes)
        for name in HEADLINE if policy == policies[0] else ("pair_cosine_centred",):
            found[name] = estimated(measure(name, whole), whole, replicates)
    return found


def covered(cell: Cell, truth: Mapping[str, float], seeds: Sequence[int]) -> dict[str, int]:
    """How many of the draws' intervals hold the truth, by metric."""
    torch.set_num_threads(1)
    held = dict.fromkeys(truth, 0)
    for seed in seeds:
        drawn = intervals(cell, seed)
        for name, value in truth.items():
            slack = ROUNDING * abs(value)
            held[name] += drawn[name].low - slack <= value <= drawn[name].high + slack
    return held


def kind_of(metric: str, family: Family) -> str:
    """ "exact", "flat" or "" (counted in the claims)."""
    if metric == "dead_channels":
        return "exact"
    return "flat" if metric == "pair_cosine_centred" and family.symmetric else ""


def simulate(draws: int, chosen: Sequence[Cell]) -> pd.DataFrame:
    """One row a cell and metric: family, width, rows_a_channel, images, metric, truth, coverage, kind."""
    known = {
        (name, width): truths(FAMILIES[name], width) for name, width in {(cell.family, cell.width) for cell in chosen}
    }
    seeds = [range(start, min(draws, start + AT_ONCE)) for start in range(0, draws, AT_ONCE)]
    rows = []
    with ProcessPoolExecutor(mp_context=get_context("forkserver")) as pool:
        counts = {
            cell: pool.map(covered, repeat(cell), repeat(known[cell.family, cell.width]), seeds) for cell in chosen
        }
        for cell, parts in counts.items():
            held = sum(map(Counter, parts), Counter())
            print(f"{cell.family}, d = {cell.width}, {cell.rows_a_channel:g} d", file=sys.stderr, flush=True)
            for metric, truth in known[cell.family, cell.width].items():
                kind = kind_of(metric, FAMILIES[cell.family])
                facts = {"metric": metric, "truth": truth, "coverage": held[metric] / draws, "kind": kind}
                rows.append({**asdict(cell), "images": cell.images, **facts})
    return pd.DataFrame(rows)


def show(table: pd.DataFrame) -> str:
    """Percent of the intervals that hold the truth: a line a family, width and number of rows."""
    percent = table.assign(coverage=(100 * table.coverage).round(1))
    wide = percent.pivot_table(
        index=["family", "width", "rows_a_channel", "images"], columns="metric", values="coverage"
    )
    return wide[[name for name in HEADLINE if name in wide]].to_string(na_rep="")


def measure_coverage(quick: bool) -> Result:
    """The claims, and the whole table behind them."""
    draws = QUICK if quick else DRAWS
    table = simulate(draws, [cell for cell in cells() if not quick or cell.rows_a_channel >= ENOUGH])
    print(show(table))
    claimed = table[(table.rows_a_channel >= ENOUGH) & (table.kind == "")].coverage
    below = table[(table.rows_a_channel < ENOUGH) & (table.kind == "")].coverage
    flat = table[(table.rows_a_channel >= ENOUGH) & (table.kind == "flat")].coverage
    found = (
        ("interval_coverage_min", claimed.min(), 0.92, "higher", ""),
        ("interval_coverage_max", claimed.max(), 0.98, "lower", ""),
        ("interval_coverage_max_flat", flat.max(), None, "lower", "centred pair cosine of symmetric features"),
        ("interval_coverage_min_below_20d", below.min() if len(below) else None, None, "higher", "not in quick form"),
    )
    claims = [
        Claim(
            name=name,
            value=None if value is None else float(value),
            unit="share",
            target=target,
            better=better,
            reason=reason,
        )
        for name, value, target, better, reason in found
    ]
    return Result(claims=claims, tables={"coverage": table.to_dict("records"), "draws": [{"draws": draws}]})


if __name__ == "__main__":
    main(measure_coverage)
