"""One self-contained HTML page about runs: words first, then charts, tables and where everything comes from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from collapse_lab.findings.compare import PROBE, SUMMARY, Comparison, compare
from collapse_lab.findings.contrast import COMPARED
from collapse_lab.metrics._metric import HEADLINE, METRICS
from collapse_lab.report import panels, words
from collapse_lab.report.figures import colour, dash
from collapse_lab.report.sources import Source, arms_of, read_sources, sources_of
from collapse_lab.runs import write_text


def report(
    runs_or_comparison: Comparison | Iterable[Path | str] | Path | str,
    *,
    out: Path | str,
    baseline: str | None = None,
    title: str = "Feature collapse",
) -> Path:
    """Write the page of these runs (folders, or a folder of runs) or of a comparison; returns its path.

    Runs are grouped by the arm in their record and compared with `baseline` (the first arm without it). The page loads
    nothing and runs nothing. Raises FileNotFoundError for runs that are not there or not measured.
    """
    if isinstance(runs_or_comparison, Comparison):
        comparison: Comparison | None = runs_or_comparison
        sources = sources_of(runs_or_comparison)
    else:
        given = [runs_or_comparison] if isinstance(runs_or_comparison, str | Path) else runs_or_comparison
        sources = read_sources(given)
        arms, factors = arms_of(sources)
        first = baseline or next(iter(arms))
        comparison = compare(arms, baseline=first, factors=factors) if len(arms) > 1 else None
    path = Path(out)
    write_text(path, render(sources, comparison, title))
    return path


def render(sources: list[Source], comparison: Comparison | None, title: str) -> str:
    """The page as text."""
    grouped = panels.by_arm(sources)
    loader = PackageLoader("collapse_lab.report")
    pages = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = pages.get_template("page.html")
    return template.render(
        title=title,
        sentences=words.sentences(comparison) if comparison else _one_arm(grouped),
        legend=[(arm, colour(place), dash(place), len(own)) for place, (arm, own) in enumerate(grouped.items())],
        findings={arm: panels.arm_findings(own) for arm, own in grouped.items()},
        metrics=[METRICS[name] for name in HEADLINE],
        arms=_arms(comparison) if comparison else list(grouped),
        summary=_summary(comparison) if comparison else [],
        contrasts=_contrasts(comparison) if comparison else [],
        depth=list(panels.depth_panels(grouped)) if grouped else [],
        training=list(panels.training_panels(grouped)) if grouped else [],
        spectra=list(panels.spectrum_panels(grouped)) if grouped else [],
        layers={arm: panels.layer_rows(own) for arm, own in grouped.items()},
        runs=[_provenance(source) for source in sources],
        differences=_differences(grouped),
        number=words.number,
    )


def _one_arm(grouped: dict[str, list[Source]]) -> list[str]:
    seeds = sum(map(len, grouped.values()))
    runs = f"{seeds} run{'s' if seeds > 1 else ''}"
    return [f"One arm ({', '.join(grouped)}) with {runs}: there is nothing to compare it with."]


def _arms(comparison: Comparison) -> list[str]:
    return list(comparison.last[comparison.last.kind == "arm"].contrast.unique())


def _summary(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """Each headline metric, and the probe, with its value in every arm, over the last third of depth."""
    table = comparison.last[(comparison.last.kind == "arm") & comparison.last.site.isin([SUMMARY, ""])]
    units = {**{name: METRICS[name].unit for name in HEADLINE}, PROBE: "share"}
    rows = []
    for metric, unit in units.items():
        cells = {row.contrast: words.marked(row, unit) for _, row in table[table.metric == metric].iterrows()}
        rows.append((metric, [cells.get(arm, "–") for arm in _arms(comparison)]))
    return rows


def _contrasts(comparison: Comparison) -> list[dict[str, Any]]:
    table = comparison.last
    rows = table[table.primary & table.kind.isin(COMPARED)]
    return [
        {
            "contrast": row.contrast,
            "metric": row.metric,
            "value": words.interval(row, METRICS[row.metric].unit),
            "verdict": words.verdict(row),
            "called": bool(row.called),
            "seeds": f"{row.n_seeds} ({'paired' if row.paired else 'not paired'})",
        }
        for _, row in rows.iterrows()
    ]


def _provenance(source: Source) -> dict[str, Any]:
    record = source.record
    return {
        "name": source.run.name,
        "arm": source.arm,
        "seed": source.seed,
        "status": f"{record.get('status')} at step {record.get('step')} of {record.get('steps')}",
        "device": f"{record.get('device', '?')}, {record.get('threads', '?')} threads",
        "seconds": record.get("seconds", "?"),
        "data": "{name}, {images} images, fingerprint {fingerprint}".format(**record["data"]),
        "versions": ", ".join(f"{name} {version}" for name, version in record.get("versions", {}).items()),
        "source": record.get("git") or "not from a checkout",
        "images": str(source.metrics.images_hash.iloc[0]),
    }


def _differences(grouped: dict[str, list[Source]]) -> list[tuple[str, list[str]]]:
    """Settings in which the arms differ: name -> its value in each arm."""
    settings = [dict(_flat(own[0].record["config"])) for own in grouped.values()]
    names = sorted({name for each in settings for name in each} - {"seed"})
    rows = [(name, [str(each.get(name, "–")) for each in settings]) for name in names]
    return [(name, values) for name, values in rows if len(set(values)) > 1]


def _flat(values: dict[str, Any], path: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value
