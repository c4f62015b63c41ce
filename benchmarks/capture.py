"""What a capture costs beside plain inference, and its statistics beside storing every row.

The pass: every block output of ConvNeXt V2 Pico on random images of 224 pixels, float32, in batches of 64 that are held
beforehand, against the same batches through the same network without a hook. `sampled:8` with `pooled`, and `all`
positions, each with 16 groups of images; the leave-one-group-out values, a fixed cost whatever the number of images,
are part of the time. Memory is the growth of the process's peak over its state before the call, at 1,000 images and at
10,000 (2,000 with --quick). Beside them torchlens, where it is installed, and storing every row, then a decomposition.

The statistics: 1,000 images x 1,000 positions x 768 channels in float64, which lie in memory beforehand, in batches of
4 images. Their singular values fall from 1 to 1e-6, above the floor. The accumulator is that of a capture (16 groups of
images, all positions, what lies inside images as well) up to its singular values. Storing means to copy the batches
into one matrix, to centre it there and to call `torch.linalg.svdvals`; the bare product is X'X over the batches.
"""

from __future__ import annotations

import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.claims import Claim, Result, main, ratio
from collapse_lab.capture.hooks import observe
from collapse_lab.findings.table import capture
from collapse_lab.models.build import build_model
from collapse_lab.stats.accumulate import Accumulator
from collapse_lab.stats.held import whole_of

IMAGES, BATCH, SITES = 1000, 64, "kind:block"
STORED = 256
ROWS, POSITIONS, CHANNELS, AT_ONCE = 1000, 1000, 768, 4
POLICIES = {"sampled8": ("sampled:8", "pooled"), "all": ("all",)}


def timed(task: Callable[[], object]) -> float:
    began = time.perf_counter()
    task()
    return time.perf_counter() - began


def growth(task: Callable[[], object]) -> float:
    """MB by which the peak of this process rises over its state before; Linux can set the peak back, others cannot.

    What was freed before is given back to the system first, or it would be used again without a rise.
    """
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    before = _memory("VmRSS")
    task()
    return _memory("VmHWM") - before


