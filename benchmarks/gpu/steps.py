"""Train steps at 224 px in bf16: the visible-only FCMAE, the same with a dense-masked encoder, and dense encoders.

A step is forward, backward and AdamW (fused) on images that lie on the device. `visible` and `dense_masked` are whole
FCMAE steps, decoder and loss included; `kernels` is `visible` with the Triton kernels of `models/kernels.py`; `dense`
is our encoder on whole images and `timm` theirs of the same size, with the mean square of the last map as loss, for
scale. `compiled` compiles every block, as training does; the first steps, which compile, are told apart. Networks are
measured one after the other, each alone on the device; a record is written once its network is measured. Memory is the
most that one step held, weights and optimiser included. Where it does not suffice half the images are taken.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu.device import Device, fitted, told
from benchmarks.gpu.limits import Limits, measured_limits, shares
from benchmarks.gpu.records import Writer, part_of
from benchmarks.sparse_encoder import CELLS, KEPT, SIDE, mask_blocks, sample
from collapse_lab.draws import Draws
from collapse_lab.models import kernels
from collapse_lab.models.block import Block
from collapse_lab.models.build import build_model
from collapse_lab.objectives.fcmae import FCMAE
from collapse_lab.train.optim import adamw
from collapse_lab.train.place import compile_blocks

SIZES = ("atto", "nano", "tiny", "base")
NETWORKS = ("visible", "dense_masked", "dense", "timm", "kernels")
VISIBLE = ("visible", "kernels")
WAYS = ("eager", "compiled")
PROFILED, ROWS = 3, 25


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network with the forward pass that ends in its loss."""

    module: nn.Module
    loss: Callable[[], Tensor]
    blocks: tuple[type[nn.Module], ...] = (Block,)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One measurement."""

    size: str
    way: str
    network: str
    profile: bool = False

    @property
    def names(self) -> dict[str, str]:
        return {"size": self.size, "way": self.way, "network": self.network}


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

    return Subject(module=objective, loss=loss)


def _of_timm(name: str, images: Tensor) -> Subject:
    timm = import_module("timm")
    block = import_module("timm.models.convnext").ConvNeXtBlock
    model = timm.create_model(name, pretrained=False).to(images.device, memory_format=torch.channels_last)
    held = images.contiguous(memory_format=torch.channels_last)
    return Subject(module=model, loss=lambda: model.forward_features(held).float().square().mean(), blocks=(block,))


def step_of(each: Subject, kind: str) -> Callable[[], None]:
    """Forward, backward, update."""
    optimizer = adamw(each.module, 1e-4, (0.9, 0.95), 0.05)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(kind, torch.bfloat16):
            loss = each.loss()
        loss.backward()
        optimizer.step()

    return step


def records(device: Device, wanted: Wanted, limits: Limits) -> Iterator[dict[str, Any]]:
    """One of the step: images a second, GiB, shares of the limits; then one of each kernel of it where profiled.

    Of what fails, the error stands in its place.
    """
    torch.compiler.reset()
    # Before anything is compiled: a compiled block checks that this is still the same.
    kernels.BY_KERNEL = frozenset({"cuda"} if wanted.network == "kernels" else ())
    where, most = wanted.names, device.scale.batch[wanted.size]
    try:
        (step, found), batch = fitted(device, most, lambda batch: _measured(device, wanted, batch))
    except Exception as error:  # whatever one network raises must not lose the others
        yield {"part": "steps", **where, "batch": most, "error": told(error)}
        return
    halved = {"halved_from": most} if batch < most else {}
    rate = batch / found["step_seconds"]
    with torch.device("meta"):
        bare = build_model(f"convnextv2_{wanted.size}")
    share = KEPT if wanted.network in VISIBLE else CELLS
    numbers = {"images_per_second": rate, **found, **shares(bare, rate, limits, share)}
    yield {"part": "steps", **where, "batch": batch, **halved, **numbers}
    if wanted.profile:
        try:
            for row in profiled(device, step):
                yield {"part": "kernels", **where, **row}
        except Exception as error:
            yield {"part": "kernels", **where, "error": told(error)}


def _measured(device: Device, wanted: Wanted, batch: int) -> tuple[Callable[[], None], dict[str, float | None]]:
    """The step, and its seconds, those of the first ones, and its memory."""
    images = torch.randn(batch, 3, SIDE, SIDE, device=device.kind)
    each = subject(wanted.network, wanted.size, images)
    if wanted.way == "compiled":
        compile_blocks(each.module, each.blocks, device.backend)
    step, began = step_of(each, device.kind), time.perf_counter()
    device.seconds_of(step, 1)
    first = time.perf_counter() - began
    held = device.peak_gib(step)
    rounds = device.scale.rounds
    seconds = [each for _ in range(rounds) for each in device.seconds_of(step, device.scale.steps, warm=1)]
    return step, {"step_seconds": statistics.median(seconds), "first_steps_seconds": first, "peak_gib": held}


def profiled(device: Device, step: Callable[[], None]) -> list[dict[str, Any]]:
    """The kernels of a step by the time of the device that they take, most first; raises where none was seen."""
    with torch.profiler.profile(activities=[device.activity]) as seen:
        for _ in range(PROFILED):
            step()
        device.wait()
    events = sorted(((device.spent(event), event) for event in seen.key_averages()), key=lambda pair: -pair[0])
    whole = sum(spent for spent, _ in events)
    if not whole:
        raise RuntimeError("the profiler saw no work of the device")
    return [
        {"kernel": event.key[:120], "share": spent / whole, "calls_a_step": event.count / PROFILED}
        for spent, event in events[:ROWS]
    ]


def main() -> None:
    """Append the records to the file, each as soon as it is there."""
    parser = argparse.ArgumentParser(description="Train steps.", parents=[part_of()])
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("--way", choices=WAYS, default="eager")
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--profile", action="store_true", help="also the kernels of visible-only steps")
    options = parser.parse_args()
    write = Writer(options.out)
    device = options.device
    limits = measured_limits(device)
    device.release()
    for network in options.networks.split(","):
        profile = options.profile and network in VISIBLE
        for record in records(
            device, Wanted(size=options.size, way=options.way, network=network, profile=profile), limits
        ):
            write(record)
        device.release()


if __name__ == "__main__":
    main()
