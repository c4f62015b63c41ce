"""What looking costs on a CUDA device: statistics of a wide layer, captures of any network, a monitor in training.

A capture passes 1,000 images of 224 px through a network in evaluation mode, float32 with tf32 off, in batches of 100
that lie on the device: every block output and every GRN, `sampled:8`, 16 groups. The overhead is that of this pass over
the same batches without a hook, both warm, median of three. The leave-one-group-out values at its end, which are taken
on the CPU and cost the same for any number of images, are told apart. `statistics` are the sums of 1,000 images x 1,000
positions x 3,072 channels in float64 from float32 features, beside the bare product, and their singular values. The
table of the blocks for 32 images is held against the same capture on the CPU, and the last map of timm's network
against ours of the same weights, in float64.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import collapse_lab as cl
from benchmarks.gpu.device import Device, fitted, told
from benchmarks.gpu.records import Writer, part_of
from benchmarks.sparse_encoder import SIDE
from collapse_lab.capture.hooks import observe
from collapse_lab.capture.settings import Settings
from collapse_lab.models.build import build_model
from collapse_lab.models.weights.read import weights_of
from collapse_lab.stats.accumulate import Accumulator
from collapse_lab.stats.held import whole_of

SIZES, PROBES = ("atto", "pico", "tiny", "base"), 128
OURS, TIMM, TRANSFORMERS = ("kind:block", "kind:response"), ("kind:block", "kind:grn"), ("kind:layer", "kind:grn")


def networks() -> dict[str, tuple[Callable[[], nn.Module], tuple[str, ...]]]:
    """Name -> how it is made, random weights and open GRN gates, and the sites of blocks and responses."""
    made: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...]]] = {}
    for size in SIZES:
        made[f"ours_{size}"] = partial(build_model, f"convnextv2_{size}"), OURS
        made[f"timm_{size}"] = partial(_timm, f"convnextv2_{size}"), TIMM
        made[f"transformers_{size}"] = partial(_transformers, size), TRANSFORMERS
    return made


def _timm(name: str) -> nn.Module:
    model: nn.Module = import_module("timm").create_model(name, pretrained=False)
    return model


def _transformers(size: str) -> nn.Module:
    library, ours = import_module("transformers"), build_model(f"convnextv2_{size}", classes=None)
    config = library.ConvNextV2Config(
        hidden_sizes=list(ours.architecture["dims"]), depths=list(ours.architecture["depths"])
    )
    model: nn.Module = library.ConvNextV2Model(config)
    return model


def opened(model: nn.Module, seed: int = 0) -> nn.Module:
    """With the gates of GRN, which start closed, at 0.5."""
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "gamma" in name or ".grn.weight" in name:
            nn.init.constant_(parameter, 0.5)
    return model.eval()


def pictures(device: Device, count: int, at_once: int) -> list[dict[str, Tensor]]:
    """Batches with identities on the device; one is held, and the others are that one turned round."""
    held = torch.randn(at_once, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).to(device.kind)
    return [
        {"image": held[: len(ids)].roll(number, dims=3), "id": ids}
        for number, ids in enumerate(torch.arange(count).split(at_once))
    ]


def infer(model: nn.Module, batches: Sequence[dict[str, Tensor]]) -> None:
    with torch.inference_mode():
        for batch in batches:
            model(batch["image"])


def passed(model: nn.Module, sites: Sequence[str], batches: Sequence[dict[str, Tensor]]) -> cl.Capture:
    """The pass of a capture, without its end."""
    settings = Settings(positions=("sampled:8",), groups=16, across_ranks=False)
    return observe(model, batches, sites=sites, settings=settings)


def of_network(device: Device, make: Callable[[], nn.Module], sites: Sequence[str]) -> dict[str, Any]:
    """Seconds, overhead, memory and waits of one network."""
    model = opened(make()).to(device.kind)
    most = device.scale.at_once
    found, at_once = fitted(device, most, lambda at_once: _passes(device, model, sites, at_once))
    return found | {"images_a_batch": at_once} | ({"halved_from": most} if at_once < most else {})


def _passes(device: Device, model: nn.Module, sites: Sequence[str], at_once: int) -> dict[str, Any]:
    batches = pictures(device, device.scale.images, at_once)
    infer(model, batches[:2])
    seen = [passed(model, sites, batches[:2])]
    pairs, peak = [], None
    for _ in range(device.scale.rounds):
        bare = device.timed(lambda: infer(model, batches))
        pairs.append((device.timed(lambda: seen.append(passed(model, sites, batches))), bare))
    peak = device.peak_gib(lambda: passed(model, sites, batches))
    whole = device.timed(lambda: cl.capture(model, batches, sites=sites, positions=("sampled:8",)))
    more, fewer = (device.waits(partial(passed, model, sites, batches[:count])) for count in (6, 2))
    apart = max(1, len(batches[:6]) - len(batches[:2]))
    return {
        "sites": len({site for site, _ in seen[-1]}),
        "seconds": statistics.median(full for full, _ in pairs),
        "inference_seconds": statistics.median(bare for _, bare in pairs),
        "overhead": statistics.median(full / bare for full, bare in pairs),
        "with_intervals_seconds": whole,
        "peak_gib": peak,
        "waits_a_batch": None if more is None or fewer is None else (more - fewer) / apart,
    }


def against_cpu(device: Device, make: Callable[[], nn.Module], sites: Sequence[str], count: int = 32) -> dict[str, Any]:
    """The same capture on both devices: the largest relative difference of a metric that is not degenerate."""
    model, tables = opened(make()), []
    for each in (Device(), device):
        batches = pictures(each, min(count, device.scale.images), min(16, device.scale.at_once))
        found = cl.analyze(cl.capture(model.to(each.kind), batches, sites=sites, positions=("sampled:8",)))
        tables.append(found.set_index(["site", "positions", "metric"]))
    here, there = tables
    sound = (here.status == "ok") & (there.status == "ok")
    apart = ((here.value - there.value).abs() / here.value.abs().clip(lower=1e-3))[sound]
    return {
        "rows": len(here),
        "same_status": float((here.status == there.status).mean()),
        "median_difference": float(apart.median()),
        "largest_difference": float(apart.max()),
        "largest_at": " ".join(map(str, apart.idxmax())),
    }


def against_timm(device: Device, size: str) -> dict[str, Any]:
    """The largest difference of the last maps of timm's network and ours, of its weights, over the largest value."""
    theirs = opened(_timm(f"convnextv2_{size}")).double()
    ours = weights_of(theirs.state_dict(), None, "timm").model.double().eval()
    batch = pictures(device, 2, 2)[0]["image"].double()
    with torch.no_grad():
        one, other = (model.to(device.kind).forward_features(batch) for model in (ours, theirs))
    return {"largest_apart": float((one - other).abs().max() / other.abs().max())}


