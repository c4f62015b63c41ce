"""collapse-lab probe"""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from collapse_lab.cli import output

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from collapse_lab.runs import Run

COLUMNS = (
    *("arm", "step", "site", "channels", "effective_rank", "rank_share", "metric", "value", "corrected", "low", "high"),
    *("n_seeds", "n_images", "status"),
)
DRAWN = ("arm", "layer", "score", "value", "effective rank", "seeds", "images")
SITES = ("kind:block",)


def probe(
    runs: Annotated[list[Path], typer.Argument(help="Run folders; each belongs to the arm that its run.json names.")],
    sites: Annotated[list[str] | None, typer.Option("--sites", help="Repeatable; kind:block.")] = None,
    step: Annotated[int | None, typer.Option(help="The last step that was captured, without it.")] = None,
    kinds: Annotated[list[str] | None, typer.Option("--kinds", help="linear, knn, svm, kmeans; repeatable.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """What the features of every layer are worth, beside their effective rank.

    Pooled features of the training images are fitted, those of the test images judged. What was probed before is used
    as it is. The rows join the run's metrics.
    """
    from collapse_lab.findings.worth import worth
    from collapse_lab.report.sources import arms_of, read_sources
    from collapse_lab.runs import Run

    steps = [_probed(Run(path), step, sites or SITES, kinds or ("linear",)) for path in runs]
    sources = read_sources(runs)
    arms, _ = arms_of(sources)
    table = worth(arms, at="last" if step is None else steps[0])
    if json:
        output.print_json("probe", rows=output.records(table))
        return
    shown = table.assign(site=table.site.replace("", "last map"))
    title = "Probes and effective rank, 95 % intervals over seeds and images"
    if output.on_terminal():
        output.draw_table(title, DRAWN, [_cells(row) for _, row in shown.iterrows()])
    else:
        output.print_table(title, COLUMNS, shown[list(COLUMNS)].itertuples(index=False))
    for reason in _reasons([source.metrics for source in sources]):
        output.human().print(f"no value: {reason}", markup=False)


def _cells(row: pd.Series[Any]) -> tuple[str, ...]:
    """A row as a person reads it: the score with its interval, the rank with its channels."""
    ends = "" if isnan(row["low"]) else f" [{row['low']:.3f}, {row['high']:.3f}]"
    value = row["value"] if isnan(row["corrected"]) else row["corrected"]
    score = row["status"] if isnan(value) else f"{value:.3f}{ends}"
    rank = "" if isnan(row["effective_rank"]) else f"{row['effective_rank']:.1f} of {row['channels']}"
    return row["arm"], row["site"], row["metric"], score, rank, f"{row['n_seeds']}", f"{row['n_images']}"


def _reasons(tables: Sequence[pd.DataFrame]) -> list[str]:
    """Why scores of runs have no value, each reason once."""
    from collapse_lab.findings.compare import SCORES

    rows = [table[table.metric.isin(SCORES) & table.value.isna()] for table in tables]
    return list(dict.fromkeys(reason for own in rows for reason in own.reason if reason))


def _probed(run: Run, step: int | None, sites: Sequence[str], kinds: Sequence[str]) -> int:
    """Probe what was not probed yet; the step."""
    from collapse_lab.data.source import open_images
    from collapse_lab.study.probing import probe_step, unprobed_sites
    from collapse_lab.study.tables import gather, measured_steps
    from collapse_lab.train.config import load_config

    record = run.read()
    config = load_config(run.config)
    measured = measured_steps(run)
    if not measured or step not in (None, *measured):
        wanted = "" if step is None else f" --step {step}"
        raise FileNotFoundError(
            f"{run.path} has no capture{wanted and f' of step {step}'}; make one with 'collapse-lab capture {run.path}"
            f"{wanted}'"
        )
    if not record.get("data", {}).get("classes"):
        raise ValueError(f"{run.path} learnt from images without labels; a probe needs them")
    chosen = measured[-1] if step is None else step
    missing = unprobed_sites(run, config, chosen, sites, kinds)
    if missing:
        train, test = (open_images(config.data.uri, split, config.data.size) for split in ("train", "test"))
        probe_step(run, config, chosen, train, test, sites=missing, kinds=kinds)
    gather(run)
    return chosen
