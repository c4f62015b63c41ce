"""collapse-lab report"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from collapse_lab.cli import output

if TYPE_CHECKING:
    import pandas as pd

PAGES = (".html", ".htm")
HEAVY = 5_000_000
"""Bytes of a page from which on a mail or a phone does not like it."""


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The page.")] = Path("reports/page.html"),
    baseline: Annotated[str | None, typer.Option(help="The arm to compare with; the first without it.")] = None,
    title: Annotated[str, typer.Option(help="What the page is called.")] = "Feature collapse",
    baselines: Annotated[Path | None, typer.Option(help="What 'collapse-lab baselines --json' printed.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """One self-contained HTML page about the runs: the verdict, interactive charts, every table, provenance."""
    from collapse_lab.report.page import report as write_report
    from collapse_lab.report.page import weights
    from collapse_lab.study.pictures import pictures_of

    if out.suffix.lower() not in PAGES:
        raise typer.BadParameter(f"a page ends in .html, not in {out.suffix or 'nothing'!r}", param_hint="--out")
    without = None if baselines is None else _read_baselines(baselines)
    path = write_report(runs, out=out, baseline=baseline, title=title, pictures=pictures_of, baselines=without)
    if path.stat().st_size > HEAVY:
        output.human().print(_too_heavy(path, weights(path)), markup=False)
    if json:
        output.print_json("report", path=path)
    else:
        print(path)


def _read_baselines(path: Path) -> pd.DataFrame:
    import pandas as pd

    from collapse_lab.runs import read_json

    try:
        return pd.DataFrame(read_json(path)["rows"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not what 'collapse-lab baselines --json' prints ({error!r})") from None


def _too_heavy(path: Path, parts: dict[str, int]) -> str:
    listed = ", ".join(f"{name} {size / 1e6:.1f}" for name, size in list(parts.items())[:3])
    return (
        f"{path} has {path.stat().st_size / 1e6:.1f} MB, much for a mail (MB of {listed}). Leave out runs or arms, "
        "capture at fewer steps or --sites, or without --keep-maps."
    )
