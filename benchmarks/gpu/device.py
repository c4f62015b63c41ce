"""What only a kind of device has: its clock, its memory, waiting for it. Every other line here runs on both alike.

The CPU is here to rehearse: the same measurements of the smallest network, a few images and a step or two, so that
whatever is wrong shows before a GPU is at hand. Its numbers mean nothing.
"""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch.profiler import ProfilerActivity

T = TypeVar("T")
GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is measured: images a step by size, and a capture; rounds and repetitions; sides and bytes of limits."""

    batch: Mapping[str, int]
    rounds: int
    steps: int
    images: int
    at_once: int
    product: int
    copied: int
    packed: int
    positions: int
    channels: int
    every: int


FULL = Scale(
    batch={"atto": 1024, "nano": 512, "tiny": 256, "base": 128},
    rounds=3,
    steps=5,
    images=1000,
    at_once=100,
    product=8192,
    copied=4 * GIB,
    packed=1024,
    positions=1000,
    channels=3072,
    every=50,
)
SMALL = Scale(
    batch={"atto": 2, "nano": 2, "tiny": 2, "base": 2},
    rounds=1,
    steps=1,
    images=4,
    at_once=2,
    product=64,
    copied=1 << 20,
    packed=8,
    positions=10,
    channels=12,
    every=2,
)


class Device:
    """The CPU."""

    kind, scale = "cpu", SMALL
    backend = "aot_eager"  # traced, forward and backward, as for a GPU; what would be generated then is not
    activity = ProfilerActivity.CPU

    def wait(self) -> None:
        """Until all that was asked for is done."""

    def seconds_of(self, task: Callable[[], object], rounds: int, warm: int = 3) -> list[float]:
        """Seconds of each call, after so many that warm up."""
        for _ in range(min(warm, 1)):
            task()
        return [self.timed(task) for _ in range(rounds)]

    def timed(self, task: Callable[[], object]) -> float:
        """Seconds of one call by the clock on the wall, from an idle device to an idle device."""
        self.wait()
        began = time.perf_counter()
        task()
        self.wait()
        return time.perf_counter() - began

    def peak_gib(self, task: Callable[[], object]) -> float | None:
        """The most memory that was held at once while this ran; None where nobody counts."""
        task()
        return None

    def waits(self, task: Callable[[], object]) -> int | None:
        """How often this waits for the device, as PyTorch's debug mode counts it; None where there is no such thing."""
        task()
        return None

    def spent(self, event: Any) -> float:
        """Microseconds of an event of the profiler, those of what it calls apart."""
        return float(event.self_cpu_time_total)

    def release(self) -> None:
        """Give back the memory that nothing holds any longer."""
        gc.collect()


class Cuda(Device):
    """The current CUDA device."""

    kind, scale = "cuda", FULL
    backend = "inductor"
    activity = ProfilerActivity.CUDA

    def wait(self) -> None:
        torch.cuda.synchronize()

    def seconds_of(self, task: Callable[[], object], rounds: int, warm: int = 3) -> list[float]:
        """By the device's own clock; it is not waited for in between."""
        for _ in range(warm):
            task()
        marks = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(rounds)]
        torch.cuda.synchronize()
        for begin, end in marks:
            begin.record()
            task()
            end.record()
        torch.cuda.synchronize()
        return [begin.elapsed_time(end) / 1e3 for begin, end in marks]

    def peak_gib(self, task: Callable[[], object]) -> float | None:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        task()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() / GIB

    def waits(self, task: Callable[[], object]) -> int | None:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                task()
            finally:
                torch.cuda.set_sync_debug_mode("default")
        return sum("called a synchronizing" in str(each.message) for each in seen)

    def spent(self, event: Any) -> float:
        return float(event.self_device_time_total)

    def release(self) -> None:
        gc.collect()
        torch.cuda.empty_cache()


def device_of(kind: str) -> Device:
    """The device of that name: "cpu" or "cuda"; float32 is float32 there from now on, convolutions included."""
    torch.backends.cudnn.allow_tf32 = False
    return Cuda() if kind == "cuda" else Device()


def fitted(device: Device, batch: int, task: Callable[[int], T]) -> tuple[T, int]:
    """What the task makes of so many images, or of half as many as often as memory does not suffice; and how many.

    Raises what the task raises, for want of memory too where one image is too many.
    """
    while True:
        try:
            return task(batch), batch
        except RuntimeError as error:  # PyTorch's own is one, what Triton raises too
            if batch == 1 or "out of memory" not in str(error):
                raise
        device.release()  # only here: the error holds what the task had made
        batch //= 2


def told(error: BaseException) -> str:
    """An error as one short line."""
    return f"{type(error).__name__}: {error}"[:400].replace("\n", " ")
