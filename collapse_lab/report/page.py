"""One self-contained HTML page about runs: the verdict first, then the evidence, and where everything comes from."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from collapse_lab.findings.compare import Comparison, compare
from collapse_lab.report import assets, provenance, sections, verdict, words
from collapse_lab.report.colours import stroke_places
from collapse_lab.report.layout import DETAILED, Layout, layout_of
from collapse_lab.report.packing import script_text
from collapse_lab.report.payload import payload
from collapse_lab.report.payload_metrics import last_values
from collapse_lab.report.payload_pictures import Pictures
from collapse_lab.report.sources import Source, arms_of, read_sources, sources_of
from collapse_lab.runs import write_text

DATA = '<script type="application/json" id="data">'


def report(
    runs_or_comparison: Comparison | Iterable[Path | str] | Path | str,
    *,
    out: Path | str,
    baseline: str | None = None,
    title: str = "Feature collapse",
    pictures: Pictures | None = None,
    baselines: pd.DataFrame | None = None,
) -> Path:
    """Write the page of these runs (folders, or a folder of runs) or of a comparison; returns its path.

    Runs are grouped by the arm in their record and compared with `baseline` (the first arm without it). The page loads
    nothing; its tables are readable without JavaScript. `pictures(folders, identities)` gives the pixels of images, for
    thumbnails (`cl.pictures_of`: out of the data of the runs); `baselines` is the table of `cl.baselines`, shown beside
    the probes. Runs without a capture, that are still training, or whose arms have no site in common are shown as far
    as they go, and the page says so. Raises FileNotFoundError for runs that are not there, LookupError for an unknown
    baseline.
    """
    if isinstance(runs_or_comparison, Comparison):
        comparison: Comparison | None = runs_or_comparison
        sources, why_not = sources_of(runs_or_comparison), ""
    else:
        given = [runs_or_comparison] if isinstance(runs_or_comparison, str | Path) else runs_or_comparison
        sources = read_sources(given)
        comparison, why_not = _compared(sources, baseline)
    path = Path(out)
    write_text(path, render(sources, comparison, title, why_not=why_not, pictures=pictures, baselines=baselines))
    return path


def render(
    sources: list[Source],
    comparison: Comparison | None,
    title: str,
    *,
    why_not: str = "",
    pictures: Pictures | None = None,
    baselines: pd.DataFrame | None = None,
) -> str:
    """The page as text; `why_not` says why several arms come without a comparison."""
    found = verdict.findings_of(sources)
    layout = layout_of(sources, found)
    last = last_values(layout)
    document = payload(layout, last, found, comparison=comparison, pictures=pictures)
    return _template().render(
        title=title,
        policy=assets.policy(),
        style=assets.style(),
        script=assets.script(),
        payload=script_text(document),
        notes=provenance.notes(sources, comparison, why_not),
        verdicts=verdict.verdicts(layout.arms, sources, found),
        sentences=words.sentences(comparison) if comparison else [],
        legend=_legend(layout),
        metrics=list(layout.policy),
        summary=sections.summary(comparison) if comparison else None,
        contrasts=sections.contrasts(comparison) if comparison else [],
        factors=bool(comparison and comparison.factors),
        less=comparison.baseline if comparison and document["effects"] else None,
        probes=sections.probes(layout),
        baselines=sections.baseline_rows(baselines) if baselines is not None else None,
        training=sections.over_training(layout),
        idle=sections.idle_channels(layout, last),
        layers={arm: sections.layers_of(layout, last, arm) for arm in layout.arms},
        left_out=max(0, len(layout.sites) - DETAILED),
        facts=sections.metric_facts(),
        runs=provenance.run_rows(sources),
        run_columns=provenance.RUN_COLUMNS,
        differences=provenance.differences(layout.arms, sources),
        commands=provenance.commands(sources),
        spoken=words.spoken,
    )


def weights(page: Path) -> dict[str, int]:
    """The bytes of each part of a page's data, and of the text around them, the heaviest first."""
    text = page.read_text(encoding="utf-8")
    start = text.index(DATA) + len(DATA)
    document = text[start : text.index("</script>", start)]
    sizes = {name: len(script_text(part)) for name, part in json.loads(document).items()}
    sizes["text"] = len(text) - len(document)
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))


@cache
def _template() -> Template:
    loader = PackageLoader("collapse_lab.report")
    pages = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return pages.get_template("page.html")


def _compared(sources: list[Source], baseline: str | None) -> tuple[Comparison | None, str]:
    """The comparison of the measured arms, by depth where they have no site in common; None, and why, where none is
    possible."""
    arms, factors = arms_of(sources)
    first = baseline or next(iter(arms), "")
    if len(arms) < 2:
        return None, ""
    if first not in arms:
        raise LookupError(f"there is no arm {first!r} with a capture; arms: {', '.join(arms)}")
    why_not = ""
    for align in ("site", "depth"):
        try:
            return compare(arms, baseline=first, factors=factors, align=align), ""
        except ValueError as error:
            why_not = why_not or str(error)
    return None, why_not


def _legend(layout: Layout) -> list[tuple[str, int, int, int]]:
    """(arm, place of its colour, place of its dash, seeds)."""
    return [
        (arm, *stroke_places(place), sum(source.arm == arm for source in layout.sources))
        for place, arm in enumerate(layout.arms)
    ]
