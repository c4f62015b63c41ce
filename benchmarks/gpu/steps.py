"""Train steps at 224 px in bf16: the visible-only FCMAE, the same with a dense-masked encoder, and dense encoders.

A step is forward, backward and AdamW (fused) on images that lie on the device. `visible` and `dense_masked` are whole
FCMAE steps, decoder and loss included; `kernels` is `visible` with the Triton kernels of `models/kernels.py`; `dense`
is our encoder on whole images and `timm` theirs of the same size, with the mean square of the last map as loss, for
scale. `compiled` compiles every block, as training does. Networks of one size and way take turns. Memory is the most
that one step held, weights and optimiser included.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu.limits import Limits, measured_limits, seconds_of, shares
from benchmarks.sparse_encoder import CELLS, KEPT, SIDE, mask_blocks, sample
from collapse_lab.draws import Draws
from collapse_lab.models import kernels
from collapse_lab.models.block import Block
from collapse_lab.models.build import build_model
from collapse_lab.models.convnext import ConvNeXt
from collapse_lab.objectives.fcmae import FCMAE
from collapse_lab.train.optim import adamw
from collapse_lab.train.place import compile_blocks

BATCH = {"atto": 1024, "nano": 512, "tiny": 256, "base": 128}
NETWORKS = ("visible", "kernels", "dense_masked", "dense", "timm")
VISIBLE = ("visible", "kernels")
WAYS = ("eager", "compiled")
ROUNDS, STEPS = 3, 5


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network with the forward pass that ends in its loss."""

    module: nn.Module
    loss: Callable[[], Tensor]
    blocks: tuple[type[nn.Module], ...] = (Block,)
    by_kernel: bool = False

    def compile(self) -> None:
        """Every block for itself, as training does."""
        compile_blocks(self.module, self.blocks)


def subject(network: str, size: str, images: Tensor) -> Subject:
    """One of NETWORKS on these images; raises ImportError where timm is wanted and missing."""
    device, name = images.device, f"convnextv2_{size}"
    if network == "timm":
        return _of_timm(name, images)
    encoder = build_model(name).to(device)
    if network == "dense":
        return Subject(module=encoder, loss=lambda: encoder.forward_features(images).float().square().mean())
    if network == "dense_masked":
        mask_blocks(encoder, sample(len(images))[1].to(device))
        encoder.forward_masked = lambda pixels, *_, **__: encoder.forward_features(pixels)
    objective, steps = FCMAE(encoder).to(device), count()

    def loss() -> Tensor:
        drawn = Draws(seed=0, step=next(steps), index=torch.arange(len(images), device=device))
        found: Tensor = objective(images, generator=drawn).loss
        return found

    return Subject(module=objective, loss=loss, by_kernel=network == "kernels")


def _of_timm(name: str, images: Tensor) -> Subject:
    timm = import_module("timm")
    block = import_module("timm.models.convnext").ConvNeXtBlock
    model = timm.create_model(name, pretrained=False).to(images.device, memory_format=torch.channels_last)
    held = images.contiguous(memory_format=torch.channels_last)
    return Subject(module=model, loss=lambda: model.forward_features(held).float().square().mean(), blocks=(block,))


def step_of(each: Subject) -> Callable[[], None]:
    """Forward, backward, update."""
    optimizer = adamw(each.module, 1e-4, (0.9, 0.95), 0.05)

    def step() -> None:
        kernels.BY_KERNEL = frozenset({"cuda"} if each.by_kernel else ())
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16):
            loss = each.loss()
        loss.backward()
        optimizer.step()

    return step


def measure(size: str, way: str, networks: tuple[str, ...], limits: Limits) -> Iterator[dict[str, Any]]:
    """One record a network: milliseconds a step, images a second, GiB, shares of the limits; or the error it raised."""
    batch = BATCH[size]
    images = torch.randn(batch, 3, SIDE, SIDE, device="cuda")
    ready: dict[str, tuple[Callable[[], None], float, float]] = {}
    for network in networks:
        where = {"size": size, "way": way, "network": network, "batch": batch}
        try:
            each = subject(network, size, images)
            if way == "compiled":
                each.compile()
            step, began = step_of(each), time.perf_counter()
            seconds_of(step, 1)
            first = time.perf_counter() - began
            torch.cuda.reset_peak_memory_stats()
            seconds_of(step, 1, warm=0)
            ready[network] = step, first, torch.cuda.max_memory_allocated() / 2**30
        except (ImportError, RuntimeError) as error:
            yield where | {"error": f"{type(error).__name__}: {error}"[:400]}
            torch.cuda.empty_cache()
    found: dict[str, list[float]] = {network: [] for network in ready}
    for _ in range(ROUNDS):
        for network, (step, _, _) in ready.items():
            found[network] += seconds_of(step, STEPS, warm=1)
    with torch.device("meta"):
        bare = build_model(f"convnextv2_{size}")
    for network, (_, first, held) in ready.items():
        yield {"size": size, "way": way, "network": network, "batch": batch} | _numbers(
            bare, network, batch / statistics.median(found[network]), first, held, limits
        )


def _numbers(bare: ConvNeXt, network: str, rate: float, first: float, held: float, limits: Limits) -> dict[str, float]:
    share = KEPT if network in VISIBLE else CELLS
    return {
        "images_per_second": rate,
        "first_steps_seconds": first,
        "peak_gib": held,
        **shares(bare, rate, limits, share),
    }


def profiled(size: str, way: str, network: str, rows: int = 25) -> list[dict[str, Any]]:
    """The kernels of a step by the time of the device that they take, most first."""
    each = subject(network, size, torch.randn(BATCH[size], 3, SIDE, SIDE, device="cuda"))
    if way == "compiled":
        each.compile()
    step = step_of(each)
    seconds_of(step, 1)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as seen:
        seconds_of(step, 3, warm=0)
    events = sorted(seen.key_averages(), key=lambda event: -event.self_device_time_total)
    whole = sum(event.self_device_time_total for event in events)
    return [
        {"kernel": event.key[:120], "share": event.self_device_time_total / whole, "calls_a_step": event.count / 3}
        for event in events[:rows]
    ]


def main() -> None:
    """Append one JSON object a record to the file; what a later size breaks, an earlier one has left there."""
    parser = argparse.ArgumentParser(description="Train steps on a CUDA device.")
    parser.add_argument("size", choices=list(BATCH))
    parser.add_argument("--way", choices=WAYS, default="eager")
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--profile", action="store_true", help="also the kernels of the visible-only step")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    options = parser.parse_args()
    with options.out.open("a", encoding="utf-8") as file:
        for record in measure(options.size, options.way, tuple(options.networks.split(",")), measured_limits()):
            print(json.dumps({"part": "steps", **record}), file=file, flush=True)
        for network in VISIBLE if options.profile else ():
            where = {"part": "kernels", "size": options.size, "way": options.way, "network": network}
            for record in profiled(options.size, options.way, network):
                print(json.dumps({**where, **record}), file=file)


if __name__ == "__main__":
    main()
