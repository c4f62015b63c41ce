"""When findings begin: the first captured step from which a rule of `cl.diagnose` holds to the end."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

import collapse_lab as cl
from analyses.readings import Runs, record_of


def findings_of(runs: Runs) -> pd.DataFrame:
    """Every fault of every run: columns arm, seed, kind, site, onset (step), severity (0 to 1)."""
    rows = [
        {
            "arm": arm,
            "seed": record_of(run)["seed"],
            "kind": finding.kind,
            "site": finding.site,
            "onset": finding.onset,
            "severity": finding.severity,
        }
        for arm, own in runs.items()
        for run in own
        for finding in cl.diagnose(pd.read_parquet(run / "metrics.parquet"))
        if finding.fault
    ]
    return pd.DataFrame(rows, columns=["arm", "seed", "kind", "site", "onset", "severity"])


def onsets_of(runs: Runs, kinds: Sequence[str] = ()) -> pd.DataFrame:
    """A row an arm and kind (those that occur, without `kinds`): how many seeds have it, and from which step.

    The onset of a run is that of its first site. `told` says seeds and onsets in words.
    """
    found = findings_of(runs)
    rows = []
    for kind in kinds or sorted(found.kind.unique()):
        for arm, own in runs.items():
            first = found[(found.arm == arm) & (found.kind == kind)].groupby("seed").onset.min()
            told = f"{len(first)} of {len(own)} seeds{_since(sorted(first))}"
            rows.append({"arm": arm, "kind": kind, "seeds": len(first), "of": len(own), "told": told})
    return pd.DataFrame(rows, columns=["arm", "kind", "seeds", "of", "told"])


def _since(steps: Sequence[int]) -> str:
    if not steps:
        return ""
    first, last = steps[0], steps[-1]
    return f" (from step {first})" if first == last else f" (from steps {first} to {last})"
