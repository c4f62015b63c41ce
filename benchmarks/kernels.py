"""The depthwise convolution of visible cells on CUDA: milliseconds by the kernels, by gathered windows, of whole maps.

Every stage of ConvNeXt V2 Base and Atto at 224 px, 128 images, 19 of 49 cells visible, bfloat16 by autocast. `gathered`
collects windows and leaves them to cuDNN; `dense` is `conv2d` on all positions, channels innermost. A train pass is
forward and backward to features, kernel and bias. Neither compiling nor launching is in the times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.claims import Claim, Result, main
from benchmarks.sparse_encoder import KEPT, sample
from collapse_lab.models import kernels
from collapse_lab.models.convnext import SIZES
from collapse_lab.models.grid import VisibleCells

BATCH = 128
STAGES = [(size, stage) for size in ("base", "atto") for stage in range(4)]
WAYS = {"kernel": frozenset({"cuda"}), "gathered": frozenset[str]()}
PASSES = ("forward", "train")


def milliseconds(task: Callable[[], object], seconds: float) -> float:
    """What one call takes on the device, from as many as fit into `seconds`, 3 to 30.

    The device sleeps until they are all queued, so that the time of launching them is not in it.
    """
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)

    def timed(calls: int) -> float:
        torch.cuda._sleep(30_000_000)  # cycles, some 17 ms
        begin.record()
        for _ in range(calls):
            task()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / calls

    task()  # compiles
    once = timed(2)
    return timed(max(3, min(30, int(1000 * seconds / once))))


def passes(convolve: Callable[[], Tensor], inputs: tuple[Tensor, ...]) -> dict[str, Callable[[], object]]:
    """Both passes of one way, under autocast."""
    with torch.no_grad():
        pull = torch.ones_like(rounded(convolve))

    def forward() -> Tensor:
        with torch.no_grad():
            return rounded(convolve)

    return {"forward": forward, "train": lambda: torch.autograd.grad(rounded(convolve), inputs, pull)}


def rounded(convolve: Callable[[], Tensor]) -> Tensor:
    """The result in bfloat16."""
    with torch.autocast("cuda", torch.bfloat16):
        return convolve()


def tasks(channels: int, grid: VisibleCells) -> Iterator[tuple[str, dict[str, Callable[[], object]]]]:
    """Each way with its passes on one stage; a way holds only while its pair is in use."""
    side = grid.side
    weight = torch.randn(channels, 1, 7, 7, device="cuda", requires_grad=True)
    bias = torch.randn(channels, device="cuda", requires_grad=True)
    settings: dict[str, Any] = {"device": "cuda", "dtype": torch.bfloat16}
    x = torch.randn(BATCH, KEPT * side**2, channels, **settings).requires_grad_()
    for way, devices in WAYS.items():
        own = VisibleCells(grid.cells, grid.rows, grid.columns, side, grid.filled)
        with mock.patch.object(kernels, "BY_KERNEL", devices):
            yield way, passes(lambda own=own: own.depthwise(x, weight, bias), (x, weight, bias))
    maps = torch.randn(BATCH, channels, 7 * side, 7 * side, **settings).to(memory_format=torch.channels_last)
    maps.requires_grad_()
    dense = passes(lambda: F.conv2d(maps, weight, bias, padding=3, groups=channels), (maps, weight, bias))
    yield "dense", dense


def rows(seconds: float) -> list[dict[str, Any]]:
    """One for each stage and pass, with the milliseconds of each way."""
    images, removed = (part.cuda() for part in sample(BATCH))
    grid = VisibleCells.of(images, removed, 32, KEPT)[1].coarser(4)
    found = []
    for size, stage in STAGES:
        channels = SIZES[f"convnextv2_{size}"].dims[stage]
        times: dict[str, dict[str, float]] = {name: {} for name in PASSES}
        for way, by_pass in tasks(channels, grid.coarser(2**stage)):
            for name, task in by_pass.items():
                times[name][way] = milliseconds(task, seconds)
        found += [{"size": size, "stage": stage, "pass": name, **times[name]} for name in PASSES]
    return found


def table(found: list[dict[str, Any]]) -> str:
    """One line a stage and pass, for a person."""
    ways = (*WAYS, "dense")
    lines = [f"{'milliseconds':<22} {' '.join(f'{way:>9}' for way in ways)}"]
    for row in found:
        times = " ".join(f"{row[way]:>9.4f}" for way in ways)
        lines.append(f"{row['size']} stage {row['stage']} {row['pass']:<8}".ljust(22) + f" {times}")
    return "\n".join(lines)


def measure(quick: bool) -> Result:
    """How many times as long gathered windows and whole maps take; nothing has a target."""
    reason = "" if torch.cuda.is_available() else "no CUDA device"
    reason = reason or ("" if kernels.triton is not None else "triton is not installed")
    found = [] if reason else rows(0.02 if quick else 0.06)
    if found:
        print(f"{table(found)}\n")
    times = {(row["size"], row["stage"], row["pass"]): row for row in found}
    claims = []
    for size, stage in STAGES:
        for name in PASSES:
            for way in ("gathered", "dense"):
                row = times.get((size, stage, name))
                value = None if row is None else row[way] / row["kernel"]
                label = f"{size}224_stage{stage}_{name}_vs_{way}"
                claims.append(Claim(name=label, value=value, unit="times", target=None, better="higher", reason=reason))
    return Result(claims=claims, tables={"stages": found})


if __name__ == "__main__":
    main(measure)
