"""The claims that the records of a run on a GPU bear out or not; targets are for an NVIDIA H200."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.claims import Claim
from benchmarks.gpu.steps import VISIBLE, WAYS

Records = Sequence[Mapping[str, Any]]
FASTEST = {"base": 2500, "tiny": 6000, "nano": None, "atto": 20000}
"""Images a second of a train step at 224 px."""


def claims_of(records: Records) -> list[Claim]:
    """Every claim; without a value where what it is read off was not measured."""
    tasks = {r["task"]: r for r in records if r["part"] == "looking"}
    statistics = tasks.get("statistics", {})
    packed = next((r for r in records if r["part"] == "packed"), {})
    base, pico = tasks.get("ours_base", {}), tasks.get("ours_pico", {})
    return [
        *(_more(f"{size}224_bf16_images_per_second", _rate(records, size), "/s", FASTEST[size]) for size in FASTEST),
        *(_more(f"{size}224_bf16_visible_vs_dense_masked", _share(records, size), "x", 2.0) for size in FASTEST),
        _less("capture_overhead", base.get("overhead"), "x", 1.10),
        _less("pico224_capture_overhead", pico.get("overhead"), "x", 1.10),
        _less("capture_waits_a_batch", base.get("waits_a_batch"), "", 0),
        _less("monitor_overhead", tasks.get("monitor_pico", {}).get("overhead"), "x", 1.02),
        _more("atto224_packed_vs_held", packed.get("packed_vs_held"), "x", 0.9),
        _less("statistics_1e6x3072_seconds", statistics.get("seconds"), "s", None),
        _less("statistics_1e6x3072_vs_product", _over(statistics, "seconds", "product_seconds"), "x", 1.3),
    ]


def _rate(records: Records, size: str, networks: Sequence[str] = VISIBLE, ways: Sequence[str] = WAYS) -> float | None:
    """Of the fastest of these."""
    found = [
        r["images_per_second"]
        for r in records
        if r["part"] == "steps"
        and (r["size"], r["network"] in networks, r["way"] in ways) == (size, True, True)
        and "images_per_second" in r
    ]
    return max(found, default=None)


def _share(records: Records, size: str) -> float | None:
    """Both compiled."""
    one, other = (_rate(records, size, each, ("compiled",)) for each in (VISIBLE, ("dense_masked",)))
    return one / other if one and other else None


def _over(record: Mapping[str, Any], one: str, other: str) -> float | None:
    return record[one] / record[other] if one in record and other in record else None


def _more(name: str, value: float | None, unit: str, target: float | None) -> Claim:
    return Claim(name=name, value=value, unit=unit, target=target, better="higher", reason=_why(value))


def _less(name: str, value: float | None, unit: str, target: float | None) -> Claim:
    return Claim(name=name, value=value, unit=unit, target=target, better="lower", reason=_why(value))


def _why(value: float | None) -> str:
    return "" if value is not None else "not measured in this run"
