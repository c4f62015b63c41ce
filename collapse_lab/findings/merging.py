"""Captures of shards, made one by one with their groups of images kept, as the one capture of all images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import combinations
from typing import Any

from collapse_lab.capture.ending import Ending, assembled, end_of
from collapse_lab.capture.store import Capture
from collapse_lab.capture.taken import Account, merged_accounts, merged_maps
from collapse_lab.findings.influence import estimated_without_each
from collapse_lab.findings.replicates import without_each
from collapse_lab.stats.held import Held

_OWN = ("created", "versions", "git", "command", "shards", "skipped_images")
"""Facts of each shard that are none of the whole."""


def merge_captures(captures: Sequence[Capture], *, allow_shared: bool = False, keep_groups: bool = False) -> Capture:
    """One capture of the images of all, with replicates: what one pass over all would give, to 1e-12.

    Each is to be captured with `keep_groups=True` by the same settings from a model of the same weights; the facts name
    them as `shards`. An image that two shards hold is refused unless `allow_shared`: then it counts twice, as one of
    the `repeated_images`, and (other than in one pass) with the same identity both times, so its kept rows share it.
    With `keep_groups` the result can be merged on. Raises ValueError for no capture, one without its groups, different
    settings, or shared images.
    """
    accounts = [_account(capture, place) for place, capture in enumerate(captures, start=1)]
    if not accounts:
        raise ValueError("there is nothing to merge: give the captures of the shards")
    account = merged_accounts(accounts)
    if not allow_shared:
        _refuse_shared(accounts)
    ending = Ending(summarise=without_each, estimate=estimated_without_each, keep_groups=keep_groups)
    ended = {}
    for site in account.sites:
        held = reduce(Held.merge, [capture.held[site] for capture in captures])
        ended[site] = end_of(held, account, ending)
    return assembled(account, merged_maps([capture.maps for capture in captures]), ended, _common(captures))


def _account(capture: Capture, place: int) -> Account:
    if capture.account is None:
        raise ValueError(
            f"capture {place} ({capture!r}) was made without its groups of images, so nothing can be merged with it; "
            f"capture with keep_groups=True"
        )
    return capture.account


def _refuse_shared(accounts: Sequence[Account]) -> None:
    for (one, a), (two, b) in combinations(enumerate(accounts, start=1), 2):
        shared = a.times.keys() & b.times.keys()
        if shared:
            raise ValueError(
                f"captures {one} and {two} share {len(shared)} of {len(a.times)} and {len(b.times)} images (identity "
                f"{min(shared)} is one): a shard given twice, or identities that start anew in each? Where they are "
                f"repeated images, allow it (allow_shared)"
            )


def _common(captures: Sequence[Capture]) -> dict[str, Any]:
    """The facts that all shards agree on, what each of them is, and the images that any of them skipped."""
    first, *others = [capture.facts for capture in captures]
    common = {name: value for name, value in first.items() if all(each.get(name) == value for each in others)}
    shards = [
        {
            "images": capture.facts["images"],
            "images_hash": next(iter(capture.values())).images_hash,
            "created": capture.facts.get("created"),
            "command": capture.facts.get("command"),
        }
        for capture in captures
    ]
    skipped = [image for capture in captures for image in capture.facts.get("skipped_images", [])]
    kept = {name: value for name, value in common.items() if name not in _OWN}
    return {**kept, "shards": shards, "skipped_images": skipped}
