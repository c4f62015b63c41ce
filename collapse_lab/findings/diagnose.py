"""From numbers to findings: every kind of collapse that the metrics see, with its evidence and what to try.

Rules are data, each with its reason. There is no score: the verdict is the list, worst first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from collapse_lab.capture.store import Capture
from collapse_lab.findings.table import analyze, checked
from collapse_lab.stats.layer import LayerStats

Values = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong, or worth a note, at one site.

    `severity` runs from 0 (a note, or just past the threshold) to 1 (as bad as the quantity can be); `onset` is the
    first step from which the finding holds to the end; `evidence` are the table rows it rests on.
    """

    kind: str
    site: str
    severity: float
    onset: int
    evidence: pd.DataFrame
    advice: str
    fault: bool = True
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """`severity` of the site's values, None where the finding does not hold; the metrics it rests on; its reasons."""

    kind: str
    severity: Callable[[Values], float | None]
    metrics: tuple[str, ...]
    says: str
    advice: str
    reason: str
    fault: bool = True


def _below(name: str, threshold: float) -> Callable[[Values], float | None]:
    def severity(values: Values) -> float | None:
        value = values.get(name, math.nan)
        return 1 - value / threshold if value < threshold else None

    return severity


def _above(name: str, threshold: float) -> Callable[[Values], float | None]:
    def severity(values: Values) -> float | None:
        value = values.get(name, math.nan)
        return (value - threshold) / (1 - threshold) if value >= threshold else None

    return severity


NEAR_CONSTANT = 1e-3
FEW_DIRECTIONS = 0.25
MANY_STARVED = 0.5
CLASSES_EXPLAIN = 0.8
DEAD_SHARE = 0.1
REDUNDANT_SHARE = 0.25
LIKE = 0.95


def _few_directions(values: Values) -> float | None:
    by_rank = _below("effective_rank_null_share", FEW_DIRECTIONS)(values)
    by_starved = _above("starved_directions", MANY_STARVED)(values)
    held = [severity for severity in (by_rank, by_starved) if severity is not None]
    return max(held) if held else None


def _dimensional(values: Values) -> float | None:
    structured = values.get("class_variance_share", math.nan) > CLASSES_EXPLAIN
    return None if structured or _complete(values) is not None else _few_directions(values)


def _structured(values: Values) -> float | None:
    explained = values.get("class_variance_share", math.nan) > CLASSES_EXPLAIN
    return 0.0 if explained and _few_directions(values) is not None else None


def _some_dead(values: Values) -> float | None:
    return 0.0 if 0 < values.get("dead_channels", math.nan) < DEAD_SHARE else None


def _mean_dominates(values: Values) -> float | None:
    share = values.get("variance_share", math.nan)
    return _above("pair_cosine_raw", LIKE)(values) if share >= NEAR_CONSTANT else None


def _too_few(values: Values) -> float | None:
    return 0.0 if values["n_images"] < 2 or values["n_effective"] < values["channels"] else None


def _status(status: str, severity: float) -> Callable[[Values], float | None]:
    return lambda values: severity if values.get(f"status {status}") else None


_complete = _below("variance_share", NEAR_CONSTANT)

RULES = (
    Rule(
        kind="non_finite",
        severity=_status("non_finite", 1.0),
        metrics=("variance_share",),
        says="holds values that are not finite",
        advice="find the first layer and step that makes them; lower the learning rate or leave half precision",
        reason="no number of such a layer can be trusted",
    ),
    Rule(
        kind="complete_collapse",
        severity=_complete,
        metrics=("variance_share",),
        says="gives every image nearly the same features ({variance_share:.2g} of their energy varies)",
        advice="check what keeps images apart: stop-gradient, negatives or a variance term (Chen & He 2021; "
        "Bardes et al. 2022)",
        reason="a constant plus small noise has a healthy centred spectrum; only the share that varies shows it",
    ),
    Rule(
        kind="dimensional_collapse",
        severity=_dimensional,
        metrics=("effective_rank_null_share", "starved_directions", "effective_rank"),
        says="uses {effective_rank:.1f} directions of {channels:.0f} "
        "({effective_rank_null_share:.0%} of what its channels would use if they were unrelated)",
        advice="hold it against the untrained twin and the input's own rank; a covariance term, a wider projector or "
        "another normalisation spreads it (Jing et al. 2022; Bardes et al. 2022)",
        reason="held against channels of the same variances without correlation, at equal n: scale alone never flags",
    ),
    Rule(
        kind="dead_channels",
        severity=_above("dead_channels", DEAD_SHARE),
        metrics=("dead_channels",),
        says="has {dead_channels:.0%} of its channels at zero on every image",
        advice="lower the initialisation's scale or the learning rate, or let channels compete (GRN, Woo et al. 2023)",
        reason="a tenth of the channels is capacity paid for and never used",
    ),
    Rule(
        kind="saturated_channels",
        severity=_above("saturated_channels", DEAD_SHARE),
        metrics=("saturated_channels",),
        says="has {saturated_channels:.0%} of its channels stuck at one value",
        advice="look at the bias and scale before the activation; a norm before it brings the channels back",
        reason="a channel that never moves carries nothing, at zero or elsewhere",
    ),
    Rule(
        kind="channel_redundancy",
        severity=_above("redundant_channels", REDUNDANT_SHARE),
        metrics=("redundant_channels",),
        says="has {redundant_channels:.0%} of its live channels with a copy",
        advice="let channels compete (GRN), or add a decorrelation term (Zbontar et al. 2021)",
        reason="a quarter of the live channels says what another says already",
    ),
    Rule(
        kind="spatial_oversmoothing",
        severity=_above("position_cosine_centred", LIKE),
        metrics=("position_cosine_centred",),
        says="is the same at every position of an image (cosine {position_cosine_centred:.2f})",
        advice="fewer mixing layers, or a loss that asks for local detail",
        reason="positions that agree to 0.95 leave nothing to localise with",
    ),
    Rule(
        kind="mean_dominance",
        severity=_mean_dominates,
        metrics=("pair_cosine_raw", "variance_share"),
        says="points nearly one way on every image (cosine {pair_cosine_raw:.3f}), though what is left varies",
        advice="centre the features before comparing them by cosine",
        reason="a common offset hides what varies from every cosine",
    ),
    Rule(
        kind="class_structured",
        severity=_structured,
        metrics=("class_variance_share", "effective_rank"),
        says="has few directions because the classes explain {class_variance_share:.0%} of the variance",
        advice="none needed: this is what a classifier's last layers look like",
        reason="structure by class is not collapse",
        fault=False,
    ),
    Rule(
        kind="dead_channels",
        severity=_some_dead,
        metrics=("dead_channels",),
        says="has {dead_channels:.1%} of its channels at zero on every image",
        advice="watch it; under a tenth is common",
        reason="fewer than a tenth is a note",
        fault=False,
    ),
    Rule(
        kind="degenerate",
        severity=_status("degenerate", 0.0),
        metrics=("variance_share",),
        says="is constant to rounding, so spectral metrics have no value",
        advice="see complete_collapse",
        reason="variance metrics are 0, dimensions are undefined",
        fault=False,
    ),
    Rule(
        kind="insufficient_samples",
        severity=_too_few,
        metrics=("effective_rank",),
        says="was measured on {n_images:.0f} images, worth {n_effective:.0f} rows, for {channels:.0f} channels",
        advice="capture more images, or compare at equal n only",
        reason="fewer rows than channels cannot fill every direction",
        fault=False,
    ),
)
"""In the order of how bad they are."""


