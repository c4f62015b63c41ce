"""What `analyze --fail-on` asks of the findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import typer

from collapse_lab.cli import output

if TYPE_CHECKING:
    from collapse_lab.findings.diagnose import Finding

EXIT_GATE = 5


def read_gates(given: Iterable[str], sites: Sequence[str]) -> list[tuple[str, list[str]]]:
    """(kind, sites) of each KIND[:PATTERN]; no pattern is every site.

    Raises typer.BadParameter for an unknown kind, with the nearest, and LookupError for a pattern that matches no site.
    """
    return [_gate(each, sites) for each in given]


def _gate(given: str, sites: Sequence[str]) -> tuple[str, list[str]]:
    from collapse_lab.capture.sites import matches_path
    from collapse_lab.findings.rules import KINDS
    from collapse_lab.registry import nearest

    kind, colon, pattern = given.partition(":")
    if kind not in KINDS:
        raise typer.BadParameter(f"--fail-on: no kind is called {kind!r}{nearest(kind, KINDS)}")
    if colon and not pattern:
        raise typer.BadParameter(f"--fail-on: {given!r} names no site; leave the colon out for all of them")
    matched = [site for site in sites if matches_path(pattern, site)] if colon else list(sites)
    if not matched:
        raise LookupError(f"--fail-on {given}: no site matches {pattern!r}{nearest(pattern, sites)}")
    return kind, matched


def check_judged(gates: Iterable[tuple[str, list[str]]], unjudged: Mapping[str, Sequence[str]]) -> None:
    """Raises ValueError where a gate could not close because what it rests on has no value at any of its sites."""
    for kind, sites in gates:
        if set(sites) <= set(unjudged.get(kind, ())):
            raise ValueError(
                f"--fail-on {kind}: it cannot be judged, the metric that it rests on has no value at "
                f"{', '.join(site or 'the features' for site in sites[:5])}; analyse the capture anew"
            )


def close(stopped: Iterable[Finding]) -> None:
    """Tell the findings that a gate names; raises typer.Exit(5) where there is any."""
    stopped = list(stopped)
    for finding in stopped:
        text = f"collapse-lab: --fail-on {finding.kind}: {finding.site or 'the features'} {finding.text}"
        output.human().print(text, markup=False)
    if stopped:
        raise typer.Exit(EXIT_GATE)


def failed(findings: Iterable[Finding], gates: Iterable[tuple[str, list[str]]]) -> list[Finding]:
    """The findings that a gate names. Of a kind that can be a fault only faults count: a few dead channels pass."""
    from collapse_lab.findings.rules import FAULTS

    gates = list(gates)
    return [
        finding
        for finding in findings
        if (finding.fault or finding.kind not in FAULTS)
        and any(finding.kind == kind and finding.site in sites for kind, sites in gates)
    ]