def of_statistics(device: Device, at_once: int = 8) -> dict[str, Any]:
    """Seconds of the sums, of their singular values, and of the bare float64 product of the same rows."""
    images, positions, channels = device.scale.images, device.scale.positions, device.scale.channels
    at_once = min(at_once, images)
    held = torch.randn(at_once, positions, channels, device=device.kind)

    def stream() -> Accumulator:
        sums = Accumulator(("all",), groups=16, wide=True)
        for ids in torch.arange(images).split(at_once):
            sums.update(held[: len(ids)], ids)
        return sums

    def product() -> Tensor:
        whole = torch.zeros(channels, channels, dtype=torch.float64, device=device.kind)
        for _ in range(images // at_once):
            rows = held.flatten(0, 1).double()
            whole.addmm_(rows.T, rows)
        return whole

    device.timed(product), device.timed(stream)
    found: list[Accumulator] = []
    seconds = [device.timed(lambda: found.append(stream())) for _ in range(device.scale.rounds)]
    bare = [device.timed(product) for _ in range(device.scale.rounds)]
    spectrum = device.timed(lambda: whole_of(found[-1].held(), "all").singular_values)
    return {
        "seconds": statistics.median(seconds),
        "product_seconds": statistics.median(bare),
        "singular_values_seconds": spectrum,
    }


def of_monitor(device: Device, size: str) -> dict[str, Any]:
    """A supervised step of Pico at 224 px in bf16, 128 probe images looked at every 50 steps, over plain steps."""
    most = 2 * PROBES if device.kind == "cuda" else device.scale.at_once
    found, batch = fitted(device, most, lambda batch: _watched(device, size, batch))
    return found | {"batch": batch} | ({"halved_from": most} if batch < most else {})


def _watched(device: Device, size: str, batch: int) -> dict[str, Any]:
    model, every = build_model(f"convnextv2_{size}", classes=1000).to(device.kind).train(), device.scale.every
    images = torch.randn(batch, 3, SIDE, SIDE, device=device.kind)
    labels = torch.randint(1000, (batch,), device=device.kind)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    watch = cl.monitor(model, sites=["kind:block"], images=images[:PROBES], every=every)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.kind, torch.bfloat16):
            loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()

    def many(check: Callable[[int], object]) -> None:
        for number in range(every):
            step()
            check(number)

    def watched(number: int) -> object:
        return watch(number + every * len(ratios))

    ratios: list[float] = []
    many(lambda _: None), watch(0)
    for _ in range(device.scale.rounds):
        plain = device.timed(lambda: many(lambda _: None))
        ratios.append(device.timed(lambda: many(watched)) / plain)
    return {"overhead": statistics.median(ratios), "step_seconds": plain / every}


def tasks(device: Device) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Everything that can be looked at, by name."""
    yield "statistics", partial(of_statistics, device)
    for size in SIZES:
        yield f"monitor_{size}", partial(of_monitor, device, size)
        yield f"same_timm_{size}", partial(against_timm, device, size)
    for name, (make, sites) in networks().items():
        yield name, partial(of_network, device, make, sites)
        yield f"cpu_{name}", partial(against_cpu, device, make, sites[:1])


def main() -> None:
    """Append one record a task to the file, each as soon as it is there."""
    parser = argparse.ArgumentParser(description="Captures and statistics.", parents=[part_of()])
    parser.add_argument("--only", required=True, help="names, separated by commas")
    options = parser.parse_args()
    device, write = options.device, Writer(options.out)
    known = dict(tasks(device))
    for name in options.only.split(","):
        try:
            found = known[name]()
        except Exception as error:  # whatever one task raises must not lose the others
            found = {"error": told(error)}
        write({"part": "looking", "task": name, **found})
        device.release()


if __name__ == "__main__":
    main()
