"""What looking costs on a CUDA device: statistics of a wide layer, captures of any network, a monitor in training.

A capture passes 1,000 images of 224 px through a network in evaluation mode, float32 with tf32 off, in batches of 100
that lie on the device: every block output and every GRN, `sampled:8`, 16 groups. The overhead is that of this pass over
the same batches without a hook, both warm, median of three. The leave-one-group-out values at its end, which are taken
on the CPU and cost the same for any number of images, are told apart. `statistics` are the sums of 1,000 images x 1,000
positions x 3,072 channels in float64 from float32 features, beside the bare product, and their singular values. The
table of the blocks for 32 images is held against the same capture on the CPU.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import collapse_lab as cl
from benchmarks.capture import pictures
from collapse_lab.capture.hooks import observe
from collapse_lab.capture.settings import Settings
from collapse_lab.models.build import build_model
from collapse_lab.stats.accumulate import Accumulator
from collapse_lab.stats.held import whole_of

IMAGES, BATCH, SIDE = 1000, 100, 224
OURS, TIMM, TRANSFORMERS = ("kind:block", "kind:response"), ("kind:block", "kind:grn"), ("kind:layer", "kind:grn")


def networks() -> dict[str, tuple[Callable[[], nn.Module], tuple[str, ...]]]:
    """Name -> how it is made, random weights and open GRN gates, and the sites of blocks and responses."""
    made: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...]]] = {}
    for size in ("pico", "tiny", "base"):
        made[f"ours_{size}"] = (lambda size=size: build_model(f"convnextv2_{size}")), OURS
    for size in ("tiny", "base"):
        made[f"timm_{size}"] = (lambda size=size: _timm(f"convnextv2_{size}")), TIMM
        made[f"transformers_{size}"] = (lambda size=size: _transformers(size)), TRANSFORMERS
    return made


def _timm(name: str) -> nn.Module:
    model: nn.Module = import_module("timm").create_model(name, pretrained=False)
    return model


def _transformers(size: str) -> nn.Module:
    library, ours = import_module("transformers"), build_model(f"convnextv2_{size}", classes=None)
    config = library.ConvNextV2Config(hidden_sizes=ours.architecture["dims"], depths=ours.architecture["depths"])
    model: nn.Module = library.ConvNextV2Model(config)
    return model


def opened(model: nn.Module, seed: int = 0) -> nn.Module:
    """With the gates of GRN, which start closed, at 0.5."""
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "gamma" in name or ".grn.weight" in name:
            nn.init.constant_(parameter, 0.5)
    return model.eval()


def timed(task: Callable[[], object]) -> float:
    torch.cuda.synchronize()
    began = time.perf_counter()
    task()
    torch.cuda.synchronize()
    return time.perf_counter() - began


def infer(model: nn.Module, count: int = IMAGES) -> None:
    with torch.inference_mode():
        for batch in pictures(count, BATCH, "cuda"):
            model(batch["image"])


def passed(model: nn.Module, sites: Sequence[str], count: int = IMAGES) -> cl.Capture:
    """The pass of a capture, without its end."""
    settings = Settings(positions=("sampled:8",), groups=16, across_ranks=False)
    return observe(model, pictures(count, BATCH, "cuda"), sites=sites, settings=settings)


def of_network(name: str, make: Callable[[], nn.Module], sites: Sequence[str]) -> dict[str, Any]:
    """Seconds, overhead, memory and waits of one network."""
    model = opened(make()).cuda()
    infer(model, 2 * BATCH)
    passed(model, sites, 2 * BATCH)
    bare, full = [], []
    seen: list[cl.Capture] = []
    for _ in range(3):
        bare.append(timed(lambda: infer(model)))
        torch.cuda.reset_peak_memory_stats()
        full.append(timed(lambda: seen.append(passed(model, sites))))
    peak = torch.cuda.max_memory_allocated() / 2**30
    whole = timed(lambda: cl.capture(model, pictures(IMAGES, BATCH, "cuda"), sites=sites, positions=("sampled:8",)))
    return {
        "network": name,
        "sites": len({site for site, _ in seen[0]}),
        "seconds": statistics.median(full),
        "inference_seconds": statistics.median(bare),
        "overhead": statistics.median(one / other for one, other in zip(full, bare, strict=True)),
        "with_intervals_seconds": whole,
        "peak_gib": peak,
        "waits_a_batch": (waits(model, sites, 6) - waits(model, sites, 2)) / 4,
    }


def waits(model: nn.Module, sites: Sequence[str], batches: int) -> int:
    """How often a capture of so many batches waits for the device, as PyTorch's debug mode counts it."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            passed(model, sites, batches * BATCH)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(each.message) for each in seen)