def diagnose(measured: pd.DataFrame | Capture | LayerStats) -> list[Finding]:
    """All findings of one run, worst first; an empty list is healthy.

    A table of several steps gives each finding its onset; findings are those of the last step. Where no rows were kept
    or no labels given, a low rank that comes from classes cannot be told from collapse, and the finding says so.
    Raises ValueError for a table of several runs, one without metrics, or one that lacks columns.
    """
    table = checked(measured) if isinstance(measured, pd.DataFrame) else analyze(measured)
    if table.empty:
        raise ValueError("the table is empty: there is nothing to diagnose")
    if len(table[["run", "arm", "seed"]].drop_duplicates()) > 1:
        raise ValueError("the table holds several runs; diagnose them one by one")
    table = table[table.channels > 0]  # the probe's row has none
    if table.empty:
        raise ValueError("the table holds no metric of a layer: there is nothing to diagnose")
    history = {step: _held(table[table.step == step]) for step in sorted(table.step.unique().tolist())}
    last = max(history)
    found = []
    for (place, site), (severity, positions, values) in history[last].items():
        rule = RULES[place]
        rows = table[(table.step == last) & (table.site == site) & (table.positions == positions)]
        found.append(
            Finding(
                kind=rule.kind,
                site=site,
                severity=min(1.0, max(0.0, severity)),
                onset=_onset(history, (place, site)),
                evidence=rows[rows.metric.isin(rule.metrics)],
                advice=rule.advice,
                fault=rule.fault,
                text=_text(rule, values),
            )
        )
    order = {id(rule): place for place, rule in enumerate(RULES)}
    kinds = {rule.kind: order[id(rule)] for rule in reversed(RULES)}
    return sorted(found, key=lambda finding: (not finding.fault, kinds[finding.kind], -finding.severity, finding.site))


def _held(table: pd.DataFrame) -> dict[tuple[int, str], tuple[float, str, dict[str, Any]]]:
    """(rule, site) -> severity, positions and values of the policy that shows it worst."""
    held: dict[tuple[int, str], tuple[float, str, dict[str, Any]]] = {}
    # Rows with labels are kept of pooled sites: what they say of the classes holds for the site's other policies too.
    explained = table[table.metric == "class_variance_share"].groupby("site").value.max()
    for (site, positions), part in table.groupby(["site", "positions"], sort=False):
        values: dict[str, Any] = dict(zip(part.metric, part.value, strict=True))
        values |= {name: float(part[name].iloc[0]) for name in ("n_images", "n_effective", "channels")}
        if math.isnan(values.get("class_variance_share", math.nan)):
            values["class_variance_share"] = explained.get(site, math.nan)
        values |= {f"status {status}": True for status in part.status.unique()}
        for place, rule in enumerate(RULES):
            severity = rule.severity(values)
            key = (place, str(site))
            if severity is not None and (key not in held or severity > held[key][0]):
                held[key] = (severity, str(positions), values)
    return held


def _onset(history: Mapping[int, Any], key: tuple[int, str]) -> int:
    onset = max(history)
    for step in sorted(history, reverse=True):
        if key not in history[step]:
            break
        onset = step
    return onset


def _text(rule: Rule, values: Values) -> str:
    text = rule.says.format_map({**values, **{name: values.get(name, math.nan) for name in rule.metrics}})
    if rule.kind == "dimensional_collapse" and math.isnan(values.get("class_variance_share", math.nan)):
        text += "; cannot tell class structure from low rank here: no labelled rows were kept"
    return text
