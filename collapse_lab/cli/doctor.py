"""collapse-lab doctor"""

from __future__ import annotations

import os
import shutil
import sys
from importlib import metadata
from typing import Annotated, Any

import typer

from collapse_lab.cli import output

EXTRAS = ("huggingface_hub", "timm", "transformers", "torchvision", "tensorboard")
LEAST_DISK_GB = 1.0


def doctor(json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> None:
    """What this machine has, and what is missing for what."""
    checks = [*_versions(), *_machine()]
    if json:
        output.print_json(
            "doctor", checks=[dict(zip(("what", "found", "verdict"), check, strict=True)) for check in checks]
        )
    else:
        output.print_table("doctor", ("what", "found", "verdict"), checks)
    if any(verdict.startswith("missing") for _, _, verdict in checks):
        raise typer.Exit(1)


def _versions() -> list[tuple[str, Any, str]]:
    from collapse_lab.runs import PACKAGES

    found: list[tuple[str, Any, str]] = [
        ("python", sys.version.split()[0], "ok" if sys.version_info >= (3, 11) else "missing: >= 3.11")
    ]
    for name in (*PACKAGES, *EXTRAS):
        try:
            found.append((name, metadata.version(name), "ok"))
        except metadata.PackageNotFoundError:
            found.append((name, "–", "optional, not installed" if name in EXTRAS else f"missing: pip install {name}"))
    return found


def _machine() -> list[tuple[str, Any, str]]:
    import torch

    free = shutil.disk_usage(".").free / 1e9
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return [
        ("cores", os.cpu_count(), "ok"),
        ("torch threads", torch.get_num_threads(), "ok"),
        ("GPU", gpu, "ok: used without being told" if gpu != "none" else "ok: everything runs on the CPU"),
        (
            "free disk here, GB",
            round(free, 1),
            "ok" if free > LEAST_DISK_GB else f"missing: {LEAST_DISK_GB} GB for a study",
        ),
    ]
