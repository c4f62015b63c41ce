"""The records of a run on a GPU as a page of tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

RATES = ("images_per_second", "held_images_per_second", "packed_vs_held", "halved_from")
MEASURED: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("Packed images beside held ones", "packed", ("size", "batch", *RATES)),
    (
        "Train steps at 224 px, bf16 (shares of the measured limits are of the encoder alone)",
        "steps",
        (
            *("size", "way", "network", "batch", "images_per_second", "first_steps_seconds", "peak_gib"),
            *("share_of_products", "share_of_memory", "share_of_both", "halved_from"),
        ),
    ),
)
LOOKED: tuple[tuple[str, str, tuple[str, ...] | None], ...] = (
    (
        "Captures of 1,000 images",
        "inference_seconds",
        (
            *("task", "sites", "seconds", "inference_seconds", "overhead", "with_intervals_seconds"),
            *("peak_gib", "waits_a_batch", "halved_from"),
        ),
    ),
    (
        "The same table on CPU and GPU",
        "largest_difference",
        ("task", "rows", "same_status", "median_difference", "largest_difference", "largest_at"),
    ),
    ("Monitor", "step_seconds", ("task", "overhead", "step_seconds", "batch", "halved_from")),
    ("The last map of timm's network and of ours, of one set of weights, float64", "largest_apart", None),
    (
        "Statistics of 1,000,000 rows x 3,072 channels, float64",
        "singular_values_seconds",
        ("seconds", "product_seconds", "singular_values_seconds"),
    ),
)


def page(result: Mapping[str, Any]) -> str:
    """Markdown: the device and its limits, claims, steps, captures, the kernels of a step, what was not measured."""
    records = result["records"]
    sound = [r for r in records if "error" not in r]
    lines = [
        *_head(result),
        *_table("Claims", ("name", "value", "unit", "target", "holds"), result["claims"]),
    ]
    for title, part, columns in MEASURED:
        lines += _table(title, columns, [r for r in sound if r["part"] == part])
    for title, told, columns in LOOKED:
        rows = [r for r in sound if r["part"] == "looking" and told in r]
        lines += _table(title, columns or ("task", told), rows)
    profiles: dict[str, list[Mapping[str, Any]]] = {}
    for r in sound:
        if r["part"] == "kernels":
            profiles.setdefault(f"{r['size']}, {r['way']}, {r['network']}", []).append(r)
    for name, own in profiles.items():
        lines += _table(f"Where a step spends its time: {name}", ("kernel", "share", "calls_a_step"), own[:12])
    failed = [r for r in records if "error" in r]
    lines += _table("Failed", ("part", "size", "way", "network", "task", "error"), failed)
    left = [r for r in records if r["part"] == "command" and r["status"] != "done"]
    lines += _table("Parts that did not end", ("command", "status", "seconds", "said"), left)
    return "\n".join(lines) + "\n"


def _head(result: Mapping[str, Any]) -> list[str]:
    made = result["machine"]
    lines = [f"# {made['gpu'] or 'A rehearsal on a CPU'}", ""]
    if result["rehearsal"]:
        lines += ["Every measurement at its smallest, to see that it runs: **these numbers mean nothing**.", ""]
    made_by = f"{made['cores']} cores, PyTorch {result['versions'].get('torch')}."
    limits = next((r for r in result["records"] if r["part"] == "limits"), None)
    if limits is None:
        return [*lines, f"{made_by} The limits of the device were not measured."]
    most = f"bf16 products {limits['flops'] / 1e12:.0f} TFLOP/s, copies {limits['bytes'] / 1e12:.2f} TB/s, both ways"
    return [*lines, f"{made_by} Measured limits: {most}."]


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
