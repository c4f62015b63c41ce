"""`python -m benchmarks.gpu.has`: what this machine measures with, on a few lines, and which packages it lacks."""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from re import match

import torch

BESIDE = ("pytest", "pytest-xdist", "hypothesis", "timm", "transformers", "triton")


def packages() -> dict[str, str | None]:
    """Version of everything that the project needs and that is compared with; None of what is not installed."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [found[0] for each in project["dependencies"] if (found := match(r"[\w-]+", each))]
    held: dict[str, str | None] = {}
    for name in (*needed, *BESIDE):
        try:
            held[name] = version(name)
        except PackageNotFoundError:
            held[name] = None
    return held


if __name__ == "__main__":
    held = packages()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA device"
    print(f"{gpu}; CUDA {torch.version.cuda}")
    print(", ".join(f"{name} {number}" for name, number in held.items() if number))
    print("missing:", ", ".join(name for name, number in held.items() if number is None) or "nothing")
