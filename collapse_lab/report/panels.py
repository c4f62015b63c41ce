"""From runs to charts and tables: what is drawn, in which order, over which sites."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from collapse_lab.capture.sites import kind_of
from collapse_lab.findings.compare import LAST_THIRD, PRIMARY
from collapse_lab.findings.diagnose import Finding, diagnose
from collapse_lab.metrics._metric import HEADLINE, METRICS
from collapse_lab.report.figures import Line, panel
from collapse_lab.report.sources import Source

Spectrum = tuple[list[float], float]
"""Singular values over the largest, and the floor on the same scale."""


@dataclass(frozen=True, kw_only=True)
class ArmFinding:
    """A finding of one arm, over its sites and seeds; `example` is the worst of them."""

    kind: str
    fault: bool
    sites: list[str]
    seeds: int
    of: int
    onset: int
    example: Finding


def by_arm(sources: Sequence[Source]) -> dict[str, list[Source]]:
    arms: dict[str, list[Source]] = {}
    for source in sources:
        arms.setdefault(source.arm, []).append(source)
    return arms


def sites_for(metric: str, table: pd.DataFrame) -> list[str]:
    """The sites a metric is shown at: those of its primary kind where there are any, in the order of depth."""
    sites = list(table[table.site != ""].sort_values("depth").site.unique())
    return [site for site in sites if kind_of(site) == PRIMARY.get(metric, "block")] or sites


def values_at(table: pd.DataFrame, metric: str, sites: Sequence[str]) -> list[float]:
    """The metric's value at each site, under the first position policy that gives one; NaN where none does."""
    rows = table[(table.metric == metric) & table.value.notna()].drop_duplicates("site").set_index("site").value
    return [float(rows.get(site, math.nan)) for site in sites]


def last_step(table: pd.DataFrame) -> pd.DataFrame:
    last: pd.DataFrame = table[table.step == table.step.max()]
    return last


def depth_panels(arms: dict[str, list[Source]]) -> Iterator[str]:
    """Every headline metric through depth, at the last step."""
    first = next(iter(arms.values()))[0].metrics
    for metric in HEADLINE:
        sites = sites_for(metric, first)

        def at_sites(source: Source, metric: str = metric, sites: list[str] = sites) -> list[float]:
            return values_at(last_step(source.metrics), metric, sites)

        kind = kind_of(sites[0]) if sites else ""
        lines = _lines(arms, at_sites, range(len(sites)))
        yield panel(lines, title=metric, x=f"{kind}, shallow to deep", y=METRICS[metric].unit, ticks=_short(sites))


def training_panels(arms: dict[str, list[Source]]) -> Iterator[str]:
    """The loss, and every headline metric over the steps: the mean over the last third of depth."""
    logged = {arm: [source for source in sources if source.log] for arm, sources in arms.items()}
    if all(logged.values()):
        shown = min(len(source.log) for sources in logged.values() for source in sources)
        steps = [record["step"] for record in next(iter(logged.values()))[0].log[:shown]]
        lines = _lines(logged, lambda source: [record["loss"] for record in source.log[:shown]], steps)
        yield panel(lines, title="loss", x="step", y="loss")
    first = next(iter(arms.values()))[0].metrics
    steps = sorted(set.intersection(*(set(source.metrics.step) for sources in arms.values() for source in sources)))
    for metric in HEADLINE:
        late = [site for site in sites_for(metric, first) if _depth(first, site) >= LAST_THIRD]

        def over_steps(source: Source, metric: str = metric, sites: list[str] = late) -> list[float]:
            table = source.metrics
            return [float(np.mean(values_at(table[table.step == step], metric, sites) or [math.nan])) for step in steps]

        yield panel(_lines(arms, over_steps, steps), title=metric, x="step", y=METRICS[metric].unit)


def spectrum_panels(arms: dict[str, list[Source]]) -> Iterator[str]:
    """Singular values over the largest, at the deepest site of each kind, at the last step."""
    first = next(iter(arms.values()))[0].metrics
    sites = list(first[first.site != ""].sort_values("depth").site.unique())
    deepest = {kind_of(site): site for site in sites}
    for site in deepest.values():
        drawn = {source.run.path: _spectrum(source, site) for sources in arms.values() for source in sources}
        shown = {path: spectrum for path, spectrum in drawn.items() if spectrum is not None}
        if len(shown) < len(drawn):
            continue  # a layer without a direction has no spectrum to show
        width, floor = min(len(values) for values, _ in shown.values()), max(floor for _, floor in shown.values())

        def values_of(source: Source, shown: dict[Path, Spectrum] = shown, width: int = width) -> list[float]:
            return shown[source.run.path][0][:width]

        lines = _lines(arms, values_of, range(1, width + 1))
        yield panel(lines, title=site, x="direction", y="singular value / largest", log=True, floor=floor)


def arm_findings(sources: Sequence[Source]) -> list[ArmFinding]:
    """What the runs of one arm have in common that is worth saying, faults first."""
    found: dict[tuple[str, bool], list[tuple[int, Finding]]] = {}
    for source in sources:
        for finding in diagnose(source.metrics):
            found.setdefault((finding.kind, finding.fault), []).append((source.seed, finding))
    merged = []
    for (kind, fault), each in found.items():
        worst = max((finding for _, finding in each), key=lambda finding: finding.severity)
        sites = list(dict.fromkeys(finding.site for _, finding in each))
        seeds, onset = len({seed for seed, _ in each}), min(finding.onset for _, finding in each)
        merged.append(
            ArmFinding(kind=kind, fault=fault, sites=sites, seeds=seeds, of=len(sources), onset=onset, example=worst)
        )
    return sorted(merged, key=lambda finding: not finding.fault)


def layer_rows(sources: Sequence[Source]) -> list[tuple[str, int, list[float]]]:
    """(site, channels, mean over seeds of every headline metric) at the last step, shallow to deep."""
    tables = [last_step(source.metrics) for source in sources]
    first = tables[0][tables[0].site != ""].sort_values("depth")
    sites, width = list(first.site.unique()), first.drop_duplicates("site").set_index("site").channels
    columns = [np.mean([values_at(table, metric, sites) for table in tables], axis=0) for metric in HEADLINE]
    return [(site, int(width[site]), [float(column[row]) for column in columns]) for row, site in enumerate(sites)]


def _lines(arms: dict[str, list[Source]], values: Callable[[Source], list[float]], x: Sequence[float]) -> list[Line]:
    return [
        Line(arm=place, x=list(x), y=np.asarray([values(source) for source in sources], dtype=float))
        for place, sources in enumerate(arms.values())
    ]


def _spectrum(source: Source, site: str) -> Spectrum | None:
    """Of one site, zeros as gaps; None where no series was kept or the layer has no direction."""
    table = source.series
    if table.empty:
        return None
    rows = last_step(table)
    rows = rows[(rows.site == site) & (rows.series == "singular_values") & (rows.positions == rows.positions.iloc[0])]
    values = rows.sort_values("index").value.to_numpy()
    if not len(values) or values[0] <= 0:
        return None
    return list(np.where(values > 0, values / values[0], math.nan)), float(rows.floor.iloc[0] / values[0])


def _depth(table: pd.DataFrame, site: str) -> float:
    return float(table[table.site == site].depth.iloc[0])


def _short(sites: Sequence[str]) -> list[str]:
    """Site names without the words they share: stages.2.blocks.1.act -> 2.1."""
    return [".".join(part for part in site.split(".") if part.isdigit()) or site for site in sites]