def _memory(name: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


def pictures(count: int, batch: int = BATCH, device: str = "cpu") -> Iterator[dict[str, Tensor]]:
    """Batches with identities, made of one held batch that is turned round: making them takes no time."""
    held = torch.randn(batch, 3, 224, 224, generator=torch.Generator().manual_seed(0)).to(device)
    for ids in torch.arange(count).split(batch):
        yield {"image": held[: len(ids)].roll(int(ids[0]) // batch, dims=3), "id": ids}


def infer(model: nn.Module, count: int) -> None:
    with torch.inference_mode():
        for batch in pictures(count):
            model(batch["image"])


def of_pass(quick: bool) -> list[Claim]:
    """The ratios to plain inference, and the memory of both."""
    model = build_model("convnextv2_pico").eval()
    tasks: dict[str, Callable[[], object]] = {"inference": lambda: infer(model, IMAGES)}
    for name, policies in POLICIES.items():
        tasks[name] = lambda policies=policies: capture(model, pictures(IMAGES), sites=[SITES], positions=policies)
    infer(model, BATCH)
    rounds = [{name: timed(task) for name, task in tasks.items()} for _ in range(1 if quick else 3)]
    seconds = {name: [each[name] for each in rounds] for name in tasks}
    values = {name: ratio(seconds[name], seconds["inference"]) for name in POLICIES}
    claims = [
        Claim(name=f"pico224_block_{name}_vs_inference", value=values[name], unit="x", target=target, better="lower")
        for name, target in (("sampled8", 1.15), ("all", 2.0))
    ]
    more = 2 * IMAGES if quick else 10 * IMAGES
    for count in (IMAGES, more):
        held = growth(lambda count=count: capture(model, pictures(count), sites=[SITES]))
        claims.append(told(f"pico224_block_memory_mb_at_{count}", held, "MB"))
    bare = growth(lambda: infer(model, IMAGES))
    plain = timed(lambda: observe(model, pictures(IMAGES), sites=[SITES]))
    stored = ratio([timed(lambda: store_blocks(model))], [timed(lambda: infer(model, STORED))])
    claims += [
        told("pico224_inference_memory_mb", bare, "MB"),
        told("pico224_block_sampled8_without_replicates_vs_inference", plain / seconds["inference"][-1], "x"),
        told("pico224_inference_ms_an_image", 1e3 * statistics.median(seconds["inference"]) / IMAGES, "ms"),
        told("pico224_block_store_svd_vs_inference", stored, "x"),
    ]
    return [*claims, of_torchlens(model)]


def store_blocks(model: nn.Module) -> None:
    """Every row of every block output in one matrix a site, and its singular values."""
    blocks = [name for name, _ in model.named_modules() if name.split(".")[-2:-1] == ["blocks"]]
    kept: dict[str, list[Tensor]] = {name: [] for name in blocks}
    hooks = [
        model.get_submodule(name).register_forward_hook(lambda _m, _i, output, name=name: kept[name].append(output))
        for name in kept
    ]
    infer(model, STORED)
    for hook in hooks:
        hook.remove()
    for name in list(kept):
        rows = torch.cat(kept.pop(name)).flatten(0, 1).to(torch.float64)
        torch.linalg.svdvals(rows.sub_(rows.mean(dim=0)))


def of_torchlens(model: nn.Module) -> Claim:
    """torchlens logs every operation of a pass and keeps its output; of one batch of 8, against inference of it."""
    name = "pico224_torchlens_vs_inference"
    torchlens = import_module("torchlens") if find_spec("torchlens") else None
    if not hasattr(torchlens, "trace"):  # its other versions have other names, or lack a part of themselves
        reason = "no torchlens with a trace() is installed"
        return Claim(name=name, value=None, unit="x", target=None, better="lower", reason=reason)
    x = next(pictures(8))["image"]
    log = [timed(lambda: torchlens.trace(model, x)) for _ in range(3)]
    with torch.inference_mode():
        bare = [timed(lambda: model(x)) for _ in range(3)]
    return told(name, ratio(log, bare), "x")


def told(name: str, value: float, unit: str) -> Claim:
    return Claim(name=name, value=value, unit=unit, target=None, better="lower")


def rows() -> list[Tensor]:
    """Batches (4, 1000, 768) float64 whose directions fall evenly, on a logarithmic scale, from 1 to 1e-6."""
    random = torch.Generator().manual_seed(0)
    strength = torch.logspace(0, -6, CHANNELS, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(CHANNELS, CHANNELS, generator=random, dtype=torch.float64)).Q
    mixing = strength[:, None] * turn
    shape = (AT_ONCE, POSITIONS, CHANNELS)
    return [torch.randn(shape, generator=random, dtype=torch.float64) @ mixing for _ in range(ROWS // AT_ONCE)]


def streamed(batches: Iterable[Tensor]) -> Tensor:
    """Singular values from the accumulator."""
    accumulator = Accumulator(("all",), groups=16)
    for place, batch in enumerate(batches):
        accumulator.update(batch, torch.arange(len(batch)) + place * AT_ONCE)
    return whole_of(accumulator.held(), "all").singular_values


def product(batches: Iterable[Tensor]) -> Tensor:
    whole = torch.zeros(CHANNELS, CHANNELS, dtype=torch.float64)
    for batch in batches:
        x = batch.flatten(0, 1)
        whole.addmm_(x.T, x)
    return whole


def stored(batches: list[Tensor]) -> Tensor:
    x = torch.cat(batches).flatten(0, 1)
    return x.sub_(x.mean(dim=0))


def of_statistics(quick: bool) -> list[Claim]:
    """The accumulator against the bare product, against storing, and its singular values against LAPACK's."""
    batches, found = rows(), {}

    def decompose() -> None:
        found["stored"] = torch.linalg.svdvals(stored(batches))

    def stream() -> None:
        found["streamed"] = streamed(batches)

    def gram() -> None:
        x = stored(batches)
        torch.linalg.eigvalsh(x.T @ x)

    product(batches[:8])
    streamed(batches[:8])
    tasks = {"stream": stream, "product": lambda: product(batches)}
    rounds = [{name: timed(task) for name, task in tasks.items()} for _ in range(1 if quick else 3)]
    seconds = {name: [each[name] for each in rounds] for name in tasks}
    least = statistics.median(seconds["stream"])
    by_gram, memory = timed(gram), {"stream": growth(stream)}
    by_svd = timed(lambda: memory.update(store=growth(decompose)))
    error = (found["streamed"] - found["stored"]).abs()
    largest, strong = found["stored"][0], found["stored"] >= 1e-4 * found["stored"][0]
    floor = (CHANNELS * torch.finfo(torch.float64).eps) ** 0.5 * largest
    facts = {
        "stats_vs_store_svd_time": (by_svd / least, "x", 1.8, "higher"),
        "stats_vs_store_svd_memory": (memory["store"] / memory["stream"], "x", 50, "higher"),
        "stats_vs_bare_product": (ratio(seconds["stream"], seconds["product"]), "x", 1.3, "lower"),
        "stats_strong_singular_values_error": ((error / found["stored"])[strong].max().item(), "", 1e-7, "lower"),
        "stats_weak_singular_values_error": ((error / floor)[~strong].max().item(), "floors", 0.01, "lower"),
        "stats_vs_store_gram_time": (by_gram / least, "x", None, "higher"),
        "stats_seconds": (least, "s", None, "lower"),
        "stats_memory_mb": (memory["stream"], "MB", None, "lower"),
    }
    return [Claim(name=name, value=v, unit=u, target=t, better=b) for name, (v, u, t, b) in facts.items()]


def measure(quick: bool) -> Result:
    return Result(claims=[*of_statistics(quick), *of_pass(quick)], tables={})


if __name__ == "__main__":
    main(measure)
