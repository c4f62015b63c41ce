"""Whether the diagnosis finds what was planted and nothing else: every kind of collapse, and healthy features.

Each plant is drawn 50 times at 3 sizes, with its rank, size, noise, scale, positions and rotation. The table counts
what was found in each; the claims are the worst kind's recall and precision, and the share of healthy draws with any
finding. A finding that a plant implies by construction counts neither way. The same is told for every threshold at half
and at twice its value, in odds p / (1 - p): for a small share that is the value itself, for one near 1 its distance.
"""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from benchmarks.claims import Claim, main
from benchmarks.plants.collapsed import COLLAPSED
from benchmarks.plants.ground import NOTE, SIZES, Planted
from benchmarks.plants.healthy import HEALTHY
from collapse_lab.capture.store import Capture
from collapse_lab.findings.diagnose import Finding, diagnose
from collapse_lab.findings.table import analyze
from collapse_lab.findings.thresholds import limits
from collapse_lab.stats.accumulate import summarise

DRAWS, QUICK_DRAWS = 50, 10
POLICIES = ("sampled:8", "pooled")
FACTORS = (0.5, 1.0, 2.0)
PLANTS = {**COLLAPSED, **HEALTHY}


@dataclass(kw_only=True)
class Tally:
    """What was found in each plant: counts of draws, of kinds found, and of kinds that had to be or must not be."""

    draws: Counter[str] = field(default_factory=Counter)
    found: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    missed: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    alarms: int = 0

    def add(self, name: str, planted: Planted, kinds: frozenset[str]) -> None:
        """Count one draw."""
        self.draws[name] += 1
        self.found[name].update(kinds)
        self.missed.update(planted.must - kinds)
        self.right.update(planted.must & kinds)
        self.wrong.update(kinds - planted.must - planted.may)
        self.alarms += name in HEALTHY and bool(kinds)

    @property
    def kinds(self) -> list[str]:
        """Every kind that was planted or found."""
        return sorted({*self.right, *self.missed, *self.wrong})

    def recall(self, kind: str) -> float:
        """Of the draws that hold this kind, those where it was found."""
        return self.right[kind] / max(1, self.right[kind] + self.missed[kind])

    def precision(self, kind: str) -> float:
        """Of the draws where this kind was found, and not merely implied, those that hold it."""
        return self.right[kind] / max(1, self.right[kind] + self.wrong[kind])

    def planted_kinds(self) -> list[str]:
        return [kind for kind in self.kinds if self.right[kind] + self.missed[kind]]

    def false_alarm_rate(self) -> float:
        """Healthy draws with any finding, a note included."""
        return self.alarms / max(1, sum(self.draws[name] for name in HEALTHY))


def plants(draws: int) -> Iterator[tuple[str, Planted]]:
    """Every plant, drawn so many times at each size, from seeds that depend on nothing else."""
    for name, plant in PLANTS.items():
        for size in SIZES:
            for seed in range(draws):
                yield name, plant(np.random.default_rng([seed, zlib.crc32(f"{name} {size.name}".encode())]), size)


def capture_of(planted: Planted) -> Capture:
    """As a pass over a network remembers a site of these features, intervals aside."""
    images = torch.arange(len(planted.features))
    stats = summarise(planted.features, images, POLICIES, labels=planted.labels)
    return Capture({("site", policy): each for policy, each in stats.items()})


def kinds_of(findings: Sequence[Finding]) -> frozenset[str]:
    """The kinds found; a note of a kind that is also a fault goes by its own name."""
    faults = {"dead_channels"}
    return frozenset(each.kind + NOTE * (each.kind in faults and not each.fault) for each in findings)


def confusion(tally: Tally) -> str:
    """A line a plant: in what share of its draws each kind was found."""
    lines = [f"{'plant':<20} {'draws':>5}  found in that share of the draws"]
    for name, count in tally.draws.items():
        found = ", ".join(f"{kind} {times / count:.3g}" for kind, times in tally.found[name].most_common())
        lines.append(f"{name:<20} {count:>5}  {found or 'nothing'}")
    return "\n".join(lines)


def by_kind(tallies: Mapping[float, Tally]) -> str:
    """A line a kind: recall and precision with every threshold at each multiple of its odds, then the false alarms."""
    columns = "".join(f"{f'recall {factor:g}x':>14} {f'precision {factor:g}x':>14}" for factor in tallies)
    lines = [f"{'kind':<24}{columns}"]
    for kind in next(iter(tallies.values())).planted_kinds():
        values = "".join(f"{each.recall(kind):>14.3f} {each.precision(kind):>14.3f}" for each in tallies.values())
        lines.append(f"{kind:<24}{values}")
    alarms = "".join(f"{each.false_alarm_rate():>14.3f} {'':>14}" for each in tallies.values())
    return "\n".join([*lines, f"{'healthy with a finding':<24}{alarms}"])


def moved(factor: float) -> dict[str, float]:
    """Every threshold with its odds multiplied."""
    odds = {name: factor * value / (1 - value) for name, value in limits().items()}
    return {name: each / (1 + each) for name, each in odds.items()}


def measure(quick: bool) -> list[Claim]:
    """The claims, with the tables they summarise printed before."""
    tallies = {factor: Tally() for factor in FACTORS}
    for name, planted in plants(QUICK_DRAWS if quick else DRAWS):
        table = analyze(capture_of(planted))
        for factor, tally in tallies.items():
            tally.add(name, planted, kinds_of(diagnose(table, thresholds=moved(factor))))
    print(confusion(tallies[1.0]), by_kind(tallies), sep="\n\n", end="\n\n")
    tally = tallies[1.0]
    recall, precision = (min(map(each, tally.planted_kinds())) for each in (tally.recall, tally.precision))
    alarms = tally.false_alarm_rate()
    return [
        Claim(name="diagnosis_min_recall", value=recall, unit="share", target=0.95, better="higher"),
        Claim(name="diagnosis_min_precision", value=precision, unit="share", target=0.95, better="higher"),
        Claim(name="healthy_false_alarm_rate", value=alarms, unit="share", target=0.02, better="lower"),
    ]


if __name__ == "__main__":
    main(measure)
