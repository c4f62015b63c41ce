"""Figures for a paper by name: what there is, which options each takes, and how one is written."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from collapse_lab.findings.compare import Comparison
from collapse_lab.registry import Registry
from collapse_lab.report.drawings.curves import cosine, depth
from collapse_lab.report.drawings.effects import effects
from collapse_lab.report.drawings.maps import maps
from collapse_lab.report.drawings.selectivity import selectivity
from collapse_lab.report.drawings.sheet import WIDTHS, style
from collapse_lab.report.drawings.spectra import spectra
from collapse_lab.report.drawings.training import training
from collapse_lab.report.sources import Source, read_sources, sources_of
from collapse_lab.runs import write_atomically

Draw = Callable[..., Figure]
FIGURES: Registry[Draw] = Registry(
    "figure",
    {
        "depth": depth,
        "cosine": cosine,
        "maps": maps,
        "spectra": spectra,
        "training": training,
        "effects": effects,
        "selectivity": selectivity,
    },
)
"""Name -> function of arms and options."""
OPTIONS = ("metrics", "sites", "step")
ONE_METRIC = ("cosine", "training")
METADATA: dict[str, dict[str, None]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {"Software": None}}
"""File endings, and what would make two files of one figure differ."""
DPI = 300
"""Of pixels, where a file has any."""


def figure(
    name: str,
    runs: Comparison | Iterable[Path | str] | Path | str,
    *,
    out: Path | str | None = None,
    metrics: Sequence[str] = (),
    sites: Sequence[str] = (),
    step: int | None = None,
    columns: int = 1,
) -> Figure:
    """A figure for a paper, one or two `columns` wide (3.25 and 6.75 inches), written to `out` where that is given.

    `name` is depth (metrics through depth), cosine (mean cosine distance of channels against the layer index), maps (64
    channels as small squares), spectra, training (depth x step), effects (of a full factorial) or selectivity
    (histograms a layer). `runs` are folders, a folder of runs, or a comparison. `metrics`, `sites` (patterns) and
    `step` are for the figures that take them: the last step and the sites of the metric's kind without. `out` is a
    .pdf or .svg, with fonts embedded, or a .png of 300 pixels an inch; equal runs give equal bytes.

    Raises LookupError for an unknown name, metric or site, ValueError for an option that the figure does not take or an
    ending that is none of these, FileNotFoundError for runs that are not measured or kept no maps. Names may have
    letters that the common font has not: then fonts of this machine are added, and a UserWarning says which none has.
    """
    draw = FIGURES[name]
    path = None if out is None else _writable(Path(out))
    given = {"metrics": (metrics,) if isinstance(metrics, str) else tuple(metrics)}
    given["sites"] = (sites,) if isinstance(sites, str) else tuple(sites)
    options = _options(name, {**given, "step": step})
    if columns not in WIDTHS:
        raise ValueError(f"a figure is 1 or 2 columns wide, got {columns}")
    arms = _arms(runs)
    with style(_names(arms)):
        drawn = draw(arms, columns=columns, **options)
        if path is not None:
            ending = path.suffix[1:].lower()
            write_atomically(path, lambda part: drawn.savefig(part, format=ending, dpi=DPI, metadata=METADATA[ending]))
    return drawn


def _names(arms: dict[str, list[Source]]) -> str:
    """All that runs have given names to, put together."""
    sources = [source for own in arms.values() for source in own]
    sites = {str(site) for source in sources for site in source.metrics.site.unique()}
    factors = {str(factor) for source in sources for factor in source.record.get("factors") or {}}
    return "".join([*arms, *sites, *factors])


def _writable(path: Path) -> Path:
    if path.suffix[1:].lower() not in METADATA:
        endings = ", ".join(f".{ending}" for ending in METADATA)
        raise ValueError(f"a figure is written as one of {endings}: give a name that ends so, not {path.name!r}")
    return path


def options_of(name: str) -> list[str]:
    """The options that a figure takes beside its width."""
    return [option for option in inspect.signature(FIGURES[name]).parameters if option in OPTIONS]


def _options(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """What was given; raises ValueError for what the figure does not take."""
    options = {option: value for option, value in given.items() if value is not None and value != ()}
    taken = options_of(name)
    if unknown := [option for option in options if option not in taken]:
        raise ValueError(f"the figure {name!r} takes no {', '.join(unknown)}; it takes {', '.join(taken)}")
    if name in ONE_METRIC and len(options.get("metrics", ())) > 1:
        raise ValueError(f"the figure {name!r} shows one metric, got {', '.join(options['metrics'])}")
    return options


def _arms(runs: Comparison | Iterable[Path | str] | Path | str) -> dict[str, list[Source]]:
    """Arm -> its runs, in the order in which they were given."""
    if isinstance(runs, Comparison):
        sources = sources_of(runs)
    else:
        sources = read_sources([runs] if isinstance(runs, str | Path) else runs)
    arms: dict[str, list[Source]] = {}
    for source in sources:
        if source.metrics.empty:
            raise FileNotFoundError(
                f"{source.run.path} has no metrics yet; make them with 'collapse-lab capture {source.run.path}'"
            )
        arms.setdefault(source.arm, []).append(source)
    return arms
