"""Results in a notebook cell: what is shown of a table of metrics, of findings and of a comparison."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

import pandas as pd

from collapse_lab import markup

if TYPE_CHECKING:
    from collapse_lab.findings.diagnose import Finding

FACTS = ("run", "arm", "seed", "step")
"""Columns that are shown where they tell rows apart."""
SHOWN = ("site", "positions", "metric", "value", "corrected", "low", "high", "status", "reason")
AGAINST = ("site", "positions", "metric", "value", "null", "null_value", "share", *SHOWN[4:])
"""The columns that a reader looks at, of a table of metrics and of one against nulls; others are for machines."""


class MetricTable(pd.DataFrame):
    """A tidy table of metrics, or of these against their nulls, which is a frame like any other but for its looks in a
    notebook: of its columns those that a reader looks at, where they say anything."""

    @property
    def _constructor(self) -> Any:
        """What parts of it are: a filtered table looks as the whole does."""
        return MetricTable

    def _repr_html_(self) -> Any:
        shown = AGAINST if "null" in self.columns else SHOWN
        if not set(shown) <= set(self.columns):
            return pd.DataFrame(self)._repr_html_()  # type: ignore[operator]
        facts = [name for name in FACTS if name in self.columns and self[name].nunique() > 1]
        told = [name for name in shown if name == "value" or not (self[name].isna() | (self[name] == "")).all()]
        rows = self[[*facts, *told]].itertuples(index=False)
        left = len(self.columns) - len(facts) - len(told)
        title = f"{len(self)} rows: {self.site.nunique()} sites, {self.metric.nunique()} metrics"
        return markup.table([*facts, *told], rows, title=title, note=f"{left} more columns")


class Findings(list["Finding"]):
    """A list of findings like any other but for its looks in a notebook, which a slice of it has too."""

    @overload
    def __getitem__(self, place: SupportsIndex) -> Finding: ...
    @overload
    def __getitem__(self, place: slice) -> Findings: ...
    def __getitem__(self, place: SupportsIndex | slice) -> Finding | Findings:
        found = super().__getitem__(place)
        return Findings(found) if isinstance(found, list) else found

    def _repr_html_(self) -> str:
        if not self:
            return markup.table((), (), title="No finding: healthy, as far as it was judged")
        faults = sum(finding.fault for finding in self)
        title = f"{faults} fault{'s' if faults != 1 else ''}, {len(self) - faults} notes"
        return markup.table(FINDING, map(finding_cells, self), title=title, note=advised(self))


FINDING = ("", "kind", "site", "what", "severity", "since step")


def finding_cells(finding: Finding) -> tuple[Any, ...]:
    """A fault has its severity, with the interval where there is one, a note has none."""
    severity = f"{finding.severity:.2f}" if finding.fault else None
    if finding.fault and not math.isnan(finding.severity_low):
        severity = f"{severity} [{finding.severity_low:.2f}, {finding.severity_high:.2f}]"
    mark = "!" if finding.fault else "·"
    return mark, finding.kind, finding.site or "the features", finding.text, severity, finding.onset


def advised(findings: Iterable[Finding]) -> str:
    """What to try, each advice once, with who advises so."""
    advice = dict.fromkeys((finding.advice, finding.source) for finding in findings if finding.fault)
    return " ".join(f"Try: {text} ({source})." for text, source in advice)


def comparison_html(table: pd.DataFrame, title: str, fewest_seeds: int) -> str:
    """The primary tests at the last step; of one arm alone its values."""
    rows = table[table.primary] if table.primary.any() else table[table.kind == "arm"]
    order = {contrast: place for place, contrast in enumerate(dict.fromkeys(rows.contrast))}
    rows = rows.sort_values("contrast", key=lambda contrasts: contrasts.map(order), kind="stable")
    columns = ("contrast", "metric", "difference" if table.primary.any() else "value", "95 %", "g", "adjusted p")
    cells = [
        (
            *(row["contrast"], row["metric"], row["corrected"], _interval(row["low"], row["high"]), row["effect"]),
            *(row["p_holm"], _called(row, fewest_seeds), row["n_seeds"], row["n_images"]),
        )
        for row in rows.to_dict("records")
    ]
    return markup.table((*columns, "called", "seeds", "images"), cells, title=title)


def _interval(low: float, high: float) -> str:
    return "–" if math.isnan(low) else f"[{low:.4g}, {high:.4g}]"


def _called(row: Any, fewest_seeds: int) -> str:
    if row["called"]:
        return "yes"
    if row["n_seeds"] < fewest_seeds:
        return "no: too few seeds"
    return "no" if row["status"] == "ok" else f"no ({row['status']})"
