"""The rules of the diagnosis: of each kind, what it rests on, what it says, what to try, and who says so."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from collapse_lab.findings.severity import (
    STRUCTURE,
    Severity,
    Values,
    above,
    complete,
    dimensional,
    mean_dominates,
    number,
    pooled_alike,
    some_dead,
    status,
    structured,
    too_few,
)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """`severity` of the site's values, None where the finding does not hold; the `metrics` it rests on, the first of
    which gives the interval; the `thresholds` it is held against; words, advice and the `source` of that advice."""

    kind: str
    severity: Severity
    metrics: tuple[str, ...]
    thresholds: tuple[str, ...] = ()
    says: str | Callable[[Values], str]
    advice: str
    source: str
    reason: str
    fault: bool = True


def _says_complete(values: Values) -> str:
    if pooled_alike(values, {}) is not None:
        return "gives every image the same features once pooled, but for rounding"
    return f"gives every image nearly the same features ({number(values, 'variance_share'):.2g} of their energy varies)"


def _says_dimensional(values: Values) -> str:
    share, rank = number(values, "effective_rank_null_share"), number(values, "effective_rank")
    starved = number(values, "starved_directions")
    text = (
        f"uses {rank:.1f} directions of {values['channels']:.0f} "
        f"({share:.0%} of what its channels would use if they were unrelated"
        + (f"; {starved:.0%} of its directions are starved)" if starved > 0 else ")")
    )
    if all(math.isnan(number(values, metric)) for metric in STRUCTURE):
        text += f"; cannot tell class structure from low rank: {_no_rows(values)}"
    return text


def _no_rows(values: Values) -> str:
    why = values.get("reason cluster_silhouette", "the table does not hold cluster_silhouette")
    return "no rows kept" if why.startswith("no rows were kept") else str(why)


def _says_structured(values: Values) -> str:
    explained, silhouette = (number(values, metric) for metric in STRUCTURE)
    why = f"its classes explain {explained:.0%} of the variance" if explained == explained else ""
    clusters = f"its rows stand in clusters of silhouette {silhouette:.2f}" if silhouette == silhouette else ""
    return f"has few directions, but structure: {', '.join(filter(None, (clusters, why)))}"


RULES = (
    Rule(
        kind="non_finite",
        severity=status("non_finite", 1.0),
        metrics=("variance_share",),
        says="holds values that are not finite",
        advice="find the first layer and step that makes them; lower the learning rate or leave half precision",
        source="Micikevicius et al., ICLR 2018, on the range of half precision",
        reason="no number of such a layer can be trusted",
    ),
    Rule(
        kind="complete_collapse",
        severity=complete,
        metrics=("variance_share", "image_variance_share"),
        thresholds=("near_constant",),
        says=_says_complete,
        advice="check what keeps images apart: stop-gradient, negatives or a variance term",
        source="Chen & He, CVPR 2021; Bardes et al., ICLR 2022",
        reason="a constant plus small noise has a healthy centred spectrum; only the share that varies shows it",
    ),
    Rule(
        kind="sample_domination",
        severity=above("top_images_share", "few_images_dominate"),
        metrics=("top_images_share",),
        thresholds=("few_images_dominate",),
        says="owes {top_images_share:.0%} of its scatter to a hundredth of its images, or to one",
        advice="look at these images first (blank or broken?); then at a norm that amplifies without bound",
        source="Hampel et al., Robust Statistics, 1986, on the influence of one sample",
        reason="every rank and correlation of such a layer describes a few images",
    ),
    Rule(
        kind="dimensional_collapse",
        severity=dimensional,
        metrics=("effective_rank_null_share", "starved_directions", "effective_rank", *STRUCTURE),
        thresholds=("few_directions", "many_starved"),
        says=_says_dimensional,
        advice="hold it against the untrained twin and the input's own rank; a covariance term, a wider projector or "
        "another normalisation spreads it",
        source="Jing et al., ICLR 2022; Bardes et al., ICLR 2022",
        reason="held against channels of the same variances without correlation, at equal n: scale alone never flags",
    ),
    Rule(
        kind="dead_channels",
        severity=above("dead_channels", "many_dead"),
        metrics=("dead_channels",),
        thresholds=("many_dead",),
        says="has {dead_channels:.0%} of its channels at zero, or below 1e-6 of the largest, on every image",
        advice="lower the initialisation's scale or the learning rate, or let channels compete (GRN) where they do not",
        source="Woo et al., CVPR 2023; Lu et al., Commun. Comput. Phys. 28, 2020",
        reason="a tenth of the channels is capacity paid for and never used",
    ),
    Rule(
        kind="saturated_channels",
        severity=above("saturated_channels", "many_saturated"),
        metrics=("saturated_channels",),
        thresholds=("many_saturated",),
        says="has {saturated_channels:.0%} of its channels stuck at one value",
        advice="look at the bias and scale before the activation; a norm before it brings the channels back",
        source="Glorot & Bengio, AISTATS 2010; Ioffe & Szegedy, ICML 2015",
        reason="a channel that never moves carries nothing, at zero or elsewhere",
    ),
    Rule(
        kind="channel_redundancy",
        severity=above("redundant_channels", "many_redundant"),
        metrics=("redundant_channels",),
        thresholds=("many_redundant",),
        says="has {redundant_channels:.0%} of its live channels with a copy",
        advice="let channels compete (GRN) where they do not, or add a decorrelation term",
        source="Woo et al., CVPR 2023; Zbontar et al., ICML 2021",
        reason="a quarter of the live channels says what another says already",
    ),
    Rule(
        kind="spatial_oversmoothing",
        severity=above("position_cosine_centred", "alike_positions"),
        metrics=("position_cosine_centred",),
        thresholds=("alike_positions",),
        says="is the same at every position of an image (cosine {position_cosine_centred:.2f})",
        advice="fewer mixing layers, or a loss that asks for local detail",
        source="Park & Kim, ICLR 2022; Wang et al., ICLR 2022",
        reason="positions that agree to 0.95 leave nothing to localise with",
    ),
    Rule(
        kind="mean_dominance",
        severity=mean_dominates,
        metrics=("pair_cosine_raw", "variance_share"),
        thresholds=("one_way", "near_constant"),
        says="points nearly one way on every image (cosine {pair_cosine_raw:.3f}), though what is left varies",
        advice="centre the features before comparing them by cosine",
        source="Ethayarajh, EMNLP 2019; Mu & Viswanath, ICLR 2018",
        reason="a common offset hides what varies from every cosine",
    ),
    Rule(
        kind="class_structured",
        severity=structured,
        metrics=("effective_rank_null_share", "starved_directions", "effective_rank", *STRUCTURE),
        thresholds=("few_directions", "many_starved", "classes_explain", "tight_clusters"),
        says=_says_structured,
        advice="none needed: this is what a classifier's last layers look like",
        source="Papyan, Han & Donoho, PNAS 117, 2020",
        reason="structure by class is not collapse",
        fault=False,
    ),
    Rule(
        kind="dead_channels",
        severity=some_dead,
        metrics=("dead_channels",),
        thresholds=("many_dead",),
        says="has {dead_channels:.1%} of its channels at zero, or below 1e-6 of the largest, on every image",
        advice="watch it; under a tenth is common",
        source="threshold many_dead",
        reason="fewer than a tenth is a note",
        fault=False,
    ),
    Rule(
        kind="degenerate",
        severity=status("degenerate", 0.0),
        metrics=("variance_share",),
        says="is constant to rounding, so spectral metrics have no value",
        advice="see complete_collapse",
        source="the rounding floor: singular values at and below it count as zero",
        reason="variance metrics are 0, dimensions are undefined",
        fault=False,
    ),
    Rule(
        kind="insufficient_samples",
        severity=too_few,
        metrics=("effective_rank",),
        says="was measured on {n_images:.0f} images, worth {n_effective:.0f} rows, for {channels:.0f} channels",
        advice="capture more images, or compare at equal n only",
        source="Marchenko & Pastur, Math. USSR Sbornik 1, 1967",
        reason="fewer rows than channels cannot fill every direction",
        fault=False,
    ),
)
"""In the order of how bad they are; what makes others untrustworthy comes before them."""

KINDS = tuple(dict.fromkeys(rule.kind for rule in RULES))
FAULTS = frozenset(rule.kind for rule in RULES if rule.fault)
"""Kinds that can be a fault; all others are notes."""


def text_of(rule: Rule, values: Values) -> str:
    """What a rule that holds says of the site, in words that follow its name."""
    if callable(rule.says):
        return rule.says(values)
    return rule.says.format_map({**values, **{metric: number(values, metric) for metric in rule.metrics}})
