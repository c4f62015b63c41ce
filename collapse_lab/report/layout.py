"""What the arrays of a page are over: runs, steps, sites and metrics, each a list that numbers count places in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from collapse_lab.capture.sites import kind_of
from collapse_lab.findings.diagnose import Finding
from collapse_lab.metrics._metric import HEADLINE, METRICS
from collapse_lab.report.sources import Source

DETAILED = 60
"""Sites of which a page carries everything, the worst of all; of the others the headline metrics of the last step."""

NOTE = 0.01
"""What a note counts beside severities from 0 to 1: more than nothing."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The axes of a page's arrays. `sites` come shallow to deep; `detailed` are places among them, ascending;
    `policies` are the position policies of all runs; `policy` gives each headline metric the one it is drawn under."""

    sources: Sequence[Source]
    arms: Sequence[str]
    steps: Sequence[int]
    sites: Sequence[str]
    depths: Sequence[float]
    channels: Sequence[int]
    detailed: Sequence[int]
    policies: Sequence[str]
    policy: dict[str, str]
    others: Sequence[str]
    """Metrics that are not headline ones, in their own order."""

    @cached_property
    def kinds(self) -> list[str]:
        return [kind_of(site) for site in self.sites]

    @cached_property
    def chosen(self) -> list[str]:
        """The names of the detailed sites."""
        return [self.sites[place] for place in self.detailed]


def layout_of(sources: Sequence[Source], found: Sequence[Sequence[Finding]]) -> Layout:
    """The layout of these runs and of what was found in each of them."""
    tables = [source.layers for source in sources]
    sites = _sites(tables)
    names = list(sites.index)
    measured = {name for table in tables for name in table.metric.unique()}
    return Layout(
        sources=sources,
        arms=list(dict.fromkeys(source.arm for source in sources)),
        steps=sorted({int(step) for table in tables for step in table.step.unique()}),
        sites=names,
        depths=[float(depth) for depth in sites.depth],
        channels=[int(count) for count in sites.channels],
        detailed=worst(names, [each for own in found for each in own], DETAILED),
        policies=list(dict.fromkeys(policy for table in tables for policy in table.positions.unique())),
        policy=_policies([source.last for source in sources]),
        others=[name for name in METRICS if name in measured and name not in HEADLINE],
    )


def worst(sites: Sequence[str], findings: Sequence[Finding], most: int) -> list[int]:
    """Places of at most so many sites, ascending: those with the worst findings, then spread evenly over depth."""
    if len(sites) <= most:
        return list(range(len(sites)))
    severity = dict.fromkeys(sites, 0.0)
    for each in findings:
        if each.site in severity:
            severity[each.site] = max(severity[each.site], NOTE + each.severity + each.fault)
    places = range(len(sites))
    bad = sorted((place for place in places if severity[sites[place]] > 0), key=lambda p: -severity[sites[p]])[:most]
    rest = [place for place in places if place not in set(bad)]
    spread = [rest[int(i)] for i in np.linspace(0, len(rest) - 1, most - len(bad))] if rest else []
    return sorted({*bad, *spread})


def _sites(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Every site of any run, by its mean depth; channels are the most of any run."""
    parts = [table.drop_duplicates("site")[["site", "depth", "channels"]] for table in tables if len(table)]
    if not parts:
        return pd.DataFrame({"depth": [], "channels": []})
    whole = pd.concat(parts).groupby("site", sort=False).agg({"depth": "mean", "channels": "max"})
    return whole.sort_values("depth", kind="stable")


def _policies(tables: Sequence[pd.DataFrame]) -> dict[str, str]:
    """Headline metric -> the first policy in which most sites have a value at the last step, of those measured."""
    parts = [table.loc[table.metric.isin(HEADLINE), ["metric", "positions", "value"]] for table in tables if len(table)]
    if not parts:
        return {}
    whole = pd.concat(parts)
    counts = whole.groupby(["metric", "positions"], sort=False).value.count()
    counted = list(zip(counts.index.tolist(), counts.tolist(), strict=True))
    found: dict[str, str] = {}
    for metric in HEADLINE:
        own = {str(key[1]): int(count) for key, count in counted if key[0] == metric}
        if own:
            found[metric] = max(own, key=lambda policy: own[policy])  # of several, the first of the table
    return found