def against_cpu(name: str, make: Callable[[], nn.Module], sites: Sequence[str], count: int = 32) -> dict[str, Any]:
    """The same capture on both devices: the largest relative difference of a metric that is not degenerate."""
    model, tables = opened(make()), []
    for device in ("cpu", "cuda"):
        batches = pictures(count, 16, device)
        found = cl.analyze(cl.capture(model.to(device), batches, sites=sites, positions=("sampled:8",)))
        tables.append(found.set_index(["site", "positions", "metric"]))
    here, there = tables
    sound = (here.status == "ok") & (there.status == "ok")
    apart = ((here.value - there.value).abs() / here.value.abs().clip(lower=1e-3))[sound]
    return {
        "network": name,
        "rows": len(here),
        "same_status": float((here.status == there.status).mean()),
        "median_difference": float(apart.median()),
        "largest_difference": float(apart.max()),
        "largest_at": " ".join(map(str, apart.idxmax())),
    }


def of_statistics(channels: int = 3072, positions: int = 1000, images: int = 1000, at_once: int = 8) -> dict[str, Any]:
    """Seconds of the sums, of their singular values, and of the bare float64 product of the same rows."""
    held = torch.randn(at_once, positions, channels, device="cuda")

    def stream() -> Accumulator:
        sums = Accumulator(("all",), groups=16, wide=True)
        for ids in torch.arange(images).split(at_once):
            sums.update(held[: len(ids)], ids)
        return sums

    def product() -> Tensor:
        whole = torch.zeros(channels, channels, dtype=torch.float64, device="cuda")
        for _ in range(images // at_once):
            rows = held.flatten(0, 1).double()
            whole.addmm_(rows.T, rows)
        return whole

    timed(product), timed(stream)
    found: list[Accumulator] = []
    seconds = [timed(lambda: found.append(stream())) for _ in range(3)]
    bare = [timed(product) for _ in range(3)]
    spectrum = timed(lambda: whole_of(found[-1].held(), "all").singular_values)
    return {
        "seconds": statistics.median(seconds),
        "product_seconds": statistics.median(bare),
        "singular_values_seconds": spectrum,
    }


def of_monitor(every: int = 50, batch: int = 256) -> dict[str, Any]:
    """A supervised step of Pico at 224 px in bf16, 128 probe images looked at every 50 steps, over plain steps."""
    model = build_model("convnextv2_pico", classes=1000).cuda().train()
    images, labels = torch.randn(batch, 3, SIDE, SIDE, device="cuda"), torch.randint(1000, (batch,), device="cuda")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    watch = cl.monitor(model, sites=["kind:block"], images=images[:128], every=every)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16):
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
    for _ in range(3):
        plain = timed(lambda: many(lambda _: None))
        ratios.append(timed(lambda: many(watched)) / plain)
    return {"overhead": statistics.median(ratios), "step_seconds": plain / every}


def main() -> None:
    """Append one JSON object a record to the file."""
    parser = argparse.ArgumentParser(description="Captures and statistics on a CUDA device.")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--only", default="", help="names, separated by commas, in place of all")
    options = parser.parse_args()
    tasks: dict[str, Callable[[], dict[str, Any]]] = {"statistics": of_statistics, "monitor": of_monitor}
    for name, (make, sites) in networks().items():
        tasks[name] = lambda name=name, make=make, sites=sites: of_network(name, make, sites)
    for name in ("ours_tiny", "timm_tiny", "transformers_tiny"):
        make, sites = networks()[name]
        tasks[f"cpu_{name}"] = lambda name=name, make=make, sites=sites: against_cpu(name, make, sites[:1])
    wanted = options.only.split(",") if options.only else list(tasks)
    with options.out.open("a", encoding="utf-8") as file:
        for name in wanted:
            try:
                found = tasks[name]()
            except (ImportError, RuntimeError, LookupError) as error:
                found = {"error": f"{type(error).__name__}: {error}"[:400]}
            print(json.dumps({"part": "looking", "task": name, **found}), file=file, flush=True)
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
