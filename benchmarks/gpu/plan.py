"""Which measurements there are, what matters most first, and how long each may take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Part:
    """A process of its own: a module of this project with its arguments, and the seconds after which it is ended."""

    command: tuple[str, ...]
    seconds: float

    @property
    def name(self) -> str:
        return " ".join(self.command)


def plan(*, quick: bool, device: str) -> list[Part]:
    """All parts; with `quick` two sizes and fewer networks, of the CPU the smallest of every kind."""
    return list(_rehearsal() if device == "cpu" else _parts(quick))


def _parts(quick: bool) -> Iterator[Part]:
    both, more = "visible,dense_masked", ("tiny", "nano")
    yield _limits()
    yield _steps("base", "compiled", both, 140, profile=True)
    yield _looking("statistics,ours_pico,ours_base,monitor_pico", 80)
    yield _steps("base", "eager", f"{both},dense,timm", 60, profile=True)
    yield _steps("atto", "compiled", both, 120, profile=True)
    yield _steps("base", "compiled", "kernels", 120, profile=True)
    if quick:
        return
    yield _looking("timm_tiny,transformers_tiny,timm_base,transformers_base", 80)
    yield Part(command=("benchmarks.gpu.packed",), seconds=60)
    yield _looking("cpu_ours_tiny,same_timm_tiny,cpu_timm_tiny,cpu_transformers_tiny,ours_tiny", 60)
    for size in more:
        yield _steps(size, "compiled", both, 120)
    for size in ("atto", *more):
        yield _steps(size, "eager", f"{both},dense,timm", 60)
    yield _steps("atto", "compiled", "kernels", 120)
    yield _steps("base", "compiled", "dense,timm", 120)
    for size in ("atto", *more):
        yield _steps(size, "compiled", "dense,timm", 120)


def _rehearsal() -> Iterator[Part]:
    yield _limits()
    yield _steps("atto", "compiled", "visible,dense_masked,dense,timm,kernels", 300, profile=True)
    yield _steps("atto", "eager", "visible", 60)
    captures = "ours_atto,timm_atto,transformers_atto,cpu_ours_atto,cpu_timm_atto,cpu_transformers_atto"
    yield _looking(f"statistics,monitor_atto,same_timm_atto,{captures}", 300)
    yield Part(command=("benchmarks.gpu.packed",), seconds=60)


def _limits() -> Part:
    return Part(command=("benchmarks.gpu.limits",), seconds=60)


def _steps(size: str, way: str, networks: str, seconds: float, *, profile: bool = False) -> Part:
    options = ("--way", way, "--networks", networks, *(("--profile",) if profile else ()))
    return Part(command=("benchmarks.gpu.steps", size, *options), seconds=seconds)


def _looking(names: str, seconds: float) -> Part:
    return Part(command=("benchmarks.gpu.looking", "--only", names), seconds=seconds)
