"""What watching a training costs: ConvNeXt V2 Pico at 64 px, a supervised step of 128 images, a check every 50 steps.

A check passes 128 probe images through the network, takes the statistics of its 12 block outputs (8 positions an image)
and measures the headline metrics. Its cost is what a step takes longer that has a check before it, so that a cache left
cold counts too; the overhead is that of 50 steps, with the 49 calls between that measure nothing. The pass alone, with
its statistics and without the metrics, is held against the bare forward of the same images.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from benchmarks.claims import Claim, interleaved, main, ratio
from collapse_lab.capture.batches import first_image, read_batches
from collapse_lab.capture.hooks import observe
from collapse_lab.capture.scout import scout
from collapse_lab.capture.settings import Settings
from collapse_lab.capture.store import Capture
from collapse_lab.findings.monitor import KEPT, monitor
from collapse_lab.findings.table import analyze
from collapse_lab.metrics._metric import HEADLINE
from collapse_lab.models.build import build_model
from collapse_lab.models.convnext import ConvNeXt

BATCH, PROBES, SIDE, CLASSES, EVERY = 128, 128, 64, 1000, 50
SITES, POSITIONS = ("kind:block",), ("sampled:8",)
STEPS_A_ROUND = 3


def network() -> ConvNeXt:
    """Pico with its classifier."""
    return build_model("convnextv2_pico", classes=CLASSES)


def probes(count: int = PROBES) -> dict[str, torch.Tensor]:
    """Images of noise, with identities."""
    source = torch.Generator().manual_seed(1)
    return {"image": torch.randn(count, 3, SIDE, SIDE, generator=source), "id": torch.arange(count)}


def supervised(model: ConvNeXt, count: int = BATCH) -> Callable[[], None]:
    """Forward, cross-entropy, backward and AdamW on one batch."""
    source = torch.Generator().manual_seed(0)
    images = torch.randn(count, 3, SIDE, SIDE, generator=source)
    labels = torch.randint(CLASSES, (count,), generator=source)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return step


def seconds(task: Callable[[], object]) -> float:
    """Of one call."""
    began = time.perf_counter()
    task()
    return time.perf_counter() - began


def overheads(model: ConvNeXt, batch: dict[str, torch.Tensor], rounds: int) -> tuple[list[float], list[float]]:
    """Of each round: the time of 50 watched steps over that of 50 plain ones, and the seconds of a plain step."""
    step = supervised(model.train())
    check = monitor(model, sites=SITES, images=batch, positions=POSITIONS, every=1)
    idle = monitor(model, sites=SITES, images=batch, positions=POSITIONS, every=1 << 30)
    ratios, plain = [], []
    step()
    check(0), idle(0)
    for number in range(1, rounds + 1):
        alone = statistics.median(seconds(step) for _ in range(STEPS_A_ROUND))
        after_check = seconds(lambda now=number: (check(now), step()))
        between = seconds(lambda now=number: [idle(now * EVERY + call) for call in range(EVERY - 1)])
        ratios.append(((EVERY - 1) * alone + after_check + between) / (EVERY * alone))
        plain.append(alone)
    return ratios, plain


def passes(model: ConvNeXt, batch: dict[str, torch.Tensor], rounds: int) -> dict[str, list[float]]:
    """Seconds of the bare forward, of the pass with statistics, and of the metrics of one pass; they take turns."""
    seen: list[Capture] = []
    settings = Settings(positions=POSITIONS, groups=0, keep_rows=KEPT, across_ranks=False)
    places = scout(model, SITES, first_image(next(read_batches([batch], Counter()))))

    def forward() -> None:
        with torch.no_grad():
            model(batch["image"])

    def passed() -> None:
        seen[:] = [observe(model, [batch], places=places, settings=settings)]

    def measured() -> None:
        analyze(seen[0], metrics=HEADLINE)

    model.eval()
    found = interleaved({"forward": forward, "pass": passed}, rounds)
    found["metrics"] = []
    for _ in range(rounds):
        passed()  # statistics remember what was computed of them: each turn has its own
        found["metrics"].append(seconds(measured))
    return found


def claims_of(ratios: Sequence[float], plain: Sequence[float], parts: dict[str, list[float]]) -> list[Claim]:
    """The claims of these times; seconds are medians, and only told."""
    middle = {name: statistics.median(times) for name, times in parts.items()}
    told = {
        "monitor_step_seconds": statistics.median(plain),
        "monitor_forward_seconds": middle["forward"],
        "monitor_statistics_seconds": middle["pass"] - middle["forward"],
        "monitor_metrics_seconds": middle["metrics"],
    }
    overhead, pass_ratio = statistics.median(ratios), ratio(parts["pass"], parts["forward"])
    return [
        Claim(name="monitor_every50_overhead", value=overhead, unit="times", target=1.02, better="lower"),
        Claim(name="monitor_pass_vs_forward", value=pass_ratio, unit="times", target=1.3, better="lower"),
        *(Claim(name=name, value=value, unit="s", target=None, better="lower") for name, value in told.items()),
    ]


def measure(quick: bool) -> list[Claim]:
    """All claims."""
    model, batch = network(), probes()
    parts = passes(model, batch, 5 if quick else 15)
    return claims_of(*overheads(model, batch, 5 if quick else 15), parts)


if __name__ == "__main__":
    main(measure)
