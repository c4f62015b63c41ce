"""What the features of every layer are worth, beside how many dimensions they have."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from collapse_lab.findings.arms import Runs, at_steps, tables_of
from collapse_lab.findings.compare import SCORES, gathered
from collapse_lab.findings.contrast import Contrast, evaluate

RANK = "effective_rank"
COLUMNS = (
    *("arm", "step", "site", "depth", "channels", RANK, "rank_share", "rank_positions", "rank_status"),
    *("metric", "value", "corrected", "low", "high", "n_seeds", "n_images", "status"),
)


def worth(arms: Mapping[str, Runs], *, at: str | int = "last") -> pd.DataFrame:
    """One row for each arm, probed place and score of a probe, with the effective rank of that place beside it.

    `arms` as `compare` takes them: name -> tables or run folders, one a seed; they need no site in common. `site` is ""
    for the last map. `value` and `effective_rank` are means over seeds, `rank_share` the rank over the channels, under
    the first position policy of the run's capture. `corrected` is the value without its bias of few images, of which
    k-means scores have much (.1 of pure noise), and the centre of [low, high], the 95 % interval over seeds and images,
    of one seed over images alone. NaN where there is no rank (the last map is no captured site) or no interval.

    Raises ValueError where nothing was probed at that step, and what `compare` raises of runs.
    """
    rows = [
        line
        for step, table in at_steps(tables_of(arms), at).items()
        for arm, own in table.groupby("arm", sort=False)
        for line in _lines(str(arm), step, own)
    ]
    if not rows:
        raise ValueError("nothing was probed in these runs; make the rows with 'collapse-lab probe RUN'")
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _lines(arm: str, step: int, table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    ranks = table[table.metric == RANK]
    policy = None if ranks.empty else ranks.positions.iloc[0]
    probed = table[table.metric.isin(SCORES)]
    for site, own in sorted(probed.groupby("site"), key=lambda pair: (pair[1].depth.mean(), pair[0] == "")):
        rank = ranks[(ranks.site == site) & (ranks.positions == policy)]
        channels = int(own.channels.max())
        mean = math.nan if rank.empty else float(rank.value.mean())
        where = {"arm": arm, "step": step, "site": site, "depth": float(own.depth.mean()), "channels": channels}
        beside = {
            RANK: mean,
            "rank_share": mean / channels if channels else math.nan,
            "rank_positions": "" if rank.empty else policy,
            "rank_status": "" if rank.empty else rank.status.iloc[0],
        }
        for metric in [name for name in SCORES if name in set(own.metric)]:
            yield {**where, **beside, "metric": metric, **_score(arm, own[own.metric == metric])}


def _score(arm: str, rows: pd.DataFrame) -> dict[str, Any]:
    """The mean of a score over seeds, with its interval."""
    records = [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]
    found = evaluate(Contrast(name=arm, kind="arm", weights={arm: 1.0}), {arm: gathered(records)})
    if len(records) == 1:
        found |= {name: records[0][name] for name in ("corrected", "low", "high")}
    return {name: found[name] for name in ("value", "corrected", "low", "high", "n_seeds", "n_images", "status")}
