"""The end of a pass: what was taken in becomes a capture, the groups of images reduced to replicates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any, TypeAlias

from collapse_lab.capture.maps import Maps
from collapse_lab.capture.store import Capture, Key, Replicates
from collapse_lab.capture.taken import Account, Taken, merged_accounts, merged_maps
from collapse_lab.ranks import Ranks
from collapse_lab.stats.held import Held, whole_of, without_each_group
from collapse_lab.stats.layer import LayerStats

FEWEST_IMAGES = 64
"""Below, leave-one-group-out values are not taken: no interval can be trusted."""

Summary: TypeAlias = Callable[[LayerStats, Sequence[LayerStats], Sequence[int]], Mapping[str, list[float]]]
"""(all images, all but each group, the groups' sizes) -> the values of each metric without each group."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """`summarise` makes the replicates of a site, `estimate` those of a wide one; with `keep_groups` the groups stay
    with the capture."""

    summarise: Summary | None = None
    estimate: Summary | None = None
    keep_groups: bool = False


@dataclass(frozen=True, kw_only=True)
class Ended:
    """One site at the end, by position policy; `held` only where the groups are kept."""

    stats: Mapping[str, LayerStats]
    replicates: Mapping[str, Replicates]
    held: Held | None


def summed_up(taken: Taken | None, ranks: Ranks, ending: Ending) -> Capture:
    """The capture of what all ranks took in, None of one without an image; the same on every rank.

    Replicates are taken on the first rank alone; site by site, so that no rank ever holds all groups of all ranks.
    Raises ValueError for no image at all, or ranks that were asked different things.
    """
    given = [each for each in ranks.told(None if taken is None else (taken.account, taken.maps)) if each is not None]
    if not given:
        raise ValueError("nothing was captured: there was no batch, or no image in it")
    account = merged_accounts([each for each, _ in given])
    ended = {}
    for site in account.sites:
        held = ranks.at_first(None if taken is None else taken.held[site])
        ended[site] = ranks.from_first(partial(_merged_end, held, account, ending), "sum up the capture")
    return assembled(account, merged_maps([maps for _, maps in given]), ended)


def end_of(held: Held, account: Account, ending: Ending) -> Ended:
    """The statistics and replicates of one site."""
    stats, replicates = {}, {}
    summary = ending.estimate if held.settings["wide"] else ending.summarise
    enough = account.images >= FEWEST_IMAGES and held.settings["groups"] > 1
    for policy in held.settings["policies"]:
        whole = stats[policy] = whole_of(held, policy)
        if summary is not None and enough:
            left_out, sizes = without_each_group(held, policy)
            replicates[policy] = Replicates(values=summary(whole, left_out, sizes), sizes=sizes)
    return Ended(stats=stats, replicates=replicates, held=held if ending.keep_groups else None)


def assembled(
    account: Account, maps: Maps, ended: Mapping[str, Ended], facts: Mapping[str, Any] | None = None
) -> Capture:
    """A capture of its sites; `facts` beside those of the account."""
    stats: dict[Key, LayerStats] = {}
    replicates: dict[Key, Replicates] = {}
    for site, end in ended.items():
        stats |= {(site, policy): value for policy, value in end.stats.items()}
        replicates |= {(site, policy): value for policy, value in end.replicates.items()}
    held = {site: end.held for site, end in ended.items() if end.held is not None}
    return Capture(
        stats,
        replicates=replicates,
        maps=maps,
        facts={**(facts or {}), **account.facts},
        held=held,
        account=account if held else None,
    )


def _merged_end(held: Sequence[Held | None], account: Account, ending: Ending) -> Ended:
    return end_of(reduce(Held.merge, [each for each in held if each is not None]), account, ending)
