"""The records of a run on a GPU as a page of tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def page(result: Mapping[str, Any]) -> str:
    """Markdown: the device and its limits, claims, steps, captures, the kernels of a step, what was not measured."""
    records = result["records"]
    limits, made = result["limits"], result["machine"]
    steps = [r for r in records if r["part"] == "steps"]
    looked = [r for r in records if r["part"] == "looking"]
    made_by = f"{made['cores']} cores, PyTorch {result['versions'].get('torch')}"
    most = f"bf16 products {limits['flops'] / 1e12:.0f} TFLOP/s, copies {limits['bytes'] / 1e12:.2f} TB/s, both ways"
    lines = [
        f"# {made['gpu']}",
        "",
        f"{made_by}. Measured limits: {most}.",
        *_table("Claims", ("name", "value", "unit", "target", "holds"), result["claims"]),
        *_table(
            "Train steps at 224 px, bf16 (shares of the measured limits are of the encoder alone)",
            (
                "size",
                "way",
                "network",
                "batch",
                "images_per_second",
                "peak_gib",
                "share_of_products",
                "share_of_memory",
            ),
            [r for r in steps if "error" not in r],
        ),
        *_table(
            "Captures of 1,000 images",
            (
                *("network", "sites", "seconds", "inference_seconds", "overhead", "with_intervals_seconds"),
                *("peak_gib", "waits_a_batch"),
            ),
            [r for r in looked if "overhead" in r and "network" in r],
        ),
        *_table(
            "The same table on CPU and GPU",
            ("network", "rows", "same_status", "median_difference", "largest_difference", "largest_at"),
            [r for r in looked if "largest_difference" in r],
        ),
        *_table("Monitor", ("overhead", "step_seconds"), [r for r in looked if r["task"] == "monitor"]),
        *_table(
            "Statistics of 1,000,000 rows x 3,072 channels, float64",
            ("seconds", "product_seconds", "singular_values_seconds"),
            [r for r in looked if r["task"] == "statistics"],
        ),
    ]
    profiles: dict[str, list[Mapping[str, Any]]] = {}
    for r in records:
        if r["part"] == "kernels":
            profiles.setdefault(f"{r['size']}, {r['way']}, {r['network']}", []).append(r)
    for name, own in profiles.items():
        lines += _table(f"Where a step spends its time: {name}", ("kernel", "share", "calls_a_step"), own[:12])
    failed = [r for r in records if "error" in r]
    lines += _table("Failed", ("size", "way", "network", "task", "error"), failed)
    left = [r for r in records if r["part"] == "command" and r["status"] != "done"]
    lines += _table("Commands that did not end", ("command", "status", "seconds", "said"), left)
    return "\n".join(lines) + "\n"


def _table(title: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Nothing where there are no rows."""
    held = list(rows)
    if not held:
        return []
    head = ["", f"## {title}", "", "| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return head + ["| " + " | ".join(_cell(row.get(name)) for name in columns) + " |" for row in held]


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value).replace("|", "/").replace("\n", " ")
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
